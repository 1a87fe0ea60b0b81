"""Whatever comes through a door of Temporal: a clear error, or nothing; never a stuck workflow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.claims import ENCODED, REFERENCE
from qsaga.core.approval import DECIDE
from qsaga.core.jobs import deployment_tag, submission_tag
from qsaga.core.operations import OPERATION
from qsaga.core.runs import GIVE_UP, HARDWARE_RUN, LOOK, PLAN_JOB, QUANTUM_JOB, RUN_REPORTED, STATUS
from qsaga.core.runs import WATCH as WATCH_TYPE
from qsaga.core.sessions import JOIN, LEAVE, PROVIDER_SESSION, session_id
from qsaga.core.states import JobState
from tests.support.failed_tasks import faults
from tests.support.people import reached
from tests.support.stack import Stack, abilene, bell, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

BIG = 50_000_000
SOON = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def doors(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    """A worker for all tests of this file."""
    emulator.control.reset()
    folder = tmp_path_factory.mktemp("doors")
    async with running_stack(dev_env, emulator, folder) as stack:
        # An empty folder could be a disk that is not mounted, which is waited for.
        await stack.temporal.data_converter.encode(["x" * stack.settings.payload_threshold])
        yield stack


def raw(data: bytes, encoding: bytes = b"json/plain", **metadata: bytes) -> RawValue:
    """A payload as somebody without our converter makes it."""
    return RawValue(Payload(metadata={"encoding": encoding, **metadata}, data=data))


def as_json(value: object) -> RawValue:
    """A value that is JSON, NaN included."""
    return raw(json.dumps(value).encode())


def deep(levels: int) -> bytes:
    """Lists in lists."""
    return b'{"workload": ' + b"[" * levels + b"]" * levels + b"}"


def reference(data: bytes = b"", driver: str = "qsaga.folder", **claim: str) -> RawValue:
    """What stands for a payload that is kept beside Temporal."""
    named = json.dumps({"driverName": driver, "claimData": claim}).encode()
    return raw(data or named, b"json/protobuf", messageType=REFERENCE)


EVERYWHERE: dict[str, list[RawValue]] = {
    "no argument": [],
    "null": [raw(b"", b"binary/null")],
    "JSON null": [raw(b"null")],
    "a string": [as_json("nonsense")],
    "a list": [as_json([1, 2])],
    "a number": [as_json(7)],
    "NaN": [raw(b"NaN")],
    "an empty object": [as_json({})],
    "unknown fields only": [as_json({"colour": 1})],
    "no JSON": [raw(b"{,")],
    "invalid UTF-8": [raw(b'{"key": "\xff\xfe"}')],
    "nothing in it": [raw(b"")],
    "bytes": [raw(b"\x00\x01", b"binary/plain")],
    "an encoding that nobody knows": [raw(b"{}", b"klingon/plain")],
    "no encoding": [RawValue(Payload(data=b"{}"))],
    "protobuf that is none": [
        raw(b"{}", b"json/protobuf", messageType=b"temporal.api.common.v1.Nope")
    ],
    "a reference to what was never kept": [reference(sha256="a" * 64)],
    "a reference that leads elsewhere": [reference(sha256="../secret")],
    "a reference to a store that nobody has": [reference(driver="nobody", key="x")],
    "a reference that cannot be read": [reference(b"{,")],
    "a reference of an old kind that cannot be read": [
        raw(b"[]", b"json/external-storage-reference")
    ],
    "the mark of a reference on what is none": [raw(b"{}", **{ENCODED: b"true"})],
    "deep nesting": [raw(deep(5000))],
    "too many arguments": [as_json({}), as_json({})],
}


ACCEPTED = {(WATCH_TYPE, "a string")}
"""It is the name of a deployment."""


def bad_requests() -> dict[str, Any]:
    """A job that would be good, but for one thing."""
    good = abilene().model_dump(mode="json")

    def changed(**changes: Any) -> RawValue:
        return as_json(good | changes)

    workload = good["workload"]
    return {
        "an unknown field": ("colour", changed(colour="blue")),
        "a future schema": ("schema_version", changed(schema_version="2")),
        "a wrong type": ("budgets", changed(budgets="much")),
        "NaN seconds": ("budgets.deadline", changed(budgets={"deadline": float("nan")})),
        "an unknown verb": ("workload", changed(workload=workload | {"kind": "factor"})),
        "a tenant that is none": ("tenant", changed(tenant="A B")),
    }


async def start(stack: Stack, kind: str, given: list[RawValue], **more: Any) -> Any:
    """Start a workflow as any client can."""
    return await stack.env.client.start_workflow(
        kind,
        args=given,
        id=more.pop("id", f"default/bad-{uuid4().hex}"),
        task_queue=stack.settings.temporal.task_queue,
        **more,
    )


async def refusal(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """How the workflow fails, within seconds."""
    try:
        await asyncio.wait_for(handle.result(), SOON)
    except WorkflowFailureError as error:
        if isinstance(error.cause, ApplicationError):
            return error.cause
        raise
    except TimeoutError:
        raise AssertionError(f"stuck: {await stuck(handle)}") from None
    raise AssertionError("it was accepted")


async def stuck(handle: WorkflowHandle[Any, Any]) -> str:
    """The failures of workflow tasks in the history that no healthy workflow has."""
    history = await handle.fetch_history()
    return " ".join(
        faults(
            [
                event.workflow_task_failed_event_attributes
                for event in history.events
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
            ]
        )
    )


async def healthy(handle: WorkflowHandle[Any, Any]) -> None:
    """No workflow task failed for what came in, and none is tried again."""
    described = await handle.describe()
    assert described.raw_description.pending_workflow_task.attempt <= 1
    assert await stuck(handle) == ""


@pytest.mark.parametrize(
    "kind", [QUANTUM_JOB, HARDWARE_RUN, PLAN_JOB, OPERATION, PROVIDER_SESSION, WATCH_TYPE]
)
async def test_a_start_with_what_is_no_input_fails_at_once(doors: Stack, kind: str) -> None:
    async def said(name: str) -> str:
        handle = await start(doors, kind, EVERYWHERE[name])
        try:
            error = await refusal(handle)
            await healthy(handle)
        except AssertionError as error:
            await handle.terminate("a test")
            return str(error)
        fine = error.type == "InvalidRequest" and "(allowed: " in error.message
        return "" if fine else f"{error.type}: {error.message}"

    names = [name for name in EVERYWHERE if (kind, name) not in ACCEPTED]
    said_of = dict(zip(names, await asyncio.gather(*map(said, names)), strict=True))
    assert {name: text for name, text in said_of.items() if text} == {}


@pytest.mark.parametrize("kind", [QUANTUM_JOB, PLAN_JOB])
async def test_a_request_with_one_fault_is_refused_by_its_field(doors: Stack, kind: str) -> None:
    for name, (field, given) in bad_requests().items():
        handle = await start(doors, kind, [given])
        error = await refusal(handle)
        await healthy(handle)
        assert error.type == "InvalidRequest", name
        assert error.message.startswith(field), (name, error.message)
    assert doors.emulator.control.summary()["created"] == 0


async def test_an_operation_that_nobody_knows_is_refused(doors: Stack) -> None:
    for operation in ({"kind": "destroy"}, {"kind": "reconcile", "repair": "perhaps"}, "books"):
        handle = await start(doors, OPERATION, [as_json({"operation": operation})])
        error = await refusal(handle)
        assert error.type == "InvalidRequest" and error.message.startswith("operation")
        await healthy(handle)


async def test_fifty_megabytes(doors: Stack) -> None:
    # As it is, Temporal does not take it.
    with pytest.raises(RPCError):
        await start(doors, QUANTUM_JOB, [as_json("x" * BIG)])
    # Beside Temporal it fits; what is in it does not.
    for given in ("x" * BIG, {"key": "x" * BIG}):
        handle = await doors.temporal.start_workflow(
            QUANTUM_JOB,
            given,
            id=f"default/bad-{uuid4().hex}",
            task_queue=doors.settings.temporal.task_queue,
        )
        error = await refusal(handle)
        assert error.type == "InvalidRequest" and len(error.message) < 2000
        await healthy(handle)


# --- at workflows that are at work --------------------------------------------------------------


def _signals(stack: Stack, job_id: str, owner: str) -> dict[tuple[str, str], set[str]]:
    """Workflow and signal, and what of EVERYWHERE is a good message of it."""
    run_id = submission_tag(stack.settings.deployment, job_id, 0)
    return {
        (job_id, DECIDE): set(),
        (job_id, RUN_REPORTED): set(),
        (run_id, GIVE_UP): {"a string"},
        (run_id, LOOK): set(),
        (run_id, "report_to_job"): set(),
        (owner, LEAVE): set(),
        (job_id, "nobody_listens"): set(),
        (run_id, "nobody_listens"): set(),
        (owner, "nobody_listens"): set(),
    }


async def test_bad_signals_updates_and_queries_disturb_nobody(doors: Stack) -> None:
    doors.emulator.control.set_queue(5, 3600.0)
    terms = {"key": f"s-{uuid4().hex[:8]}", "idle_seconds": 0.5}
    job = await doors.client.start(bell(route="hardware", session=terms))
    await reached(job, JobState.QUEUED)
    tag = deployment_tag(doors.settings.deployment)
    owner = session_id(tag, "default", terms["key"], "ibm_torino")
    run_id = submission_tag(doors.settings.deployment, job.job_id, 0)
    client = doors.env.client
    for (workflow_id, signal), good in _signals(doors, job.job_id, owner).items():
        handle = client.get_workflow_handle(workflow_id)
        bad = [given for name, given in EVERYWHERE.items() if name not in good]
        await asyncio.gather(*(handle.signal(signal, args=given) for given in bad))
    for workflow_id, update in ((job.job_id, DECIDE), (owner, JOIN), (run_id, "nobody_listens")):
        for given in EVERYWHERE.values():  # the server takes ten at a time at most
            await _refused_update(client, workflow_id, update, given)
    for workflow_id in (job.job_id, run_id, owner):
        handle = client.get_workflow_handle(workflow_id)
        with pytest.raises(WorkflowQueryFailedError):
            await handle.query("nobody_answers", args=[as_json({})])
    for workflow_id in (job.job_id, run_id):
        handle = client.get_workflow_handle(workflow_id)
        with suppress(WorkflowQueryFailedError):  # refused or answered, but at once
            await asyncio.wait_for(handle.query(STATUS, args=[as_json({}), as_json({})]), SOON)
    described = [client.get_workflow_handle(name) for name in (job.job_id, run_id, owner)]
    for handle in described:
        await healthy(handle)
    doors.emulator.control.set_queue(0, 0.0)
    # The watcher takes its time with a job that was to start in hours.
    await client.get_workflow_handle(run_id).signal(LOOK)
    result = await doors.result(job)
    assert result.state is JobState.COMPLETED
    await doors.settled(result)
    await client.get_workflow_handle(owner).result()
    for handle in described:
        await healthy(handle)
    await doors.books_are_clean()


async def _refused_update(
    client: Client, workflow_id: str, update: str, given: list[RawValue]
) -> None:
    handle = client.get_workflow_handle(workflow_id)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await asyncio.wait_for(handle.execute_update(update, args=given), SOON)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "InvalidRequest" or "not found" in str(refused.value.cause)
