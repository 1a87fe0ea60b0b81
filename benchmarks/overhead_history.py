"""Histories of a job and its run: events, bytes, and what hosted Temporal would bill for them.

What is billed is listed at https://docs.temporal.io/evaluate/cloud/actions, whose names are used
here. All of it is counted: from the histories what is in them, from the worker's own metrics what
is not (attempts after the first, heartbeats).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.results import JobResult
from tests.support.clock_bridge import ClockBridge
from tests.support.stack import Stack, bell, running_stack
from tools.servers import resolve
from tools.stage import DYNAMIC_CONFIG

AHEAD, SECONDS_EACH = 480, 60.0
"""A queue of eight hours."""
SHORT_AHEAD, SHORT_SECONDS = 2, 10.0
BUDGETS = {"queue": 80_000, "execution": 3600, "deadline": 86_400}
WATCH = "watch"
BUFFER = 100_000

BILLED = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "schedule_activity",
    EventType.EVENT_TYPE_TIMER_STARTED: "start_timer",
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: "upsert_workflow_search_attributes",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: "signal_workflow",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: "accept_workflow_update",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED: "update_workflow_options",
}
"""One action each."""


def actions(events: Iterable[HistoryEvent]) -> Counter[str]:
    """The billed actions that one history shows, by their names."""
    found: Counter[str] = Counter()
    marked: set[int] = set()
    for event in events:
        kind = event.event_type
        if kind in BILLED:
            found[BILLED[kind]] += 1
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            # A child's start is billed to its parent, with the intent: two actions.
            started = event.workflow_execution_started_event_attributes
            found["start_workflow"] += not started.HasField("parent_workflow_execution")
        elif kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            found["start_child_workflow"] += 2
        elif kind == EventType.EVENT_TYPE_MARKER_RECORDED:
            marker = event.marker_recorded_event_attributes
            marked.add(marker.workflow_task_completed_event_id)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            metered = event.workflow_task_completed_event_attributes.metering_metadata
            found["retry_activity_local"] += metered.nonfirst_local_activity_execution_attempts
    # All markers of one workflow task are one action.
    found["record_activity_markers"] = len(marked)
    return +found


@dataclass(frozen=True)
class Case:
    """A job to look at: ``ahead`` jobs of ``seconds`` each stand before it."""

    name: str
    hardware: bool = True
    ahead: int = 0
    seconds: float = 0.0
    skipping: bool = False


CASES = (
    Case("on the simulator", hardware=False),
    Case("hardware, no queue"),
    Case("hardware, 20 s of queue", ahead=SHORT_AHEAD, seconds=SHORT_SECONDS),
    Case("hardware, 8 h of queue", ahead=AHEAD, seconds=SECONDS_EACH, skipping=True),
)


async def measure(case: Case, folder: Path, seed: int) -> dict[str, Any]:
    """One job from start to closed account.

    Returns:
        ``events`` and ``bytes`` by workflow type and as ``total``, ``kinds`` of events, billed
        ``actions`` by name, and ``waited_s`` in the queue.
    """
    metrics = MetricBuffer(BUFFER)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    async with _stack(case, folder, runtime, seed) as stack:
        result = await stack.run(bell(seed=seed, budgets=BUDGETS))
        await stack.settled(result)
        found = [result.job_id, *(one.run_id for one in result.attempts if one.run_id)]
        histories = [
            (await stack.temporal.get_workflow_handle(each).fetch_history()).events
            for each in found
        ]
    billed = sum((actions(events) for events in histories), Counter())
    billed.update(_beyond_histories(metrics, billed["schedule_activity"]))
    names = ("job", "run")
    return {
        "case": case.name,
        "server": "time-skipping" if case.skipping else "dev server",
        "waited_s": round(_waited(result), 1),
        "events": _with_total(dict(zip(names, map(len, histories), strict=False))),
        "bytes": _with_total(
            {
                name: sum(event.ByteSize() for event in events)
                for name, events in zip(names, histories, strict=False)
            }
        ),
        "kinds": {
            name: dict(Counter(_kind(event) for event in events))
            for name, events in zip(names, histories, strict=False)
        },
        "actions": dict(+billed) | {"total": billed.total()},
    }


def _with_total(counts: dict[str, int]) -> dict[str, int]:
    return counts | {"total": sum(counts.values())}


def _kind(event: HistoryEvent) -> str:
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()


def _waited(result: JobResult) -> float:
    return sum(timing.seconds for timing in result.timings if timing.layer.value == "queue")


def _beyond_histories(metrics: MetricBuffer, scheduled: int) -> dict[str, int]:
    """Retries and heartbeats; those of the watcher, which all jobs share, are not of the job."""
    attempts = beats = 0
    for update in metrics.retrieve_updates():
        name, about = update.metric.name, update.attributes
        if name == "temporal_activity_execution_latency" and about["activity_type"] != WATCH:
            attempts += 1
        if name == "temporal_request" and about["operation"] == "RecordActivityTaskHeartbeat":
            beats += int(update.value)
    return {"retry_activity": max(0, attempts - scheduled), "record_activity_heartbeat": beats}


@asynccontextmanager
async def _stack(case: Case, folder: Path, runtime: Runtime, seed: int) -> AsyncIterator[Stack]:
    bridge = ClockBridge()
    extra = [part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]
    changes: dict[str, Any] = {} if case.hardware else {"hardware": False}
    servers = resolve()
    try:
        async with await (
            WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=str(servers.test_server), runtime=runtime
            )
            if case.skipping
            else WorkflowEnvironment.start_local(
                dev_server_existing_path=str(servers.cli),
                dev_server_extra_args=extra,
                runtime=runtime,
            )
        ) as env:
            options: dict[str, Any] = {"clock_url": bridge.url} if case.skipping else {}
            if case.skipping:
                bridge.follow(env.client.service_client.config.target_host)
            with EmulatorProcess(noise="none", seed=seed, **options) as emulator:
                if case.ahead:
                    emulator.control.set_queue(case.ahead, case.seconds)
                async with running_stack(env, emulator, folder, changes=changes) as stack:
                    yield stack
    finally:
        bridge.close()
