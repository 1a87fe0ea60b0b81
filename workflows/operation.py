"""What operators and auditors ask for: one step, in a workflow so that it survives and is seen."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.operations import OPERATION, OperationInput, OperationReport
    from qsaga.core.oversight import OperateInput, OperateStep
    from workflows.layers import HEARTBEAT, RETRY

LONGEST = timedelta(hours=1)


@workflow.defn(name=OPERATION, failure_exception_types=[ValidationError])
class Operation:
    """Does one operation."""

    @workflow.run
    async def run(self, given: OperationInput) -> OperationReport:
        """Hand it to the step that checks the caller's role and does it."""
        try:
            return await workflow.execute_activity_method(
                OperateStep.operate,
                OperateInput(
                    id=workflow.info().workflow_id,
                    operation=given.operation,
                    by=given.by,
                    at=workflow.info().workflow_start_time,
                    seal=given.seal,
                ),
                schedule_to_close_timeout=LONGEST,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=RETRY,
            )
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError):
                raise ApplicationError(
                    cause.message, type=cause.type, non_retryable=True
                ) from error
            raise
