"""Writing a job's closing record, so that nothing takes its result away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.results import JobResult
    from qsaga.core.steps import CloseInput, CloseStep
    from workflows.job_log import JobLog
    from workflows.layers import LOCAL_TRY

REMOTE_TRY = timedelta(seconds=60)


async def kept(given: CloseInput, log: JobLog) -> JobResult:
    """The job's result, written down if that is possible at all.

    The server may have turned down a workflow task that closed the job already, because of
    something new: the caller is told what was recorded then.
    """
    # A cancellation that arrives here must not take the result away: it comes only once.
    for record in (_locally, _locally, _remotely):
        try:
            before = await record(given)
            return given.result if before is None else log.closed(before)
        # A local activity's failure comes as it is, and not as an ActivityError: one that it
        # raised always, its time-out in a replay.
        except (FailureError, asyncio.CancelledError) as error:
            workflow.logger.warning("closing record of %s: %s", log.job_id, error)
    return given.result


async def _locally(given: CloseInput) -> JobResult | None:
    return await workflow.execute_local_activity_method(
        CloseStep.close, given, schedule_to_close_timeout=LOCAL_TRY
    )


async def _remotely(given: CloseInput) -> JobResult | None:
    return await workflow.execute_activity_method(
        CloseStep.close, given, schedule_to_close_timeout=REMOTE_TRY
    )
