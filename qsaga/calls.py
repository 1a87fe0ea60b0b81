"""Calls to Temporal: its errors as qsaga's, and operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeout
from temporalio.service import RPCError, RPCStatusCode

from qsaga.caller import caller_name
from qsaga.core.errors import InvalidRequest, NoSuchJob, QsagaError, Unreachable, from_failure
from qsaga.core.operations import (
    OPERATION,
    GetRecord,
    Operation,
    OperationInput,
    OperationReport,
    Reproduce,
    schedule_id,
)
from qsaga.core.validation import invalid_request
from qsaga.settings import Settings


class NoWorker(Unreachable):
    """Temporal answers, but nobody works on the task queue."""

    def __init__(self, queue: str, seconds: float) -> None:
        super().__init__(f"no worker on task queue {queue!r} answered within {seconds:g} s")


class RanOut(QsagaError):
    """A workflow used up the time that it was given as a whole."""


async def operate(
    client: Client, settings: Settings, operation: Operation, *, by: str | None, seconds: float
) -> OperationReport:
    """Do an operation. Where the caller dies the operation goes on; repeating it is safe.

    Args:
        client: of Temporal.
        settings: name the task queue and the caller.
        operation: what to do.
        by: who asks; None is the caller of the settings.
        seconds: the most that it may take, a worker's coming included.

    Raises:
        InvalidRequest: ``by`` is no name, or the operation cannot be done as it is.
        Unauthenticated, Forbidden: the caller may not ask for it.
        PolicyRefused, NoSuchJob: as the operation says.
        Unreachable: no worker answered within ``seconds``.
    """
    queue = settings.temporal.task_queue
    try:
        given = OperationInput(operation=operation, by=by or caller_name(settings))
    except ValidationError as error:
        raise invalid_request(error) from error
    # What is about one job bears its id, so that it can be forgotten with the job.
    about = f"{operation.job_id}/" if isinstance(operation, GetRecord | Reproduce) else ""
    workflow_id = f"operation/{operation.kind}/{about}{uuid4().hex}"
    try:
        with translated(workflow_id):
            report: OperationReport = await client.execute_workflow(
                OPERATION,
                given,
                id=workflow_id,
                task_queue=queue,
                result_type=OperationReport,
                execution_timeout=timedelta(seconds=seconds),
            )
    except RanOut as error:
        raise NoWorker(queue, seconds) from error
    return report


async def last_scheduled(client: Client, settings: Settings, kind: str) -> OperationReport:
    """The report of the operation of that kind that the schedule asked for last.

    Raises:
        NoSuchJob: there is no such schedule, it has started nothing yet, or Temporal keeps it no
            more.
        QsagaError: as the operation failed.
        Unreachable: Temporal does not answer.
    """
    name = schedule_id(settings.deployment, kind)
    try:
        said = (await client.get_schedule_handle(name).describe()).info
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.UNIMPLEMENTED):
            raise NoSuchJob(
                f"there is no schedule {name!r} (QSAGA_DEPLOYMENT is {settings.deployment!r})"
            ) from error
        raise Unreachable(f"Temporal does not answer: {error.message}") from error
    running = list(said.running_actions)
    done = [
        one.action
        for one in said.recent_actions
        if one.action not in running
        and isinstance(one.action, ScheduleActionExecutionStartWorkflow)
    ]
    if not done:
        due = f"; the next is due at {said.next_action_times[0]:%Y-%m-%d %H:%M} UTC"
        raise NoSuchJob(
            f"schedule {name!r} has no report yet" + (due if said.next_action_times else "")
        )
    last = done[-1]
    handle: WorkflowHandle[Any, OperationReport] = client.get_workflow_handle(
        last.workflow_id, run_id=last.first_execution_run_id, result_type=OperationReport
    )
    with translated(last.workflow_id):
        return await handle.result()


@contextmanager
def translated(job_id: str) -> Iterator[None]:
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
            raise RanOut(f"job {job_id} was ended: {cause}") from error
        raise QsagaError(f"job {job_id} was ended: {cause}") from error
    except WorkflowQueryFailedError as error:
        raise QsagaError(f"job {job_id} does not say how it stands: {error}") from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NoSuchJob(f"no job {job_id!r} is known") from error
        raise Unreachable(f"Temporal does not answer: {error.message}") from error
