"""The counts see what they are there to see; plans are the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ibm_quantum_emulator.faultplan import Plan
from tests.chaos.counting import Booked, Ended, Truth, count, missed
from tests.chaos.plans import CALL_TIMEOUT, KINDS, LISTING_GRACE, RATE, draw, kind_of


def job(name: str, tag: str, **changes: Any) -> dict[str, Any]:
    """A remote job that ran and was charged two seconds."""
    return {
        "id": name,
        "tags": ["qsaga:chaos", tag],
        "state": "Completed",
        "running": 1.0,
        "charged_seconds": 2.0,
        "faults": [],
    } | changes


def post(name: str, tag: str, **changes: Any) -> dict[str, Any]:
    """Its submission."""
    return {"job_id": name, "tags": ["qsaga:chaos", tag], "answered": 200, "faults": []} | changes


CALM = Truth(
    ended=[Ended("t/a", "A", "completed", "COMPLETED"), Ended("t/b", "B", "refused")],
    jobs=[job("j1", "A")],
    posts=[post("j1", "A")],
    charges=[Booked("j1", "A", 2.0)],
    spent=2.0,
)


def broken(truth: Truth, *, retries: bool = False) -> list[str]:
    """The names of the aims that are missed."""
    found = count(truth)
    lines = missed(found.counts, found.detail, retries=retries)
    return [line.partition(":")[0] for line in lines]


def test_what_went_well_misses_nothing() -> None:
    counts = count(CALM).counts
    assert (counts["submissions"], counts["accepted"], counts["refused"]) == (2, 1, 1)
    assert counts["charged_per_key_max"] == 1
    assert broken(CALM) == []


@pytest.mark.parametrize(
    ("changes", "aim"),
    [
        ({"ended": [Ended("t/a", "A", "", "COMPLETED")]}, "lost"),
        ({"ended": [Ended("t/a", "A", "completed", "RUNNING")]}, "lost"),
        ({"jobs": [job("j1", "A", state="Running")]}, "orphans"),
        ({"charges": []}, "orphans"),
        ({"charges": [Booked("j1", "A", 1.0)]}, "unbooked_charges"),
        ({"spent": 1.5}, "ledger_difference"),
        ({"held": 1}, "held"),
        ({"books": ["USD: 1"]}, "books"),
        ({"jobs": [job("j1", "other")]}, "not_ours"),
    ],
)
def test_what_is_wrong_is_seen(changes: dict[str, Any], aim: str) -> None:
    assert aim in broken(replace(CALM, **changes))


def test_a_run_that_waits_for_a_person_is_undecided_and_not_lost() -> None:
    waits = [Ended("t/a", "A", "degraded", "RUNNING")]
    found = count(replace(CALM, ended=waits, quarantined=["A"]))
    assert (found.counts["lost"], found.counts["undecided"]) == (0, 1)


def twice(**second: Any) -> Truth:
    """Two jobs under one key, the second accepted and then answered 504."""
    fault = ["submit_504_after#3"]
    return replace(
        CALM,
        jobs=[job("j1", "A"), job("j2", "A", faults=fault, **second)],
        posts=[post("j2", "A", answered=504, faults=fault), post("j1", "A")],
        charges=[Booked("j1", "A", 2.0), Booked("j2", "A", second.get("charged_seconds", 2.0))],
        spent=2.0 + second.get("charged_seconds", 2.0),
    )


def test_a_double_run_is_named_with_its_fault_and_allowed_to_the_client_only() -> None:
    counts = count(twice()).counts
    assert (counts["double_runs"], counts["charged_per_key_max"]) == (1, 2)
    assert counts["double_runs_by_fault"] == {"submit_504_after": 1}
    assert broken(twice()) == ["double_runs"]
    assert broken(twice(), retries=True) == []


def test_a_double_run_by_anything_else_is_not_allowed_to_the_client_either() -> None:
    dropped = replace(twice(), posts=[post("j2", "A", answered=None), post("j1", "A")])
    assert broken(dropped, retries=True) == ["double_runs_not_5xx"]


def test_a_5xx_does_not_excuse_what_a_dropped_connection_made() -> None:
    truth = twice()
    mixed = replace(
        truth,
        jobs=[*truth.jobs, job("j3", "A")],
        posts=[*truth.posts, post("j3", "A", answered="dropped")],
        charges=[*truth.charges, Booked("j3", "A", 2.0)],
        spent=6.0,
    )
    assert broken(mixed, retries=True) == ["double_runs_not_5xx"]


def test_an_extra_that_was_cancelled_before_it_ran_is_no_double_run() -> None:
    truth = twice(state="Cancelled", running=None, charged_seconds=0.0)
    assert count(truth).counts["extras_cancelled"] == 1
    assert broken(truth) == []


def test_the_same_seed_draws_the_same() -> None:
    assert draw(7, 60, 25, 6, 2) == draw(7, 60, 25, 6, 2)
    assert draw(8, 60, 25, 6, 2) != draw(7, 60, 25, 6, 2)


def test_every_kind_is_dealt_and_every_plan_is_one_that_the_emulator_takes() -> None:
    rounds = draw(7, 400, 25, 6, 2)
    assert sum(len(one.jobs) for one in rounds) == 400
    assert {kind_of(rule["name"]) for one in rounds for rule in one.rules} == set(KINDS)
    for one in rounds:
        Plan.model_validate(one.document()["plan"])


def test_no_plan_breaks_what_the_workers_are_told_to_rely_on() -> None:
    within = 2 * CALL_TIMEOUT + LISTING_GRACE
    for seed in range(20):
        for one in draw(seed, 400, 25, 6, 2):
            late = [rule["seconds"] / RATE for rule in one.rules if rule["do"] == "list_late"]
            stalled = [rule["seconds"] for rule in one.rules if rule["do"] == "stall"]
            assert max(late, default=0.0) < LISTING_GRACE
            assert max(late, default=0.0) + max(stalled, default=0.0) < within
