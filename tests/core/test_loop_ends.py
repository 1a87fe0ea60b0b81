"""How a loop ends: what its points say, when it stops, its answer and its state."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsaga.core.loop_rules import (
    End,
    best,
    failed,
    final_state,
    has_converged,
    measured,
    sources,
    total,
)
from qsaga.core.loops import (
    Iteration,
    OptimiserSpec,
)
from qsaga.core.results import Cost, EstimateAnswer, JobResult, Provenance, Unanswered
from qsaga.core.states import JobState, Layer, Rung
from tests.support.loops import costing, iteration, point


def job_result(**changes: Any) -> JobResult:
    given: dict[str, Any] = {
        "job_id": "default/a",
        "tenant": "default",
        "key": "a",
        "payload_hash": "x",
        "state": JobState.COMPLETED,
    }
    return JobResult(**(given | changes))


def test_a_point_says_what_its_job_ended_with() -> None:
    answer = EstimateAnswer(values=(-1.5,), standard_errors=(0.02,))
    where = Provenance(source=Rung.SIMULATOR, provider="aer", provider_job_ids=("j1",))
    told = measured(
        point(None), job_result(answer=answer, provenance=where, cost=Cost(quantum_seconds=2))
    )
    assert (told.value, told.standard_error, told.source) == (-1.5, 0.02, Rung.SIMULATOR)
    assert (told.provider_job_ids, told.cost.quantum_seconds) == (("j1",), 2)


@pytest.mark.parametrize(
    ("state", "layer", "decided", "short"),
    [
        (JobState.REJECTED, Layer.ADMIT, True, True),
        (JobState.REJECTED, Layer.ADMIT, False, False),
        (JobState.REJECTED, Layer.APPROVAL, True, False),
        (JobState.FAILED, Layer.ADMIT, True, False),
    ],
)
def test_want_of_budget_is_told_from_a_refusal(
    state: JobState, layer: Layer, decided: bool, short: bool
) -> None:
    decision = {
        "policy_version": "1",
        "rule": "r",
        "reason": "r",
        "wanted": "hardware",
        "ladder": ["hardware"],
        "facts": {
            "verb": "estimate",
            "qubits": 1,
            "shots": 1,
            "queue_budget": 1,
            "quantum_seconds": 1,
        },
    }
    why = Unanswered(reason="no", layer=layer)
    result = job_result(state=state, unanswered=why, decision=decision if decided else None)
    told = measured(point(None, source=None), result)
    assert told.short is short
    ended = failed(Iteration(number=0, points=(told,)))
    assert ended.stopped == ("budget" if short else "failed")
    assert "no" in ended.reason


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_answer_is_the_lowest_value_until_one_is_confirmed(values: list[list[float]]) -> None:
    searched = [iteration(*some, number=n) for n, some in enumerate(values)]
    answer = best(searched, ["theta"])
    assert answer is not None
    assert answer.value == min(value for some in values for value in some)
    assert not answer.confirmed
    assert answer.value in [p.value for p in searched[answer.iteration].points]
    anew = [*searched, iteration(7.0, 6.0, number=len(searched), purpose="confirm")]
    again = best(anew, ["theta"])
    assert again is not None
    assert (again.value, again.confirmed, again.iteration) == (6.0, True, len(searched))
    lost = [*searched, iteration(None, number=len(searched), purpose="confirm")]
    assert best(lost, ["theta"]) == answer


def test_without_a_value_there_is_no_answer() -> None:
    assert best([], ["theta"]) is None
    assert best([iteration(None)], ["theta"]) is None


def test_convergence_compares_means_of_search_iterations() -> None:
    spec = OptimiserSpec(tolerance=0.1, patience=2)
    falling = [iteration(value, number=n) for n, value in enumerate((1.0, 0.8, 0.6, 0.4))]
    flat = [iteration(value, number=n) for n, value in enumerate((1.0, 0.5, 0.45, 1.0, 0.46))]
    assert not has_converged(falling, spec)
    assert has_converged(flat[:4], spec)
    assert not has_converged(flat[:3], spec), "too few to compare"
    assert not has_converged(flat, OptimiserSpec())
    calibrating = [one.model_copy(update={"purpose": "calibrate"}) for one in flat]
    assert not has_converged(calibrating, spec)


@pytest.mark.parametrize(
    ("stopped", "points", "answered", "state"),
    [
        ("iterations", [JobState.COMPLETED] * 2, True, JobState.COMPLETED),
        ("converged", [JobState.COMPLETED] * 2, True, JobState.COMPLETED),
        ("iterations", [JobState.COMPLETED, JobState.DEGRADED], True, JobState.DEGRADED),
        ("budget", [JobState.COMPLETED] * 2, True, JobState.DEGRADED),
        ("deadline", [JobState.COMPLETED], True, JobState.DEGRADED),
        ("failed", [JobState.COMPLETED, JobState.FAILED], True, JobState.DEGRADED),
        ("deadline", [JobState.TIMED_OUT], False, JobState.TIMED_OUT),
        ("failed", [JobState.FAILED], False, JobState.FAILED),
        ("budget", [JobState.REJECTED], False, JobState.REJECTED),
        ("failed", [], False, JobState.FAILED),
        ("cancelled", [JobState.COMPLETED], True, JobState.CANCELLED),
        ("cancelled", [], False, JobState.CANCELLED),
    ],
)
def test_the_state_of_the_end(
    stopped: Any, points: list[JobState], answered: bool, state: JobState
) -> None:
    asked = [Iteration(number=0, points=tuple(point(1.0, state=one) for one in points))]
    assert final_state(asked, End(stopped, ""), answered=answered) is state
    assert state.final


def test_costs_and_sources_are_those_of_all_points() -> None:
    some = [costing(2, 1), costing(3, 2, settled=False)]
    summed = total(some, "EUR")
    assert (summed.quantum_seconds, summed.money) == (5, Decimal(3))
    # Of what was charged: a request without a budget of money may say anything.
    assert summed.currency == "USD"
    assert total([costing(2, 0)], "EUR").currency == "EUR"
    assert not summed.settled
    assert sources([*some, iteration(None)]) == {Rung.HARDWARE: 3}
