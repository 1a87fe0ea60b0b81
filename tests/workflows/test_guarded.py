"""The whole product with identity required: who may do what, through every door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle, QsagaClient
from qsaga.core.approval import DECIDE
from qsaga.core.errors import Forbidden, InvalidRequest, PolicyRefused, Unauthenticated
from qsaga.core.jobs import submission_tag
from qsaga.core.ledger import Tenant
from qsaga.core.operations import Forget, GetAudit, GetHistory, GetRecord, PutTenant, Rebuild
from qsaga.core.results import JobResult
from qsaga.core.runs import GIVE_UP, HARDWARE_RUN, QUANTUM_JOB, RUN_REPORTED
from qsaga.core.states import JobState
from qsaga.identity import client_interceptors
from qsaga.payloads import data_converter
from qsaga.settings import IdentitySettings
from tests.support.people import ASK, DEAR
from tests.support.stack import Stack, abilene, running_stack
from tools.identity import issue, jwks, new_key

KEY, FOREIGN = new_key(), new_key()
As = Callable[..., QsagaClient]


def token(subject: str, *roles: str, tenants: tuple[str, ...] = ("acme",), **claims: Any) -> str:
    return issue(claims.pop("key", KEY), sub=subject, tenants=list(tenants), roles=roles, **claims)


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Stack]:
    """A worker that demands identity and a policy that asks; the stack's own client has none."""
    await asyncio.to_thread(emulator.control.reset)
    (tmp_path / "policy.toml").write_text(ASK + DEAR + "four_eyes = true\n")
    (tmp_path / "keys.json").write_text(json.dumps(jwks(KEY)))
    identity = IdentitySettings(
        required=True, keys_file=tmp_path / "keys.json", worker_key=SecretStr("w" * 40)
    )
    changes = {"policy_file": tmp_path / "policy.toml", "identity": identity}
    async with running_stack(dev_env, emulator, tmp_path, "", changes) as stack:
        yield stack


def client_with(stack: Stack, signed: str | None) -> QsagaClient:
    """Somebody's client."""
    identity = IdentitySettings(token=SecretStr(signed) if signed else None)
    settings = stack.settings.model_copy(update={"identity": identity})
    config = stack.env.client.config()
    config["data_converter"] = data_converter(settings)
    config["interceptors"] = client_interceptors(identity)
    return QsagaClient(Client(**config), settings)


async def until(stack: Stack, handle: JobHandle, *states: JobState) -> None:
    for _ in range(600):
        progress = await handle.progress()
        seen = {progress.job.state, progress.run.state if progress.run else None}
        if seen & set(states):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {states}: {progress}")


async def test_a_job_by_people_who_may(guarded: Stack) -> None:
    alice = client_with(guarded, token("alice", "submitter"))
    bob = client_with(guarded, token("bob", "approver"))
    handle = await alice.start(abilene(tenant="acme"))
    await until(guarded, handle, JobState.AWAITING_APPROVAL)
    await bob.job(handle.job_id).approve("worth it")
    result = await handle.result()
    await guarded.settled(result)
    await guarded.books_are_clean()
    assert result.state is JobState.COMPLETED
    assert result.submitter == "alice"
    assert result.approval is not None
    assert [one.by for one in result.approval.counted] == ["bob"]
    rows = await guarded.parts.audit.entries(subject=handle.job_id)
    assert [(r.entry.who, r.entry.action, r.entry.verified) for r in rows] == [
        ("alice", "start", True),
        ("bob", "approve", True),
    ]
    assert await guarded.parts.audit.broken() == ""
    await guarded.keep_history("guarded.job", handle.job_id)
    await guarded.keep_history("guarded.run", guarded.run_id(result))


