"""The typed client: start a job, follow it, await its result, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.exceptions import TimeoutError as TemporalTimeout
from temporalio.service import RPCError, RPCStatusCode

from qsaga.connection import connect
from qsaga.core.attributes import PAYLOAD_HASH
from qsaga.core.errors import (
    InvalidRequest,
    KeyConflict,
    NoSuchJob,
    QsagaError,
    Unreachable,
    from_failure,
)
from qsaga.core.jobs import JobRequest, Optimise
from qsaga.core.outcome import compared
from qsaga.core.policy import Decision
from qsaga.core.results import JobResult, JobStatus
from qsaga.core.runs import (
    PLAN_JOB,
    QUANTUM_JOB,
    STATUS,
    JobAccount,
    Progress,
    RunReport,
    RunStatus,
)
from qsaga.core.states import Layer
from qsaga.problems.registry import parse
from qsaga.settings import Settings

WORKER_SLACK = 30.0
"""Seconds for a worker to take up a plan, beside the budget of admission."""
EARLY_CHECK = 15.0
"""Seconds in all for the plan that checks a request before it is started."""


class _NoWorker(Unreachable):
    """Temporal answers, but nobody works on the task queue."""


class _RanOut(QsagaError):
    """A workflow used up the time that it was given as a whole."""


class JobHandle:
    """One job, whether running or ended."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client, self.job_id = client, job_id
        self._job = client.get_workflow_handle(job_id, result_type=JobResult)

    async def result(self, seconds: float | None = None) -> JobResult:
        """Wait for the end of the job.

        Args:
            seconds: how long to wait; None waits as long as it takes.

        Raises:
            InvalidRequest, KeyConflict: the worker refused the request.
            NoSuchJob: nothing is known under this id.
            TimeoutError: the job had not ended after ``seconds``.
        """
        with _translated(self.job_id):
            return await asyncio.wait_for(self._job.result(), seconds)

    async def progress(self) -> Progress:
        """Where the job stands now, the hardware run included."""
        with _translated(self.job_id):
            job = await self._job.query(STATUS, result_type=JobStatus)
            run = await self._run_status(job.run_id) if job.run_id else None
        return Progress(job=job, run=run)

    async def watch(self, interval: float = 0.25) -> AsyncIterator[Progress]:
        """Each change of the job's or its run's state, until the job ends, however it ends."""
        seen: tuple[object, ...] = ()
        while True:
            now = await self.progress()
            key = (now.job.state, now.job.rung, now.run.state if now.run else None)
            if key != seen:
                seen = key
                yield now
            if now.job.state.final or not await self._running():
                return
            await asyncio.sleep(interval)

    async def cancel(self) -> None:
        """Ask the job to end; its result then has state ``cancelled``. Safe to repeat."""
        with _translated(self.job_id):
            await self._job.cancel()

    async def account(self) -> JobAccount:
        """The job's result, and what its hardware runs cost: also after the answer was served.

        Raises:
            NoSuchJob: nothing is known under this id.
        """
        result = await self.result()
        run_ids = [attempt.run_id for attempt in result.attempts if attempt.run_id]
        reports = [report for run_id in run_ids if (report := await self._run_report(run_id))]
        accounts = [report.account for report in reports if report.account]
        return JobAccount(
            result=result,
            runs=tuple(reports),
            charges=tuple(charge for account in accounts for charge in account.charges),
            late_results=tuple(
                compared(account.late, result) for account in accounts if account.late
            ),
            closed=len(reports) == len(run_ids),
        )

    async def _running(self) -> bool:
        """A job that was refused or terminated never says of itself that it has ended."""
        with _translated(self.job_id):
            described = await self._job.describe()
        return described.status is WorkflowExecutionStatus.RUNNING

    async def _run_status(self, run_id: str) -> RunStatus | None:
        run = self._client.get_workflow_handle(run_id)
        try:
            status: RunStatus = await run.query(STATUS, result_type=RunStatus)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return status

    async def _run_report(self, run_id: str) -> RunReport | None:
        """The report of a run whose account is closed, else None."""
        run = self._client.get_workflow_handle(run_id, result_type=RunReport)
        with suppress(NoSuchJob), _translated(run_id):
            if (await run.describe()).status is WorkflowExecutionStatus.COMPLETED:
                report: RunReport = await run.result()
                return report
        return None


