"""CP-SAT: optima with a proof, bounds without one, always in time."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest

from adapters import cpsat
from adapters.cpsat import CpSatSolver
from qsaga.core.errors import SolverError
from qsaga.core.solvers import Searched
from qsaga.problems import registry
from qsaga.problems.files import read_problem
from qsaga.problems.polish import descend, energies
from qsaga.problems.proofs import exhaustive
from qsaga.problems.verify import dump_model

DATA = Path(__file__).parents[2] / "data"


def solve(model: dimod.BinaryQuadraticModel, seconds: float = 30.0, **given: Any) -> Searched:
    return CpSatSolver().solve(dump_model(model), seconds, 7, **given)


def samples(found: Searched) -> Any:
    assert found.samples is not None
    return dimod.SampleSet.from_serializable(json.loads(found.samples))


def model_of(name: str, problem: str | None = None) -> dimod.BinaryQuadraticModel:
    kind, parsed = registry.parse(read_problem(DATA / name, problem))
    return kind.formulate(parsed)


def random_model(size: int, vartype: str, seed: int, *, whole: bool) -> Any:
    random = np.random.default_rng(seed)

    def bias() -> float:
        return float(random.integers(-9, 10) * 2) if whole else float(random.normal())

    model = dimod.BinaryQuadraticModel(vartype)
    for i in range(size):
        model.add_linear(f"z{size - i}", bias())
        for j in range(i):
            model.add_quadratic(f"z{size - i}", f"z{size - j}", bias())
    model.offset = 2.5
    return model


def hard() -> dimod.BinaryQuadraticModel:
    """Sixty variables, each coupled with all others: no proof in seconds."""
    return random_model(60, "BINARY", 5, whole=True)


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """The first import takes seconds; the times below are those of the search."""
    solve(dimod.BinaryQuadraticModel({"a": 1.0}, {}, 0, "BINARY"), 0.01)


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_proven(vartype: str, whole: bool, seed: int) -> None:
    model = random_model(10, vartype, seed, whole=whole)
    found = solve(model)
    best, _ = exhaustive(model)
    shown = samples(found)
    assert set(shown.variables) == set(model.variables)
    assert shown.vartype is model.vartype
    assert list(shown.record.energy) == sorted(shown.record.energy)
    assert shown.first.energy == pytest.approx(best.first.energy, rel=1e-12)
    assert found.proof.complete
    assert found.proof.bound <= best.first.energy
    if whole:
        assert found.proof.bound == best.first.energy, "nothing is lost to rounding"
    else:
        assert best.first.energy - found.proof.bound < 1e-9
    assert found.detail["status"] == "optimal"
    assert shown.info["proof"] == found.proof.model_dump(mode="json")


def test_published_optima() -> None:
    began = time.perf_counter()
    found = solve(model_of("qubo/bqp50-1.sparse"))
    # Beasley's bqp50-1 is a maximum of 2098.
    assert (samples(found).first.energy, found.proof.bound) == (-2098, -2098)
    assert time.perf_counter() - began < 10
    assert samples(solve(model_of("abilene.edges"))).first.energy == -12


def test_a_search_that_cannot_end_is_back_in_time_with_a_true_bound() -> None:
    began = time.perf_counter()
    found = solve(hard(), 1.0)
    assert 0.8 < time.perf_counter() - began < 6.0
    assert not found.proof.complete
    nothing = np.zeros((1, 60), dtype=np.int8)
    assert found.proof.bound < energies(hard(), descend(hard(), nothing))[0]


def test_a_search_that_is_stopped_without_a_proof_has_the_best_that_it_found() -> None:
    told: list[bytes] = []
    # However long it takes to find the first: a second is not enough on every machine.
    found = solve(hard(), 60.0, better=told.append, should_stop=lambda: bool(told))
    assert not found.proof.complete
    assert found.detail["status"] == "feasible"
    first = dimod.SampleSet.from_serializable(json.loads(told[0])).first.energy
    assert found.proof.bound < samples(found).first.energy <= first


def test_where_nothing_is_found_the_bound_is_no_better_than_the_terms() -> None:
    """Before a search begins CP-SAT reports 0, which is no bound at all."""
    found = solve(model_of("G14.txt"), 0.3)
    if found.samples is None:
        assert found.detail["status"] == "unknown"
    assert not found.proof.complete
    # A cut of 3064 is known.
    assert found.proof.bound <= -3064


def test_a_start_is_never_lost_and_helps() -> None:
    model = random_model(24, "SPIN", 3, whole=True)
    best = samples(solve(model))
    again = solve(model, 0.01, start=json.dumps(best.to_serializable()).encode())
    assert samples(again).first.energy == best.first.energy
    # One that is over the variables in another order, among worse ones.
    names = list(model.variables)[::-1]
    first = [best.first.sample[name] for name in names]
    rows = [[1] * len(names), first, [-1] * len(names)]
    turned = dimod.SampleSet.from_samples_bqm((rows, names), model)
    raw = json.dumps(turned.to_serializable()).encode()
    assert samples(solve(model, 0.01, start=raw)).first.energy == best.first.energy


def test_what_is_better_is_told_in_the_callers_thread_and_is_a_start() -> None:
    told: list[tuple[bytes, int]] = []
    model = hard()
    began = time.perf_counter()
    solve(
        model,
        60.0,
        better=lambda raw: told.append((raw, threading.get_ident())),
        # Long enough to find a better one, and in any case the first.
        should_stop=lambda: bool(told) and time.perf_counter() - began > 1.5,
    )
    assert told
    assert {thread for _, thread in told} == {threading.get_ident()}
    lowest = [dimod.SampleSet.from_serializable(json.loads(raw)).first.energy for raw, _ in told]
    assert lowest == sorted(lowest, reverse=True)
    resumed = solve(model, 0.3, start=told[-1][0])
    assert samples(resumed).first.energy <= lowest[-1]


def test_what_a_descent_finds_is_where_it_begins() -> None:
    model = hard()
    nothing = np.zeros((1, model.num_variables), dtype=np.int8)
    greedy = energies(model, descend(model, nothing))[0]
    told: list[bytes] = []
    found = solve(model, 60.0, better=told.append, should_stop=lambda: bool(told))
    assert samples(found).first.energy <= greedy


def test_it_stops_when_it_is_to() -> None:
    began = time.perf_counter()
    found = solve(hard(), 60.0, should_stop=lambda: time.perf_counter() - began > 0.5)
    assert time.perf_counter() - began < 5.0
    assert not found.proof.complete


def test_an_error_of_the_listener_ends_the_search() -> None:
    def full(raw: bytes) -> None:
        raise OSError("no space left")

    began = time.perf_counter()
    with pytest.raises(OSError, match="no space"):
        solve(hard(), 60.0, better=full)
    assert time.perf_counter() - began < 10.0


def test_one_seed_is_one_search() -> None:
    model = random_model(24, "BINARY", 4, whole=True)
    first, again = solve(model), solve(model)
    assert first.detail["branches"] == again.detail["branches"]
    rows = [samples(found).record.sample.tolist() for found in (first, again)]
    assert rows[0] == rows[1]


def test_models_that_it_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SolverError, match="no variables"):
        solve(dimod.BinaryQuadraticModel("BINARY"))
    with pytest.raises(SolverError, match="not finite"):
        solve(dimod.BinaryQuadraticModel({"a": float("nan")}, {}, 0, "BINARY"))
    monkeypatch.setattr(cpsat, "MOST_TERMS", 50)
    with pytest.raises(SolverError, match=r"55 variables and couplings are 5 more than .* \(50\)"):
        solve(random_model(10, "BINARY", 1, whole=True))


def test_odd_models() -> None:
    flat = dimod.BinaryQuadraticModel({"a": 0.0, "b": 0.0}, {("a", "b"): 0.0}, 1.5, "BINARY")
    found = solve(flat)
    assert (samples(found).first.energy, found.proof.bound, found.proof.complete) == (
        1.5,
        1.5,
        True,
    )
    single = dimod.BinaryQuadraticModel({"a": 1.0}, {}, 0.0, "SPIN")
    assert samples(solve(single)).first.energy == -1


def test_a_wide_range_of_sizes_costs_precision_and_says_so() -> None:
    model = dimod.BinaryQuadraticModel(
        {"a": 1e15, "b": -1.0 / 3}, {("a", "b"): -1e15}, 0.0, "BINARY"
    )
    found = solve(model)
    # As doubles its energies are right to an eighth only: those are not what is compared with.
    assert found.proof.bound <= -1.0 / 3
    assert found.proof.bound > -1
