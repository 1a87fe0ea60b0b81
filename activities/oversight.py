"""A person's word on a job: who says it, whether it counts, and telling people of it."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.identified import current_caller
from qsaga.core.approval import Decided, Verdict, judge
from qsaga.core.errors import Forbidden, ResultUnusable, Unauthenticated
from qsaga.core.identity import Caller, Role, require, said_to_be
from qsaga.core.oversight import NotifyStep, ReviewInput, ReviewStep
from qsaga.core.records import AuditAction, AuditEntry, AuditLog, Notice, Notifier
from qsaga.problems.supplied import as_result


class Review(ReviewStep):
    """Weigh a decision and write it down, whether it counts or not."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    @activity.defn(name="review")
    async def review(self, given: ReviewInput) -> Decided:
        """The decision with who made it and, if it does not count, why."""
        request, decision = given.record.request, given.decision
        caller, refused = _caller(given)
        who = caller.subject if caller else decision.by
        if not refused:
            refused = judge(given.record, decision, who, given.at) or await asyncio.to_thread(
                _misfit, given
            )
        action: AuditAction = "approve" if decision.verdict is Verdict.APPROVE else "reject"
        await self._audit.note(
            AuditEntry(
                id=f"{request.job_id}/{request.asked.isoformat()}/decision/{given.number}",
                at=given.at,
                who=who,
                verified=caller is not None and caller.verified,
                action="refused" if refused else action,
                tenant=request.tenant,
                subject=request.job_id,
                reason=refused or decision.why,
                detail=decision.model_dump(mode="json"),
            )
        )
        return Decided(decision=decision, by=who, at=given.at, refused=refused)


def _caller(given: ReviewInput) -> tuple[Caller | None, str]:
    caller = current_caller()
    if caller is None and not given.guarded:
        caller = said_to_be(given.decision.by)
    try:
        return require(caller, Role.APPROVER, given.record.request.tenant), ""
    except (Unauthenticated, Forbidden) as error:
        return caller, str(error)


def _misfit(given: ReviewInput) -> str:
    """Why a supplied answer does not fit: said to the person at once, who can give a better one."""
    if given.workload is None or given.decision.answer is None:
        return ""
    try:
        as_result(given.workload, given.decision.answer)
    except ResultUnusable as error:
        return str(error)
    return ""


class Notify(NotifyStep):
    """Tell people."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    @activity.defn(name="notify")
    async def notify(self, given: Notice) -> None:
        """Hand the notice over."""
        await self._notifier.tell(given)
