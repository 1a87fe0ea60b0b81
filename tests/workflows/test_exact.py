"""The rung ``exact`` beyond what can be tried in full: proofs, bounds, crashes and limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import dimod
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.answering import BQM
from activities.exact import Exact
from adapters import cpsat
from adapters.artefacts import FolderArtefacts
from adapters.cpsat import CpSatSolver
from adapters.incumbents import FolderIncumbents
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.confidence import Proof
from qsaga.core.jobs import JobRequest
from qsaga.core.results import Confidence
from qsaga.core.solvers import Searched
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.steps import SolveInput
from qsaga.problems.proofs import with_proof
from qsaga.problems.verify import dump_model
from tests.support.ladders import answered, files_in, quality, with_policy
from tests.support.stack import abilene

pytestmark = pytest.mark.asyncio(loop_scope="session")

LADDERS = {"optimise": ["exact", "annealing"]}


def ring(size: int, **changes: Any) -> JobRequest:
    """A cycle with chords: its largest cut is known to CP-SAT in no time."""
    edges = [[f"n{i}", f"n{(i + 1) % size}"] for i in range(size)]
    edges += [[f"n{i}", f"n{i + size // 2}"] for i in range(size // 2)]
    problem = {"name": "maxcut", "data": {"edges": edges}}
    return abilene(workload={"kind": "optimise", "problem": problem}, **changes)


def dense(size: int, **changes: Any) -> JobRequest:
    """Every pair coupled: no proof in seconds."""
    random = Random(1)
    names = [f"v{i}" for i in range(size)]
    data = {
        "variables": names,
        "linear": {name: random.randint(-9, 9) for name in names},
        "quadratic": [
            [u, v, random.randint(-9, 9)] for i, u in enumerate(names) for v in names[:i]
        ],
    }
    problem = {"name": "qubo", "data": data}
    return abilene(workload={"kind": "optimise", "problem": problem}, **changes)


async def test_a_model_too_large_for_every_assignment_is_proven(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(ring(50, route=None))
        assert answered(result) == [(Rung.EXACT, "answered")]
        assert result.provenance is not None
        assert result.provenance.provider == "cp-sat"
        detail = result.provenance.detail
        assert detail["status"] == "optimal"
        found = quality(result)
        assert found.confidence is Confidence.PROVEN_OPTIMAL
        # Even cycle, odd chords: all of it is cut.
        assert (found.objective, found.gap) == (75, 0)
        proof = detail["proof"]
        assert isinstance(proof, dict) and proof["bound"] == -75
        assert "ortools" in result.provenance.software
        assert files_in(stack.settings.data_dir / "incumbents") == []
        told = await stack.record(result.job_id)
        assert told.result == result
        await stack.keep_history("proven.job", result.job_id)
        small = await stack.run(abilene(route="exact"))
        assert quality(small).confidence is Confidence.PROVEN_OPTIMAL
        assert "every assignment" in (quality(small).bound_by or "")
        await stack.books_are_clean()


async def test_what_is_not_proven_in_time_has_a_bound_and_a_gap(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(dense(60, route=None, budgets={"solve": 3.0}))
        assert result.state is JobState.COMPLETED
        found = quality(result)
        assert found.confidence is Confidence.BOUNDED_GAP
        assert found.bound is not None and found.gap is not None
        assert found.gap == found.objective - found.bound > 0
        assert "CP-SAT" in (found.bound_by or "")
        assert files_in(stack.settings.data_dir / "incumbents") == []


async def test_a_model_too_large_for_the_solver_goes_down_the_ladder(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpsat, "MOST_TERMS", 100)
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(ring(50, route=None, budgets={"solve": 0.3}))
        assert answered(result) == [(Rung.EXACT, "failed"), (Rung.ANNEALING, "answered")]
        assert "125 variables and couplings are 25 more" in result.attempts[0].reason
        assert result.state is JobState.DEGRADED
        assert quality(result).confidence is not Confidence.BOUNDED_GAP


async def test_a_search_that_finds_nothing_ends_the_rung_in_time(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proof = Proof(bound=-99.0, by="CP-SAT (test)")
    monkeypatch.setattr(
        CpSatSolver, "solve", lambda *given, **more: Searched(None, proof, {"status": "unknown"})
    )
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(ring(50, route=None, budgets={"solve": 0.3}))
        assert answered(result) == [(Rung.EXACT, "timed_out"), (Rung.ANNEALING, "answered")]
        assert "found no assignment" in result.attempts[0].reason
        assert "no energy is below -99" in result.attempts[0].reason
        assert result.attempts[0].layer is Layer.SOLVE


async def test_a_search_goes_on_where_a_dead_one_was(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole: Callable[..., Searched] = CpSatSolver.solve
    starts: list[bytes | None] = []

    def dies_once(self: CpSatSolver, bqm: bytes, *args: Any, **given: Any) -> Searched:
        starts.append(given["start"])
        if len(starts) == 1:
            model = dimod.BinaryQuadraticModel.from_file(bqm)
            row = [index % 2 for index in range(model.num_variables)]
            found = dimod.SampleSet.from_samples_bqm(([row], list(model.variables)), model)
            given["better"](json.dumps(found.to_serializable()).encode())
            raise ConnectionResetError("the worker is gone")
        return whole(self, bqm, *args, **given)

    monkeypatch.setattr(CpSatSolver, "solve", dies_once)
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(ring(50, route=None, budgets={"solve": 20.0}))
        assert answered(result) == [(Rung.EXACT, "answered")]
        assert quality(result).confidence is Confidence.PROVEN_OPTIMAL
        assert starts[0] is None
        assert len(starts) == 2 and starts[1] is not None
        assert files_in(stack.settings.data_dir / "incumbents") == []


class Stopped:
    """Searches until it is told to stop, and keeps what it was given to begin with."""

    name = "stopped"

    def __init__(self, found: Searched) -> None:
        self._found = found
        self.start: bytes | None = None

    def solve(self, bqm: bytes, seconds: float, seed: int, **given: Any) -> Searched:
        self.start = given["start"]
        assert given["should_stop"]()
        return self._found


@pytest.mark.parametrize("complete", [True, False])
async def test_a_worker_that_ends_hands_over_what_is_not_proven(
    tmp_path: Path, complete: bool
) -> None:
    artefacts, kept = FolderArtefacts(tmp_path / "a"), FolderIncumbents(tmp_path / "i")
    model = dimod.BinaryQuadraticModel({f"v{i}": -1.0 for i in range(30)}, {}, 0, "BINARY")
    best = dimod.SampleSet.from_samples_bqm(dict.fromkeys(model.variables, 1), model)
    proof = Proof(bound=-30.0, by="test", complete=complete)
    solver = Stopped(Searched(with_proof(best, proof, {}), proof, {}))
    step = Exact(artefacts, solver, kept)
    given = SolveInput(model=artefacts.put(dump_model(model), BQM), seconds=60, seed=1, key="k")
    env = ActivityEnvironment()
    env.worker_shutdown()
    if complete:
        raw = await env.run(step.exact, given)
        assert raw.provider == "stopped"
        assert kept.get("k") is None
        return
    with pytest.raises(ApplicationError, match="of the solver's time are left") as ended:
        await env.run(step.exact, given)
    assert ended.value.type == "WorkerEnds" and not ended.value.non_retryable
    assert kept.get("k") == solver._found.samples
    with suppress(ApplicationError):
        await env.run(step.exact, given)
    assert solver.start == solver._found.samples
