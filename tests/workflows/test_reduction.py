"""Models are reduced before they need qubits: what runs, what is put back, what is not bought."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.reproduction import Reproducer
from adapters.aer import AerSimulator
from adapters.annealing import steepest_descent
from adapters.circuits import QiskitCircuitReader
from adapters.ibm import IBMRecompiler
from adapters.ideal import ExactDistributions
from adapters.qaoa import QaoaBuilder
from adapters.reduction import RoofDuality
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.confidence import downgrade
from qsaga.core.jobs import JobRequest
from qsaga.core.ports import CircuitResult
from qsaga.core.results import Confidence, JobResult, OptimiseAnswer
from qsaga.core.states import JobState, Rung
from tests.support.ladders import answered, quality, with_policy
from tests.support.sparse import sparse_problem
from tests.support.stack import Stack, abilene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

LADDERS = {"optimise": ["hardware", "annealing", "simulator", "cached"]}
TERMS = "cached_max_age = 3600\nexact_max_variables = 400\n[gate]\nprogress = 0.0"


def sparse(data: dict[str, Any] | None = None, reduce: bool = True, **changes: Any) -> JobRequest:
    workload = {
        "kind": "optimise",
        "problem": {"name": "qubo", "data": data or sparse_problem()},
        "algorithm": {"depth": 1, "reduce": reduce},
        "shots": 512,
    }
    return abilene(workload=workload, **changes)


def easy() -> dict[str, Any]:
    """A chain with one optimum, which roof duality sees."""
    names = [f"v{i}" for i in range(250)]
    return {
        "linear": {name: float(3 if i % 2 else -2) for i, name in enumerate(names)},
        "quadratic": [[u, v, -0.5] for u, v in pairwise(names)],
    }


async def test_a_model_of_300_variables_is_answered_by_a_machine_of_133_qubits(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, TERMS) as stack:
        result = await stack.run(sparse(route=None))
        assert answered(result) == [(Rung.HARDWARE, "answered")]
        assert result.state is JobState.COMPLETED
        assert result.decision is not None and result.provenance is not None
        facts, lineage = result.decision.facts, result.lineage
        assert (facts.variables, facts.qubits, facts.reduction) == (300, 11, RoofDuality.version)
        assert lineage is not None and lineage.reduction is not None
        size = lineage.reduction
        assert (size.variables, size.fixed, size.solved) == (300, 284, 5)
        assert (size.components, size.qubits) == (2, 11)
        assert size.library.startswith("dwave-preprocessing ")
        assert (lineage.variables, lineage.qubits) == (300, 11)
        assert lineage.postprocessing is not None
        assert lineage.postprocessing.endswith("joined-components/1")
        assert result.provenance.circuit is not None
        assert result.provenance.circuit.measurements == 11
        gate = result.provenance.detail["gate"]
        assert isinstance(gate, dict) and gate["passed"] and gate["simulated"]
        # What came back stays as it came: over the qubits that ran.
        raw = CircuitResult.model_validate_json(
            stack.parts.artefacts.get(result.provenance.artefacts["result"])
        )
        assert {len(bits) for bits in raw.counts["meas"]} == {11}
        assert isinstance(result.answer, OptimiseAnswer)
        values = result.answer.solution["values"]
        assert isinstance(values, dict) and len(values) == 300
        await stack.settled(result)
        await stack.books_are_clean()

        again = await made_again(stack, result)
        assert again.same, again

        served = await stack.run(sparse(route="cached"))
        assert answered(served) == [(Rung.CACHED, "answered")]
        assert quality(served).objective == quality(result).objective

        best = await stack.run(sparse(route="exact", budgets={"solve": 20, "deadline": 3600}))
        assert quality(best).confidence is Confidence.PROVEN_OPTIMAL
        assert quality(result).objective == quality(best).objective


async def made_again(stack: Stack, result: JobResult) -> Any:
    software = result.provenance.software if result.provenance else {}
    reproducer = Reproducer(
        stack.parts.artefacts,
        QaoaBuilder(),
        QiskitCircuitReader(),
        IBMRecompiler(),
        AerSimulator(),
        steepest_descent,
        software,
        ExactDistributions(),
        RoofDuality(),
    )
    return await reproducer.reproduce(await stack.record(result.job_id))


async def test_the_simulator_runs_what_is_left(dev: Stack) -> None:
    result = await dev.run(sparse(route="simulator"))
    assert answered(result) == [(Rung.SIMULATOR, "answered")]
    assert result.lineage is not None and result.lineage.qubits == 11
    again = await made_again(dev, result)
    assert again.same, again
    assert {check.what: check.same for check in again.checks} == {
        "input": True,
        "model": True,
        "reduction": True,
        "circuit": True,
        "result": True,
        "answer": True,
    }


@pytest.mark.parametrize("route", ["hardware", None])
async def test_what_is_decided_by_the_reduction_buys_nothing(route: str | None, dev: Stack) -> None:
    before = dev.emulator.control.summary()["posts"]
    result = await dev.run(sparse(easy(), route=route))
    assert answered(result) == [(Rung.EXACT, "answered")]
    assert result.provenance is not None and result.decision is not None
    found = quality(result)
    assert (found.confidence, found.objective) == (Confidence.PROVEN_OPTIMAL, -250.0)
    assert found.bound == -250.0 and found.gap == 0
    assert (found.bound_by or "").startswith("roof-duality/1 (dwave-preprocessing ")
    assert result.provenance.provider == "roof-duality/1"
    assert result.state is (JobState.DEGRADED if route else JobState.COMPLETED)
    why = "the reduction (roof-duality/1) decides all 250 variables, so there is nothing to run"
    assert why in result.decision.reason
    refused = {refusal.rung: refusal.reason for refusal in result.decision.refused}
    assert refused[Rung.HARDWARE] == why
    assert bool(downgrade(result)) is bool(route)
    assert dev.emulator.control.summary()["posts"] == before
    assert result.cost.quantum_seconds == 0
    await dev.books_are_clean()
    again = await made_again(dev, result)
    assert again.same, again


async def test_who_wants_the_whole_model_gets_it(dev: Stack) -> None:
    kept = sparse(reduce=False, route=None)
    result = await dev.run(kept)
    assert answered(result) == [(Rung.ANNEALING, "answered")]
    assert result.decision is not None and result.lineage is not None
    assert (result.decision.facts.qubits, result.decision.facts.reduction) == (300, "")
    assert result.lineage.reduction is None
    assert kept.payload_hash() != sparse(route=None).payload_hash()


async def test_a_model_without_fields_is_encoded_as_it_was(dev: Stack) -> None:
    result = await dev.run(abilene())
    assert answered(result) == [(Rung.HARDWARE, "answered")]
    assert result.lineage is not None and result.lineage.reduction is not None
    size = result.lineage.reduction
    assert (size.fixed, size.solved, size.components, size.qubits) == (0, 0, 1, 11)
    assert "joined" not in (result.lineage.postprocessing or "")
    await dev.settled(result)