@pytest.mark.parametrize(
    ("signed", "error", "reason"),
    [
        (None, Unauthenticated, "token: missing"),
        (token("eve", "submitter", key=FOREIGN), Unauthenticated, "key that is not known"),
        (
            token("alice", "submitter", exp=datetime.now(UTC) - timedelta(hours=1)),
            Unauthenticated,
            "expired",
        ),
        (
            token("alice", "submitter", iat=datetime.now(UTC) + timedelta(hours=1)),
            Unauthenticated,
            "token",
        ),
        (token("otto", "submitter", tenants=("other",)), Forbidden, "may not act for tenant"),
        (token("bob", "approver"), Forbidden, "is not 'submitter'"),
    ],
    ids=["none", "foreign", "expired", "from the future", "other tenant", "wrong role"],
)
async def test_who_may_not_start(
    guarded: Stack, signed: str | None, error: type[Exception], reason: str
) -> None:
    client = client_with(guarded, signed)
    request = abilene(tenant="acme", requested_by=None, route=None)
    with pytest.raises(error, match=reason):
        await (await client.start(request)).result()
    assert await guarded.parts.records.get(request.job_id) is None
    await guarded.books_are_clean()
    assert guarded.emulator.control.jobs() == []
    # the key is still free for who may
    alice = client_with(guarded, token("alice", "submitter"))
    handle = await alice.start(request)
    await until(guarded, handle, JobState.AWAITING_APPROVAL)
    await handle.cancel()
    assert (await handle.result()).state is JobState.CANCELLED


async def test_a_name_that_is_not_the_caller_s(guarded: Stack) -> None:
    alice = client_with(guarded, token("alice", "submitter"))
    request = abilene(tenant="acme", requested_by="bob")
    with pytest.raises(InvalidRequest, match=r"requested_by: 'bob' is not the caller"):
        await (await alice.start(request)).result()


async def test_decisions_of_people_who_may_not(guarded: Stack) -> None:
    alice = client_with(guarded, token("alice", "submitter", "approver"))
    handle = await alice.start(abilene(tenant="acme"))
    await until(guarded, handle, JobState.AWAITING_APPROVAL)
    no_token = client_with(guarded, None)
    with pytest.raises(Unauthenticated, match="token: missing"):
        await no_token.job(handle.job_id).approve("please", by="bob")
    foreign = client_with(guarded, token("bob", "approver", key=FOREIGN))
    with pytest.raises(Unauthenticated, match="key that is not known"):
        await foreign.job(handle.job_id).approve("please")
    other = client_with(guarded, token("otto", "approver", tenants=("other",)))
    with pytest.raises(Forbidden, match="may not act for tenant"):
        await other.job(handle.job_id).approve("please")
    submitter = client_with(guarded, token("carl", "submitter"))
    with pytest.raises((Forbidden, PolicyRefused), match="is not 'approver'"):
        await submitter.job(handle.job_id).approve("please")
    with pytest.raises(PolicyRefused, match="four eyes"):
        await handle.approve("my own")
    raw: Any = guarded.temporal.get_workflow_handle(handle.job_id)
    await raw.signal(DECIDE, {"verdict": "approve", "by": "bob", "why": "unsigned"})
    pretender: Any = alice.temporal.get_workflow_handle(handle.job_id)
    await pretender.signal(DECIDE, {"verdict": "approve", "by": "bob", "why": "I am bob"})
    bob = client_with(guarded, token("bob", "approver"))
    await bob.job(handle.job_id).reject("no")
    result = await handle.result()
    assert result.state is JobState.REJECTED
    assert result.approval is not None
    said = [one.refused for one in result.approval.decided if one.refused]
    assert any("token: missing" in why for why in said)
    assert any("'bob' is not the caller, 'alice'" in why for why in said)
    await guarded.books_are_clean()


async def test_forged_signals_and_runs_do_nothing(guarded: Stack) -> None:
    guarded.emulator.control.set_queue(5, 1.0)
    try:
        await _attacked(guarded)
    finally:
        guarded.emulator.control.set_queue(0, 1.0)


async def _attacked(guarded: Stack) -> None:
    alice = client_with(guarded, token("alice", "submitter"))
    bob = client_with(guarded, token("bob", "approver"))
    handle = await alice.start(abilene(tenant="acme"))
    await until(guarded, handle, JobState.AWAITING_APPROVAL)
    await bob.job(handle.job_id).approve("go")
    await until(guarded, handle, JobState.QUEUED)
    run_id = (await handle.progress()).job.run_id
    assert run_id == submission_tag("test", handle.job_id, 0)
    raw = guarded.temporal
    job: Any = raw.get_workflow_handle(handle.job_id)
    run: Any = raw.get_workflow_handle(run_id)
    await job.signal(RUN_REPORTED, {"run_id": run_id, "outcome": "failed", "reason": "forged"})
    await run.signal(GIVE_UP, "forged")
    # a run of somebody else's making, in place of the one that a termination would end
    history = await run.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    (request,) = await raw.data_converter.decode(started.input.payloads)
    forged = request | {"only_close": "forged", "guarded": False, "hold": ""}
    for job_id in (handle.job_id, "other/job"):
        for guard in (False, True):
            end = await _run(guarded, forged | {"job_id": job_id, "guarded": guard})
            assert end == "Forbidden"
    result: JobResult = await handle.result()
    await guarded.settled(result)
    assert result.state is JobState.COMPLETED
    (remote,) = guarded.emulator.control.jobs()
    assert remote["state"] == "Completed"
    await guarded.books_are_clean()


