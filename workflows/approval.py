"""Waiting for a person: decisions come by update or signal, are weighed one at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from qsaga.core.approval import (
        ApprovalDecision,
        ApprovalRecord,
        ApprovalRequest,
        Decided,
        after,
        judge,
        next_wake,
    )
    from qsaga.core.jobs import Workload
    from qsaga.core.oversight import NotifyStep, ReviewInput, ReviewStep
    from qsaga.core.records import Notice, NoticeKind
    from workflows.identified import as_caller, caller_token
    from workflows.layers import HEARTBEAT, RETRY

KEPT = 50
"""Refused decisions beyond so many are answered, not kept: a flood must not fill the history."""
REVIEWED = 10
"""Decisions of a job that are weighed whatever they say; then only those that may count are."""
NOTICE_TRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=4)
NOTICE_TIME = timedelta(minutes=2)
LAST_WORD = 2.0
"""Seconds that a job waits at its end until people are told."""
ONE_REVIEW, SHORTEST_REVIEW = timedelta(seconds=30), timedelta(seconds=1)


@dataclass
class _Waiting:
    decision: ApprovalDecision
    token: str | None
    verdict: asyncio.Future[Decided]


class ApprovalDesk:
    """A question to a person, from the asking to its outcome.

    Args:
        workload: where the answer itself is asked for.
    """

    def __init__(self, workload: Workload | None = None) -> None:
        self.record: ApprovalRecord | None = None
        self._workload = workload
        self._inbox: list[_Waiting] = []
        self._weighed = 0
        self._telling: set[asyncio.Task[None]] = set()

    def refusal(self, decision: ApprovalDecision) -> str:
        """Why a decision cannot count as things stand; empty if it may."""
        return judge(self.record, decision, decision.by, workflow.now())

    async def decide(self, decision: ApprovalDecision) -> Decided:
        """Have a decision weighed; what came of it, also where it does not count."""
        why = self.refusal(decision)
        if why and not self._worth_a_review:
            refused = Decided(decision=decision, by=decision.by, at=workflow.now(), refused=why)
            self._note(refused)
            return refused
        waiting = _Waiting(decision, caller_token(), asyncio.Future())
        self._inbox.append(waiting)
        return await waiting.verdict

    @property
    def _worth_a_review(self) -> bool:
        """Whether a decision is audited although it will not count: neither late nor a flood."""
        waits = self.record is not None and self.record.outcome == "waiting"
        return waits and self._weighed + len(self._inbox) < REVIEWED

    async def wait(self, request: ApprovalRequest, *, guarded: bool) -> ApprovalRecord:
        """Ask, and wait until enough people have said yes, one no, or time is up."""
        self.record = ApprovalRecord(request=request)
        self._tell("approval_asked", f"approval asked: {request.terms.because}")
        try:
            while self.record.outcome == "waiting":
                await self._next(guarded=guarded)
        except asyncio.CancelledError:
            self.record = self.record.model_copy(update={"outcome": "withdrawn"})
            raise
        finally:
            self._answer_the_rest()
        self._tell(
            "expired" if self.record.outcome == "expired" else "decided",
            f"approval {self.record.outcome}",
        )
        return self.record

    async def told(self) -> None:
        """Wait a moment for the last notices: what is not told when the job ends is lost."""
        if self._telling:
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: not self._telling, timeout=LAST_WORD)

    async def _next(self, *, guarded: bool) -> None:
        left = (next_wake(self._asked) - workflow.now()).total_seconds()
        try:
            if left > 0:
                await workflow.wait_condition(lambda: bool(self._inbox), timeout=left)
        except TimeoutError:
            left = 0.0
        if left <= 0 and not self._inbox:
            self._on_time()
        if self._inbox:
            await self._weigh(self._inbox.pop(0), guarded=guarded)

    async def _weigh(self, waiting: _Waiting, *, guarded: bool) -> None:
        self._weighed += 1
        given = ReviewInput(
            record=self._asked,
            decision=waiting.decision,
            at=workflow.now(),
            number=self._weighed,
            guarded=guarded,
            workload=self._workload,
        )
        decided = self._unanswered(waiting)
        try:
            # No longer than the request stands: what cannot be weighed until then is too late.
            left = max(self._asked.request.expires - workflow.now(), SHORTEST_REVIEW)
            with as_caller(waiting.token):
                decided = await workflow.execute_activity_method(
                    ReviewStep.review,
                    given,
                    schedule_to_close_timeout=left,
                    start_to_close_timeout=min(left, ONE_REVIEW),
                    heartbeat_timeout=HEARTBEAT,
                    retry_policy=RETRY,
                )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            decided = decided.model_copy(update={"refused": str(error.cause)})
        finally:
            waiting.verdict.set_result(decided)
            if decided.refused:
                self._note(decided)
        if not decided.refused:
            self.record = after(self._asked, decided)

    def _on_time(self) -> None:
        now, record = workflow.now(), self._asked
        terms = record.request.terms
        passed = (now - record.request.asked).total_seconds()
        changed: dict[str, object] = {}
        if now >= record.request.expires:
            changed = {"outcome": "expired"}
        elif terms.escalate is not None and not record.escalated and passed >= terms.escalate:
            changed = {"escalated": now}
            self._tell("escalated", f"nobody has decided yet: {terms.because}")
        elif terms.remind is not None and not record.reminded and passed >= terms.remind:
            changed = {"reminded": now}
            self._tell("reminder", f"still waiting for approval: {terms.because}")
        self.record = record.model_copy(update=changed)

    def _note(self, refused: Decided) -> None:
        if self.record is not None and len(self.record.decided) < KEPT:
            self.record = after(self.record, refused)

    def _answer_the_rest(self) -> None:
        for waiting in self._inbox:
            waiting.verdict.set_result(self._unanswered(waiting))
        self._inbox.clear()

    def _unanswered(self, waiting: _Waiting) -> Decided:
        """What a decision gets that nobody weighs any more."""
        why = self.refusal(waiting.decision) or "the job ended while the decision was weighed"
        return Decided(
            decision=waiting.decision, by=waiting.decision.by, at=workflow.now(), refused=why
        )

    @property
    def _asked(self) -> ApprovalRecord:
        if self.record is None:
            raise AssertionError("nothing was asked")
        return self.record

    def _tell(self, kind: NoticeKind, text: str) -> None:
        """In the background: a web hook that does not answer must keep nobody waiting."""
        request = self._asked.request
        to: tuple[str, ...] = request.terms.approvers
        if kind == "escalated":
            to += request.terms.escalate_to
        elif kind in ("decided", "expired"):
            to = (request.submitter,) if request.submitter else ()
        notice = Notice(
            kind=kind,
            job_id=request.job_id,
            tenant=request.tenant,
            to=to,
            text=text,
            at=workflow.now(),
        )
        task = asyncio.create_task(_notify(notice))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


async def _notify(notice: Notice) -> None:
    try:
        await workflow.execute_activity_method(
            NotifyStep.notify,
            notice,
            schedule_to_close_timeout=NOTICE_TIME,
            retry_policy=NOTICE_TRIES,
        )
    except ActivityError as error:
        workflow.logger.warning("notice of %s not told: %s", notice.job_id, error.cause)
