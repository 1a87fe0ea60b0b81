"""Temporal as an archive: what it holds of jobs, and deleting that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, TypeVar

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.converter import StorageDriverWorkflowInfo
from temporalio.service import RPCError, RPCStatusCode

from qsaga.claims import delete_referenced, sweep
from qsaga.core.archive import HeldJob, HeldLoop, HeldRun
from qsaga.core.contract import Contract
from qsaga.core.loops import HYBRID_LOOP, JobInput, LoopInput, LoopResult
from qsaga.core.results import JobResult
from qsaga.core.runs import HARDWARE_RUN, QUANTUM_JOB, RunReport, RunRequest

HELD = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED)

C = TypeVar("C", bound=Contract)


class TemporalArchive:
    """Implements ``Archive`` on a client.

    Args:
        client: with qsaga's data converter, which knows where payloads are kept beside Temporal.
        task_queue: of the deployment; jobs of another one in the namespace are left alone.
    """

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client, self._queue = client, task_queue

    async def running(self, workflow_id: str) -> bool:
        """Whether a workflow of that id is at work."""
        return await self._status(workflow_id) is WorkflowExecutionStatus.RUNNING

    async def known(self, workflow_id: str) -> bool:
        """Whether there is, or was within the retention, a workflow of that id."""
        return await self._status(workflow_id) is not None

    async def completed(self, workflow_id: str) -> bool:
        """Whether a workflow of that id has ended with a result."""
        return await self._status(workflow_id) is WorkflowExecutionStatus.COMPLETED

    async def _status(self, workflow_id: str) -> WorkflowExecutionStatus | None:
        described = await self._described(workflow_id)
        return described.status if described else None

    async def _described(self, workflow_id: str) -> WorkflowExecution | None:
        try:
            return await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def job(self, job_id: str) -> HeldJob | None:
        """A job that runs or has ended with a result."""
        described = await self._described(job_id)
        return await self._job(described) if described and described.status in HELD else None

    async def jobs(self) -> AsyncIterator[HeldJob]:
        """All jobs that run or have ended with a result, oldest first."""
        async for execution in self._listed(QUANTUM_JOB):
            if (job := await self._job(execution)) is not None:
                yield job

    async def _job(self, execution: WorkflowExecution) -> HeldJob | None:
        given = await self._input(execution, JobInput)
        if given is None:
            return None
        return HeldJob(
            job_id=execution.id,
            account=execution.run_id,
            began=execution.start_time,
            request=given.request,
            result=await self._result(execution, JobResult),
        )

    async def runs(self) -> AsyncIterator[HeldRun]:
        """All hardware runs that run or have closed their account."""
        async for execution in self._listed(HARDWARE_RUN):
            request = await self._input(execution, RunRequest)
            if request is not None:
                yield HeldRun(request=request, report=await self._result(execution, RunReport))

    async def loop(self, loop_id: str) -> HeldLoop | None:
        """A loop that runs or has ended with a result."""
        described = await self._described(loop_id)
        return await self._loop(described) if described and described.status in HELD else None

    async def loops(self) -> AsyncIterator[HeldLoop]:
        """All loops that run or have ended with a result, oldest first."""
        async for execution in self._listed(HYBRID_LOOP):
            if (loop := await self._loop(execution)) is not None:
                yield loop

    async def _loop(self, execution: WorkflowExecution) -> HeldLoop | None:
        given = await self._input(execution, LoopInput)
        if given is None:
            return None
        return HeldLoop(
            loop_id=execution.id,
            began=given.carry.began if given.carry else execution.start_time,
            request=given.request,
            result=await self._result(execution, LoopResult),
        )

    async def _listed(self, kind: str) -> AsyncIterator[WorkflowExecution]:
        query = f"WorkflowType = '{kind}' AND TaskQueue = '{self._queue}'"
        async for execution in self._client.list_workflows(query):
            if execution.status in HELD:
                yield execution

    async def _input(self, execution: WorkflowExecution, kind: type[C]) -> C | None:
        first = (await self._events(execution.id, execution.run_id, most=1))[0]
        given = first.workflow_execution_started_event_attributes.input.payloads
        if not given:
            return None
        (decoded,) = await self._client.data_converter.decode(given, [kind])
        return decoded if isinstance(decoded, kind) else None

    async def _result(self, execution: WorkflowExecution, kind: type[C]) -> C | None:
        if execution.status is not WorkflowExecutionStatus.COMPLETED:
            return None
        handle: Any = self._client.get_workflow_handle(
            execution.id, run_id=execution.run_id, result_type=kind
        )
        found: C = await handle.result()
        return found

    async def forget(self, workflow_id: str, before: datetime, *, prefix: bool = False) -> bool:
        """Delete every closed run of a workflow, and its payloads kept beside Temporal."""
        query = f"WorkflowId {'STARTS_WITH' if prefix else '='} '{workflow_id}'"
        found: dict[str, list[WorkflowExecution]] = {}
        async for execution in self._client.list_workflows(query):
            found.setdefault(execution.id, []).append(execution)
        if not prefix:
            found.setdefault(workflow_id, [])  # its payloads outlive Temporal's retention
        everything = True
        for each, executions in found.items():
            everything = await self._forget(each, executions, before) and everything
        return everything

    async def _forget(
        self, workflow_id: str, executions: list[WorkflowExecution], before: datetime
    ) -> bool:
        """Delete what is closed of one workflow id."""
        converter = self._client.data_converter
        closed = [each for each in executions if each.status is not WorkflowExecutionStatus.RUNNING]
        everything = len(closed) == len(executions)
        # Before the histories, which are the only thing that knows of them.
        for execution in closed:
            for event in await self._events(execution.id, execution.run_id):
                everything = await delete_referenced(event, converter, before) and everything
        if len(closed) == len(executions):
            for kind in {each.workflow_type for each in closed} or {QUANTUM_JOB, HARDWARE_RUN}:
                owner = StorageDriverWorkflowInfo(
                    namespace=self._client.namespace, id=workflow_id, type=kind
                )
                everything = await sweep(converter, owner, before) and everything
        for execution in closed:
            await self._client.workflow_service.delete_workflow_execution(
                DeleteWorkflowExecutionRequest(
                    namespace=self._client.namespace,
                    workflow_execution=Execution(workflow_id=execution.id, run_id=execution.run_id),
                )
            )
        return everything

    async def _events(
        self, workflow_id: str, run_id: str, most: int | None = None
    ) -> list[HistoryEvent]:
        """Raw events: nothing that is kept outside is fetched."""
        events: list[HistoryEvent] = []
        token = b""
        while True:
            page = await self._client.workflow_service.get_workflow_execution_history(
                GetWorkflowExecutionHistoryRequest(
                    namespace=self._client.namespace,
                    execution=Execution(workflow_id=workflow_id, run_id=run_id),
                    maximum_page_size=most or 0,
                    next_page_token=token,
                )
            )
            events += page.history.events
            token = page.next_page_token
            if not token or (most is not None and len(events) >= most):
                return events
