"""A real job with known secrets: none of them is in a history, in the log or in the database."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from pydantic import SecretStr
from sqlalchemy import make_url, text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import QsagaClient
from qsaga.core.jobs import JobRequest
from qsaga.core.states import JobState
from qsaga.identity import client_interceptors
from qsaga.keyring import read_keys
from qsaga.payloads import data_converter, header_codec
from qsaga.settings import IdentitySettings, Settings
from tests.support.databases import BACKENDS, fresh_database
from tests.support.people import ASK, waiting
from tests.support.stack import Stack, abilene, running_stack
from tools.identity import issue, jwks, new_key

KEY = new_key()
TOKEN = "ibm-token-5f0c2b7e91"
PASSWORD = "hook-password-88e1"
DATABASE_PASSWORD = "database-password-3b"
WORKER_KEY = "worker-key-" + "w" * 32
DATUM = "substation-kilo-4471"
ALWAYS = """
[[approvals]]
name = "always"
money_above = "0.01"
because = "it costs money"
"""
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")


class Log(logging.Handler):
    """All that a worker would write, as ``worker.py`` sets logging up."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[Log]:
    handler, root = Log(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@contextmanager
def hook() -> Iterator[tuple[str, list[str]]]:
    """A web hook that asks for a password, and what it was told."""
    told: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            scheme, _, given = self.headers.get("Authorization", "").partition(" ")
            known = scheme == "Basic" and base64.b64decode(given) == f"ops:{PASSWORD}".encode()
            told.append(json.loads(body)["kind"] if known else "a stranger")
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://ops:{PASSWORD}@127.0.0.1:{server.server_port}/hook", told
    server.shutdown()
    server.server_close()


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    keys_file: Path,
    log: Log,
) -> AsyncIterator[tuple[Stack, list[str]]]:
    """Everything that has a secret is switched on."""
    await asyncio.to_thread(emulator.control.reset)
    (tmp_path / "policy.toml").write_text(ASK + ALWAYS)
    (tmp_path / "jwks.json").write_text(json.dumps(jwks(KEY)))
    identity = {
        "required": True,
        "keys_file": tmp_path / "jwks.json",
        "worker_key": SecretStr(WORKER_KEY),
    }
    with hook() as (url, told), fresh_database(BACKENDS[-1], tmp_path) as database:
        address = make_url(database)
        if BACKENDS[-1] == "postgresql":
            address = address.set(password=DATABASE_PASSWORD)
        changes = {
            "policy_file": tmp_path / "policy.toml",
            "identity": IdentitySettings.model_validate(identity),
            "encryption": {"keys_file": keys_file},
            "notify_url": url,
            "database_url": SecretStr(address.render_as_string(hide_password=False)),
        }
        folder = tmp_path / "data"
        async with running_stack(
            dev_env, emulator, folder, "", changes, token=SecretStr(TOKEN)
        ) as stack:
            yield stack, told


def client_of(stack: Stack, signed: str) -> QsagaClient:
    identity = IdentitySettings(token=SecretStr(signed))
    settings: Settings = stack.settings.model_copy(update={"identity": identity})
    config = stack.env.client.config()
    config["data_converter"] = data_converter(settings)
    config["header_codec_behavior"] = header_codec(settings)
    config["interceptors"] = client_interceptors(identity)
    return QsagaClient(Client(**config), settings)


def recognisable(**changes: Any) -> JobRequest:
    edges = [[DATUM, "b"], ["b", "c"], ["c", DATUM], ["c", "d"]]
    problem = {"name": "maxcut", "data": {"edges": edges}}
    workload = {"kind": "optimise", "problem": problem, "algorithm": {"depth": 1}, "shots": 64}
    return abilene(workload=workload, tenant="acme", **changes)


async def histories(stack: Stack) -> dict[str, bytes]:
    """Every history of the task queue as the server keeps it, with what base64 hides."""
    found = {}
    query = f"TaskQueue = '{stack.settings.temporal.task_queue}'"
    async for execution in stack.temporal.list_workflows(query):
        page = await stack.temporal.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=stack.temporal.namespace,
                execution=WorkflowExecution(workflow_id=execution.id, run_id=execution.run_id),
            )
        )
        assert not page.next_page_token
        described = await stack.temporal.get_workflow_handle(execution.id).describe()
        parts = (page, described.raw_description)
        found[execution.id] = b"\n".join(
            part.SerializeToString() + json_format.MessageToJson(part).encode() for part in parts
        )
    return found


