"""What would happen to a job, without running it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.admission import AdmitInput, AdmitStep
    from qsaga.core.facts import Decision
    from qsaga.core.jobs import JobRequest
    from qsaga.core.runs import PLAN_JOB
    from qsaga.core.states import Layer
    from workflows.layers import LayerEnded, Stopwatch


@workflow.defn(name=PLAN_JOB, failure_exception_types=[ValidationError])
class PlanJob:
    """The decision that a job would get now: nothing is opened, reserved or sent."""

    @workflow.run
    async def run(self, request: JobRequest) -> Decision:
        """Survey and decide."""
        budget = request.budgets.seconds(Layer.ADMIT)
        try:
            admission = await Stopwatch().step(
                Layer.ADMIT,
                budget,
                AdmitStep.admit,
                AdmitInput(request=request, job_id=request.job_id, at=workflow.now(), dry_run=True),
            )
        except LayerEnded as end:
            raise end.as_failure() from end
        return admission.decision.model_copy(update={"shortage": admission.refused})