class QsagaClient:
    """Starts and finds jobs.

    >>> client = await QsagaClient.connect()              # doctest: +SKIP
    >>> handle = await client.start(request)              # doctest: +SKIP
    >>> result = await handle.result()                    # doctest: +SKIP
    """

    def __init__(self, client: Client, settings: Settings | None = None) -> None:
        self.temporal = client
        self._settings = settings or Settings()

    @classmethod
    async def connect(cls, settings: Settings | None = None) -> QsagaClient:
        """Connect as the settings say. Raises Unreachable."""
        settings = settings or Settings()
        return cls(await connect(settings), settings)

    def job(self, job_id: str) -> JobHandle:
        """The handle of a job by its id, ``tenant/key``."""
        return JobHandle(self.temporal, job_id)

    async def start(self, request: JobRequest) -> JobHandle:
        """Start the job, or find it if the same key was used for the same payload before.

        Raises:
            InvalidRequest: naming the field, what was wrong and what is allowed; nothing was
                started.
            KeyConflict: the key belongs to a job with another payload.
            Unreachable: Temporal does not answer.
        """
        check(request)
        if (request.route or request.backend) and not await self._exists(request.job_id):
            # Only a worker knows what its backends can take. Where none runs now the job starts
            # all the same, and the worker that comes refuses it if it must.
            with suppress(_NoWorker):
                await self._plan(request, EARLY_CHECK)
        with _translated(request.job_id):
            try:
                await self.temporal.start_workflow(
                    QUANTUM_JOB,
                    request,
                    id=request.job_id,
                    task_queue=self._settings.temporal.task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    # Told apart from a new job, so that only a repeated key costs a look-up.
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    memo={PAYLOAD_HASH: request.payload_hash()},
                )
            except WorkflowAlreadyStartedError:
                await self._same_payload(request)
        return self.job(request.job_id)

    async def run(self, request: JobRequest, seconds: float | None = None) -> JobResult:
        """Start the job and wait for its result."""
        return await (await self.start(request)).result(seconds)

    async def plan(self, request: JobRequest) -> Decision:
        """What would happen to the request now; nothing is started, reserved or sent.

        Raises:
            InvalidRequest, PolicyRefused: as ``start`` would.
            Unreachable: no worker answered within the budget of admission and half a minute.
        """
        return await self._plan(request, request.budgets.seconds(Layer.ADMIT) + WORKER_SLACK)

    async def _plan(self, request: JobRequest, limit: float) -> Decision:
        check(request)
        queue = self._settings.temporal.task_queue
        try:
            with _translated(request.job_id):
                decision: Decision = await self.temporal.execute_workflow(
                    PLAN_JOB,
                    request,
                    id=f"plan/{request.job_id}/{uuid4().hex[:12]}",
                    task_queue=queue,
                    result_type=Decision,
                    # Somebody waits for it: where no worker runs it must not wait for ever.
                    execution_timeout=timedelta(seconds=limit),
                )
        except _RanOut as error:
            raise _NoWorker(
                f"no worker on task queue {queue!r} answered within {limit:g} s"
            ) from error
        return decision

    async def _exists(self, job_id: str) -> bool:
        try:
            described = await self.temporal.get_workflow_handle(job_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unreachable(f"Temporal does not answer: {error}") from error
        running = WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED
        return described.status in running

    async def _same_payload(self, request: JobRequest) -> None:
        handle = self.temporal.get_workflow_handle(request.job_id)
        known: str | None = await (await handle.describe()).memo_value(
            PAYLOAD_HASH, None, type_hint=str
        )
        if known is None:  # started by a plain client without the memo
            known = (await handle.query(STATUS, result_type=JobStatus)).payload_hash
        if known != request.payload_hash():
            raise KeyConflict(
                f"key: {request.job_id!r} belongs to a job with another payload "
                "(allowed: a new key, or the same request)"
            )


def check(request: JobRequest) -> None:
    """Refuse what no worker would accept. Raises InvalidRequest."""
    if isinstance(request.workload, Optimise):
        parse(request.workload.problem)


@contextmanager
def _translated(job_id: str) -> Iterator[None]:
    """Temporal's errors as qsaga's."""
    try:
        yield
    except WorkflowFailureError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError):
            if cause.type == "ValidationError":
                raise InvalidRequest("request", cause.message) from error
            raise from_failure(cause.type or "", cause.message) from error
        if isinstance(cause, TemporalTimeout):
            raise _RanOut(f"job {job_id} was ended: {cause}") from error
        raise QsagaError(f"job {job_id} was ended: {cause}") from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NoSuchJob(f"no job {job_id!r} is known") from error
        raise Unreachable(f"Temporal does not answer: {error.message}") from error