def opened(text: bytes, depth: int = 3) -> bytes:
    """A text, and after it what is in base64 in it, and in that."""
    inner = []
    for found in set(BASE64.findall(text)) if depth else ():
        plain = found.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        plain = plain[: len(plain) - (len(plain) % 4 == 1)]
        inner.append(base64.b64decode(plain + b"=" * (-len(plain) % 4)))
    return text + b"\n" + (opened(b"\n".join(inner), depth - 1) if inner else b"")


async def rows(stack: Stack) -> bytes:
    """Everything in the database."""
    async with stack.parts.engine.connect() as connection:
        names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        if connection.dialect.name == "sqlite":
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = (await connection.execute(text(names))).scalars().all()
        assert "jobs" in tables
        found = [
            str((await connection.execute(text(f'SELECT * FROM "{name}"'))).all())
            for name in tables
        ]
    return "\n".join(found).encode()


def secrets(keys_file: Path, *tokens: str) -> dict[str, bytes]:
    key = read_keys(keys_file).keys["first"].key.get_secret_value()
    return {
        "IBM token": TOKEN.encode(),
        "password of the web hook": PASSWORD.encode(),
        "password of the database": DATABASE_PASSWORD.encode(),
        "workers' secret": WORKER_KEY.encode(),
        "encryption key": key,
        "encryption key as in its file": base64.b64encode(key).rstrip(b"="),
        # The head of a token is the same for all: what comes after it is the secret.
        **{f"token {n}": token.partition(".")[2].encode() for n, token in enumerate(tokens)},
    }


def leaks(text: bytes, wanted: dict[str, bytes]) -> list[str]:
    everything = opened(text)
    return [name for name, secret in wanted.items() if secret in everything]


async def test_no_secret_is_kept(
    guarded: tuple[Stack, list[str]], keys_file: Path, log: Log
) -> None:
    stack, told = guarded
    alice = issue(KEY, sub="alice", tenants=["acme"], roles=["submitter"])
    bob = issue(KEY, sub="bob", tenants=["acme"], roles=["approver"])
    handle = await client_of(stack, alice).start(recognisable())
    by_bob = client_of(stack, bob).job(handle.job_id)
    await waiting(client_of(stack, alice).job(handle.job_id))
    await by_bob.approve(f"{DATUM} is worth it")
    result = await handle.result()
    assert result.state is JobState.COMPLETED
    await stack.settled(result)
    given_up = await client_of(stack, alice).start(recognisable())
    await waiting(client_of(stack, alice).job(given_up.job_id))
    await client_of(stack, alice).job(given_up.job_id).cancel()
    await given_up.result()
    kept = await histories(stack)
    wanted = secrets(keys_file, alice, bob)
    assert {handle.job_id, stack.run_id(result)} <= set(kept)
    assert {
        name: leaks(text, wanted | {"datum": DATUM.encode()}) for name, text in kept.items()
    } == {name: [] for name in kept}
    assert "approval_asked" in told and "a stranger" not in told
    lines = "\n".join(log.lines)
    assert "approval_asked" in lines
    assert leaks(lines.encode(), wanted) == []
    assert leaks(await rows(stack), wanted) == []


async def test_the_scan_sees_what_is_there(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """The same search finds the datum where nothing is encrypted."""
    await asyncio.to_thread(emulator.control.reset)
    async with running_stack(dev_env, emulator, tmp_path) as stack:
        result = await stack.run(recognisable(route="annealing"))
        assert result.state is JobState.COMPLETED
        (text,) = [text for name, text in (await histories(stack)).items() if name == result.job_id]
        assert leaks(text, {"datum": DATUM.encode(), "other": TOKEN.encode()}) == ["datum"]
        assert leaks(await rows(stack), {"job": result.job_id.encode()}) == ["job"]
