"""The schedules of a deployment: made and changed by its workers, believed by nobody's word."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import ScheduleActionStartWorkflow, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

import worker
from activities import scheduling
from composition.upkeep import regular, schedules
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import NoSuchJob
from qsaga.core.operations import OPERATION, OperationInput, OperationReport, schedule_id
from qsaga.settings import IdentitySettings, ReconcileSettings
from tests.support.scheduled import scheduled
from tests.support.stack import Stack, running_stack
from tools.identity import jwks, new_key

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

KINDS = ("reconcile", "retain", "sweep")


async def ensure(stack: Stack, **changes: Any) -> None:
    """What a worker with those settings does when it starts."""
    said = ReconcileSettings(**changes)
    settings = stack.settings.model_copy(update={"reconcile": said})
    await schedules(stack.parts).ensure(stack.temporal, regular(settings))


async def described(stack: Stack, kind: str = "reconcile") -> Any:
    """The schedule as the server has it."""
    name = schedule_id(stack.settings.deployment, kind)
    return await stack.temporal.get_schedule_handle(name).describe()


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Stack]:
    """A deployment of its own name that demands identity, with its schedules."""
    emulator.control.reset()
    (tmp_path / "keys.json").write_text(json.dumps(jwks(new_key())))
    identity = IdentitySettings(
        required=True, keys_file=tmp_path / "keys.json", worker_key=SecretStr("w" * 40)
    )
    changes = {"deployment": f"d-{uuid4().hex[:8]}", "identity": identity}
    async with running_stack(dev_env, emulator, tmp_path, "", changes) as stack:
        await ensure(stack)
        try:
            yield stack
        finally:
            await ensure(stack, every=0, retain_every=0, sweep_every=0)


async def refused(stack: Stack, given: Any, workflow_id: str) -> ApplicationError:
    """Why an operation that somebody starts by hand is refused."""
    handle = await stack.temporal.start_workflow(
        OPERATION,
        given,
        id=workflow_id,
        task_queue=stack.settings.temporal.task_queue,
        result_type=OperationReport,
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await asyncio.wait_for(handle.result(), 30)
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def test_the_schedule_is_believed_and_nobody_who_copies_it(
    guarded: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = schedule_id(guarded.settings.deployment, "reconcile")
    for kind in KINDS:
        assert (await scheduled(guarded, kind)).kind == kind
    rows = await guarded.parts.audit.entries()
    assert [(row.entry.who, row.entry.verified, row.entry.action) for row in rows] == [
        (f"/{schedule_id(guarded.settings.deployment, kind)}", True, kind) for kind in KINDS
    ]
    with pytest.raises(NoSuchJob, match="no schedule"):
        await guarded.client.last_scheduled("rebuild")
    report = await guarded.client.last_scheduled("reconcile")
    assert report.reconciliation is not None
    monkeypatch.setattr(scheduling, "LOOKS", 2)
    # Whoever reads the schedule, or a history, has the seal.
    action = (await described(guarded)).schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    (copied,) = await guarded.temporal.data_converter.decode(action.args, [OperationInput])
    assert copied.seal and copied.by == name
    error = await refused(guarded, copied, f"{name}-2026-01-01T00:00:00Z")
    assert (error.type, "has not started this workflow" in error.message) == ("Forbidden", True)
    ended = (await described(guarded)).info.recent_actions[-1].action.workflow_id
    error = await refused(guarded, copied, ended)
    assert (error.type, "has not started this workflow" in error.message) == ("Forbidden", True)
    for change in (
        {"operation": {"kind": "forget", "job_id": "a/b", "why": "x"}},
        {"operation": {"kind": "reconcile", "repair": True, "days": 8}},
        {"seal": "0" * 64},
    ):
        error = await refused(guarded, copied.model_dump() | change, f"forged-{uuid4().hex}")
        assert (error.type, "not that of schedule" in error.message) == ("Forbidden", True)
    error = await refused(guarded, copied.model_copy(update={"seal": ""}), f"x-{uuid4().hex}")
    assert error.type == "Unauthenticated"
    actions = [row.entry.action for row in await guarded.parts.audit.entries()]
    assert actions == [*KINDS, *["refused"] * 6]


async def test_many_workers_at_once_and_other_settings(guarded: Stack) -> None:
    first = (await described(guarded)).schedule
    assert first.spec.intervals[0].every == timedelta(hours=1)
    assert first.policy.catchup_window == timedelta(minutes=1)
    await asyncio.gather(*(ensure(guarded) for _ in range(8)))
    again = (await described(guarded)).schedule
    assert (again.spec, again.policy) == (first.spec, first.policy)
    handle = guarded.temporal.get_schedule_handle(
        schedule_id(guarded.settings.deployment, "reconcile")
    )
    await handle.pause(note="maintenance")
    await ensure(guarded, every=120, jitter=0, sweep_every=0)
    changed = (await described(guarded)).schedule
    assert changed.spec.intervals[0].every == timedelta(minutes=2)
    assert changed.state.paused and changed.state.note == "maintenance"
    with pytest.raises(RPCError, match="not found"):
        await described(guarded, "sweep")
    await ensure(guarded, every=0, retain_every=0, sweep_every=0)
    await ensure(guarded, every=0, retain_every=0, sweep_every=0)
    for kind in KINDS:
        with pytest.raises(RPCError, match="not found"):
            await described(guarded, kind)


async def test_a_worker_makes_them_when_it_starts(guarded: Stack) -> None:
    await ensure(guarded, every=0, retain_every=0, sweep_every=0)
    await worker.prepare(guarded.temporal, guarded.settings, guarded.parts)
    for kind in KINDS:
        assert (await described(guarded, kind)).schedule.action.workflow == OPERATION


async def test_a_server_without_schedules_is_no_failure(
    skipping: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "qsaga.schedules"):
        await ensure(skipping)
    (said,) = [record for record in caplog.records if record.name == "qsaga.schedules"]
    assert said.levelname == "INFO" and "no schedules" in said.getMessage()
    with pytest.raises(NoSuchJob, match="no schedule"):
        await skipping.client.last_scheduled("reconcile")


async def test_settings_that_would_never_stop_are_refused() -> None:
    for field in ("every", "retain_every", "sweep_every"):
        with pytest.raises(ValueError, match="at least 60 seconds"):
            ReconcileSettings(**{field: 5})
