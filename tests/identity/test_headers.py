"""Tokens and seals on a real server: who gets through, who does not, and what a history keeps."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.worker import Worker

from qsaga.core.errors import InvalidRequest
from qsaga.core.identity import CALLER_HEADER, SEAL_HEADER
from qsaga.core.seals import SealedSignal, SealKeys, about_signal
from qsaga.identity import client_interceptors
from qsaga.settings import IdentitySettings
from tests.identity.conftest import FOREIGN, KEY, SECRET, Headers, World, token, workflow_runner
from tests.identity.flows import Given, Heard, Job, Run
from tests.identity.steps import Steps
from tools.identity import jwks

OPEN, GUARDED = Given(guarded=False), Given(guarded=True)


async def ended(handle: Any) -> Heard:
    await handle.signal(Job.end)
    heard: Heard = await handle.result()
    return heard


def cause_of(error: BaseException) -> ApplicationError:
    while not isinstance(error, ApplicationError):
        assert error.__cause__ is not None
        error = error.__cause__
    return error


async def events(world: World, workflow_id: str) -> Counter[str]:
    history = await world.raw.get_workflow_handle(workflow_id).fetch_history()
    return Counter(EventType.Name(event.event_type) for event in history.events)


# --- starting ----------------------------------------------------------------------------------


async def test_admission_knows_who_started_the_job(world: World) -> None:
    assert (await ended(await world.start(OPEN, token("alice")))).admitted_for == "alice"
    assert (await ended(await world.start(OPEN, None))).admitted_for is None


@pytest.mark.parametrize("bad", ["foreign", "nonsense", "an object"])
async def test_a_bad_token_fails_the_admission(world: World, bad: str) -> None:
    said = {"foreign": token(key=FOREIGN), "nonsense": "nonsense", "an object": "{}"}[bad]
    handle = await world.start(OPEN, said)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert cause_of(failed.value).type == "Unauthenticated"
    assert cause_of(failed.value).non_retryable


async def test_a_start_with_signal_or_update_carries_the_token(world: World) -> None:
    handle = await world.start(GUARDED, token("alice"), start_signal="say", start_signal_args=["a"])
    heard = await ended(world.client(token()).get_workflow_handle_for(Job.run, handle.id))
    assert heard.admitted_for == "alice" and heard.said == ("a by alice",)
    client = world.client(token("bob"))
    start = WithStartWorkflowOperation(
        Job.run,
        GUARDED,
        id=f"job-{uuid4().hex[:8]}",
        task_queue=world.queue,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    said = await client.execute_update_with_start_workflow(
        Job.decide, "yes", start_workflow_operation=start
    )
    assert said == "yes by bob"
    assert (await ended(await start.workflow_handle())).admitted_for == "bob"


# --- speaking ----------------------------------------------------------------------------------


async def test_a_signal_is_weighed_with_its_own_token(world: World) -> None:
    handle = await world.start(GUARDED, token("alice"))
    for said in (token("bob"), None, token("mallory", key=FOREIGN)):
        await world.client(said).get_workflow_handle(handle.id).signal("say", "yes")
    unreadable = Payload(metadata={"encoding": b"of another planet"}, data=b"?")
    for header in ({"no": "text"}, unreadable):
        client = world.client(None, Headers({CALLER_HEADER: header}))
        await client.get_workflow_handle(handle.id).signal("say", "yes")
    await handle.signal(Job.say, "nobody asked")
    heard = await ended(handle)
    # Without a token it is nobody's word: never that of who started the job.
    assert heard.said[:2] == ("yes by bob", "yes by None")
    assert heard.said[2].startswith("yes by Unauthenticated: token: damaged, or signed by a key")
    assert heard.said[3].startswith("yes by Unauthenticated: token")
    assert heard.said[4].startswith("yes by Unauthenticated: token")
    assert heard.said[5] == "nobody asked by None"


async def test_an_update_takes_a_good_token(world: World) -> None:
    handle = await world.start(Given(guarded=True, tenant="acme"), token("alice"))
    strangers = {
        None: "Unauthenticated",
        "": "Unauthenticated",
        token("bob", key=FOREIGN): "Unauthenticated",
        token("bob", tenants=["other"]): "Forbidden",
    }
    for update in (Job.decide, Job.decide_without_validator):
        for said, kind in strangers.items():
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await raw_update(world, handle.id, update, said)
            assert cause_of(refused.value).type == kind
    refused_early = await events(world, handle.id)
    assert await raw_update(world, handle.id, Job.decide, token("bob")) == "yes by bob"
    with pytest.raises(WorkflowUpdateFailedError, match="Workflow update failed") as refused:
        await raw_update(world, handle.id, Job.decide, token("bob"), "")
    assert "text: empty" in str(refused.value.cause)
    heard = await ended(handle)
    assert heard.said == ("yes by bob",)
    # What the validator refused is not in the history; only the update without one is.
    assert refused_early["EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED"] == len(strangers)


async def raw_update(
    world: World, job_id: str, update: Any, said: str | None, text: str = "yes"
) -> Any:
    return await world.client(said).get_workflow_handle(job_id).execute_update(update, text)


async def test_an_open_job_takes_everybodys_word_and_gets_no_event_for_it(world: World) -> None:
    open_job = await world.start(OPEN, None)
    assert await open_job.execute_update(Job.decide_without_validator, "yes") == "yes"
    await open_job.signal(Job.run_reported, "anybody")
    assert (await ended(open_job)).reports == ("anybody",)
    async with Worker(
        world.raw,
        task_queue=(queue := f"plain-{uuid4().hex[:8]}"),
        workflows=[Job],
        activities=[Steps().admit],
        workflow_runner=workflow_runner(),
        build_id="test",
    ):
        plain = await world.raw.start_workflow(Job.run, OPEN, id=queue, task_queue=queue)
        await plain.execute_update(Job.decide_without_validator, "yes")
        await plain.signal(Job.run_reported, "anybody")
        await ended(plain)
    assert "EVENT_TYPE_MARKER_RECORDED" not in await events(world, open_job.id)
    await world.replay(plain.id, world.identity)


async def test_nothing_is_heard_before_it_is_known_whether_the_job_is_guarded(
    world: World,
) -> None:
    world.steps.open.clear()
    guarded = await world.start(Given(admitted=True), token("alice"))
    unguarded = await world.start(Given(admitted=False), None)
    early = []
    for job_id in (guarded.id, unguarded.id):
        handle = world.raw.get_workflow_handle(job_id)
        await handle.signal("run_reported", "early")
        assert await handle.query(Job.heard) == []
        early.append(asyncio.create_task(handle.execute_update(Job.decide, "early")))
    while not all([await _accepted(world, job.id) for job in (guarded, unguarded)]):
        pass
    world.steps.open.set()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await early[0]
    assert cause_of(refused.value).type == "Unauthenticated"
    assert await early[1] == "early by None"
    heard = await ended(guarded)
    assert heard.reports == () and heard.said == ()
    heard = await ended(unguarded)
    assert heard.reports == ("early",) and heard.said == ("early by None",)


async def _accepted(world: World, job_id: str) -> bool:
    return (await events(world, job_id))["EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED"] > 0


# --- seals -------------------------------------------------------------------------------------


async def test_only_sealed_signals_of_workflows_are_heard(world: World) -> None:
    job = await world.start(GUARDED, token("alice"))

    async def report(text: str, seal: Any) -> None:
        client = world.client(token(), Headers({SEAL_HEADER: seal} if seal is not None else {}))
        await client.get_workflow_handle(job.id).signal("run_reported", text)

    def sealed(nonce: str, target: str = job.id, signal: str = "run_reported") -> str:
        mac = SealKeys.parse(SECRET).seal(about_signal("run", nonce, target, signal))
        return SealedSignal(sender="run", nonce=nonce, mac=mac).model_dump_json()

    await report("without", None)
    await report("nonsense", "nonsense")
    await report("an object", {"mac": 1})
    await report("for another job", sealed("1", target="another"))
    await report("for another signal", sealed("1", signal="give_up"))
    other = SealKeys.parse("o" * 40).seal(about_signal("run", "1", job.id, "run_reported"))
    await report(
        "another secret", SealedSignal(sender="run", nonce="1", mac=other).model_dump_json()
    )
    await report("good", sealed("1"))
    await report("copied", sealed("1"))
    assert (await ended(job)).reports == ("good",)


async def test_a_child_speaks_to_its_parent_and_its_steps_are_sealed(world: World) -> None:
    job = await world.start(GUARDED, token("alice"))
    await job.signal(Job.spawn, f"{job.id}-run")
    heard = await ended(job)
    assert heard.child == "submitted" and heard.reports == ("from the run", "once more")


async def test_an_unguarded_child_is_not_believed_by_a_guarded_job(world: World) -> None:
    job = await world.start(GUARDED, token("alice"))
    # Anybody can start it, with any request; it is a workflow of ours and yet gets no seal.
    run = await world.raw.start_workflow(
        Run.run,
        Given(guarded=False, job_id=job.id),
        id=f"{job.id}-run",
        task_queue=world.queue,
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert cause_of(failed.value).type == "Forbidden"
    assert (await ended(job)).reports == ()


async def test_a_guarded_run_cannot_be_started_by_a_client(world: World) -> None:
    given = Given(guarded=True, job_id="acme/k")
    for client in (world.raw, world.client(token())):
        run = await client.start_workflow(
            Run.run, given, id=f"run-{uuid4().hex[:8]}", task_queue=world.queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await run.result()
        assert cause_of(failed.value).type == "Forbidden"
    assert world.steps.submitted == 0


@pytest.mark.parametrize("what", ["child", "submit"])
async def test_a_workflow_of_somebody_elses_worker_gets_nothing(world: World, what: str) -> None:
    async with world.forge() as queue:
        # Under an id that a job would have: the child's parent is what it should be.
        forger = await world.raw.start_workflow(
            "Forger", args=[what, world.queue], id=f"job-{uuid4().hex[:8]}", task_queue=queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await forger.result()
    assert isinstance(failed.value.cause, ActivityError | ChildWorkflowError)
    assert cause_of(failed.value).type == "Forbidden"
    assert world.steps.submitted == 0


# --- histories ---------------------------------------------------------------------------------


async def test_a_history_replays_whatever_the_keys_are_now(world: World, tmp_path: Path) -> None:
    job = await world.start(Given(guarded=True, tenant="acme"), token("alice"))
    for said in (token("bob"), token("bob", key=FOREIGN), None):
        try:
            await raw_update(world, job.id, Job.decide, said)
        except WorkflowUpdateFailedError:
            assert said != token("bob")
    for said in (token("bob"), None):
        try:
            await raw_update(world, job.id, Job.decide_without_validator, said)
        except WorkflowUpdateFailedError:
            assert said is None
    await world.client(token("bob")).get_workflow_handle(job.id).signal("say", "yes")
    await world.raw.get_workflow_handle(job.id).signal("run_reported", "forged")
    await job.signal(Job.spawn, f"{job.id}-run")
    heard = await ended(job)
    assert heard.said == ("yes by bob", "yes", "yes by bob") and heard.child == "submitted"
    others = tmp_path / "others.json"
    others.write_text(json.dumps(jwks(FOREIGN)))
    later = IdentitySettings(keys_file=others, worker_key=SecretStr("n" * 40))
    for workflow_id in (job.id, f"{job.id}-run"):
        for identity in (world.identity, later, IdentitySettings()):
            await world.replay(workflow_id, identity)


# --- the client --------------------------------------------------------------------------------


async def test_the_token_file_is_read_at_every_call(world: World, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token("alice") + "\n")
    config = world.raw.config()
    sent = Headers({})
    config["interceptors"] = [*client_interceptors(IdentitySettings(token_file=file)), sent]
    client = type(world.raw)(**config)
    job = await world.start(GUARDED, token())
    handle = client.get_workflow_handle(job.id)
    assert await handle.execute_update(Job.decide, "yes") == "yes by alice"
    file.write_text(token("bob", key=KEY))
    assert await handle.execute_update(Job.decide, "yes") == "yes by bob"
    await handle.query(Job.heard)
    assert sent.queried == [file.read_text()]
    file.unlink()
    with pytest.raises(InvalidRequest, match=r"identity.token_file: .* No such file"):
        await handle.signal("say", "yes")
    await ended(job)


def test_settings_of_a_client_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assert client_interceptors(IdentitySettings()) == []
    file = tmp_path / "token"
    file.write_text(" \n")
    with pytest.raises(InvalidRequest, match="is empty"):
        client_interceptors(IdentitySettings(token_file=file))
    with pytest.raises(InvalidRequest, match=r"identity\.token: given beside"):
        client_interceptors(IdentitySettings(token=SecretStr("a"), token_file=file))
