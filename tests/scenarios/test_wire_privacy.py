"""What a provider gets to see of a job: circuits, shots and hashes, and of some jobs nothing."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import JobRequest, deployment_tag
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Rung
from tests.adapters.ibm_wire import Wire
from tests.support.people import ASK, ended, tenant
from tests.support.stack import Stack, running_stack
from tools.servers import resolve

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = b"zaphod"
POLICY = ASK.replace("[hardware]", '[hardware]\nenvironments = ["production"]')


class Tap(Wire):
    """Keeps all that is sent to the provider: path, headers and body of every request."""

    def __init__(self, emulator: str) -> None:
        super().__init__(emulator)
        self.sent: list[bytes] = []

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, str]:
        self.sent.append(f"{request.path}\n{request.headers}\n".encode() + body)
        self.sent.append(body)
        return super()._forward(request, body)


def unpacked(data: bytes) -> Iterator[bytes]:
    """The data, and all that is packed into them: JSON, base64, zlib, in any order and depth."""
    yield data
    try:
        inner = list(_texts(json.loads(data)))
    except ValueError:
        inner = []
        with suppress(binascii.Error):
            inner.append(base64.b64decode(data, validate=True))
        with suppress(zlib.error):
            inner.append(zlib.decompress(data))
    for one in inner:
        if one != data:
            yield from unpacked(one)


def _texts(document: Any) -> Iterator[bytes]:
    if isinstance(document, str):
        yield document.encode()
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name.encode()
            yield from _texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from _texts(value)


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    """An emulator on its own clock."""
    with EmulatorProcess(noise="none") as running:
        yield running


@pytest.fixture
def tap(emulator: EmulatorProcess) -> Iterator[Tap]:
    """What stands between us and the emulator, and listens."""
    emulator.control.reset()
    emulator.control.set_execution(0.2)
    proxy = Tap(emulator.url)
    yield proxy
    proxy.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stack(emulator: EmulatorProcess, tap: Tap, tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack behind the tap, whose policy keeps tests in the house."""
    (tmp_path / "policy.toml").write_text(POLICY)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli)
    ) as env:
        given = {"policy_file": tmp_path / "policy.toml", "user": "Zaphod Beeblebrox"}
        async with running_stack(env, emulator, tmp_path, tap.url, given) as one:
            await tenant(one, "zaphod-and-co", money=1000)
            yield one


def about_people(**changes: object) -> JobRequest:
    """A job all of whose names are somebody's."""
    people = ["Zaphod Beeblebrox", "Ford (Zaphod's cousin)", "Trillian-Zaphod", "Arthur/zaphod"]
    edges = [[a, b] for a in people for b in people if a < b]
    base: dict[str, object] = {
        "tenant": "zaphod-and-co",
        "key": "zaphod-key-1",
        "requested_by": "Zaphod Beeblebrox",
        "experiment": "zaphod-experiment",
        "template": "zaphod-template",
        "dataset": "Zaphod's friends, 1979",
        "workload": {
            "kind": "optimise",
            "problem": {"name": "maxcut", "data": {"edges": edges}},
            "algorithm": {"depth": 1},
            "shots": 321,
        },
        "budgets": {"solve": 0.1, "quantum_seconds": 10},
    }
    return JobRequest.model_validate(base | changes)


async def answered(stack: Stack, request: JobRequest) -> JobResult:
    """The result, its account closed."""
    (result,) = await ended(stack, await stack.client.start(request))
    return result


async def test_no_name_of_anybody_leaves_the_house(stack: Stack, tap: Tap) -> None:
    result = await answered(stack, about_people())
    assert result.state is JobState.COMPLETED
    assert result.provenance is not None and result.provenance.source is Rung.HARDWARE
    seen = [layer for sent in tap.sent for layer in unpacked(sent)]
    # The listener understands what it hears.
    assert any(layer.startswith(b"QISKIT") for layer in seen)
    posts = [json.loads(sent) for sent in tap.sent if b'"program_id"' in sent and sent[:1] == b"{"]
    (job,) = posts
    assert set(job["tags"]) == {deployment_tag("test"), stack.run_id(result)}
    assert 321 in (pub[2] for pub in job["params"]["pubs"])
    for layer in seen:
        assert SECRET not in layer.lower(), layer[:500]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sensitivity": "restricted"}, "data of sensitivity 'restricted' may not leave"),
        ({"sensitivity": "restricted", "route": "hardware"}, "'restricted' may not leave"),
        ({"sensitivity": "restricted", "backend": "ibm_torino"}, "'restricted' may not leave"),
        ({"regions": ["atlantis"]}, "the job allows atlantis"),
        ({"regions": ["atlantis"], "backend": "ibm_torino"}, "the job allows atlantis"),
        ({"environment": "test"}, "keeps jobs of environment 'test' off the hardware"),
        ({"environment": "test", "route": "hardware"}, "environment 'test' off the hardware"),
    ],
)
async def test_what_may_not_leave_is_answered_in_the_house(
    stack: Stack, tap: Tap, changes: dict[str, object], reason: str
) -> None:
    result = await answered(stack, about_people(**changes))
    assert result.state is JobState.DEGRADED
    assert result.provenance is not None and result.provenance.source is Rung.ANNEALING
    assert result.decision is not None
    assert reason in next(r.reason for r in result.decision.refused if r.rung is Rung.HARDWARE)
    assert tap.count("POST", "/jobs$") == 0
    assert stack.emulator.control.summary()["posts"] == 0
