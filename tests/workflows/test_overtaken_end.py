"""A workflow that wants to end hears first what came in meanwhile, and ends then all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import pytest_asyncio
import temporalio.worker
from temporalio import workflow
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import WorkflowTaskFailedEventAttributes
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.approval import DECIDE, ApprovalDecision, Verdict
from qsaga.core.jobs import submission_tag
from qsaga.core.runs import HARDWARE_RUN, LOOK, QUANTUM_JOB
from qsaga.core.states import JobState
from tests.support.failed_tasks import OVERTAKEN, failed_tasks, faults
from tests.support.stack import Stack, bell, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 1.5
"""Seconds; the SDK takes a workflow that holds its thread for two for a deadlock."""


class Held:
    """Which workflow is held where it would end, that it is, and that it may go on."""

    kind = ""
    ending, told = Event(), Event()

    @classmethod
    def begin(cls, kind: str) -> None:
        """Hold the next one of that kind."""
        cls.kind = kind
        cls.ending.clear()
        cls.told.clear()


class _HeldWorkflow(temporalio.worker.WorkflowInboundInterceptor):
    async def execute_workflow(self, input: temporalio.worker.ExecuteWorkflowInput) -> Any:
        result = await super().execute_workflow(input)
        if workflow.info().workflow_type == Held.kind and not Held.ending.is_set():
            Held.ending.set()
            Held.told.wait(PATIENCE)
        return result


class _Holding(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    def workflow_interceptor_class(
        self, input: temporalio.worker.WorkflowInterceptorClassInput
    ) -> type[temporalio.worker.WorkflowInboundInterceptor]:
        return _HeldWorkflow


@pytest_asyncio.fixture(loop_scope="session")
async def stack(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Stack]:
    """One whose workflows can be held at their end."""
    await asyncio.to_thread(emulator.control.reset)
    config = dev_env.client.config()
    config["interceptors"] = [*config["interceptors"], _Holding()]
    env = WorkflowEnvironment.from_client(Client(**config))
    async with running_stack(env, emulator, tmp_path) as running:
        yield running


@pytest.mark.parametrize("kind", [QUANTUM_JOB, HARDWARE_RUN])
async def test_what_comes_in_at_the_very_end_delays_it_and_does_no_harm(
    stack: Stack, kind: str
) -> None:
    Held.begin(kind)
    request = bell(route="hardware")
    handle = await stack.client.start(request)
    assert await asyncio.to_thread(Held.ending.wait, 60)
    run_id = submission_tag(stack.settings.deployment, request.job_id, 0)
    if kind == QUANTUM_JOB:
        late = ApprovalDecision(verdict=Verdict.REJECT, by="bob", why="too late")
        await stack.temporal.get_workflow_handle(request.job_id).signal(DECIDE, late)
    else:
        await stack.temporal.get_workflow_handle(run_id).signal(LOOK)
    Held.told.set()
    result = await stack.result(handle)
    assert result.state is JobState.COMPLETED
    await stack.settled(result)
    ids = {QUANTUM_JOB: request.job_id, HARDWARE_RUN: run_id}
    overtaken = await failed_tasks(stack.temporal, ids.pop(kind))
    assert [one.cause for one in overtaken] == [OVERTAKEN]
    assert faults(overtaken) == []
    assert await failed_tasks(stack.temporal, *ids.values()) == []
    for workflow_id in (request.job_id, run_id):
        described = await stack.temporal.get_workflow_handle(workflow_id).describe()
        assert described.status is WorkflowExecutionStatus.COMPLETED
    record = await stack.record(request.job_id)
    assert record.result == result
    assert len(stack.remote(run_id)) == len(record.charges) == 1
    await stack.books_are_clean()


async def test_any_other_cause_is_a_fault() -> None:
    every = [
        WorkflowTaskFailedEventAttributes(cause=cause, failure=Failure(message="said"))
        for cause in WorkflowTaskFailedCause.values()
    ]
    told = faults(every)
    assert len(told) == len(every) - 1
    assert "WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR said" in told
