"""What operators and auditors ask of a deployment: each is a small workflow of its own.

So a command line needs no database, the same roles hold for every door, and what was asked is
in the audit log.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from qsaga.core.approval import Person
from qsaga.core.contract import Contract, Slug, StrictContract
from qsaga.core.identity import Role
from qsaga.core.ledger import Books, Reservation, Statement, Tenant
from qsaga.core.lineage import Reproduction
from qsaga.core.loops import LoopResult
from qsaga.core.records import AuditRow, HistoryQuery, HistoryRow, JobRecord
from qsaga.core.submission import Quarantined, Resolution

OPERATION = "Operation"
"""Workflow type."""

JobId = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$", max_length=192)]
JobOrLoopId = Annotated[str, Field(pattern=r"^[^/\s]+/(loop/)?[^/\s]+$", max_length=192)]


class PutTenant(StrictContract):
    """Set a tenant up, or change his budgets."""

    kind: Literal["put_tenant"] = "put_tenant"
    tenant: Tenant


class Tenants(StrictContract):
    """Statements of every tenant that the caller acts for."""

    kind: Literal["tenants"] = "tenants"


class GetStatement(StrictContract):
    """What a tenant may use, has set aside and has used."""

    kind: Literal["statement"] = "statement"
    tenant: Slug


class CheckBooks(StrictContract):
    """Whether the ledger closes."""

    kind: Literal["books"] = "books"


class Reconcile(StrictContract):
    """Compare the ledger with what the provider says of this deployment's jobs.

    With ``repair`` what no workflow at work accounts for is ended, booked, released and closed. A
    difference between books and provider is never corrected. ``days``: of remote jobs that were
    booked longer ago the charge is not asked for again; None asks for all.
    """

    kind: Literal["reconcile"] = "reconcile"
    repair: bool = False
    days: Annotated[int, Field(ge=1, le=36500)] | None = None


class Sweep(StrictContract):
    """Count the files that no job and no workflow refers to; with ``delete``, delete them.

    ``days``: only those that nobody has stored or used for so long.
    """

    kind: Literal["sweep"] = "sweep"
    days: Annotated[int, Field(ge=1, le=36500)] = 7
    delete: bool = False


class GetRecord(StrictContract):
    """All that is kept of one job, or how a loop ended."""

    kind: Literal["record"] = "record"
    job_id: JobOrLoopId


class Reproduce(StrictContract):
    """Make a job's circuit and, on a simulator, its counts again from its record."""

    kind: Literal["reproduce"] = "reproduce"
    job_id: JobId


class GetHistory(StrictContract):
    """A list of jobs."""

    kind: Literal["history"] = "history"
    query: HistoryQuery = HistoryQuery()


class GetAudit(StrictContract):
    """Who did what."""

    kind: Literal["audit"] = "audit"
    tenant: Slug | None = None
    subject: str | None = None
    since: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 100


class Forget(StrictContract):
    """Delete what one job, or all jobs of a loop, said and answered; charges and keys stay."""

    kind: Literal["forget"] = "forget"
    job_id: JobOrLoopId
    why: Annotated[str, Field(min_length=1, max_length=2000)]


class Retain(StrictContract):
    """Forget every job older than its tenant's retention, or than ``days``."""

    kind: Literal["retain"] = "retain"
    tenant: Slug | None = None
    days: Annotated[int, Field(ge=1, le=36500)] | None = None


class Rebuild(StrictContract):
    """Write again what the job table has lost, from what Temporal still holds."""

    kind: Literal["rebuild"] = "rebuild"


class GetQuarantine(StrictContract):
    """Submissions that nobody but a person can decide."""

    kind: Literal["quarantine"] = "quarantine"
    tenant: Slug | None = None


class Resolve(StrictContract):
    """What a person found out about such a submission; its account closes by it."""

    kind: Literal["resolve"] = "resolve"
    run_id: Annotated[str, Field(min_length=1, max_length=128)]
    resolution: Resolution


