"""How often steps of a job were begun again, counted from Temporal's own histories."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from qsaga.core.runs import HARDWARE_RUN

LOOKS = frozenset({"follow"})
"""Each of their attempts is a look at the provider, by which a run waits for its job."""
LOCAL = "core_local_activity"


async def retries_of(client: Client, job_id: str) -> Counter[str]:
    """Attempts after the first, by step, of a job and its runs, at work or ended.

    Raises:
        RPCError: Temporal cannot be reached, or does not know the job.
    """
    events, found = await _begun_again(client, job_id)
    for run_id in _runs_in(events):
        try:
            _, of_run = await _begun_again(client, run_id)
        except RPCError as error:
            # It was asked for and not begun yet, or is forgotten before its job.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            found += of_run
    return found


async def _begun_again(
    client: Client, workflow_id: str
) -> tuple[Sequence[HistoryEvent], Counter[str]]:
    handle = client.get_workflow_handle(workflow_id)
    events = [event async for event in handle.fetch_history_events()]
    found = recorded(events)
    for step in (await handle.describe()).raw_description.pending_activities:
        found += _again(step.activity_type.name, step.attempt)
    return events, found


def _runs_in(events: Iterable[HistoryEvent]) -> Iterable[str]:
    """The hardware runs that a job began or took over, each once."""
    asked = (event.start_child_workflow_execution_initiated_event_attributes for event in events)
    return dict.fromkeys(one.workflow_id for one in asked if one.workflow_type.name == HARDWARE_RUN)


def recorded(events: Iterable[HistoryEvent]) -> Counter[str]:
    """The same of one history; a step that is at work is not in it yet."""
    names: dict[int, str] = {}
    found: Counter[str] = Counter()
    for event in events:
        match event.WhichOneof("attributes"):
            case "activity_task_scheduled_event_attributes":
                scheduled = event.activity_task_scheduled_event_attributes
                names[event.event_id] = scheduled.activity_type.name
            case "activity_task_started_event_attributes":
                started = event.activity_task_started_event_attributes
                found += _again(names[started.scheduled_event_id], started.attempt)
            case "marker_recorded_event_attributes":
                found += _locally(event.marker_recorded_event_attributes)
    return found


def _again(name: str, attempt: int) -> Counter[str]:
    return +Counter({name: 0 if name in LOOKS else attempt - 1})


def _locally(marker: MarkerRecordedEventAttributes) -> Counter[str]:
    if marker.marker_name != LOCAL:
        return Counter()
    (payload,) = marker.details["data"].payloads
    told = json.loads(payload.data)
    return _again(told["activity_type"], told["attempt"])
