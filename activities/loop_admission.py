"""Deciding on a variational loop as a whole, before any of its jobs."""

from __future__ import annotations

from temporalio import activity

from activities.admission import Admit
from qsaga.core.facts import Decision
from qsaga.core.loop_steps import AdmitLoopInput, AdmitLoopStep, LoopAdmission
from qsaga.core.loops import LoopGrant
from qsaga.core.policy import Policy
from qsaga.core.states import HARDWARE_RUNGS, Rung


class AdmitLoop(AdmitLoopStep):
    """Admission of loops for one deployment; ``policy`` is the one that ``admit`` decides by."""

    def __init__(self, admit: Admit, policy: Policy) -> None:
        self._admit, self._policy = admit, policy

    @activity.defn(name="admit_loop")
    async def admit_loop(self, given: AdmitLoopInput) -> LoopAdmission:
        """Decide on all evaluations together."""
        admission = await self._admit.whole(given.request, given.evaluations, given.at)
        shut = self._shut(admission.decision)
        return LoopAdmission(
            admission=admission,
            grant=LoopGrant(
                loop_id=given.request.job_id,
                withheld=shut,
                open=bool(shut) and admission.decision.wanted in HARDWARE_RUNGS,
                guarded=admission.guarded,
            ),
        )

    def _shut(self, decision: Decision) -> str:
        """Why hardware was not part of what was judged, where a rule might have asked for it."""
        if not self._policy.approvals:
            return ""
        shut = {one.rung: one.reason for one in decision.refused}
        return shut.get(Rung.HARDWARE, "")
