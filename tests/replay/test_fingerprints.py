"""The committed fingerprints are those of the recorded histories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.fingerprints import FILE, REPLAY, command, commands, fingerprint, fingerprints

ONE = REPLAY / "histories" / "completed.job.json"


def test_fingerprints_are_current() -> None:
    assert FILE.read_text() == fingerprints(), (
        "run `python -m tools.fingerprints`, and read in its diff what jobs under way will meet"
    )


@pytest.mark.parametrize(
    ("swap", "changes"), [("ACTIVITY_TASK_SCHEDULED", True), ("WORKFLOW_TASK_STARTED", False)]
)
def test_another_order_of_commands_is_another_fingerprint(
    tmp_path: Path, swap: str, changes: bool
) -> None:
    kept = json.loads(ONE.read_text())
    events = kept["history"]["events"]
    first, second = [n for n, e in enumerate(events) if e["eventType"] == f"EVENT_TYPE_{swap}"][:2]
    events[first], events[second] = events[second], events[first]
    other = tmp_path / ONE.name
    other.write_text(json.dumps(kept))
    assert (fingerprint(other) != fingerprint(ONE)) is changes


def test_every_command_of_a_history_is_in_its_fingerprint() -> None:
    for path in (REPLAY / "histories").glob("*.json"):
        events = json.loads(path.read_text())["history"]["events"]
        issued = [
            event
            for event in events
            if any(
                "workflowTaskCompletedEventId" in about
                for name, about in event.items()
                if name.endswith("Attributes")
            )
        ]
        by_id = {event["eventId"]: event for event in events}
        assert all(command(event, by_id) is not None for event in issued), path
        assert sum(map(len, commands(events))) >= len(issued)
