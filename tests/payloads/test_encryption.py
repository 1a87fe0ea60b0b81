"""The codec and its key file."""

from __future__ import annotations

import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)

from qsaga.claims import ENCODED
from qsaga.cli.app import run
from qsaga.core.errors import InvalidRequest, PayloadDamaged, UnknownKey, from_failure
from qsaga.encryption import NONCE_BYTES, EncryptionCodec
from qsaga.keyring import ENCODING, KEY_ID, KeyRing, add_key, changing, read_keys
from qsaga.payloads import data_converter
from qsaga.settings import Settings

CLEAR = Payload(metadata={"encoding": b"json/plain", "who": b"acme"}, data=b'{"secret": 1}')
LARGE = Payload(metadata={"encoding": b"json/plain"}, data=b"x" * 5000)


def codec(path: Path) -> EncryptionCodec:
    return EncryptionCodec(KeyRing(path), repeatable_from=4096)


async def test_there_and_back(keys_file: Path) -> None:
    (sealed,) = await codec(keys_file).encode([CLEAR])
    assert dict(sealed.metadata) == {"encoding": ENCODING, KEY_ID: b"first"}
    assert b"acme" not in sealed.data and b"secret" not in sealed.data
    assert await codec(keys_file).decode([sealed, CLEAR]) == [CLEAR, CLEAR]


async def test_only_what_is_large_gives_the_same_again(keys_file: Path) -> None:
    once, again = await codec(keys_file).encode([CLEAR, CLEAR])
    assert once.data != again.data
    large, twin = await codec(keys_file).encode([LARGE, LARGE])
    (other,) = await codec(keys_file).encode([Payload(data=b"y" * 5000)])
    assert large == twin
    assert large.data[:NONCE_BYTES] != other.data[:NONCE_BYTES]
    assert await codec(keys_file).decode([large]) == [LARGE]


async def test_a_running_process_follows_a_rotation(keys_file: Path) -> None:
    running = codec(keys_file)
    (old,) = await running.encode([CLEAR])
    with changing(keys_file) as keys:
        add_key(keys, "second")
    (distributed,) = await running.encode([CLEAR])
    assert distributed.metadata[KEY_ID] == b"first"
    with changing(keys_file) as keys:
        keys.current = "second"
    (new,) = await running.encode([CLEAR])
    assert new.metadata[KEY_ID] == b"second"
    assert await running.decode([old, new]) == [CLEAR, CLEAR]
    with changing(keys_file) as keys:
        keys.current = None
    assert await running.encode([CLEAR]) == [CLEAR]
    assert await running.decode([old, new]) == [CLEAR, CLEAR]


async def test_a_key_that_comes_late(keys_file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    with changing(elsewhere) as keys:
        add_key(keys, "other")
    reader = codec(elsewhere)
    (sealed,) = await codec(keys_file).encode([CLEAR])
    with pytest.raises(UnknownKey, match="key 'first'") as unknown:
        await reader.decode([sealed])
    assert unknown.value.retryable
    assert isinstance(from_failure("UnknownKey", str(unknown.value)), UnknownKey)
    elsewhere.write_bytes(keys_file.read_bytes())
    assert await reader.decode([sealed]) == [CLEAR]


@pytest.mark.parametrize("place", [0, NONCE_BYTES, -1])
async def test_what_was_changed_does_not_open(keys_file: Path, place: int) -> None:
    (sealed,) = await codec(keys_file).encode([CLEAR])
    data = bytearray(sealed.data)
    data[place] ^= 1
    with pytest.raises(PayloadDamaged, match="'first'") as damaged:
        await codec(keys_file).decode([Payload(metadata=sealed.metadata, data=bytes(data))])
    assert not damaged.value.retryable


async def test_a_key_of_the_same_name_or_another_name_does_not_open(keys_file: Path) -> None:
    (sealed,) = await codec(keys_file).encode([CLEAR])
    with changing(keys_file) as keys:
        keys.keys["alias"] = keys.keys["first"]
    renamed = Payload(metadata={"encoding": ENCODING, KEY_ID: b"alias"}, data=sealed.data)
    with pytest.raises(PayloadDamaged):
        await codec(keys_file).decode([renamed])
    with pytest.raises(PayloadDamaged):
        await codec(keys_file).decode([Payload(metadata=sealed.metadata, data=b"short")])


async def test_a_file_that_breaks_leaves_the_keys(
    keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = codec(keys_file)
    (sealed,) = await running.encode([CLEAR])
    secret = json.loads(keys_file.read_text())["keys"]["first"]["key"]
    keys_file.write_text('{"current": "first", "keys": {"first": "' + secret + '"}}')
    with caplog.at_level(logging.WARNING):
        assert await running.decode(await running.encode([CLEAR])) == [CLEAR]
    assert "the keys stay as they were" in caplog.text and secret not in caplog.text
    keys_file.unlink()
    assert await running.decode([sealed]) == [CLEAR]
    with pytest.raises(InvalidRequest, match="No such file") as missing:
        KeyRing(keys_file)
    assert missing.value.field == "encryption.keys_file"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}{", "Invalid JSON"),
        ('{"current": "gone", "keys": {}}', "current is 'gone'"),
        ('{"keys": {"a": {"key": "QUJD", "created": "2026-01-01T00:00:00Z"}}}', "has 32 bytes"),
        ('{"keys": {"QUJDREVG==": {}}}', "keys"),
    ],
)
def test_a_bad_file_is_named_and_not_quoted(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=problem) as refused:
        read_keys(path)
    assert str(path) in str(refused.value) and "QUJD" not in str(refused.value).replace(
        "QUJDREVG==", ""
    )


