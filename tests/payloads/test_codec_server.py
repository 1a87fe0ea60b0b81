"""The codec server, over HTTP as Temporal's UI asks."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment

import codec_server
from adapters.identity import JwtVerifier
from qsaga.keyring import add_key, changing
from qsaga.payloads import data_converter
from qsaga.settings import IdentitySettings, Settings
from tests.payloads.conftest import free_port, listens
from tests.payloads.flows import MIB, Large
from tests.payloads.work import at_work, client_of
from tools.identity import issue, jwks, new_key
from tools.servers import resolve
from tools.stage import wait_until

UI = "http://127.0.0.1:8233"
KEY = new_key()
WORD = "feeder-november-8"


@pytest.fixture
def settings(tmp_path: Path, keys_file: Path) -> Settings:
    return Settings.model_validate(
        {"data_dir": tmp_path, "encryption": {"keys_file": keys_file}, "payload_threshold": 1024}
    )


Ask = Callable[..., Any]


def asking(settings: Settings, check: codec_server.Check | None = None) -> httpx.AsyncClient:
    app = codec_server.app(settings, [UI], check)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://codec", headers={"Origin": UI}
    )


def body(*payloads: Payload) -> dict[str, Any]:
    return json_format.MessageToDict(Payloads(payloads=payloads))


def read(reply: httpx.Response) -> list[Payload]:
    assert reply.status_code == 200, reply.text
    return list(json_format.Parse(reply.content, Payloads()).payloads)


async def encoded(converter: DataConverter, *values: Any) -> list[Payload]:
    return await converter.encode(values)


async def test_small_large_and_plain_are_shown(settings: Settings) -> None:
    converter, large = data_converter(settings), "word " * 1000
    small, claim = await encoded(converter, {"a": 1}, large)
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b"2")
    assert b"qsaga.folder" in claim.data
    async with asking(settings) as ui:
        reply = await ui.post(
            "/decode", json=body(small, claim, plain), headers={"X-Namespace": "default"}
        )
        shown = read(reply)
        assert [json.loads(each.data) for each in shown] == [{"a": 1}, large, 2]
        assert all(each.metadata["encoding"] == b"json/plain" for each in shown)
        assert reply.headers["access-control-allow-origin"] == UI
        (sealed,) = read(await ui.post("/encode", json=body(plain)))
    assert sealed.metadata["encoding"] == b"binary/encrypted"
    assert await converter.decode([sealed]) == [2]


async def test_what_cannot_be_read_comes_back_as_it_was(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    with changing(other) as keys:
        keys.current = add_key(keys, "elsewhere")
    foreign = data_converter(
        settings.model_copy(
            update={"encryption": settings.encryption.model_copy(update={"keys_file": other})}
        )
    )
    (unknown,) = await encoded(foreign, "x")
    converter = data_converter(settings)
    small, lost = await encoded(converter, "y", "z" * 5000)
    for file in (tmp_path / "payloads").rglob("*"):
        if file.is_file():
            file.unlink()
    huge = Payload()
    huge.CopyFrom(lost)
    huge.external_payloads[0].size_bytes = codec_server.LARGEST_SHOWN + 1
    nowhere = Payload(
        metadata=lost.metadata, data=lost.data.replace(b"qsaga.folder", b"nobody.knows")
    )
    async with asking(settings) as ui:
        shown = read(await ui.post("/decode", json=body(unknown, small, lost, huge, nowhere)))
    assert shown[1].data == b'"y"'
    assert [shown[0], *shown[2:]] == [unknown, lost, huge, nowhere]


async def test_other_buckets_of_the_server_are_not_read(
    settings: Settings, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = settings.model_copy(
        update={"payloads": settings.payloads.model_copy(update={"store": "s3", "s3_bucket": s3})}
    )
    other = mine.model_copy(
        update={"payloads": mine.payloads.model_copy(update={"s3_bucket": "another"})}
    )
    (claim,) = await encoded(data_converter(mine), "z" * 5000)
    async with asking(mine) as ui, asking(other) as stranger:
        assert read(await ui.post("/decode", json=body(claim)))[0].data == b'"' + b"z" * 5000 + b'"'
        assert read(await stranger.post("/decode", json=body(claim))) == [claim]


async def test_who_may_ask(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(jwks(KEY)))
    identity = IdentitySettings(keys_file=tmp_path / "jwks.json")
    check = codec_server.readers_only(JwtVerifier(identity))
    (sealed,) = await encoded(data_converter(settings), "x")

    def bearer(*roles: str, tenants: Any = ("*",), **claims: Any) -> dict[str, str]:
        token = issue(KEY, sub="olga", tenants=list(tenants), roles=roles, **claims)
        return {"Authorization": f"Bearer {token}"}

    ended = datetime.now(UTC) - timedelta(hours=1)
    wanted = {
        "none": ({}, 401),
        "no token": ({"Authorization": "Bearer nonsense"}, 401),
        "expired": (bearer("auditor", exp=ended), 401),
        "another role": (bearer("submitter", "approver"), 403),
        "one tenant": (bearer("auditor", tenants=("acme",)), 403),
        "auditor": (bearer("auditor"), 200),
        "operator": (bearer("operator"), 200),
    }
    async with asking(settings, check) as ui:
        for path in ("/decode", "/encode"):
            found = {
                name: (await ui.post(path, json=body(sealed), headers=headers)).status_code
                for name, (headers, _) in wanted.items()
            }
            assert found == {name: status for name, (_, status) in wanted.items()}
        refused = await ui.post("/decode", json=body(sealed))
        assert refused.headers["access-control-allow-origin"] == UI


async def test_the_browser_may_ask_from_the_ui_only(settings: Settings) -> None:
    wants = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
    }
    async with asking(settings) as ui:
        allowed = await ui.options("/decode", headers=wants)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, UI)
        foreign = await ui.options("/decode", headers=wants | {"Origin": "http://evil.test"})
        assert foreign.status_code == 400
        assert "access-control-allow-origin" not in foreign.headers


async def test_bad_requests(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_server, "LARGEST_REQUEST", 1000)
    async with asking(settings) as ui:
        assert (await ui.post("/decode", content=b"{")).status_code == 400
        assert (await ui.post("/decode", content=b'{"payloads": 3}')).status_code == 400
        assert (await ui.post("/decode", content=b"\xff")).status_code == 400
        assert (await ui.post("/decode", content=b" " * 1001)).status_code == 413
        assert (await ui.get("/decode")).status_code == 405
        elsewhere = await ui.post("/decode", json=body(), headers={"X-Namespace": "other"})
        assert elsewhere.status_code == 404
        for same in ({}, {"X-Namespace": ""}, {"X-Namespace": "default"}):
            assert read(await ui.post("/decode", json=body(), headers=same)) == []


def test_nobody_is_let_in_by_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("QSAGA_")]:
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit) as refused:
        codec_server.main([])
    assert refused.value.code == 2
    assert "or say --open" in capsys.readouterr().err


async def test_temporals_command_line_shows_it(
    dev_env: WorkflowEnvironment, settings: Settings, keys_file: Path, tmp_path: Path
) -> None:
    """The process, asked by Temporal's own client of the protocol."""
    client = client_of(dev_env, settings)
    async with at_work(client) as queue:
        handle = await client.start_workflow(Large.run, WORD, id=uuid4().hex, task_queue=queue)
        await handle.result()
    (tmp_path / "jwks.json").write_text(json.dumps(jwks(KEY)))
    variables = {name: value for name, value in os.environ.items() if name[:6] != "QSAGA_"}
    variables |= {
        "QSAGA_DATA_DIR": str(tmp_path),
        "QSAGA_ENCRYPTION__KEYS_FILE": str(keys_file),
        "QSAGA_IDENTITY__KEYS_FILE": str(tmp_path / "jwks.json"),
    }
    port, root = free_port(), Path(codec_server.__file__).parent
    show = [
        resolve().cli, "workflow", "show", "-w", handle.id, "--output", "json",
        "--address", client.service_client.config.target_host,
    ]  # fmt: skip
    codec = ["--codec-endpoint", f"http://127.0.0.1:{port}", "--codec-auth"]

    async def shown(*more: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [*show, *more], capture_output=True, text=True, timeout=30
        )

    token = issue(KEY, sub="olga", tenants="*", roles=["auditor"])
    command = [sys.executable, "codec_server.py", f"--port={port}", f"--origin={UI}"]
    with subprocess.Popen(command, cwd=root, env=variables) as server:
        try:
            await asyncio.to_thread(wait_until, lambda: listens(port), "the server listens")
            plain, decoded = await shown(), await shown(*codec, f"Bearer {token}")
            assert (plain.returncode, decoded.returncode) == (0, 0), decoded.stderr
            assert b"qsaga.folder" in result_in(plain.stdout)
            result = json.loads(result_in(decoded.stdout))
            assert result.startswith(WORD) and len(result) > 4.9 * MIB
        finally:
            server.terminate()
    assert server.returncode in (0, -15)


def result_in(shown: str) -> bytes:
    """The payload of a workflow's result in a history as JSON."""
    completed = json.loads(shown)["events"][-1]["workflowExecutionCompletedEventAttributes"]
    (payload,) = completed["result"]["payloads"]
    return base64.b64decode(payload["data"])
