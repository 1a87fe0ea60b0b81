"""Deployments whose schedules put right what was left behind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import ScheduleActionExecutionStartWorkflow
from temporalio.testing import WorkflowEnvironment

from composition.upkeep import regular, schedules
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.jobs import JobRequest, deployment_tag
from qsaga.core.operations import OperationReport, Reconciliation, schedule_id
from qsaga.core.states import JobState
from qsaga.settings import ReconcileSettings
from tests.support.people import ASK, reached
from tests.support.stack import Stack, running_stack

ASKED = """
[[approvals]]
name = "asked"
money_above = 1
tenants = ["asked"]
because = "a test"
"""
LONG = 3600.0
WEEK = 8 * 86400


@asynccontextmanager
async def deployment(
    env: WorkflowEnvironment, emulator: EmulatorProcess, folder: Path, **changes: Any
) -> AsyncIterator[Stack]:
    """One with its schedules, a name of its own, and a small threshold for payloads."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(ASK + ASKED)
    given = {
        "deployment": f"d-{uuid4().hex[:8]}",
        "policy_file": folder / "policy.toml",
        "payload_threshold": 1024,
    }
    async with running_stack(env, emulator, folder, "", given | changes) as stack:
        await schedules(stack.parts).ensure(stack.temporal, regular(stack.settings))
        try:
            yield stack
        finally:
            off = ReconcileSettings(every=0, retain_every=0, sweep_every=0)
            gone = stack.settings.model_copy(update={"reconcile": off})
            await schedules(stack.parts).ensure(stack.temporal, regular(gone))


def slow(emulator: EmulatorProcess) -> None:
    """Nothing starts by itself; what starts takes a fifth of a second."""
    emulator.control.set_execution(0.2)
    emulator.control.set_queue(5, LONG)


async def scheduled(stack: Stack, kind: str) -> OperationReport:
    """Have the schedule do now what it does, and wait for its report."""
    handle = stack.temporal.get_schedule_handle(schedule_id(stack.settings.deployment, kind))
    before = (await handle.describe()).info.num_actions
    await handle.trigger()
    for _ in range(400):
        said = (await handle.describe()).info
        if said.num_actions > before and said.recent_actions:
            action = said.recent_actions[-1].action
            assert isinstance(action, ScheduleActionExecutionStartWorkflow)
            run: Any = stack.temporal.get_workflow_handle(
                action.workflow_id,
                run_id=action.first_execution_run_id,
                result_type=OperationReport,
            )
            report: OperationReport = await run.result()
            return report
        await asyncio.sleep(0.05)
    raise AssertionError("the schedule never started anything")


async def reconciled(stack: Stack) -> Reconciliation:
    """What the schedule's reconciliation says."""
    found = (await scheduled(stack, "reconcile")).reconciliation
    assert found is not None
    return found


async def terminate(stack: Stack, *workflow_ids: str) -> None:
    """As somebody does by hand."""
    for workflow_id in workflow_ids:
        await stack.temporal.get_workflow_handle(workflow_id).terminate("by hand")


async def queued(stack: Stack, request: JobRequest) -> tuple[JobHandle, str]:
    """A job that waits at the provider, and its run."""
    handle = await stack.client.start(request)
    await reached(handle, JobState.QUEUED)
    run_id = (await handle.progress()).job.run_id
    assert run_id is not None
    return handle, run_id


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Until it holds."""
    for _ in range(600):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {what}")


async def nothing_is_left(stack: Stack, *job_ids: str) -> None:
    """At the provider, in the ledger, in the job table; and what was charged is booked."""
    tag = deployment_tag(stack.settings.deployment)
    jobs = stack.emulator.control.jobs(tag=tag)
    assert not [job for job in jobs if job["state"] in ("Queued", "Running")]
    await stack.books_are_clean()
    assert await stack.parts.records.at_work() == ()
    assert await stack.parts.records.open_accounts() == {}
    truth = {job["id"]: job["charged_seconds"] for job in jobs}
    booked = {
        run.provider_job_id: run.quantum_seconds
        for run in await stack.parts.records.booked("ibm")
        if run.role != "session"
    }
    assert {name: booked.get(name) for name in truth} == truth
    for job_id in job_ids:
        kept = await stack.parts.ledger.reservations(job_id)
        record = await stack.record(job_id)
        assert sum(float(hold.spent.quantum_seconds) for hold in kept) == pytest.approx(
            sum(charge.cost.quantum_seconds for charge in record.charges)
        )
    again = await reconciled(stack)
    assert (again.repaired, again.left, again.differences) == ((), (), ())
    assert (again.orphans, again.lost) == ((), ())
    assert await stack.parts.audit.broken() == ""


def files_of(folder: Path) -> set[Path]:
    """Artefacts and payloads of a deployment."""
    return {path for name in ("artefacts", "payloads") for path in _below(folder / name)}


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def make_old(folder: Path) -> None:
    """As if nobody had used any of it for more than a week."""
    for path in files_of(folder):
        os.utime(path, (time.time() - WEEK,) * 2)
