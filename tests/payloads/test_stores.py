"""Which store is written, which are read, and what a claim may name."""

from __future__ import annotations

import hashlib
import os
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from qsaga.claims import (
    REFERENCE,
    DeletingDriver,
    NoSuchPayload,
    delete_referenced,
    driver_named,
    payloads_in,
)
from qsaga.core.errors import InvalidRequest
from qsaga.payloads import FolderDriver, data_converter
from qsaga.settings import PayloadSettings, Settings

HELLO = Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')
ADDRESS = {"s3": "AWS_ENDPOINT_URL_S3", "gcs": "STORAGE_EMULATOR_HOST"}
JOB = StorageDriverWorkflowInfo(namespace="default", id="acme/1", type="QuantumJob")


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


async def test_a_claim_of_an_older_release_is_read_and_deleted(tmp_path: Path) -> None:
    data = HELLO.SerializeToString()
    key = hashlib.sha256(data).hexdigest()
    (tmp_path / key[:2]).mkdir()
    (tmp_path / key[:2] / key).write_bytes(data)
    driver, claim = FolderDriver(tmp_path), StorageDriverClaim(claim_data={"sha256": key})
    assert await driver.retrieve(StorageDriverRetrieveContext(), [claim]) == [HELLO]
    assert await driver.delete(claim.claim_data, later())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_claim_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(HELLO.SerializeToString())
    driver, key = FolderDriver(tmp_path / "payloads"), "a" * 64
    for data in (
        {"sha256": "../secret"},
        {"sha256": f"../{key}"},
        {"sha256": key, "owner": "../../.."},
        {},
    ):
        with pytest.raises(ValueError, match="names no payload"):
            await driver.retrieve(
                StorageDriverRetrieveContext(), [StorageDriverClaim(claim_data=data)]
            )


