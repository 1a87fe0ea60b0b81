"""The first and the last word on a variational loop: deciding on it, keeping how it ended."""

from __future__ import annotations

from temporalio import activity

from activities.admission import Admit
from activities.identified import require_seal
from qsaga.core.facts import Decision
from qsaga.core.loop_records import LoopOpening, LoopRecords
from qsaga.core.loop_steps import AdmitLoopInput, AdmitLoopStep, CloseLoopStep, LoopAdmission
from qsaga.core.loops import LoopGrant, LoopResult
from qsaga.core.policy import Policy
from qsaga.core.states import HARDWARE_RUNGS, Rung


class LoopDesk(AdmitLoopStep, CloseLoopStep):
    """Admission and closing of loops for one deployment.

    Args:
        admit: decides on jobs.
        policy: that it decides by.
        loops: what is kept of loops.
        identity_required: every caller must prove who he is.
    """

    def __init__(
        self, admit: Admit, policy: Policy, loops: LoopRecords, *, identity_required: bool
    ) -> None:
        self._admit, self._policy, self._loops = admit, policy, loops
        self._required = identity_required

    @activity.defn(name="admit_loop")
    async def admit_loop(self, given: AdmitLoopInput) -> LoopAdmission:
        """Decide on all evaluations together."""
        request = given.request
        admission = await self._admit.whole(request, given.evaluations, given.at)
        await self._loops.open(
            LoopOpening(
                loop_id=request.job_id,
                tenant=request.tenant,
                payload_hash=given.payload_hash,
                at=given.at,
                guarded=admission.guarded,
            )
        )
        shut = self._shut(admission.decision)
        return LoopAdmission(
            admission=admission,
            grant=LoopGrant(
                loop_id=request.job_id,
                withheld=shut,
                open=bool(shut) and admission.decision.wanted in HARDWARE_RUNGS,
                guarded=admission.guarded,
            ),
            closed=await self._loops.get(request.job_id),
        )

    @activity.defn(name="close_loop")
    async def close_loop(self, given: LoopResult) -> None:
        """Write it down; of a guarded loop only what that loop itself says."""
        guarded = await self._loops.guarded(given.loop_id)
        if self._required if guarded is None else guarded:
            require_seal()
        await self._loops.close(given)

    def _shut(self, decision: Decision) -> str:
        """Why hardware was not part of what was judged, where a rule might have asked for it."""
        if not self._policy.approvals:
            return ""
        shut = {one.rung: one.reason for one in decision.refused}
        return shut.get(Rung.HARDWARE, "")
