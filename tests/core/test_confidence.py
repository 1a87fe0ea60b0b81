"""No class claims more than its evidence."""

from __future__ import annotations

import math
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from qsaga.cli.details import account_view
from qsaga.core.confidence import (
    MOST_LOOSENED,
    PROBLEM,
    Bound,
    claim,
    confidence_of,
    downgrade,
    half_width,
    unverified,
)
from qsaga.core.outcome import BEST_SERVED, compare
from qsaga.core.results import (
    Confidence,
    Contender,
    EstimateAnswer,
    JobResult,
    Provenance,
    Quality,
    SampleAnswer,
)
from qsaga.core.runs import JobAccount
from qsaga.core.states import JobState, Rung
from tests.core.story_parts import answer, decision, result, told

VALUES = st.floats(-1e9, 1e9)
OFF = st.just(0.0) | st.floats(0, 1e-3)
BOUNDS = st.lists(
    st.builds(Bound, VALUES, st.sampled_from([PROBLEM, "CP-SAT"]), OFF, OFF), max_size=3
)


@given(
    VALUES,
    st.sampled_from(["maximise", "minimise"]),
    BOUNDS,
    st.booleans(),
    st.none() | VALUES,
)
def test_no_class_claims_more_than_its_evidence(
    value: float, sense: Any, bounds: list[Bound], searched: bool, baseline: Any
) -> None:
    found = claim(value, sense, bounds=bounds, searched=searched, baseline=baseline)
    Quality(feasible=True, objective=value, sense=sense, **vars(found))
    sign = 1 if sense == "maximise" else -1
    told = [b for b in bounds if (b.value, b.by) == (found.bound, found.bound_by)]
    room = max((b.rounding + min(b.loosened, MOST_LOOSENED * abs(value)) for b in told), default=0)
    if found.bound is not None:
        assert told and found.gap is not None and found.gap >= 0
        # The value does not disprove the bound that is told with it.
        assert sign * (value - found.bound) <= room
        assert found.gap == max(0.0, sign * (found.bound - value))
    match found.confidence:
        case Confidence.PROVEN_OPTIMAL:
            assert found.gap is not None
            assert found.gap <= room
        case Confidence.BOUNDED_GAP:
            assert searched and found.gap is not None and found.gap > 0
        case Confidence.BETTER_THAN_BASELINE:
            assert found.baseline == baseline and found.baseline_by
            assert found.gain is not None and found.gain > 0
            assert sign * (value - baseline) == found.gain
        case other:
            assert other is Confidence.FEASIBLE


@pytest.mark.parametrize(
    ("given", "wanted", "bound"),
    [
        ({"bounds": [Bound(5, PROBLEM)]}, Confidence.PROVEN_OPTIMAL, 5),
        ({"bounds": [Bound(5.0000001, PROBLEM)]}, Confidence.FEASIBLE, 5.0000001),
        # Nothing is equal that is not: values of any size may differ by little.
        ({"bounds": [Bound(5 + 1e-12, PROBLEM)]}, Confidence.FEASIBLE, 5 + 1e-12),
        ({"bounds": [Bound(5 - 1e-12, PROBLEM)]}, Confidence.FEASIBLE, None),
        # But where both are rounded, they are equal within that.
        ({"bounds": [Bound(5 + 1e-12, PROBLEM, 2e-12)]}, Confidence.PROVEN_OPTIMAL, 5 + 1e-12),
        ({"bounds": [Bound(5 - 1e-12, PROBLEM, 2e-12)]}, Confidence.PROVEN_OPTIMAL, 5 - 1e-12),
        ({"bounds": [Bound(5 + 1e-9, "s", 0, 2e-9)]}, Confidence.PROVEN_OPTIMAL, 5 + 1e-9),
        # What a model was loosened by may be as large as what it is about: no rounding then.
        (
            {"bounds": [Bound(6, "s", 0, 1e6)], "searched": True},
            Confidence.BOUNDED_GAP,
            6,
        ),
        ({"bounds": [Bound(6, PROBLEM)], "searched": True}, Confidence.BOUNDED_GAP, 6),
        # The tightest counts, whoever says it.
        (
            {"bounds": [Bound(9, "CP-SAT"), Bound(5, PROBLEM)], "searched": True},
            Confidence.PROVEN_OPTIMAL,
            5,
        ),
        # A bound that the value beats is wrong: it proves nothing.
        ({"bounds": [Bound(4, PROBLEM)]}, Confidence.FEASIBLE, None),
        ({"bounds": [Bound(4, "CP-SAT"), Bound(7, PROBLEM)]}, Confidence.FEASIBLE, 7),
        ({"bounds": [Bound(7, PROBLEM)], "baseline": 4.0}, Confidence.BETTER_THAN_BASELINE, 7),
        ({"baseline": 5.0}, Confidence.FEASIBLE, None),
        ({}, Confidence.FEASIBLE, None),
    ],
)
def test_the_strongest_class_that_the_evidence_carries(
    given: dict[str, Any], wanted: Confidence, bound: float | None
) -> None:
    found = claim(5.0, "maximise", **given)
    assert (found.confidence, found.bound) == (wanted, bound)