@pytest.mark.parametrize("kind", ["s3", "gcs", "folder"])
async def test_what_is_not_kept_is_told_from_a_store_that_is_away(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, chosen = {"s3": "key", "gcs": "object_name"}.get(kind, "sha256"), {"store": kind}
    if kind != "folder":
        chosen[f"{kind}_bucket"] = request.getfixturevalue(kind)
    driver = driver_of(tmp_path, chosen)
    (claim,) = await driver.store(StorageDriverStoreContext(target=JOB), [HELLO])
    good = dict(claim.claim_data)
    bad = [good | {field: "a" * 64}, {}]
    if kind != "folder":
        bad += [
            good | {"bucket": "of-nobody"},
            good | {"bucket": "-"},
            good | {"hash_value": "a"},
            good | {field: "a" * 2000},
            good | {field: ""},
            {field: good[field], "bucket": good["bucket"]},
            good | no_payload(kind, good["bucket"], field),
        ]
    for data in bad:
        with pytest.raises(NoSuchPayload):
            await retrieve(driver, data)
    if kind == "folder":
        (tmp_path / "payloads").rename(tmp_path / "away")
    else:
        monkeypatch.setattr(f"qsaga.buckets.{kind}.{kind.upper()}Objects.get", refuse)
        with pytest.raises(NoSuchPayload):
            await retrieve(driver, good | {"bucket": "of-somebody-else"})
    for data in (good, good | {field: "a" * 64}):
        with pytest.raises((FileNotFoundError, RuntimeError)):
            await retrieve(driver, data)


@pytest.mark.parametrize(("kind", "other"), [("s3", "gcs"), ("gcs", "s3")])
async def test_our_own_bucket_is_waited_for_where_it_is_not_found(
    request: pytest.FixtureRequest, kind: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a worker with a wrong address or project."""
    field, bucket = {"s3": "key", "gcs": "object_name"}[kind], request.getfixturevalue(kind)
    request.getfixturevalue(other)
    driver = driver_of(Path(), {"store": kind, f"{kind}_bucket": bucket})
    only_there = Payload(data=kind.encode())
    (claim,) = await driver.store(StorageDriverStoreContext(target=JOB), [only_there])
    good = dict(claim.claim_data)
    for name in ("of-nobody", "-"):
        driver = driver_of(Path(), {"store": kind, f"{kind}_bucket": name})
        for found in (good[field], "a" * 64):
            with pytest.raises(RuntimeError):
                await retrieve(driver, good | {"bucket": name, field: found})
    monkeypatch.setenv(ADDRESS[kind], os.environ[ADDRESS[other]])
    driver = driver_of(Path(), {"store": kind, f"{kind}_bucket": bucket})
    with pytest.raises(RuntimeError):
        await retrieve(driver, good)


async def test_an_empty_folder_may_be_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    driver = FolderDriver(tmp_path / "payloads")
    nothing = {"sha256": "a" * 64}
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            await retrieve(driver, nothing)
        (tmp_path / "payloads").mkdir(exist_ok=True)
    await driver.store(StorageDriverStoreContext(target=JOB), [HELLO])
    with pytest.raises(NoSuchPayload):
        await retrieve(driver, nothing)


async def test_a_file_that_a_deletion_puts_back_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = FolderDriver(tmp_path)
    (claim,) = await driver.store(StorageDriverStoreContext(target=JOB), [HELLO])
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    aside = path.replace(path.with_name(f"{path.name}.deleted"))
    monkeypatch.setattr("qsaga.payloads.sleep", lambda _: aside.replace(path))
    assert await driver.retrieve(StorageDriverRetrieveContext(), [claim]) == [HELLO]


async def test_a_history_with_bad_references_can_be_deleted(tmp_path: Path) -> None:
    of_reference = {"encoding": b"json/protobuf", "messageType": REFERENCE}
    bad = (
        b"{,",
        b"\xff",
        b"[" * 100_000,
        b'{"driverName": "qsaga.folder", "claimData": {"sha256": "../x"}}',
    )
    history = Payloads(payloads=[Payload(metadata=of_reference, data=data) for data in bad])
    assert await delete_referenced(history, data_converter(Settings(data_dir=tmp_path)), later())


def driver_of(folder: Path, chosen: dict[str, str]) -> StorageDriver:
    """Of the store that is chosen."""
    settings = Settings.model_validate({"data_dir": folder, "payloads": chosen})
    storage = data_converter(settings).external_storage
    assert storage is not None
    return storage.drivers[-1]


async def retrieve(driver: StorageDriver, data: dict[str, str]) -> None:
    """What a claim names."""
    await driver.retrieve(StorageDriverRetrieveContext(), [StorageDriverClaim(claim_data=data)])


def no_payload(kind: str, bucket: str, field: str) -> dict[str, str]:
    """Of a claim: an object that is there, and is something else."""
    data = b"\xff\xff"
    objects = import_module(f"qsaga.buckets.{kind}")
    getattr(objects, f"{kind.upper()}Objects")().put(bucket, "of-somebody", data)
    return {field: "of-somebody", "hash_value": hashlib.sha256(data).hexdigest()}


def refuse(*_: object) -> bytes:
    """As a service does whose credentials have run out."""
    raise PermissionError("expired")


async def test_what_was_used_since_stays(tmp_path: Path) -> None:
    driver = FolderDriver(tmp_path)
    (claim,) = await driver.store(StorageDriverStoreContext(target=JOB), [HELLO])
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    assert not await driver.sweep(JOB, long_ago)
    assert await driver.delete(claim.claim_data, later())  # its workflow's: left to the sweep
    other = StorageDriverWorkflowInfo(namespace="default", id="acme/2", type="QuantumJob")
    assert await driver.sweep(other, later())
    assert await driver.retrieve(StorageDriverRetrieveContext(), [claim]) == [HELLO]
    assert await driver.sweep(JOB, later())
    assert await driver.sweep(JOB, later())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("kind", "name"), [("s3", "aws.s3driver"), ("gcs", "gcp.gcsdriver"), ("folder", "qsaga.folder")]
)
async def test_another_store_reads_what_the_last_one_holds(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, name: str
) -> None:
    buckets = {f"{each}_bucket": request.getfixturevalue(each) for each in ("s3", "gcs")}
    all_of_them = {
        each: data_converter(
            Settings.model_validate(
                {
                    "data_dir": tmp_path,
                    "payload_threshold": 1024,
                    "payloads": {"store": each} | buckets,
                }
            )
        )
        for each in ("folder", "s3", "gcs")
    }
    text = f"{kind} " + "x" * 5000
    (claim,) = await all_of_them[kind].encode([text])
    assert name.encode() in claim.data and claim.ByteSize() < 1024
    for converter in all_of_them.values():
        assert await converter.decode([claim]) == [text]
        assert isinstance(driver_named(converter, name), DeletingDriver)


async def test_large_objects_go_in_parts(s3: str, gcs: str) -> None:
    settings = {"s3_bucket": s3, "gcs_bucket": gcs}
    for store in ("s3", "gcs"):
        converter = data_converter(
            Settings.model_validate({"payloads": {"store": store} | settings})
        )
        text = "x" * 20 * 1024**2
        assert await converter.decode(await converter.encode([text])) == [text]


def test_a_store_needs_its_bucket_and_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="s3 needs s3_bucket"):
        PayloadSettings(store="s3")
    for kind, package in (("s3", "boto3"), ("gcs", "google.cloud")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"qsaga.buckets.{kind}", raising=False)
        with pytest.raises(InvalidRequest, match=rf"pip install 'qsaga\[{kind}\]'"):
            data_converter(Settings.model_validate({"payloads": {f"{kind}_bucket": "b"}}))


def test_every_payload_of_a_message_is_found() -> None:
    from temporalio.api.history.v1 import HistoryEvent

    event = HistoryEvent()
    started = event.workflow_execution_started_event_attributes
    started.input.payloads.add(data=b"input")
    started.header.fields["who"].data = b"header"
    started.memo.fields["hash"].data = b"memo"
    failure = started.continued_failure
    failure.encoded_attributes.data = b"attributes"
    failure.cause.application_failure_info.details.payloads.add(data=b"details")
    assert sorted(payload.data for payload in payloads_in(event)) == [
        b"attributes",
        b"details",
        b"header",
        b"input",
        b"memo",
    ]
