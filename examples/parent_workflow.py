"""A workflow of your own that runs a quantum job as a child, and a worker for it.

Your workflow, your task queue, your worker: qsaga's worker only does the child.

python examples/parent_workflow.py        (a qsaga worker must be running: see examples/README.md)
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

with workflow.unsafe.imports_passed_through():
    from qsaga.core.jobs import Budgets, JobRequest, Optimise, Problem
    from qsaga.core.results import JobResult, OptimiseAnswer
    from qsaga.core.runs import QUANTUM_JOB

TASK_QUEUE = "my-plans"
QSAGA_TASK_QUEUE = "qsaga"


@workflow.defn
class PlanFrequencies:
    """Chooses the stations that may share a frequency: those that do not disturb each other."""

    @workflow.run
    async def run(self, conflicts: list[tuple[str, str]]) -> list[str]:
        """Names of the stations chosen."""
        request = JobRequest(
            tenant="examples",
            key=f"frequencies-{workflow.info().workflow_id}",
            workload=Optimise(
                problem=Problem(
                    name="independent_set", data={"edges": [list(pair) for pair in conflicts]}
                )
            ),
            budgets=Budgets(deadline=600, queue=120, solve=1),
        )
        result: JobResult = await workflow.execute_child_workflow(
            QUANTUM_JOB,
            request,
            # tenant/key: any other id is refused.
            id=request.job_id,
            task_queue=QSAGA_TASK_QUEUE,
            result_type=JobResult,
        )
        if not isinstance(result.answer, OptimiseAnswer):
            workflow.logger.warning("no answer: %s", result.unanswered)
            return []
        chosen = result.answer.solution["chosen"]
        return [str(name) for name in chosen] if isinstance(chosen, list) else []


def runner() -> SandboxedWorkflowRunner:
    """The sandbox; qsaga's own types are shared with it, not loaded again for every workflow."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            "pydantic", "pydantic_core", "annotated_types", "qsaga.core"
        )
    )


async def main() -> None:
    """Run a worker for the workflow above, and one such workflow."""
    from qsaga.connection import connect
    from qsaga.settings import Settings

    client = await connect(Settings())
    conflicts = [("north", "east"), ("east", "south"), ("south", "west"), ("west", "north")]
    async with Worker(
        client, task_queue=TASK_QUEUE, workflows=[PlanFrequencies], workflow_runner=runner()
    ):
        chosen = await client.execute_workflow(
            PlanFrequencies.run,
            conflicts,
            id="plan-1",
            task_queue=TASK_QUEUE,
            execution_timeout=timedelta(minutes=15),
        )
    print("may share a frequency:", ", ".join(chosen))


if __name__ == "__main__":
    asyncio.run(main())
