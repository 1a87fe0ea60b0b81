"""What Temporal would refuse arrives, encrypted, wherever it is kept; and can be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from google.cloud import storage
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from adapters.temporal import TemporalArchive
from qsaga.core.errors import UnknownKey
from qsaga.keyring import ENCODING, KEY_ID, add_key, changing
from qsaga.settings import Settings
from tests.payloads.flows import MIB, Failing, Large
from tests.payloads.work import at_work, client_of

WORD = "transformer-oscar-93"
LIMIT = 2 * MIB
Kept = Callable[[], dict[str, bytes]]


@dataclass
class Store:
    """Settings of a store, and what is in it."""

    settings: Settings
    kept: Kept


@pytest.fixture(params=["folder", "s3", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, keys_file: Path) -> Store:
    bucket = None if request.param == "folder" else request.getfixturevalue(request.param)
    payloads = {"store": request.param, f"{request.param}_bucket": bucket}
    if bucket is None:
        payloads = {}
    settings = Settings.model_validate(
        {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}, "payloads": payloads}
    )

    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in (tmp_path / "payloads").rglob("*") if p.is_file()}

    def s3_objects() -> dict[str, bytes]:
        client: Any = boto3.client("s3")
        listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {
            found["Key"]: client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            for found in listed
        }

    def gcs_objects() -> dict[str, bytes]:
        found = storage.Client().bucket(bucket)
        # Not by the link in a listing, in which the stand-in leaves the name as it is.
        return {b.name: found.blob(b.name).download_as_bytes() for b in found.list_blobs()}

    return Store(settings, {"folder": files, "s3": s3_objects, "gcs": gcs_objects}[request.param])


def replayer_of(client: Client) -> Replayer:
    """It stores what a worker would store that has the workflow no longer in its cache."""
    return Replayer(
        workflows=[Large], data_converter=client.data_converter, namespace=client.namespace
    )


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


async def test_nothing_is_too_large(dev_env: WorkflowEnvironment, store: Store) -> None:
    client = client_of(dev_env, store.settings)
    given = WORD + "x" * 3 * MIB
    before = set(store.kept())
    async with at_work(client) as queue:
        handle = await client.start_workflow(
            Large.run, given, id=f"acme/large-{uuid4().hex}", task_queue=queue
        )
        result = await handle.result()
    assert len(result) > 4.9 * MIB and result.startswith(WORD)
    history = await handle.fetch_history()
    raw = b"".join(event.SerializeToString() for event in history.events)
    assert len(raw) < 20_000 < LIMIT
    kept = {name: data for name, data in store.kept().items() if name not in before}
    # The input as the client and as the workflow gave it, the result of step and workflow.
    assert 2 <= len(kept) <= 4 and all(len(data) > LIMIT for data in kept.values())
    assert WORD.encode() not in raw + b"".join(kept.values())

    # A replay stores nothing again; after a rotation it does, and no history names that.
    replayer = replayer_of(client)
    await replayer.replay_workflow(history)
    assert set(store.kept()) == before | set(kept)
    assert store.settings.encryption.keys_file is not None
    with changing(store.settings.encryption.keys_file) as keys:
        keys.current = add_key(keys, "second")
    await replayer.replay_workflow(history)
    assert len(store.kept()) > len(before) + len(kept)
    assert (await handle.result()) == result

    archive = TemporalArchive(client, queue)
    assert not await archive.forget(handle.id, datetime.now(UTC) - timedelta(hours=1))
    assert set(store.kept()) >= set(kept)


async def test_what_is_forgotten_is_gone(dev_env: WorkflowEnvironment, store: Store) -> None:
    client = client_of(dev_env, store.settings)
    before = store.kept()
    async with at_work(client) as queue:
        names = [f"acme/{uuid4().hex}/1", f"acme/{uuid4().hex}/2"]
        for name in names:
            await client.execute_workflow(
                Large.run, WORD * (LIMIT // 16), id=name, task_queue=queue
            )
    history = await client.get_workflow_handle(names[0]).fetch_history()
    assert store.settings.encryption.keys_file is not None
    with changing(store.settings.encryption.keys_file) as keys:
        keys.current = add_key(keys, "second")
    replayer = replayer_of(client)
    await replayer.replay_workflow(history)
    archive = TemporalArchive(client, queue)
    assert await archive.forget(names[0], later())
    others = store.kept()
    assert others != before
    assert await client.get_workflow_handle(names[1]).result()  # has its own copy of the same
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=names[1]),
        )
    )
    await gone(client, names[1])
    # As after its retention: nothing in Temporal knows of it any more.
    assert await archive.forget(names[1], later())
    assert store.kept() == before


async def gone(client: Client, workflow_id: str) -> None:
    """Until a deleted workflow is no longer listed."""
    for _ in range(1000):
        if not [one async for one in client.list_workflows(f"WorkflowId = '{workflow_id}'")]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{workflow_id} is still listed")


async def test_messages_of_errors_are_encrypted(
    dev_env: WorkflowEnvironment, tmp_path: Path, keys_file: Path
) -> None:
    settings = Settings.model_validate(
        {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}}
    )
    client = client_of(dev_env, settings)
    async with at_work(client) as queue:
        handle = await client.start_workflow(
            Failing.run, WORD, id=uuid4().hex, task_queue=queue, memo={"said": WORD}
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.type, cause.details) == (
        f"cannot: {WORD}",
        "PolicyRefused",
        (WORD,),
    )
    described = await handle.describe()
    assert await described.memo_value("said") == WORD
    history = await handle.fetch_history()
    raw = b"".join(event.SerializeToString() for event in history.events)
    assert b"PolicyRefused" in raw
    assert WORD.encode() not in raw + described.raw_description.SerializeToString()


async def test_old_histories_and_a_lost_key(
    dev_env: WorkflowEnvironment, tmp_path: Path, keys_file: Path
) -> None:
    """What was written in clear is read with encryption, and who lacks a key is told which."""
    plain = client_of(dev_env, Settings(data_dir=tmp_path))
    async with at_work(plain) as queue:
        old = await plain.start_workflow(Large.run, WORD, id=uuid4().hex, task_queue=queue)
        await old.result()
    settings = Settings.model_validate(
        {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}}
    )
    client = client_of(dev_env, settings)
    assert (await client.get_workflow_handle(old.id).result()).startswith(WORD)
    replayer = replayer_of(client)
    await replayer.replay_workflow(await old.fetch_history())
    async with at_work(client) as queue:
        new = await client.start_workflow(Large.run, WORD, id=uuid4().hex, task_queue=queue)
        await new.result()
    other = tmp_path / "other.json"
    with changing(other) as keys:
        keys.current = add_key(keys, "elsewhere")
    lost = settings.model_copy(
        update={"encryption": settings.encryption.model_copy(update={"keys_file": other})}
    )
    with pytest.raises(UnknownKey, match=r"key 'first', which is not in .*other\.json"):
        await client_of(dev_env, lost).get_workflow_handle(new.id).result()
    with pytest.raises(UnknownKey, match="'first': set QSAGA_ENCRYPTION__KEYS_FILE"):
        await plain.get_workflow_handle(new.id).result()


async def test_work_waits_for_its_key(
    dev_env: WorkflowEnvironment, tmp_path: Path, keys_file: Path
) -> None:
    """A worker that a new key has not reached yet fails nothing for good."""
    behind = tmp_path / "behind.json"
    behind.write_bytes(keys_file.read_bytes())
    given = {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}}
    client = client_of(dev_env, Settings.model_validate(given))
    late = client_of(
        dev_env, Settings.model_validate(given | {"encryption": {"keys_file": behind}})
    )
    with changing(keys_file) as keys:
        keys.current = add_key(keys, "second")
    async with at_work(late) as queue:
        handle = await client.start_workflow(
            Large.run,
            WORD,
            id=uuid4().hex,
            task_queue=queue,
            task_timeout=timedelta(seconds=1),  # after which a failed task is tried again
        )
        await failed_task(handle, "UnknownKey", "second")
        behind.write_bytes(keys_file.read_bytes())
        assert (await handle.result()).startswith(WORD)


async def test_a_damaged_input_is_refused(
    dev_env: WorkflowEnvironment, tmp_path: Path, keys_file: Path
) -> None:
    """Else whoever knows the name of a key could stop any workflow by a signal."""
    given = {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}}
    damaged = Payload(metadata={"encoding": ENCODING, KEY_ID: b"first"}, data=b"x" * 100)
    async with at_work(client_of(dev_env, Settings.model_validate(given))) as queue:
        handle = await dev_env.client.start_workflow(
            "QuantumJob", RawValue(damaged), id=uuid4().hex, task_queue=queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 20.0)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError) and cause.type == "InvalidRequest"


async def test_work_waits_for_a_disk_that_is_away(
    dev_env: WorkflowEnvironment, tmp_path: Path
) -> None:
    client = client_of(dev_env, Settings(data_dir=tmp_path))
    given = WORD + "x" * MIB
    async with at_work(client) as queue:
        handle = await client.start_workflow(
            Large.run,
            given,
            id=uuid4().hex,
            task_queue=queue,
            task_timeout=timedelta(seconds=1),
            start_delay=timedelta(seconds=1),  # the disk is away by then
        )
        folder = (tmp_path / "payloads").rename(tmp_path / "away")
        await failed_task(handle, "No such file")
        folder.rename(tmp_path / "payloads")
        assert (await handle.result()).startswith(WORD)


async def failed_task(handle: WorkflowHandle[Any, Any], *words: str) -> None:
    """Until a workflow task has failed, with one of these in its error."""
    for _ in range(400):
        async for event in handle.fetch_history_events():
            failed = str(event.workflow_task_failed_event_attributes.failure)
            if any(word in failed for word in words):
                return
        await asyncio.sleep(0.02)
    raise AssertionError("no workflow task failed")
