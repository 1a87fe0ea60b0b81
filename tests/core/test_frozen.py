"""What was written once is accepted for ever, and every message of today is frozen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qsaga.core.contract import Contract
from qsaga.core.jobs import JobRequest
from qsaga.core.results import JobStatus as Today
from tools.frozen import FOLDER, frozen, load, unsaid
from tools.messages import messages

KNOWN = messages()
FILES = sorted(FOLDER.rglob("*.json"))
RELEASED = "0.1.0"
DROPPED = {
    "Admission": {"grace"},
    "CancelInput": {"grace"},
    "RunRequest": {"listing_grace"},
    "SubmitInput": {"grace"},
}
"""What 0.1.0 said and nobody asks for any more: the provider itself knows how late it lists a job.

Taking a field out is a decision: whoever does so names it here.
"""


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def said_by(kept: Any, said: Any) -> bool:
    """Whether ``kept`` says all that ``said`` does; it may say more."""
    if isinstance(said, dict):
        return isinstance(kept, dict) and all(
            name in kept and said_by(kept[name], value) for name, value in said.items()
        )
    if isinstance(said, list):
        return (
            isinstance(kept, list)
            and len(kept) == len(said)
            and all(said_by(*pair) for pair in zip(kept, said, strict=True))
        )
    return bool(kept == said)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_frozen_document_is_accepted_and_loses_nothing(path: Path) -> None:
    kind = KNOWN[path.parent.name]
    gone = DROPPED.get(kind.__name__, set())
    for document in load(path)["documents"]:
        kept = kind.model_validate_json(json.dumps(document)).model_dump(mode="json")
        asked = {name: value for name, value in document.items() if name not in gone}
        assert said_by(kept, asked), (asked, kept)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_field_of_today_is_frozen(name: str) -> None:
    assert not unsaid(KNOWN[name]), "run `python -m tools.frozen` and commit what it writes"


def test_what_was_dropped_is_gone() -> None:
    for name, gone in DROPPED.items():
        assert gone.isdisjoint(KNOWN[name].model_fields)
        assert all(any(field in document for document in frozen(name)) for field in gone)


def test_nothing_is_frozen_that_no_message_is_called_any_more() -> None:
    assert {path.parent.name for path in FILES} <= set(KNOWN)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name == "JobRequest"], ids=name_of
)
def test_keys_stand_for_what_they_stood_for(path: Path) -> None:
    found = load(path)
    hashes = [JobRequest.model_validate(document).payload_hash() for document in found["documents"]]
    assert hashes == found["payload_hashes"]


def test_requests_of_the_first_release_are_frozen_as_they_were_recorded() -> None:
    first = load(FOLDER / "JobRequest" / f"{RELEASED}.json")
    assert len(first["documents"]) >= 3
    assert len(set(first["payload_hashes"])) == len(first["documents"])
    assert not any("sensitivity" in document for document in first["documents"])


class Renamed(Contract):
    """A message whose field was called otherwise."""

    new: str = "x"
    number: int = 1


@pytest.mark.parametrize(
    "document", [{"old": "said"}, {"new": "said", "number": 2, "gone": 3}, {"number": 1.0, "o": {}}]
)
def test_what_a_class_would_lose_is_noticed(document: dict[str, Any]) -> None:
    kept = Renamed.model_validate(document).model_dump(mode="json")
    assert not said_by(kept, document)


def test_a_new_field_is_noticed_until_it_is_frozen() -> None:
    class JobStatus(Today):
        """With a field of tomorrow."""

        tomorrow: str = ""

    assert frozen("JobStatus")
    assert unsaid(JobStatus) == ["tomorrow"]
