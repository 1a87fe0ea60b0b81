"""What Temporal still refers to: payloads that are kept beside it, jobs that have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.workflowservice.v1 import (
    DescribeScheduleRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from qsaga.claims import payloads_in, reference_in
from qsaga.core.runs import QUANTUM_JOB

AT_ONCE = 8
"""Histories that are read at the same time."""


class TemporalReferences:
    """Reads every history of the namespace (implements ``References``).

    Not only those of our own task queue: a workflow of somebody's own that has a quantum job as its
    child refers to the same payloads, and so does his schedule.

    Args:
        client: with qsaga's data converter.
        task_queue: of the deployment.
    """

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client, self._queue = client, task_queue

    async def answered_jobs(self) -> tuple[str, ...]:
        """Ids of the deployment's jobs that ended with a result."""
        query = (
            f"WorkflowType = '{QUANTUM_JOB}' AND TaskQueue = '{self._queue}' "
            "AND ExecutionStatus = 'Completed'"
        )
        return tuple([found.id async for found in self._client.list_workflows(query)])

    async def referred(self, hashes: Collection[str]) -> frozenset[str]:
        """Those of the hashes that some workflow or schedule of the namespace refers to."""
        if not hashes:
            return frozenset()
        found = await self._of_schedules()
        turns = asyncio.Semaphore(AT_ONCE)

        async def read(workflow_id: str, run_id: str) -> None:
            async with turns:
                found.update(await self._of_history(workflow_id, run_id))

        part: list[tuple[str, str]] = []
        async for execution in self._client.list_workflows(""):
            part.append((execution.id, execution.run_id))
            if len(part) == AT_ONCE * AT_ONCE:
                await asyncio.gather(*(read(*one) for one in part))
                part.clear()
        await asyncio.gather(*(read(*one) for one in part))
        return frozenset(hashes) & found

    async def _of_history(self, workflow_id: str, run_id: str) -> set[str]:
        found: set[str] = set()
        token = b""
        while True:
            try:
                page = await self._client.workflow_service.get_workflow_execution_history(
                    GetWorkflowExecutionHistoryRequest(
                        namespace=self._client.namespace,
                        execution=Execution(workflow_id=workflow_id, run_id=run_id),
                        next_page_token=token,
                    )
                )
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return found  # deleted since it was listed
                raise
            found |= await self._in(page.history)
            token = page.next_page_token
            if not token:
                return found

    async def _of_schedules(self) -> set[str]:
        """A schedule keeps what it will start workflows with, and nobody stores that again."""
        found: set[str] = set()
        try:
            names = [listed.id async for listed in await self._client.list_schedules()]
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return found
            raise
        for name in names:
            asked = DescribeScheduleRequest(namespace=self._client.namespace, schedule_id=name)
            try:
                found |= await self._in(
                    await self._client.workflow_service.describe_schedule(asked)
                )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        return found

    async def _in(self, message: Message) -> set[str]:
        found: set[str] = set()
        for payload in payloads_in(message):
            reference = await reference_in(payload, self._client.data_converter)
            if reference is not None:
                found.update(reference.claim_data.values())
        return found
