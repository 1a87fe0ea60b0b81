"""One call of ``run``: the qsaga jobs behind it, and their answers as Qiskit's result."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult
from qiskit.providers import JobStatus
from temporalio.client import WorkflowExecutionStatus

from qsaga.calls import translated
from qsaga.client import QsagaClient
from qsaga.core.errors import QsagaError
from qsaga.core.results import JobResult, Unanswered
from qsaga.core.runs import Progress
from qsaga.core.states import HARDWARE_STATES, JobState
from qsaga.primitives.loop_thread import loop_thread

AT_ONCE = 64
"""Jobs that are awaited at the same time."""

_WAITING = {
    JobState.RECEIVED: JobStatus.INITIALIZING,
    JobState.ADMITTED: JobStatus.INITIALIZING,
    JobState.ENCODED: JobStatus.VALIDATING,
    JobState.COMPILED: JobStatus.VALIDATING,
    JobState.AWAITING_APPROVAL: JobStatus.QUEUED,
    JobState.QUARANTINED: JobStatus.QUEUED,
    JobState.SUBMITTED: JobStatus.QUEUED,
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.POSTPROCESSING: JobStatus.RUNNING,
    JobState.COMPLETED: JobStatus.DONE,
    JobState.DEGRADED: JobStatus.DONE,
    JobState.CANCELLED: JobStatus.CANCELLED,
}
"""Any other state is an error."""
_ON_HARDWARE = {JobState.ENCODED, *HARDWARE_STATES}
_FINAL = (JobStatus.DONE, JobStatus.CANCELLED, JobStatus.ERROR)
_ORDER = (
    JobStatus.INITIALIZING,
    JobStatus.VALIDATING,
    JobStatus.QUEUED,
    JobStatus.RUNNING,
    JobStatus.DONE,
)


class DegradedAnswer(UserWarning):
    """An answer came from another rung than the one that was to give it, or with fewer shots."""


class NoAnswer(QsagaError):
    """A job of a run ended without an answer.

    Args:
        result: how it ended: ``state``, ``unanswered.reason``, ``cost``, ….
    """

    exit_code: ClassVar[int] = 5

    def __init__(self, result: JobResult) -> None:
        self.result = result
        self.state = result.state
        self.unanswered = result.unanswered or Unanswered(reason="nothing is said")
        super().__init__(
            f"job {result.job_id} is {result.state.value}: {self.unanswered.reason}; the same "
            "call finds this job again, fresh=True or another experiment starts a new one"
        )


class DurableJob(BasePrimitiveJob[Any, JobStatus]):  # type: ignore[misc]
    """The jobs that a call of ``run`` started or found; they go on without this process.

    Args:
        job_id: names the run: the job's id where there is one job.
        job_ids: workflow ids, ``tenant/key``, in the order of ``make``.
        client: knows them.
        make: the result of the run, from those of the jobs.
        timeout: seconds that ``result`` waits unless it says otherwise; None is no limit.
    """

    def __init__(
        self,
        job_id: str,
        job_ids: Sequence[str],
        client: QsagaClient,
        make: Callable[[Sequence[JobResult]], PrimitiveResult],
        timeout: float | None,
    ) -> None:
        super().__init__(job_id)
        self.job_ids = tuple(job_ids)
        self._client, self._make, self._timeout = client, make, timeout
        self._result: PrimitiveResult | None = None

    def result(self, timeout: float | None = None) -> PrimitiveResult:
        """Wait for all jobs; each PUB has a ``PubResult``.

        Args:
            timeout: seconds to wait, in place of the primitive's.

        Raises:
            NoAnswer: a job ended without an answer.
            InvalidRequest, PolicyRefused: a worker refused a job; nothing was run.
            TimeoutError: not all have ended; they go on, and a further call waits again.
        """
        if self._result is None:
            limit = self._timeout if timeout is None else timeout
            ended = loop_thread().call(self._ended(limit))
            self._result = self._make(ended)
            self._warn(ended)
        return self._result

    def status(self) -> JobStatus:
        """The one that is behind the others; an error or a cancelled job outweighs the rest."""
        found = loop_thread().call(self._statuses())
        for verdict in (JobStatus.ERROR, JobStatus.CANCELLED):
            if verdict in found:
                return verdict
        if JobStatus.RUNNING in found or {JobStatus.DONE, JobStatus.QUEUED} <= set(found):
            return JobStatus.RUNNING
        return min(found, key=_ORDER.index, default=JobStatus.DONE)

    def done(self) -> bool:
        """Whether every job has an answer."""
        return self.status() is JobStatus.DONE

    def running(self) -> bool:
        """Whether a job is being run."""
        return self.status() is JobStatus.RUNNING

    def cancelled(self) -> bool:
        """Whether a job was cancelled and none failed."""
        return self.status() is JobStatus.CANCELLED

    def in_final_state(self) -> bool:
        """Whether every job has ended, however."""
        return all(status in _FINAL for status in loop_thread().call(self._statuses()))

    def cancel(self) -> None:
        """Ask every job to end; what a provider holds of them is cancelled and accounted."""
        loop_thread().call(self._cancel())

    async def _ended(self, limit: float | None) -> list[JobResult]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(job_id: str) -> JobResult:
            async with turns:
                result = await self._client.job(job_id).result()
            if result.answer is None:
                raise NoAnswer(result)
            return result

        try:
            async with asyncio.timeout(limit), asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(job_id)) for job_id in self.job_ids]
        except TimeoutError as error:
            raise TimeoutError(f"run {self.job_id()} had not ended after {limit:g} s") from error
        except ExceptionGroup as errors:
            # Whatever else went wrong is in the records of its job.
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _statuses(self) -> list[JobStatus]:
        return await asyncio.gather(*map(self._status, self.job_ids))

    async def _status(self, job_id: str) -> JobStatus:
        handle = self._client.job(job_id)
        with translated(job_id):
            described = await self._client.temporal.get_workflow_handle(job_id).describe()
        if described.status is WorkflowExecutionStatus.RUNNING:
            state = _now(await handle.progress())
        elif described.status is WorkflowExecutionStatus.COMPLETED:
            state = (await handle.result()).state
        else:
            state = JobState.FAILED
        return _WAITING.get(state, JobStatus.ERROR)

    async def _cancel(self) -> None:
        await asyncio.gather(*(self._client.job(job_id).cancel() for job_id in self.job_ids))

    def _warn(self, ended: Sequence[JobResult]) -> None:
        degraded = [result for result in ended if result.state is JobState.DEGRADED]
        if not degraded:
            return
        first = degraded[0]
        source = first.provenance.source.value if first.provenance else "an unknown source"
        why = next((one.reason for one in first.attempts if one.outcome != "answered"), "")
        why = why or (first.decision.reason if first.decision else "")
        warnings.warn(
            f"{len(degraded)} of {len(ended)} jobs of this run are degraded: {first.job_id} was "
            f"answered by {source}: {why}",
            DegradedAnswer,
            stacklevel=3,
        )


def _now(progress: Progress) -> JobState:
    """Where a running job stands; on hardware its run knows better."""
    state, run = progress.job.state, progress.run
    if run is None or state not in _ON_HARDWARE:
        return state
    # A run that has ended leaves its result to be checked.
    return JobState.POSTPROCESSING if run.state.final else run.state
