"""What the benchmark of the overhead makes of histories and numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from benchmarks.overhead import arguments
from benchmarks.overhead_aims import aims
from benchmarks.overhead_history import actions
from benchmarks.overhead_jobs import BARE, PREFECT, QSAGA, RAW
from benchmarks.overhead_profile import steps

HISTORIES = Path(__file__).parents[1] / "replay" / "histories"


def events(name: str) -> Sequence[HistoryEvent]:
    kept = json.loads((HISTORIES / f"{name}.json").read_text())
    return WorkflowHistory.from_json(kept["workflow_id"], kept["history"]).events


def test_actions_of_a_job_that_answers_on_hardware() -> None:
    assert actions(events("completed.job")) == {
        "start_workflow": 1,
        "schedule_activity": 3,
        "upsert_workflow_search_attributes": 2,
        # The intent and the start; the child's own history shows no start of its own.
        "start_child_workflow": 2,
        "start_timer": 1,
        "record_activity_markers": 1,
    }
    assert "start_workflow" not in actions(events("completed.run"))


def test_all_markers_of_a_workflow_task_are_one_action() -> None:
    twice = [
        HistoryEvent(
            event_type="EVENT_TYPE_MARKER_RECORDED",
            marker_recorded_event_attributes={"workflow_task_completed_event_id": task},
        )
        for task in (4, 4, 9)
    ]
    assert actions(twice) == {"record_activity_markers": 2}


def test_steps_are_named_and_timed_in_order() -> None:
    def event(number: int, at_ms: int, kind: str, **about: Any) -> HistoryEvent:
        found = HistoryEvent(event_id=number, event_type=f"EVENT_TYPE_{kind}")
        found.event_time.FromMilliseconds(at_ms)
        if about:
            ParseDict(about, getattr(found, f"{kind.lower()}_event_attributes"))
        return found

    history = [
        event(1, 0, "WORKFLOW_TASK_SCHEDULED"),
        event(2, 2, "WORKFLOW_TASK_STARTED"),
        event(3, 5, "WORKFLOW_TASK_COMPLETED", scheduledEventId=1, startedEventId=2),
        event(4, 5, "ACTIVITY_TASK_SCHEDULED", activityType={"name": "admit"}),
        event(5, 6, "ACTIVITY_TASK_STARTED"),
        event(6, 16, "ACTIVITY_TASK_COMPLETED", scheduledEventId=4, startedEventId=5),
    ]
    assert steps(history) == [("workflow task 1", 2.0, 3.0), ("admit", 1.0, 10.0)]


def measured(**changes: Any) -> dict[str, Any]:
    done: dict[str, Any] = {
        "per_job": {
            RAW: {"median_ms": 2.0},
            BARE: {"median_ms": 50.0},
            QSAGA: {"median_ms": 77.0},
            PREFECT: {"median_ms": 700.0},
        },
        "at_once": {BARE: {"per_second": 20.0}, QSAGA: {"per_second": 14.0}},
        "histories": [
            {"case": "simulator", "events": {"job": 90, "total": 90}},
            {"case": "hardware", "events": {"job": 37, "run": 24, "total": 61}},
        ],
        "waiting": [
            {"waiting": 1000, "worker_mib": 500.0, "slots_held": 0},
            {"waiting": 10_000, "worker_mib": 750.0, "slots_held": 0},
        ],
    }
    return done | changes


def test_each_aim_is_judged_by_its_own_number() -> None:
    found = {one["aim"]: (one["value"], one["met"]) for one in aims(measured())}
    assert found == {
        "time added to a job, in times of what the bare workflow takes": (1.5, True),
        "jobs per second at 50 at once, as a share of bare workflows": (0.7, True),
        "times faster than prefect-qiskit": (9.09, True),
        "events of job and run, hardware": (61, False),
        "memory of a worker with 10,000 waiting jobs, in times of that with 1,000": (1.5, True),
        "activity slots held by waiting jobs": (0, True),
    }


@pytest.mark.parametrize(
    ("changes", "aim"),
    [
        ({"waiting": [{"waiting": 9, "worker_mib": 9.0, "slots_held": 1}]}, "activity slots"),
        ({"at_once": {BARE: {"per_second": 20}, QSAGA: {"per_second": 13}}}, "jobs per second"),
    ],
)
def test_what_falls_short_is_not_met(changes: dict[str, Any], aim: str) -> None:
    (found,) = [one for one in aims(measured(**changes)) if one["aim"].startswith(aim)]
    assert not found["met"]


def test_what_was_not_measured_is_not_judged() -> None:
    done = measured(per_job={name: {"median_ms": 9.0} for name in (RAW, BARE, QSAGA)})
    del done["waiting"]
    judged = " ".join(one["aim"] for one in aims(done))
    assert "prefect" not in judged
    assert "memory" not in judged


def test_ten_thousand_wait_unless_told_otherwise() -> None:
    assert arguments([]).waiting == [0, 1000, 10_000]
    assert arguments(["--waiting", "0", "50"]).waiting == [0, 50]
    assert arguments(["--waiting"]).waiting == []
