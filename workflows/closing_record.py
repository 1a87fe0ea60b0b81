"""Writing a job's closing record, so that nothing takes its result away or holds it up."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.results import JobResult
    from qsaga.core.steps import CloseInput, CloseStep
    from workflows.job_log import JobLog
    from workflows.layers import LOCAL_TRY, ONCE

REMOTE_TRY = timedelta(seconds=60)
LATE = timedelta(seconds=1)
"""By so much the server may be late to say that an activity's time is up."""
WORTH_A_TRY = timedelta(milliseconds=50)
"""With less there is no further try."""
IN_TIME = "closed-in-time"
"""Marks the jobs that leave out a try for which there is no time; older ones made every try."""


async def kept(given: CloseInput, log: JobLog, seconds: float) -> JobResult:
    """The job's result, written down if that is possible within ``seconds``.

    The server may have turned down a workflow task that closed the job already, because of
    something new: the caller is told what was recorded then.
    """
    until = workflow.now() + timedelta(seconds=seconds)
    # A cancellation that arrives here must not take the result away: it comes only once.
    tries = ((_locally, timedelta()), (_locally, timedelta()), (_remotely, LATE))
    for number, (record, late) in enumerate(tries):
        left = until - workflow.now() - late
        if number and left < WORTH_A_TRY and workflow.patched(IN_TIME):
            break
        try:
            before = await record(given, max(left, WORTH_A_TRY))
            return given.result if before is None else log.closed(before)
        # A local activity's failure comes as it is, and not as an ActivityError: one that it
        # raised always, its time-out in a replay.
        except (FailureError, asyncio.CancelledError) as error:
            workflow.logger.warning("closing record of %s: %s", log.job_id, error)
    return given.result


async def _locally(given: CloseInput, left: timedelta) -> JobResult | None:
    return await workflow.execute_local_activity_method(
        CloseStep.close,
        given,
        schedule_to_close_timeout=min(left, LOCAL_TRY),
        retry_policy=ONCE,
    )


async def _remotely(given: CloseInput, left: timedelta) -> JobResult | None:
    return await workflow.execute_activity_method(
        CloseStep.close, given, schedule_to_close_timeout=min(left, REMOTE_TRY)
    )
