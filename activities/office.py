"""What operators and auditors ask: who may, what is done, and its line in the audit log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from activities.identified import current_caller
from activities.keeping import Keeping
from activities.reconciling import Reconciling
from activities.reproduction import Reproducer
from activities.scheduling import Schedules
from activities.sweeping import Sweeping
from qsaga.core.errors import Forbidden, NoSuchJob, Unauthenticated
from qsaga.core.identity import EVERY_TENANT, Caller, require, said_to_be
from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Ledger
from qsaga.core.loop_records import LoopRecords
from qsaga.core.loop_rules import is_loop
from qsaga.core.operations import (
    ROLES,
    CheckBooks,
    Forget,
    GetAudit,
    GetHistory,
    GetQuarantine,
    GetRecord,
    GetStatement,
    Operation,
    OperationReport,
    PutTenant,
    Rebuild,
    Reconcile,
    Reproduce,
    Resolve,
    Retain,
    Sweep,
    Tenants,
)
from qsaga.core.oversight import OperateInput, OperateStep
from qsaga.core.records import AuditAction, AuditEntry, AuditLog, JobRecord, JobRecords
from qsaga.core.runs import LOOK
from qsaga.core.submission import Submissions

log = logging.getLogger("qsaga.office")

AUDITED: dict[str, AuditAction] = {
    "put_tenant": "put_tenant",
    "reconcile": "reconcile",
    "forget": "forget",
    "retain": "retain",
    "sweep": "sweep",
    "rebuild": "rebuild",
    "audit": "read",
    "resolve": "resolve",
}
"""Operations that leave a line of their own, also where they were refused."""


@dataclass(frozen=True)
class Desk:
    """What the operations work on."""

    ledger: Ledger
    records: JobRecords
    submissions: Submissions
    audit: AuditLog
    loops: LoopRecords
    keeping: Keeping
    reproducer: Reproducer
    reconciling: Reconciling
    sweeping: Sweeping
    schedules: Schedules


class Operate(OperateStep):
    """Every operation, one method each.

    Args:
        desk: what they work on.
        identity_required: callers must prove who they are.
    """

    def __init__(self, desk: Desk, *, identity_required: bool) -> None:
        self._desk, self._required = desk, identity_required

    @activity.defn(name="operate")
    async def operate(self, given: OperateInput) -> OperationReport:
        """Check the role, do it, note it."""
        operation = given.operation
        try:
            caller = await self._caller(given)
        except (Unauthenticated, Forbidden) as error:
            await self._note(given, current_caller(), str(error), refused=True)
            if given.seal or given.by == self._desk.schedules.name(operation):
                log.error("the schedule's %s was refused: %s", operation.kind, error)
            raise
        report = await self._do(operation, given, caller)
        if operation.kind in AUDITED:
            await self._note(given, caller, report.text)
        return report

    async def _caller(self, given: OperateInput) -> Caller:
        caller = current_caller()
        if caller is None and given.seal:
            caller = await self._desk.schedules.caller(given)
        roles, tenant = ROLES[given.operation.kind], _tenant(given.operation)
        if caller is None and not await self._guarded(tenant):
            caller = said_to_be(given.by)
        if (
            isinstance(given.operation, GetHistory | GetAudit | Tenants | GetQuarantine)
            and tenant is None
        ):
            tenant = _only(caller)
        role = next((role for role in roles if caller and role in caller.roles), roles[0])
        return require(caller, role, tenant)

    async def _guarded(self, tenant: str | None) -> bool:
        """Whether who asks must prove who he is; for all tenants, if any of them demands it."""
        if self._required:
            return True
        if tenant is None:
            return any(one.identity_required for one in await self._desk.ledger.tenants())
        known = await self._desk.ledger.tenant(tenant)
        return known is not None and known.identity_required

    async def _note(
        self, given: OperateInput, caller: Caller | None, text: str, *, refused: bool = False
    ) -> None:
        operation = given.operation
        await self._desk.audit.note(
            AuditEntry(
                id=f"{given.id}/{'refused' if refused else 'done'}",
                at=given.at,
                who=caller.subject if caller else given.by or "nobody",
                verified=caller is not None and caller.verified,
                action="refused" if refused else AUDITED[operation.kind],
                tenant=_tenant(operation),
                subject=_subject(operation),
                reason=f"{operation.why}: {text}" if isinstance(operation, Forget) else text,
                detail=operation.model_dump(mode="json"),
            )
        )

    async def _do(
        self, operation: Operation, given: OperateInput, caller: Caller
    ) -> OperationReport:
        desk, at = self._desk, given.at
        match operation:
            case PutTenant() | GetStatement() | Tenants() | CheckBooks():
                return await self._books(operation, at, caller)
            case GetRecord() | GetHistory() | GetAudit() | Reproduce():
                return await self._look_up(operation, caller)
            case Reconcile():
                return await desk.reconciling.reconcile(given, operation)
            case Sweep():
                return await desk.sweeping.sweep(operation, at)
            case Forget():
                return await desk.keeping.forget(operation.job_id, at)
            case Retain():
                return await desk.keeping.retain(operation.tenant, operation.days, at)
            case Rebuild():
                return await desk.keeping.rebuild(at)
            case GetQuarantine():
                tenant = operation.tenant or _only(caller)
                cases = await desk.submissions.quarantined(tenant)
                text = f"{len(cases)} submissions wait for a person"
                return OperationReport(kind=operation.kind, text=text, quarantined=cases)
            case Resolve():
                return await self._resolve(operation, caller)

    async def _resolve(self, operation: Resolve, caller: Caller) -> OperationReport:
        run_id = operation.run_id
        word = operation.resolution.model_copy(update={"by": caller.subject})
        await self._desk.submissions.resolve(run_id, word)
        run = activity.client().get_workflow_handle(run_id)
        try:
            await run.signal(LOOK)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise NoSuchJob(
                f"the run of submission {run_id!r} is not at work; what you said of it is kept"
            ) from error
        text = f"submission {run_id}: {word.verdict}; its account is being closed"
        return OperationReport(kind=operation.kind, text=text)

    async def _books(
        self,
        operation: PutTenant | GetStatement | Tenants | CheckBooks,
        at: datetime,
        caller: Caller,
    ) -> OperationReport:
        ledger, kind = self._desk.ledger, operation.kind
        match operation:
            case PutTenant():
                await ledger.put_tenant(operation.tenant, at)
                statement = await ledger.statement(operation.tenant.name, at)
                text = f"tenant {operation.tenant.name!r} is set up"
                return OperationReport(kind=kind, text=text, statements=(statement,))
            case GetStatement():
                statement = await ledger.statement(operation.tenant, at)
                text = "; ".join(line.text() for line in statement.lines) or "nothing used"
                return OperationReport(kind=kind, text=text, statements=(statement,))
            case Tenants():
                names = [t.name for t in await ledger.tenants() if caller.acts_for(t.name)]
                statements = tuple([await ledger.statement(name, at) for name in names])
                text = f"{len(names)} tenants"
                return OperationReport(kind=kind, text=text, statements=statements)
            case CheckBooks():
                books = await ledger.books()
                text = "the books close" if books.closed else "the books do not close"
                return OperationReport(kind=kind, text=text, books=books)

    async def _look_up(
        self, operation: GetRecord | GetHistory | GetAudit | Reproduce, caller: Caller
    ) -> OperationReport:
        kind = operation.kind
        match operation:
            case Reproduce():
                again = await self._desk.reproducer.reproduce(await self._record(operation.job_id))
                text = "the same again" if again.same else "not all the same again"
                return OperationReport(kind=kind, text=text, reproduction=again)
            case GetRecord() if is_loop(operation.job_id):
                ended = await self._desk.loops.get(operation.job_id)
                if ended is None:
                    raise NoSuchJob(f"of loop {operation.job_id!r} no result is kept")
                return OperationReport(kind=kind, text=f"loop {operation.job_id}", loop=ended)
            case GetRecord():
                record = await self._record(operation.job_id)
                return OperationReport(kind=kind, text=f"job {operation.job_id}", record=record)
            case GetHistory():
                query = operation.query
                query = query.model_copy(update={"tenant": query.tenant or _only(caller)})
                found = await self._desk.records.find(query)
                return OperationReport(kind=kind, text=f"{len(found)} jobs", history=found)
            case GetAudit():
                rows = await self._desk.audit.entries(
                    tenant=operation.tenant or _only(caller),
                    subject=operation.subject,
                    since=operation.since,
                    limit=operation.limit,
                )
                broken = await self._desk.audit.broken()
                text = f"{len(rows)} entries; " + (broken or "the chain is unbroken")
                return OperationReport(kind=kind, text=text, audit=rows)

    async def _record(self, job_id: str) -> JobRecord:
        record = await self._desk.records.get(job_id)
        if record is None:
            raise NoSuchJob(f"no job {job_id!r} is known")
        return record


def _subject(operation: Operation) -> str:
    """What an operation is done to."""
    match operation:
        case PutTenant():
            return operation.tenant.name
        case GetRecord() | Forget() | Reproduce():
            return operation.job_id
        case Resolve():
            return operation.run_id
    return operation.kind


def _tenant(operation: Operation) -> str | None:
    """The tenant that an operation is about; None is the whole deployment."""
    match operation:
        case PutTenant():
            return operation.tenant.name
        case GetStatement() | GetAudit() | Retain() | GetQuarantine():
            return operation.tenant
        case GetRecord() | Forget() | Reproduce():
            return tenant_of(operation.job_id)
        case GetHistory():
            return operation.query.tenant
    return None


def _only(caller: Caller | None) -> str | None:
    """The one tenant of a caller who acts for one only: what he lists is that tenant's."""
    if caller is None or EVERY_TENANT in caller.tenants or len(caller.tenants) != 1:
        return None
    return caller.tenants[0]
