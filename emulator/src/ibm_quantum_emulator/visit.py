"""One request on its way through the layers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.types import Scope

from .endpoints import target
from .model import Job


@dataclass(frozen=True)
class Subject:
    """What a rule's filters are held against."""

    endpoint: str
    job_id: str | None = None
    tags: Sequence[str] = ()
    backend: str | None = None

    @classmethod
    def of(cls, endpoint: str, job: Job) -> Subject:
        """Return a job as the subject of a request to an endpoint."""
        return cls(endpoint, job.id, job.tags, job.backend)


@dataclass
class Visit:
    """A request: what it is about, as far as known by now, and which rules fired.

    Attributes:
        now: Virtual time of its arrival, epoch seconds.
        tags: Of the submission, of the listing asked for, or of the job in the path.
        post: Number of the submission in the store, when it was refused.
        fired: Names of the rules, in order.
    """

    method: str
    path: str
    endpoint: str
    job_id: str | None = None
    backend: str | None = None
    tags: list[str] = field(default_factory=list)
    now: float = 0.0
    post: int | None = None
    fired: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, scope: Scope) -> Visit:
        """Return the visit that begins with a connection scope."""
        found = target(scope["method"], scope["path"])
        query = scope["query_string"].decode("latin-1")
        path = scope["path"] + (f"?{query}" if query else "")
        visit = cls(scope["method"], path, found.endpoint, found.job, found.backend)
        if found.endpoint == "list":
            asked = parse_qs(query)
            visit.tags = asked.get("tags", [])
            visit.backend = asked.get("backend", [None])[0]
        return visit

    def read_body(self, body: bytes) -> None:
        """Take tags and backend from the body of a submission or a new session, if it has any."""
        try:
            document = json.loads(body)
        except ValueError:
            return
        if not isinstance(document, dict):
            return
        tags, backend = document.get("tags"), document.get("backend")
        if isinstance(tags, list):
            self.tags = [tag for tag in tags if isinstance(tag, str)]
        if isinstance(backend, str):
            self.backend = backend

    def note(self, rule: str) -> None:
        """Remember that a rule fired."""
        if rule not in self.fired:
            self.fired.append(rule)

    @property
    def subject(self) -> Subject:
        """Itself as what filters are held against."""
        # A submission has no id of its own when its rules are asked.
        job_id = None if self.endpoint == "submit" else self.job_id
        return Subject(self.endpoint, job_id, self.tags, self.backend)


def visit_of(scope: Scope) -> Visit:
    """Return the visit that the outermost layer put into a scope."""
    visit = scope["visit"]
    assert isinstance(visit, Visit)
    return visit
