"""What is kept of a job when Temporal has forgotten it, and the log of who did what."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal, Protocol

from pydantic import Field, JsonValue

from qsaga.core.approval import ApprovalRecord
from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest
from qsaga.core.ports import Charge, LateResult
from qsaga.core.results import JobResult, Provenance


class JobOpening(Contract):
    """What is known of a job when its row is opened.

    ``submitter`` is the verified caller, or whom the request names; ``guarded`` says that whoever
    touches the job must prove who he is. What is None was not known: the job ended before it was
    admitted.
    """

    job_id: str
    payload_hash: str
    at: datetime
    submitter: str | None = None
    guarded: bool | None = None
    request: JobRequest | None = None
    decision: Decision | None = None


class JobRecord(Contract):
    """All that is kept of one job.

    ``forgotten`` is when its content was deleted on request; then only the key, the payload's
    hash, the charges and the time remain.
    """

    job_id: str
    payload_hash: str
    opened: datetime
    closed: datetime | None = None
    submitter: str | None = None
    request: JobRequest | None = None
    decision: Decision | None = None
    result: JobResult | None = None
    approval: ApprovalRecord | None = None
    charges: tuple[Charge, ...] = ()
    late_results: tuple[LateResult, ...] = ()
    open_runs: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    forgotten: datetime | None = None


class HistoryQuery(Contract):
    """Which jobs to list, newest first. What is None does not matter."""

    tenant: str | None = None
    state: str | None = None
    verb: str | None = None
    source: str | None = None
    backend: str | None = None
    experiment: str | None = None
    template: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 50


class HistoryRow(Contract):
    """One job of the history."""

    job_id: str
    opened: datetime
    closed: datetime | None
    state: str | None
    verb: str | None
    source: str | None
    backend: str | None
    submitter: str | None
    quantum_seconds: float
    money: str
    currency: str
    seconds: float | None


class EarlierAnswer(Contract):
    """An answered job whose output can be served again: ``provenance.artefacts["result"]``."""

    job_id: str
    closed: datetime
    provenance: Provenance


class BookedRun(Contract):
    """A remote job as it was booked; of role ``session``, a session beyond its jobs."""

    provider_job_id: str
    job_id: str
    run_id: str
    quantum_seconds: float
    role: str = "run"


class Forgotten(Contract):
    """What was deleted of a job; ``artefacts`` are those that no other job needs."""

    job_id: str
    run_ids: tuple[str, ...] = ()
    artefacts: tuple[ArtefactRef, ...] = ()


class JobRecords(Protocol):
    """The job table. Every write is one transaction and safe to repeat."""

    async def open(self, opening: JobOpening) -> None:
        """A row for a job; what was not known at a first opening is added by a later one.

        Raises KeyConflict if the id has another payload, or its job was forgotten.
        """

    async def close(
        self,
        result: JobResult,
        artefacts: tuple[ArtefactRef, ...] = (),
        opening: JobOpening | None = None,
    ) -> JobResult | None:
        """The closing record with all its parts; an earlier one stands, and its result is returned.

        ``opening`` is done first, together with it, where the job may not have a row.

        Raises NoSuchJob, KeyConflict.
        """

    async def open_run(self, job_id: str, run_id: str) -> None:
        """A hardware run whose account is open. Raises NoSuchJob, KeyConflict."""

    async def settle_run(
        self,
        job_id: str,
        run_id: str,
        charges: tuple[Charge, ...],
        late: LateResult | None,
    ) -> None:
        """Close the account of a run: what was charged, and a result that came too late."""

    async def guarded(self, job_id: str) -> bool | None:
        """Whether the job was admitted as a guarded one; None if it was not admitted."""

    async def get(self, job_id: str) -> JobRecord | None:
        """The record, or None."""

    async def find(self, query: HistoryQuery) -> tuple[HistoryRow, ...]:
        """The jobs that match, newest first."""

    async def template_runs(self, tenant: str, template: str) -> int:
        """How many jobs of the template have been answered for the tenant."""

    async def newest_answer(self, tenant: str, input_sha256: str) -> EarlierAnswer | None:
        """The tenant's newest computed answer to the same input that has not been forgotten.

        An answer that was itself an earlier one, a person's or an estimator's does not count.
        """

    async def closed_before(self, tenant: str | None, moment: datetime) -> tuple[str, ...]:
        """Jobs closed before ``moment`` that have no open run and are not forgotten, by id."""

    async def beginning(self, prefix: str) -> tuple[str, ...]:
        """Jobs whose id begins so, forgotten ones as well, by id."""

    async def at_work(self) -> tuple[str, ...]:
        """Jobs that have a row and no closing record, by id."""

    async def oldest_at_work(self) -> datetime | None:
        """When the oldest job was opened that has not been closed; None if there is none."""

    async def owners(self, run_ids: Collection[str]) -> dict[str, str]:
        """The job of each run, by run; what is no run is left out."""

    async def booked(self, provider: str, run_id: str | None = None) -> tuple[BookedRun, ...]:
        """Every remote job of a provider that was ever booked; those of one run, if it is named."""

    async def open_accounts(self) -> dict[str, str]:
        """The job of each run whose account is open, by run."""

    async def oldest_needed(self) -> datetime | None:
        """When the oldest job was opened that is not closed, or has a run that is not."""

    async def unknown(self, job_ids: Collection[str]) -> tuple[str, ...]:
        """Those of the ids of which there is no row."""

    async def referred(self, hashes: Collection[str]) -> frozenset[str]:
        """Those of the SHA-256 hashes under which an artefact of some job is kept."""

    async def forget(self, job_id: str, at: datetime) -> Forgotten:
        """Delete what a job said and answered. Safe to repeat.

        The artefacts are named at each repetition until ``erased``. Raises NoSuchJob;
        PolicyRefused while it is at work or an account of it is open.
        """

    async def erased(self, job_id: str) -> None:
        """The artefacts that ``forget`` named are gone: they are named no more."""

    async def unerased(self) -> tuple[str, ...]:
        """Jobs that were forgotten and whose artefacts are still named, by id."""


AuditAction = Literal[
    "start",
    "approve",
    "reject",
    "refused",
    "put_tenant",
    "reconcile",
    "repair",
    "rebuild",
    "forget",
    "retain",
    "sweep",
    "read",
    "resolve",
]


class AuditEntry(Contract):
    """Who did what, when, to what.

    ``id`` makes writing it again harmless. ``who`` is a verified subject where ``verified``.
    """

    id: str
    at: datetime
    who: str
    verified: bool
    action: AuditAction
    tenant: str | None = None
    subject: str = ""
    reason: str = ""
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class AuditRow(Contract):
    """An entry as it is kept: numbered, and chained to the one before by its hash."""

    number: int
    entry: AuditEntry
    previous: str
    hash: str


class AuditLog(Protocol):
    """Append-only: the database itself refuses to change or delete a row."""

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry once."""

    async def entries(
        self,
        *,
        tenant: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[AuditRow, ...]:
        """The newest ``limit`` that match, oldest first."""

    async def broken(self) -> str:
        """Check the chain of hashes: empty, or where it is broken."""


NoticeKind = Literal["approval_asked", "reminder", "escalated", "expired", "decided", "quarantined"]


class Notice(Contract):
    """Something that a person should hear of."""

    kind: NoticeKind
    job_id: str
    tenant: str
    to: tuple[str, ...] = ()
    text: str
    at: datetime


class Notifier(Protocol):
    """Tells people. A notice may come twice; one that cannot be told is lost."""

    async def tell(self, notice: Notice) -> None:
        """Raises TransientProviderError when it may work later."""
