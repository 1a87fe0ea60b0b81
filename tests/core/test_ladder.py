"""Rungs beside hardware, more runs of one job, and which of several answers is served."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qsaga.core.approval import Ceiling
from qsaga.core.facts import BackendFacts, Facts
from qsaga.core.further import further_ceiling, merged, topped_up
from qsaga.core.jobs import Budgets, Estimate, Sample
from qsaga.core.outcome import BEST_SERVED, better, compare
from qsaga.core.policy import Policy, decide
from qsaga.core.ports import CircuitResult, RunSpec
from qsaga.core.results import (
    Contender,
    Cost,
    EstimateAnswer,
    OptimiseAnswer,
    Quality,
    SampleAnswer,
)
from qsaga.core.states import Rung
from qsaga.core.supplied import SuppliedAnswer

LADDERS: dict[str, Any] = {
    "optimise": ["hardware", "other_backend", "annealing", "exact", "cached", "learned", "manual"],
    "sample": ["hardware", "simulator"],
    "estimate": ["hardware", "simulator"],
}
HOUR = Ceiling(quantum_seconds=60, money=Decimal(96), currency="USD")


def policy(**changes: Any) -> Policy:
    terms = {"seconds_per_queued_job": 20.0}
    document = {"version": "t", "ladders": LADDERS, "rules": [], "hardware": terms, **changes}
    return Policy.model_validate(document)


def facts(**changes: Any) -> Facts:
    backends = tuple(
        BackendFacts(name=name, provider="p", qubits=100, operational=True, queue_length=length)
        for name, length in (("a", 5), ("b", 1), ("c", 9))
    )
    base: dict[str, Any] = {
        "verb": "optimise",
        "variables": 12,
        "qubits": 12,
        "shots": 100,
        "backends": backends,
        "queue_budget": 3600.0,
        "quantum_seconds": 60.0,
    }
    return Facts.model_validate(base | changes)


def test_rungs_are_open_where_what_they_need_is_there() -> None:
    decision = decide(
        policy(cached_max_age=60, hedge={"after": 5}, top_ups=2),
        facts(cached_age=30.0, learned="mine/1"),
    )
    assert decision.ladder == tuple(Rung(name) for name in LADDERS["optimise"])
    assert decision.backend == "b"
    assert [other.backend for other in decision.alternates] == ["a", "c"]
    assert decision.hedge is not None
    assert decision.review is not None
    assert (decision.top_ups, decision.cached_max_age) == (2, 60)


@pytest.mark.parametrize(
    ("rung", "changes", "reason"),
    [
        (Rung.EXACT, {"variables": 201}, "201 variables, exact takes 200"),
        (Rung.CACHED, {}, "no earlier answer to the same input"),
        (Rung.CACHED, {"cached_age": 61.0}, "is 61 s old, the policy takes 60"),
        (Rung.LEARNED, {}, "no estimator is installed"),
        (Rung.OTHER_BACKEND, {"backend": "b"}, "no second backend fits"),
        (Rung.OTHER_BACKEND, {"withheld": "spent"}, "spent"),
    ],
)
def test_a_closed_rung_says_why(rung: Rung, changes: dict[str, Any], reason: str) -> None:
    decision = decide(policy(cached_max_age=60), facts(**changes))
    refused = {refusal.rung: refusal.reason for refusal in decision.refused}
    assert reason in refused[rung]
    assert rung not in decision.ladder


def test_without_hardware_there_is_no_hedge() -> None:
    decision = decide(policy(hedge={}), facts(withheld="spent"))
    assert decision.hedge is None
    assert decision.alternates == ()


@pytest.mark.parametrize(
    ("ladder", "problem"),
    [
        (["other_backend", "hardware"], "other_backend has to come after hardware"),
        (["hardware", "exact", "simulator"], "exact cannot answer this workload"),
        (["simulator", "simulator"], "simulator is there twice"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused(ladder: list[str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        policy(ladders={**LADDERS, "sample": ladder})


# --- more runs -------------------------------------------------------------------------------


def spent(seconds: float) -> Cost:
    return Cost(quantum_seconds=seconds, money=Decimal(str(seconds)) * Decimal("1.6"))


def test_a_further_run_may_cost_what_the_others_left() -> None:
    ceiling = further_ceiling(HOUR, Budgets(quantum_seconds=60), [spent(10.5), spent(3)])
    assert ceiling == Ceiling(quantum_seconds=46, money=Decimal("73.6"), currency="USD")
    by_money = Budgets(quantum_seconds=60, money=Decimal(20))
    assert further_ceiling(HOUR, by_money, [spent(10)]) == Ceiling(
        quantum_seconds=2, money=Decimal("3.2"), currency="USD"
    )
    assert further_ceiling(HOUR, Budgets(quantum_seconds=60), [spent(59.5)]) is None


@given(st.floats(0, 100), st.floats(1, 100))
def test_all_runs_together_stay_within_the_budget(used: float, budget: float) -> None:
    first = Ceiling(quantum_seconds=math.floor(budget), money=Decimal(0), currency="USD")
    ceiling = further_ceiling(first, Budgets(quantum_seconds=budget), [spent(used)])
    assert ceiling is None or used + ceiling.quantum_seconds <= budget + 1e-9


CIRCUIT = {"source": "OPENQASM 3.0;"}
ESTIMATE = Estimate.model_validate(
    {"circuit": CIRCUIT, "observables": [{"Z": 1.0}], "precision": 0.1}
)


def answer(error: float) -> EstimateAnswer:
    return EstimateAnswer(values=(0.0,), standard_errors=(error,))


@given(st.floats(0.106, 5.0))
def test_the_shots_that_are_bought_reach_the_precision(reached: float) -> None:
    spec = RunSpec(verb="estimate", shots=100, precision=0.1)
    more = topped_up(ESTIMATE, answer(reached), spec)
    assert more is not None
    assert more.precision is not None
    # A run asked for p gives what the first gave, in proportion.
    error = reached * more.precision / 0.1
    both = merged(
        CircuitResult(verb="estimate", shots=100, values=(1.0,), standard_errors=(reached,)),
        CircuitResult(verb="estimate", shots=100, values=(1.0,), standard_errors=(error,)),
    )
    assert both.standard_errors[0] <= 0.1 * 1.0001
    assert both.values[0] == pytest.approx(1.0)


def test_what_is_good_enough_buys_nothing() -> None:
    spec = RunSpec(verb="estimate", shots=100, precision=0.1)
    assert topped_up(ESTIMATE, answer(0.1049), spec) is None
    sample = Sample.model_validate({"circuit": CIRCUIT, "shots": 100})
    full = SampleAnswer(counts={"c": {"0": 100}}, shots=100)
    assert topped_up(sample, full, RunSpec(verb="sample", shots=100)) is None
    fewer = SampleAnswer(counts={"c": {"0": 60}}, shots=60)
    more = topped_up(sample, fewer, RunSpec(verb="sample", shots=100))
    assert more is not None
    assert more.shots == 40


def test_counts_are_added_and_values_weighted() -> None:
    one = CircuitResult(verb="sample", shots=3, counts={"c": {"0": 2, "1": 1}})
    two = CircuitResult(verb="sample", shots=2, counts={"c": {"1": 2}})
    assert merged(one, two).counts == {"c": {"0": 2, "1": 3}}
    assert merged(one, two).shots == 5
    a = CircuitResult(verb="estimate", shots=1, values=(0.0,), standard_errors=(1.0,))
    b = CircuitResult(verb="estimate", shots=4, values=(1.0,), standard_errors=(0.5,))
    both = merged(a, b)
    assert both.values == pytest.approx((0.8,))
    assert both.standard_errors == pytest.approx((1 / math.sqrt(5),))
    exact = CircuitResult(verb="estimate", shots=1, values=(0.3,), standard_errors=(0.0,))
    assert merged(a, exact).values == (0.3,)
    with pytest.raises(ValueError, match="not of the same circuit"):
        merged(one, a)
    with pytest.raises(ValueError, match="different registers"):
        merged(one, one.model_copy(update={"counts": {"d": {"0": 3}}}))


# --- several answers -------------------------------------------------------------------------


def found(objective: float, sense: str = "maximise") -> OptimiseAnswer:
    quality = Quality.model_validate({"feasible": True, "objective": objective, "sense": sense})
    return OptimiseAnswer(solution={}, explanation="", quality=quality)


def test_the_better_objective_is_served() -> None:
    assert better(found(3), found(2))
    assert not better(found(2), found(2))
    assert better(found(1, "minimise"), found(2, "minimise"))
    assert not better(answer(0.1), answer(0.2))


def test_hardware_and_our_own_machines_side_by_side() -> None:
    beside = [
        Contender(rung=rung, provider="p", objective=objective)
        for rung, objective in ((Rung.HARDWARE, 3.0), (Rung.ANNEALING, 2.0), (Rung.EXACT, 4.0))
    ]
    told = compare(beside, "minimise", Rung.ANNEALING)
    assert told is not None
    assert (told.hardware, told.classical, told.gain) == (3, 2, -1)
    assert (told.classical_rung, told.served) == (Rung.ANNEALING, Rung.ANNEALING)
    assert told.contenders == tuple(beside)
    assert told.rule == BEST_SERVED
    largest = compare(beside, "maximise", Rung.EXACT)
    assert largest is not None
    assert (largest.classical_rung, largest.gain) == (Rung.EXACT, -1)
    assert compare(beside[:1], "minimise", Rung.HARDWARE) is None
    assert compare([], "minimise", Rung.HARDWARE) is None


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "exactly one of"),
        ({"assignment": {"a": 1}, "counts": {"c": {"0": 1}}}, "exactly one of"),
        ({"values": [1.0]}, "as many of the one as of the other"),
        ({"values": [1.0], "standard_errors": [0.1, 0.2]}, "as many"),
        ({"counts": {"c": {"2": 1}}}, "pattern"),
        ({"assignment": {"a": 2}}, "assignment.a"),
    ],
)
def test_a_supplied_answer_that_says_nothing_clear_is_refused(
    document: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        SuppliedAnswer.model_validate(document)