async def _run(guarded: Stack, request: dict[str, Any]) -> str:
    """What becomes of a run that a raw client starts: the kind of the failure that stops it."""
    handle = await guarded.temporal.start_workflow(
        HARDWARE_RUN,
        request,
        id=f"forged-{uuid4().hex[:8]}",
        task_queue=guarded.settings.temporal.task_queue,
    )
    for _ in range(400):
        described = await handle.describe()
        pending = described.raw_description.pending_activities
        for activity in pending:
            if activity.HasField("last_failure"):
                await handle.terminate("seen enough")
                return activity.last_failure.application_failure_info.type
        async for event in handle.fetch_history_events():
            failed = event.activity_task_failed_event_attributes
            if failed.HasField("failure"):
                await handle.terminate("seen enough")
                return failed.failure.cause.application_failure_info.type or (
                    failed.failure.application_failure_info.type
                )
        if described.status is not None and described.status.name != "RUNNING":
            try:
                await handle.result()
            except WorkflowFailureError as error:
                return getattr(error.cause, "type", None) or "ended"
            return "completed"
        await asyncio.sleep(0.05)
    raise AssertionError("neither refused nor ended")


async def test_a_raw_client_of_a_tenant_that_demands_it(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(jwks(KEY)))
    identity = IdentitySettings(keys_file=tmp_path / "keys.json", worker_key=SecretStr("w" * 40))
    async with running_stack(dev_env, emulator, tmp_path, "", {"identity": identity}) as stack:
        await stack.parts.ledger.put_tenant(
            Tenant(name="strict", identity_required=True), datetime.now(UTC)
        )
        raw = abilene(tenant="strict")
        handle = await stack.temporal.start_workflow(
            QUANTUM_JOB,
            raw,
            id=raw.job_id,
            task_queue=stack.settings.temporal.task_queue,
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "Unauthenticated"
        for operation in (
            PutTenant(tenant=Tenant(name="strict", identity_required=False)),
            Forget(job_id="strict/x", why="y"),
            Rebuild(),
        ):
            with pytest.raises(Unauthenticated):
                await stack.client.operate(operation, by="mallory")
        # others need none
        await stack.client.operate(PutTenant(tenant=Tenant(name="easy")), by="ops")
        result = await stack.run(abilene(tenant="easy", route="annealing", budgets={"solve": 0.1}))
        assert result.state is JobState.COMPLETED


async def test_operations_need_their_roles(guarded: Stack) -> None:
    operation = PutTenant(tenant=Tenant(name="acme"))
    with pytest.raises(Unauthenticated):
        await client_with(guarded, None).operate(operation, by="root")
    alice = client_with(guarded, token("alice", "submitter"))
    for forbidden in (operation, Forget(job_id="acme/x", why="y"), GetAudit(tenant="acme")):
        with pytest.raises(Forbidden):
            await alice.operate(forbidden)
    ops = client_with(guarded, token("olga", "operator"))
    await ops.operate(operation)
    with pytest.raises(Forbidden, match="may not act for tenant 'other'"):
        await ops.operate(PutTenant(tenant=Tenant(name="other")))
    with pytest.raises(Forbidden):
        await alice.operate(GetRecord(job_id="other/x"))
    await alice.operate(GetHistory())
    auditor = client_with(guarded, token("ada", "auditor", tenants=("*",)))
    rows = (await auditor.operate(GetAudit())).audit
    said = [(row.entry.who, row.entry.action) for row in rows]
    assert ("olga", "put_tenant") in said
    assert ("alice", "refused") in said
    assert ("olga", "refused") in said
