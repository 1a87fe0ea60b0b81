"""Freezes documents of every message, so that what was written once is accepted for ever.

``python -m tools.frozen`` writes, into ``tests/frozen/CONTRACT/``, one file for each contract that
has a field which no frozen document shows. It never touches a file that is there.
``python -m tools.frozen --histories FOLDER --label 0.1.0`` freezes what recorded histories say.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qsaga.core.contract import Contract
from qsaga.core.jobs import JobRequest
from tools.frozen_samples import full, minimal
from tools.messages import contracts_in, handlers, messages, steps

FOLDER = Path(__file__).parent.parent / "tests" / "frozen"

Document = dict[str, Any]


def frozen(name: str) -> list[Document]:
    """All documents of a contract, oldest first by the name of their file."""
    return [document for path in files(name) for document in load(path)["documents"]]


def files(name: str) -> list[Path]:
    """The files of a contract."""
    return sorted((FOLDER / name).glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    """One file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def unsaid(kind: type[Contract]) -> list[str]:
    """Fields of which no frozen document says anything but the default."""
    said = frozen(kind.__name__)
    return [
        name
        for name, field in kind.model_fields.items()
        if not any(name in doc and doc[name] != default_of(kind, name) for doc in said)
        or (field.is_required() and not said)
    ]


def default_of(kind: type[Contract], name: str) -> Any:
    """The default of a field as JSON; a required field, and a literal that is fixed, have none."""
    field = kind.model_fields[name]
    if field.is_required() or fixed(kind, name):
        return ...
    value = field.get_default(call_default_factory=True)
    dumped = kind.model_construct(**{name: value}).model_dump(mode="json", include={name})
    # A newer field may be left out where it says nothing.
    return dumped.get(name, value)


def fixed(kind: type[Contract], name: str) -> bool:
    """Whether a field can have one value only, as a version or a discriminator."""
    schema = kind.model_json_schema()["properties"][name]
    return "const" in schema or schema.get("type") == "null"


def freeze() -> list[Path]:
    """Write documents where they are missing; the new files."""
    label = f"{datetime.now(UTC):%Y-%m-%d}"
    missing = [kind for kind in messages().values() if unsaid(kind)]
    return [write(kind, label, [minimal(kind), *full(kind)]) for kind in missing]


def write(
    kind: type[Contract], label: str, documents: list[Document], hashes: list[str] | None = None
) -> Path:
    """A new file for a contract; under another name where that one is taken."""
    folder = FOLDER / kind.__name__
    folder.mkdir(parents=True, exist_ok=True)
    names = (label, *(f"{label}.{number}" for number in range(2, 1000)))
    path = next(p for name in names if not (p := folder / f"{name}.json").exists())
    kept: dict[str, list[Any]] = {"documents": documents}
    if kind is JobRequest:
        loaded = [JobRequest.model_validate(document) for document in documents]
        kept["payload_hashes"] = hashes or [request.payload_hash() for request in loaded]
    path.write_text(_lines(kept))
    return path


def _lines(kept: dict[str, list[Any]]) -> str:
    """JSON with a document on each line."""
    parts = []
    for name, rows in kept.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        parts.append(f" {json.dumps(name)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


# --- from histories ---------------------------------------------------------------------------


def freeze_histories(folder: Path, label: str) -> list[Path]:
    """Freeze the documents of histories: of each contract those that show what others do not."""
    kept: dict[str, list[Document]] = {}
    hashes: list[str] = []
    shown: dict[str, set[str]] = {}
    known = messages()
    for path in sorted(folder.glob("*.json")):
        events = json.loads(path.read_text())["history"]["events"]
        found = list(documents_of(events))
        ended = next((doc for name, doc in reversed(found) if name == "JobResult"), None)
        for name, document in found:
            new = set(shape(document)) - shown.setdefault(name, set())
            if not new:
                continue
            if name == "JobRequest":
                if ended is None:  # nobody has said what its key stands for
                    continue
                hashes.append(ended["payload_hash"])
            shown[name] |= new
            kept.setdefault(name, []).append(document)
    return [
        write(known[name], label, documents, hashes if name == "JobRequest" else None)
        for name, documents in sorted(kept.items())
    ]


def documents_of(events: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every message of a history: the name of its contract, and what it said."""
    activities, said = steps(), handlers()
    began = events[0]["workflowExecutionStartedEventAttributes"]
    kind = began["workflowType"]["name"]
    by_id = {event["eventId"]: event for event in events}
    for event in events:
        about: Document = next((v for k, v in event.items() if k.endswith("EventAttributes")), {})
        match event["eventType"].removeprefix("EVENT_TYPE_"):
            case "WORKFLOW_EXECUTION_STARTED":
                yield from _given(said[kind, "run"], about.get("input"))
            case "WORKFLOW_EXECUTION_COMPLETED":
                yield from _returned(said[kind, "run"], about.get("result"))
            case "WORKFLOW_EXECUTION_SIGNALED":
                hints = said.get((kind, about["signalName"]), {})
                yield from _given(hints, about.get("input"))
            case "START_CHILD_WORKFLOW_EXECUTION_INITIATED":
                child = about["workflowType"]["name"]
                yield from _given(said[child, "run"], about.get("input"))
            case "ACTIVITY_TASK_SCHEDULED":
                hints = activities.get(about["activityType"]["name"], {})
                yield from _given(hints, about.get("input"))
            case "ACTIVITY_TASK_COMPLETED":
                begun = by_id[about["scheduledEventId"]]["activityTaskScheduledEventAttributes"]
                hints = activities.get(begun["activityType"]["name"], {})
                yield from _returned(hints, about.get("result"))


def _given(hints: dict[str, Any], payloads: Document | None) -> Iterator[tuple[str, Document]]:
    taken = [hint for name, hint in hints.items() if name != "return"]
    for hint, payload in zip(taken, (payloads or {}).get("payloads", ()), strict=False):
        yield from _message(hint, payload)


def _returned(hints: dict[str, Any], payloads: Document | None) -> Iterator[tuple[str, Document]]:
    for payload in (payloads or {}).get("payloads", ()):
        yield from _message(hints.get("return"), payload)


def _message(hint: Any, payload: Document) -> Iterator[tuple[str, Document]]:
    kind = next(contracts_in(hint), None)
    if kind is None or base64.b64decode(payload["metadata"]["encoding"]) != b"json/plain":
        return
    said = json.loads(base64.b64decode(payload["data"]))
    if isinstance(said, dict):
        yield kind.__name__, said


def shape(said: Any, where: str = "") -> Iterator[str]:
    """The paths of a document that say something; two items of a list have one."""
    if isinstance(said, dict):
        for name, value in said.items():
            yield from shape(value, f"{where}.{name}")
    elif isinstance(said, list):
        for value in said:
            yield from shape(value, f"{where}[]")
    elif said not in (None, ""):
        yield f"{where}:{type(said).__name__}"


def main(arguments: list[str]) -> None:
    """Freeze, and say what was written."""
    parser = argparse.ArgumentParser(description="Freeze documents of every message.")
    parser.add_argument("--histories", type=Path, help="freeze what these histories say")
    parser.add_argument("--label", help="name of the new files")
    given = parser.parse_args(arguments)
    written = freeze_histories(given.histories, given.label) if given.histories else freeze()
    print("\n".join(str(path.relative_to(FOLDER)) for path in written) or "nothing is missing")


if __name__ == "__main__":
    main(sys.argv[1:])