def test_keys_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "keys.json"
    monkeypatch.setenv("QSAGA_ENCRYPTION__KEYS_FILE", str(path))
    monkeypatch.setenv("QSAGA_TEMPORAL__ADDRESS", "127.0.0.1:1")
    assert run(["keys", "rotate"]) == 2
    assert "none: make one with `qsaga keys new`" in capsys.readouterr().err
    assert not path.exists()
    assert run(["keys", "new", "one"]) == 0
    assert read_keys(path).current is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run(["keys", "rotate"]) == 0
    assert run(["keys", "new", "two"]) == 0
    assert run(["keys", "new", "two"]) == 2
    assert run(["keys", "new", "no/slash"]) == 2
    assert run(["keys", "rotate", "three"]) == 2
    assert run(["keys", "new", "--once"]) == 0
    assert (read_keys(path).current, set(read_keys(path).keys)) == ("one", {"one", "two"})
    assert run(["keys", "rotate"]) == 0
    assert run(["keys", "new"]) == run(["keys", "new"]) == 0
    assert len(read_keys(path).keys) == 4
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    run(["doctor"])
    shown = capsys.readouterr().out
    assert "two" in shown and "key 'two' encrypts, " in " ".join(shown.split())
    for key in json.loads(path.read_text())["keys"].values():
        assert key["key"] not in shown
    path.chmod(0o644)
    run(["doctor"])
    assert "others may read" in " ".join(capsys.readouterr().out.split())


def test_keys_made_at_once_are_all_there(tmp_path: Path) -> None:
    def make(number: int) -> None:
        with changing(tmp_path / "keys.json") as keys:
            add_key(keys, f"key-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(16)))
    assert len(read_keys(tmp_path / "keys.json").keys) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


async def test_a_large_message_waits_where_there_are_no_keys(
    keys_file: Path, tmp_path: Path
) -> None:
    with_keys = {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}}
    job = StorageDriverWorkflowInfo(namespace="default", id="acme/1", type="Large", run_id="1")
    sent, received = (
        data_converter(Settings.model_validate(given))._with_contexts(
            WorkflowSerializationContext(namespace="default", workflow_id="acme/1"),
            StorageDriverStoreContext(target=job),
        )
        for given in (with_keys, {"data_dir": tmp_path})
    )
    (large,) = await sent.encode(["x" * 500_000])
    # The SDK can be told to encrypt references as well.
    (sealed,) = await codec(keys_file).encode([large])
    sealed.metadata[ENCODED] = b"true"
    for payload in (large, sealed):
        with pytest.raises(UnknownKey):
            await received.decode([payload])
        assert await sent.decode([payload]) == ["x" * 500_000]
