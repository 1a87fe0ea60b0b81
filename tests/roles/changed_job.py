"""A QuantumJob that does something else first: it could not go on with older jobs."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from qsaga.core.loops import JobInput
    from qsaga.core.results import JobResult
    from qsaga.core.runs import QUANTUM_JOB
    from workflows.quantum_job import QuantumJob


@workflow.defn(name=QUANTUM_JOB)
class ChangedJob(QuantumJob):
    """Waits a moment before it begins: a timer where older histories have an activity."""

    @workflow.init
    def __init__(self, given: JobInput) -> None:
        super().__init__(given)

    @workflow.run
    async def run(self, given: JobInput) -> JobResult:
        """Wait, and then the same as ever."""
        await workflow.sleep(0.01)
        return await super().run(given)