@given(st.integers(1, 10**6), st.data())
def test_the_interval_of_counts_is_never_empty_and_shrinks_with_the_shots(
    shots: int, data: st.DataObject
) -> None:
    ones = data.draw(st.integers(0, shots))
    width = half_width({"1": ones, "0": shots - ones}, shots)
    more = half_width({"1": 4 * ones, "0": 4 * (shots - ones)}, 4 * shots)
    assert width is not None and more is not None
    assert 0 < more < width <= 0.5
    # Wald's interval of the same share is no wider, up to what Wilson's gives the middle.
    share = ones / shots
    assert width >= 0.9 * 1.96 * math.sqrt(share * (1 - share) / (shots + 4)) - 1e-12


def test_the_interval_of_a_thousand_shots() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 is 0.2553 to 0.3662.
    assert half_width({"1": 81, "0": 182}, 263) == pytest.approx((0.3662 - 0.2553) / 2, abs=1e-4)
    assert half_width({}, 0) is None


def test_where_nothing_was_run_no_evidence_stands() -> None:
    counted = unverified(SampleAnswer(counts={"c": {"0": 9}}, shots=9, half_width=0.1))
    assert isinstance(counted, SampleAnswer)
    assert (counted.confidence, counted.half_width) == (Confidence.UNVERIFIED, None)
    valued = unverified(EstimateAnswer(values=(1.0,), standard_errors=(0.1,)))
    assert confidence_of(valued) is Confidence.UNVERIFIED
    assert confidence_of(answer()) is Confidence.BETTER_THAN_BASELINE


@pytest.mark.parametrize(
    ("wanted", "source", "given", "told"),
    [
        (
            Rung.EXACT,
            Rung.ANNEALING,
            answer(),
            "annealing answered in place of exact: without a proof",
        ),
        (
            Rung.EXACT,
            Rung.ANNEALING,
            answer(confidence=Confidence.PROVEN_OPTIMAL),
            "annealing answered in place of exact",
        ),
        (
            Rung.HARDWARE,
            Rung.SIMULATOR,
            SampleAnswer(counts={}, shots=1),
            "simulator answered in place of hardware: of a machine without noise",
        ),
        (
            Rung.HARDWARE,
            Rung.LEARNED,
            SampleAnswer(counts={}, shots=1, confidence=Confidence.UNVERIFIED),
            "learned answered in place of hardware: nothing was run that could be checked",
        ),
    ],
)
def test_an_answer_from_elsewhere_says_what_it_lacks(
    wanted: Rung, source: Rung, given: Any, told: str
) -> None:
    found = result(
        JobState.DEGRADED,
        decision=decision(wanted=wanted),
        answer=given,
        provenance=Provenance(source=source, provider="p"),
    )
    assert downgrade(found) == told
    assert downgrade(found.model_copy(update={"state": JobState.COMPLETED})) == ""


def test_how_it_is_shown() -> None:
    quality = {"bound_by": "CP-SAT (ortools 9)", "gap": 2.0, "confidence": Confidence.BOUNDED_GAP}
    sides = [
        Contender(
            rung=Rung.HARDWARE,
            provider="ibm",
            backend="ibm_torino",
            objective=12,
            confidence=Confidence.FEASIBLE,
        ),
        Contender(
            rung=Rung.EXACT, provider="cp-sat", objective=12, confidence=Confidence.BOUNDED_GAP
        ),
    ]
    found = result(
        JobState.DEGRADED,
        decision=decision(wanted=Rung.EXACT),
        answer=answer(**quality),
        comparison=compare(sides, "maximise", Rung.HARDWARE),
    )
    lines = [" ".join(line.split()) for line in shown(found)]
    assert "quality bounded gap, greedy 11, bound 14 (CP-SAT (ortools 9)), gap 2" in (
        line.removesuffix(", best as measured 10") for line in lines
    )
    assert "degraded annealing answered in place of exact: without a proof" in lines
    assert "hardware 12 by ibm_torino, feasible" in lines
    assert "exact 12 by cp-sat, bounded gap" in lines
    assert f"served hardware: {BEST_SERVED}" in lines
    sentences = told(found)
    assert (
        "None can be above 14, as CP-SAT (ortools 9) shows, so it is at most 2 from the best "
        "there is."
    ) in sentences
    assert any(one.endswith(f"was served, by the rule: {BEST_SERVED}.") for one in sentences)


def shown(found: JobResult) -> list[str]:
    text = StringIO()
    console = Console(file=text, width=200, color_system=None)
    console.print(account_view(JobAccount(result=found, closed=True)))
    return text.getvalue().splitlines()