Operation = Annotated[
    PutTenant
    | Tenants
    | GetStatement
    | CheckBooks
    | Reconcile
    | Sweep
    | GetRecord
    | Reproduce
    | GetHistory
    | GetAudit
    | Forget
    | Retain
    | Rebuild
    | GetQuarantine
    | Resolve,
    Field(discriminator="kind"),
]

ROLES: dict[str, tuple[Role, ...]] = {
    "put_tenant": (Role.OPERATOR,),
    "tenants": (Role.OPERATOR, Role.AUDITOR),
    "statement": (Role.SUBMITTER, Role.APPROVER, Role.OPERATOR, Role.AUDITOR),
    "books": (Role.OPERATOR, Role.AUDITOR),
    "reconcile": (Role.OPERATOR,),
    "sweep": (Role.OPERATOR,),
    "record": (Role.SUBMITTER, Role.APPROVER, Role.OPERATOR, Role.AUDITOR),
    "reproduce": (Role.SUBMITTER, Role.APPROVER, Role.OPERATOR, Role.AUDITOR),
    "history": (Role.SUBMITTER, Role.APPROVER, Role.OPERATOR, Role.AUDITOR),
    "audit": (Role.AUDITOR,),
    "forget": (Role.OPERATOR,),
    "retain": (Role.OPERATOR,),
    "rebuild": (Role.OPERATOR,),
    "quarantine": (Role.OPERATOR, Role.AUDITOR),
    "resolve": (Role.OPERATOR,),
}
"""Any one of these roles is enough."""


def schedule_id(deployment: str, kind: str) -> str:
    """Id of the Temporal Schedule that asks for an operation of that kind."""
    return f"qsaga/{deployment}/{kind}"


class OperationInput(Contract):
    """An operation, and who says that he asks for it where identity is off.

    ``id`` is the workflow's, so that repeating a step writes one audit entry. ``seal`` is in what
    a schedule of the deployment asks for: nobody is there to show a token.
    """

    operation: Operation
    by: Person | None = None
    seal: Annotated[str, Field(max_length=256)] = ""


class Difference(Contract):
    """Where the ledger and the provider do not agree; ``booked`` None is a job unknown to us.

    ``advice`` is what a person can do about it.
    """

    provider_job_id: str
    run_id: str | None
    booked: Decimal | None
    provider: Decimal | None
    text: str
    advice: str = ""


class Reconciliation(Contract):
    """The ledger beside the provider, in quantum seconds.

    ``lost`` are the jobs that were ended from outside, ``unwritten`` the jobs and loops that ended
    with a result and have no closing record.

    ``account_consumed`` is what the provider says of the whole account, which other deployments
    may share; None where it does not say. ``repaired`` says what was done, a line for each thing;
    ``left`` what could not be done now, and why.
    """

    at: datetime
    provider: str
    remote_jobs: int
    booked: Decimal
    charged: Decimal
    differences: tuple[Difference, ...] = ()
    account_consumed: float | None = None
    account_limit: float | None = None
    orphans: tuple[Reservation, ...] = ()
    lost: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Swept(Contract):
    """Files that nobody refers to, by store: how many, and their size in bytes.

    ``files`` lay there long enough, ``garbage`` of them nobody refers to, ``deleted`` are gone.
    """

    store: str
    files: int
    garbage: int
    garbage_bytes: int
    deleted: int = 0
    deleted_bytes: int = 0


class OperationReport(Contract):
    """What came of an operation: ``text`` in a line, and what it is about."""

    kind: str
    text: str
    statements: tuple[Statement, ...] = ()
    books: Books | None = None
    reconciliation: Reconciliation | None = None
    record: JobRecord | None = None
    loop: LoopResult | None = None
    reproduction: Reproduction | None = None
    history: tuple[HistoryRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    forgotten: tuple[str, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    swept: tuple[Swept, ...] = ()
