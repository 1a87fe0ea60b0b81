"""Writes tests/replay/fingerprints.txt: what each recorded workflow asked the server to do.

A block for each history: its hash, then a line for each workflow task with the commands that the
workflow issued. A change of their order is a change for jobs under way, and shows as a diff.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPLAY = Path(__file__).parent.parent / "tests" / "replay"
FILE = REPLAY / "fingerprints.txt"

Event = dict[str, Any]

SIMPLE = {
    "TIMER_STARTED": "timer",
    "TIMER_CANCELED": "cancel timer",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": "search attributes",
    "MODIFY_WORKFLOW_PROPERTIES": "memo",
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": "cancel workflow",
    "WORKFLOW_EXECUTION_COMPLETED": "complete",
    "WORKFLOW_EXECUTION_FAILED": "fail",
    "WORKFLOW_EXECUTION_CANCELED": "end as cancelled",
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": "continue as new",
}
"""Commands whose event says all."""


def command(event: Event, by_id: dict[str, Event]) -> str | None:
    """The command behind an event, without what differs from run to run; None if there is none."""
    kind = event["eventType"].removeprefix("EVENT_TYPE_")
    about: Event = next((value for name, value in event.items() if name.endswith("Attributes")), {})
    match kind:
        case "ACTIVITY_TASK_SCHEDULED":
            return f"activity {about['activityType']['name']}"
        case "ACTIVITY_TASK_CANCEL_REQUESTED":
            begun = by_id[about["scheduledEventId"]]["activityTaskScheduledEventAttributes"]
            return f"cancel activity {begun['activityType']['name']}"
        case "START_CHILD_WORKFLOW_EXECUTION_INITIATED":
            return f"child {about['workflowType']['name']}"
        case "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED":
            return f"signal {about['signalName']}"
        case "MARKER_RECORDED":
            return _marker(about)
        case "WORKFLOW_EXECUTION_UPDATE_ACCEPTED":
            return f"accept update {about['acceptedRequest']['input']['name']}"
        case "WORKFLOW_EXECUTION_UPDATE_COMPLETED":
            return "complete update"
        case _:
            return SIMPLE.get(kind)


def _marker(about: Event) -> str:
    if about["markerName"] not in ("core_local_activity", "core_patch"):
        return f"marker {about['markerName']}"
    details = about["details"]
    name = "data" if "data" in details else "patch-data"
    said = json.loads(base64.b64decode(details[name]["payloads"][0]["data"]))
    if about["markerName"] == "core_patch":
        return f"patch {said['id']}"
    return f"local activity {said['activity_type']}"


def commands(events: list[Event]) -> Iterator[list[str]]:
    """The commands of each workflow task that issued some, in order."""
    by_id = {event["eventId"]: event for event in events}
    task: list[str] = []
    for event in events:
        if event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED":
            if task:
                yield task
            task = []
        if (found := command(event, by_id)) is not None:
            task.append(found)
    if task:
        yield task


def fingerprint(path: Path) -> str:
    """The block of one history."""
    events = json.loads(path.read_text())["history"]["events"]
    kind = events[0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"]
    lines = "\n".join(", ".join(task) for task in commands(events))
    digest = hashlib.sha256(f"{kind}\n{lines}".encode()).hexdigest()[:16]
    indented = lines.replace("\n", "\n  ")
    return f"{path.stem} {kind} {digest}\n  {indented}\n"


def fingerprints() -> str:
    """The whole file."""
    return "\n".join(fingerprint(path) for path in sorted((REPLAY / "histories").glob("*.json")))


def main() -> None:
    """Write it."""
    FILE.write_text(fingerprints())


if __name__ == "__main__":
    main()
