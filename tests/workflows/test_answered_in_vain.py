"""A run answers, and its job is cancelled: what was paid for is kept as a late result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import temporalio.worker
from temporalio import workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities import answering
from composition import workers
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.results import JobResult
from qsaga.core.runs import GIVE_UP
from qsaga.core.sessions import LEAVE
from qsaga.core.states import JobState
from qsaga.problems.verify import verify
from tests.support.crew import Crewed
from tests.support.people import ASK, asking_stack, ended, reached
from tests.support.stack import abilene
from workflows.hardware_run import HardwareRun

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Server:
    """To which signal it does something, also when it is sent again in a replay."""

    signal = ""


class _Outbound(temporalio.worker.WorkflowOutboundInterceptor):
    async def signal_external_workflow(
        self, input: temporalio.worker.SignalExternalWorkflowInput
    ) -> None:
        if input.signal == Server.signal == GIVE_UP:
            # The run has ended, and the job is not told that yet.
            raise ApplicationError("the workflow is not found")
        if input.signal == Server.signal == LEAVE:
            run: Any = workflow.instance()
            await workflow.wait_condition(lambda: bool(run.status().giving_up))
        await super().signal_external_workflow(input)


class _Inbound(temporalio.worker.WorkflowInboundInterceptor):
    def init(self, outbound: temporalio.worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Between(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    def workflow_interceptor_class(
        self, input: temporalio.worker.WorkflowInterceptorClassInput
    ) -> type[temporalio.worker.WorkflowInboundInterceptor]:
        return _Inbound


@pytest_asyncio.fixture(loop_scope="session")
async def stack(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Crewed]:
    """One whose jobs are on the hardware for a second."""
    Server.signal = ""
    config = dev_env.client.config()
    config["interceptors"] = [*config["interceptors"], _Between()]
    env = WorkflowEnvironment.from_client(Client(**config))
    async with asking_stack(env, emulator, tmp_path, ASK) as crewed:
        emulator.control.set_queue(1, 1.0)
        yield crewed


async def until(holds: Callable[[], Any]) -> None:
    """Until it is so."""
    for _ in range(1200):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("that never came true")


async def kept_late(stack: Crewed, handle: JobHandle) -> JobResult:
    """The job is cancelled, and yet all that it paid for is there."""
    (result,) = await ended(stack, handle)
    assert result.state is JobState.CANCELLED
    (remote,) = stack.remote(stack.run_id(result))
    assert remote["state"] == "Completed"
    account = await handle.account()
    assert account.closed
    assert account.cost().quantum_seconds == remote["charged_seconds"]
    (late,) = account.late_results
    assert late.objective is not None
    assert stack.parts.artefacts.get(late.result)
    assert [one.result for one in (await stack.record(handle.job_id)).late_results] == [late.result]
    return result


async def test_the_job_hears_of_the_answer_and_of_its_end_at_once(
    stack: Crewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = abilene()
    await stack.begin(
        request,
        # So soon the server misses a task that was lost with its worker.
        task_timeout=timedelta(seconds=2),
    )
    handle = stack.client.job(request.job_id)
    await reached(handle, JobState.QUEUED)
    run_id = (await handle.progress()).job.run_id
    assert run_id is not None
    await stack.lose()
    # A worker that takes nothing up for the job: what comes in for it waits for the next.
    with monkeypatch.context() as only:
        only.setattr(workers, "WORKFLOWS", (HardwareRun,))
        await stack.hire()
        await stack.temporal.get_workflow_handle(run_id).result()
        await stack.lose()
    await handle.cancel()
    await stack.hire()
    result = await kept_late(stack, handle)
    await stack.keep_history("cancelled_as_answered.job", result.job_id)


async def test_the_answer_is_checked_when_the_job_is_cancelled(
    stack: Crewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking, checked = threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        checking.set()
        checked.wait(60)
        return verify(*given)

    monkeypatch.setattr(answering, "verify", slow)
    handle = await stack.client.start(abilene())
    assert await asyncio.to_thread(checking.wait, 60)
    await handle.cancel()
    await kept_late(stack, handle)
    checked.set()


async def test_the_run_has_ended_and_word_of_it_is_on_its_way(stack: Crewed) -> None:
    handle = await stack.client.start(abilene())
    await reached(handle, JobState.QUEUED)
    Server.signal = GIVE_UP
    await handle.cancel()
    await kept_late(stack, handle)


async def test_the_run_leaves_its_session_when_it_is_told_to_give_up(stack: Crewed) -> None:
    Server.signal = LEAVE
    handle = await stack.client.start(abilene(session={"key": "night", "idle_seconds": 1.0}))

    async def booked() -> bool:
        record = await stack.parts.records.get(handle.job_id)
        return record is not None and bool(record.charges)

    await until(booked)
    await handle.cancel()
    await kept_late(stack, handle)
