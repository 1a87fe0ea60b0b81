"""Provider sessions: what the workflow that owns one, its users and its steps say to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Protocol

from temporalio import activity

from qsaga.core.contract import Contract, digest
from qsaga.core.jobs import SessionTerms
from qsaga.core.ports import Charge, RemoteSession

PROVIDER_SESSION = "ProviderSession"
JOIN, LEAVE = "join", "leave"
CLOSING = "SessionClosing"
"""Type of the failure of a join that has to wait for a new session."""


def session_id(deployment_tag: str, tenant: str, key: str, backend: str) -> str:
    """Workflow id of the session of that key; no name of a tenant can be read from it."""
    return "session/" + digest(deployment_tag, tenant, key, backend)[:32]


class SessionRequest(Contract):
    """A session to own: ``session_id`` is the workflow's id.

    ``queues`` are the task queues of the roles of workers.
    """

    session_id: str
    backend: str
    terms: SessionTerms
    queues: dict[str, str] = {}


class Join(Contract):
    """A run takes part; ``stale`` is a provider session that has refused it."""

    run_id: str
    stale: str | None = None


class SessionReport(Contract):
    """How a session went: who took part, and what it used, in quantum seconds."""

    session_id: str
    provider_session_id: str | None = None
    members: tuple[str, ...] = ()
    seconds: float | None = None
    failed: str = ""


class JoinInput(Contract):
    """A job's run that takes part in a session, which is opened if there is none."""

    job_id: str
    run_id: str
    backend: str
    terms: SessionTerms
    stale: str | None = None


class JoinStep(ABC):
    """Take part in a session."""

    @activity.defn(name="join_session")
    @abstractmethod
    async def join(self, given: JoinInput) -> str:
        """Returns the provider's id of the session. Raises BudgetExceeded, ProviderError."""


class OpenStep(ABC):
    """Open the session at the provider."""

    @activity.defn(name="open_session")
    @abstractmethod
    async def open(self, given: SessionRequest) -> RemoteSession:
        """Raises Forbidden for one that no job asked for, BudgetExceeded, ProviderError.

        Killed before the provider's reply was written down it opens another one: the first holds
        nothing and costs nothing, since a session begins with its first job.
        """


class LookStep(ABC):
    """See how the session stands."""

    @activity.defn(name="look_at_session")
    @abstractmethod
    async def look(self, given: SessionRequest) -> RemoteSession:
        """Raises ProviderError."""


class CloseStep(ABC):
    """Close the session, and book what it was charged beyond its jobs."""

    @activity.defn(name="close_session")
    @abstractmethod
    async def close(self, given: SessionRequest) -> float:
        """Safe to repeat. Returns what it used, in quantum seconds. Raises ProviderError."""


class SessionRecord(Contract):
    """A session in the database: for whom it was opened, and how it stands.

    ``members`` are the runs that asked for it, the first of them that of ``job_id``. ``hold`` is
    the key of what is reserved for it; empty where nothing is.
    """

    session_id: str
    job_id: str
    members: tuple[str, ...]
    backend: str
    terms: SessionTerms
    provider_session_id: str | None = None
    hold: str = ""
    opened: datetime | None = None
    closed: datetime | None = None


class SessionRecords(Protocol):
    """The sessions of a deployment. Every write is one transaction and safe to repeat."""

    async def ask(self, record: SessionRecord) -> SessionRecord:
        """Runs ask for a session: they join the one that is there, unless it is closed."""

    async def get(self, session_id: str) -> SessionRecord | None:
        """The session, or None."""

    async def opened(self, session_id: str, provider_session_id: str, at: datetime) -> None:
        """It is open under that id."""

    async def held(self, session_id: str, key: str) -> None:
        """Under that key its costs are reserved."""

    async def unsettled(self, members: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the runs that may yet be charged: they have sent something, and are open."""

    async def charged(self, members: tuple[str, ...]) -> float:
        """Quantum seconds that were booked for the runs' own jobs."""

    async def close(self, session_id: str, charge: Charge | None, at: datetime) -> None:
        """It is closed; what it was charged beyond its jobs is booked on the job that opened it."""

    async def left_open(self) -> tuple[SessionRecord, ...]:
        """Sessions that were opened and not closed."""
