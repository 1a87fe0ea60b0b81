"""The handle of one job: follow it, await its result, decide on it, end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from qsaga.calls import translated
from qsaga.core.approval import ApprovalRecord
from qsaga.core.errors import (
    NoSuchJob,
    PolicyRefused,
    QsagaError,
    Unreachable,
)
from qsaga.core.outcome import compared
from qsaga.core.records import JobRecord
from qsaga.core.results import JobResult, JobStatus
from qsaga.core.runs import STATUS, JobAccount, Progress, RunReport, RunStatus
from qsaga.core.story import account_of
from qsaga.deciding import Decidable
from qsaga.retries import retries_of
from qsaga.settings import Settings


class JobHandle(Decidable):
    """One job, whether running, ended or known to the records only."""

    def __init__(self, client: Client, job_id: str, settings: Settings) -> None:
        self.job_id = job_id
        self._job = client.get_workflow_handle(job_id, result_type=JobResult)
        super().__init__(client, self._job, settings)

    async def result(self, seconds: float | None = None) -> JobResult:
        """Wait for the end of the job.

        Args:
            seconds: how long to wait; None waits as long as it takes.

        Raises:
            InvalidRequest, KeyConflict: the worker refused the request.
            NoSuchJob: Temporal knows nothing under this id; see ``account``.
            TimeoutError: the job had not ended after ``seconds``.
        """
        with translated(self.job_id):
            return await asyncio.wait_for(self._job.result(), seconds)

    async def progress(self) -> Progress:
        """Where the job stands now, the hardware run included."""
        with translated(self.job_id):
            job = await self._job.query(STATUS, result_type=JobStatus)
            run = await self._run_status(job.run_id) if job.run_id else None
        return Progress(job=job, run=run)

    async def watch(self, interval: float = 0.25) -> AsyncIterator[Progress]:
        """Each change of the job, its approval or its run, until it ends, however it ends."""

        def told(now: Progress) -> object:
            run = now.run.state if now.run else None
            return now.job.state, now.job.rung, now.job.approval, run

        async for now in self._changes(self.progress, told, interval):
            yield now
            if now.job.state.final:
                return

    async def cancel(self) -> None:
        """Ask the job to end; its result then has state ``cancelled``. Safe to repeat."""
        with translated(self.job_id):
            await self._job.cancel()

    async def approval(self) -> ApprovalRecord | None:
        """What is or was asked of a person; None if nothing was."""
        try:
            return (await self.progress()).job.approval
        except NoSuchJob:
            return (await self.record()).approval

    async def _has_ended(self) -> QsagaError:
        """What to say of a job that takes no decision any more. Raises NoSuchJob."""
        try:
            with translated(self.job_id):
                status = (await self._job.describe()).status
            if status is WorkflowExecutionStatus.RUNNING:
                return Unreachable("the decision did not arrive (allowed: decide again)")
            known = await self.result() if status is WorkflowExecutionStatus.COMPLETED else None
            how = known.state.value if known else status.name.lower() if status else "unknown"
        except NoSuchJob:
            kept = (await self.record()).result
            how = kept.state.value if kept else "unknown"
        return PolicyRefused(f"job {self.job_id} has ended: {how}")

    # --- what remains ----------------------------------------------------------------------------

    async def account(self) -> JobAccount:
        """The job's result, and what its hardware runs cost: also after the answer was served.

        Raises:
            NoSuchJob: nothing is known under this id, or no more than its charges.
        """
        try:
            result = await self.result()
        except NoSuchJob:
            record = await self.record()
            account = account_of(record)
            if account is None:
                raise NoSuchJob(
                    f"of job {self.job_id!r} no result is kept"
                    + (f": it was deleted at {record.forgotten}" if record.forgotten else "")
                ) from None
            return account
        # A result of before it told its runs has them in its attempts, some twice.
        attempted = (attempt.run_id for attempt in result.attempts)
        run_ids = result.runs or tuple(dict.fromkeys(tag for tag in attempted if tag))
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
            retries=await self.retries(),
        )

    async def retries(self) -> dict[str, int] | None:
        """Attempts after the first, by step, of the job and its hardware runs so far.

        Those of ``follow``, by which a run waits for its job, are not counted. None where Temporal,
        which keeps them, has forgotten the job.
        """
        with suppress(NoSuchJob), translated(self.job_id):
            return dict(await retries_of(self._client, self.job_id))
        return None

    async def record(self) -> JobRecord:
        """All that the records keep of the job, also when Temporal has forgotten it.

        Raises:
            NoSuchJob: they know nothing of it either.
            Unauthenticated, Forbidden, Unreachable: as ``QsagaClient.operate``.
        """
        report = await self._kept()
        if report.record is None:
            raise NoSuchJob(f"no job {self.job_id!r} is known")
        return report.record

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
        with suppress(NoSuchJob), translated(run_id):
            if (await run.describe()).status is WorkflowExecutionStatus.COMPLETED:
                report: RunReport = await run.result()
                return report
        return None
