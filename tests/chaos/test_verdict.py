"""What counts as wrong in a scene."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from qsaga.core.states import JobState, Rung
from tests.chaos.books import wrong_money
from tests.chaos.counting import Booked, Ended, Truth
from tests.chaos.scenarios import Scenario
from tests.chaos.verdict import COUNTS, Seen, Told, counted

TWICE = Scenario(JobState.COMPLETED, remote=2, served=Rung.HARDWARE)
RIGHT = Seen(
    told={"t/a": Told(state="completed", served="hardware", seconds=3.0)},
    late=0,
    open_sessions=(),
    unasked=(),
)


def remote(number: int, run: str) -> dict[str, Any]:
    """A job at the emulator, charged one second."""
    return {
        "id": f"job-{number}",
        "tags": ["qsaga:scene", run],
        "state": "Completed",
        "charged_seconds": 1.0,
        "running": 5.0,
        "faults": [],
    }


def truth(*runs: str) -> Truth:
    """A job with two runs, and a remote job of each of ``runs``, all of them booked."""
    return Truth(
        ended=[Ended("t/a", run, "completed", "COMPLETED") for run in ("run-1", "run-2")],
        jobs=[remote(number, run) for number, run in enumerate(runs)],
        posts=[],
        charges=[Booked(f"job-{number}", run, 1.0) for number, run in enumerate(runs)],
        spent=float(len(runs)),
    )


def wrong(found: Truth, seen: Seen, *, down: bool = False) -> dict[str, float]:
    """The counts that are not 0."""
    counts, _ = counted(TWICE, found, seen, 10.0, down=down)
    assert tuple(counts) == COUNTS
    return {name: number for name, number in counts.items() if number}


def test_what_ends_as_it_must_counts_nothing() -> None:
    assert wrong(truth("run-1", "run-2"), RIGHT) == {}


@pytest.mark.parametrize(
    ("told", "count"),
    [
        (Told(state="degraded", served="hardware"), "wrong_state"),
        (Told(state="completed", served="simulator"), "wrong_state"),
        (Told(state="completed", served="hardware", seconds=11.0), "deadline_missed"),
    ],
)
def test_another_end_another_rung_and_a_late_end_are_wrong(told: Told, count: str) -> None:
    assert wrong(truth("run-1", "run-2"), replace(RIGHT, told={"t/a": told})) == {count: 1}


def test_where_the_provider_was_down_a_lower_rung_may_answer_without_remote_jobs() -> None:
    told = {"t/a": Told(state="degraded", served="simulator")}
    assert wrong(truth(), replace(RIGHT, told=told), down=True) == {}


def test_remote_jobs_are_counted_for_each_run() -> None:
    assert wrong(truth("run-1"), RIGHT) == {"wrong_state": 1}
    assert wrong(truth("run-1", "run-1"), RIGHT) == {"double_submissions": 1}
    assert wrong(truth("run-1", "run-2", "run-2"), RIGHT) == {"double_submissions": 1}
    assert wrong(truth("run-1", "run-2", "run-3"), RIGHT) == {"orphan_remote_jobs": 1}


def test_sessions_left_open_and_workers_that_died_unasked_are_counted() -> None:
    seen = replace(RIGHT, open_sessions=("s-1",), unasked=("a worker ended with 1",))
    assert wrong(truth("run-1", "run-2"), seen) == {"lost": 1, "orphan_remote_jobs": 1}


@pytest.mark.parametrize(
    ("charges", "spent", "words"),
    [
        ([("j1", 3.0, "4.80"), ("j2", 0.0, "0")], "4.80", []),
        ([("j1", 3.0, Decimal("4.8"))], "4.8", []),
        ([("j1", 3.0, "3.20")], "4.80", ["j1"]),
        ([("j1", 3.0, "4.80")], "9.60", ["ledger"]),
    ],
)
def test_money_is_counted_as_seconds_are(
    charges: list[tuple[str, float, str]], spent: str, words: list[str]
) -> None:
    found = wrong_money(charges, Decimal(spent))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))
