"""Whether a variational loop as a whole may go on, and what its jobs are granted."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.approval import ApprovalRecord, ApprovalTerms, approved_ceiling
    from qsaga.core.asking import approval_request, refusal_text
    from qsaga.core.loop_rules import End, time_to_measure
    from qsaga.core.loop_steps import (
        AdmitLoopInput,
        AdmitLoopStep,
        Asking,
        CloseLoopStep,
        LoopAdmission,
    )
    from qsaga.core.loops import LoopCarry, LoopGrant, LoopRequest, LoopResult
    from qsaga.core.states import JobState, Layer
    from workflows.approval import ApprovalDesk
    from workflows.closing_record import REMOTE_TRY
    from workflows.layers import Allowance, Stopwatch
    from workflows.published import publish


class EndedBefore(Exception):
    """The loop of this key has ended long ago, and Temporal has forgotten it."""

    def __init__(self, result: LoopResult) -> None:
        super().__init__(result.loop_id)
        self.result = result


class LoopGate:
    """Asks once for all points: many cheap ones must not pass a limit that their sum breaks.

    Args:
        request: the loop's.
        watch: of its steps.
        time: that it has.
        carry: what an earlier run of it has handed over.
    """

    def __init__(
        self, request: LoopRequest, watch: Stopwatch, time: Allowance, carry: LoopCarry | None
    ) -> None:
        self._request, self._watch, self._time = request, watch, time
        self.desk = ApprovalDesk()
        self.desk.record = carry.approval if carry else None
        self.grant: LoopGrant | None = carry.grant if carry else None
        self.guarded: bool | None = self.grant.guarded if self.grant else None
        self.waits = False

    async def admit(self, asking: Asking) -> End | None:
        """Why the loop ends before these points; None if it goes on.

        Raises:
            LayerEnded: it was refused.
            EndedBefore: it had ended before.
            asyncio.CancelledError: the loop was cancelled.
        """
        if not asking.evaluations:  # of an earlier version, that asks about each job
            self.guarded = False
        elif asking.points and (self.grant is None or self.grant.open):
            return await self._judged(asking)
        return None

    async def _judged(self, asking: Asking) -> End | None:
        workload = self._request.workload
        bound = workload.model_copy(update={"circuit": asking.points[0].circuit})
        found = await self._watch.step(
            Layer.ADMIT,
            self._time.of(Layer.ADMIT),
            AdmitLoopStep.admit_loop,
            AdmitLoopInput(
                request=self._request.model_copy(update={"workload": bound}),
                at=workflow.now(),
                evaluations=asking.evaluations,
                payload_hash=self._request.payload_hash(),
            ),
        )
        if found.closed is not None:
            raise EndedBefore(found.closed)
        self.guarded, self.grant = found.admission.guarded, found.grant
        terms = found.admission.decision.approval
        return await self._asked(found, terms) if terms else None

    async def _asked(self, found: LoopAdmission, terms: ApprovalTerms) -> End | None:
        left = self._time.left() - time_to_measure(self._request)
        request = approval_request(
            self._request,
            found.admission,
            terms,
            workflow.now(),
            max(min(self._time.of(Layer.APPROVAL), left), 0.0),
        )
        publish(self._request.tenant, JobState.AWAITING_APPROVAL)
        self.waits = True
        try:
            record = await self.desk.wait(request, guarded=found.admission.guarded)
        finally:
            self.waits = False
        if record.outcome == "rejected":
            return End("rejected", refusal_text(record))
        if record.outcome == "expired" and found.admission.decision.on_expiry == "end":
            return End("expired", refusal_text(record))
        publish(self._request.tenant, JobState.RUNNING)
        self.grant = found.grant.model_copy(update={"open": False, **_allowed(record)})
        return None

    async def keep(self, result: LoopResult) -> None:
        """Write down how the loop ended, if that is possible without holding its answer up.

        If it is not, the reconciliation does.
        """
        if self.grant is None:
            return
        seconds = self._time.closing(answered=result.answer is not None)
        try:
            await workflow.execute_activity_method(
                CloseLoopStep.close_loop,
                result,
                schedule_to_close_timeout=min(timedelta(seconds=seconds), REMOTE_TRY),
            )
        except ActivityError as error:
            workflow.logger.warning("the end of %s is not kept: %s", result.loop_id, error.cause)


def _allowed(record: ApprovalRecord) -> dict[str, object]:
    """What jobs are granted by a person's yes, or by nobody's word where the policy goes on."""
    if record.outcome == "expired":
        return {"withheld": refusal_text(record)}
    ceiling = approved_ceiling(record)
    # Who was shown no price has not approved one.
    withheld = "" if ceiling else "it was not part of what was approved"
    return {"ceiling": ceiling, "withheld": withheld}
