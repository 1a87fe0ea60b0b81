"""A reply that is no longer of the form we know is named: endpoint, field, what it is, what not."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.ibm import IBMProvider
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import TransientProviderError, Undecided
from qsaga.core.ports import Compiled, SessionSpec
from tests.adapters.ibm_wire import (
    BACKEND,
    JOB,
    JOBS,
    TAG,
    Wire,
    completed,
    edited,
    settings,
    submit,
)

pytestmark = pytest.mark.timeout(60)
Call = Callable[[IBMProvider, str], Awaitable[object]]
Change = Callable[[Any], Any]


def put(*path: str | int, value: Any) -> Change:
    """Another value at a place of the reply."""

    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    """Leave a place of the reply out."""

    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return change


def whole(value: Any) -> Change:
    """Another reply altogether."""
    return lambda _: value


async def status(provider: IBMProvider, job: str) -> object:
    return await provider.status(job)


async def find(provider: IBMProvider, job: str) -> object:
    return await provider.find(TAG)


async def outlook(provider: IBMProvider, job: str) -> object:
    return await provider.outlook(job)


async def backends(provider: IBMProvider, job: str) -> object:
    return await provider.backends()


async def target(provider: IBMProvider, job: str) -> object:
    return await provider.target(BACKEND)


async def usage(provider: IBMProvider, job: str) -> object:
    return await provider.usage()


async def session(provider: IBMProvider, job: str) -> object:
    spec = SessionSpec(backend=BACKEND, mode="batch", max_seconds=60)
    return await provider.session((await provider.open_session(spec)).session_id)


ONE, LIST, METRICS = "GET /jobs/{id}", "GET /jobs", "GET /jobs/{id}/metrics"
DRIFTS: list[tuple[Call, str, Change, str]] = [
    (status, JOB, drop("id"), f"{ONE}: id is missing, expected text"),
    (status, JOB, put("id", value=7), f"{ONE}: id is the number 7, expected text"),
    (status, JOB, drop("state"), f"{ONE}: state is missing, expected an object"),
    (
        status,
        JOB,
        put("state", value="Queued"),
        f"{ONE}: state is the text 'Queued', expected an o",
    ),
    (
        status,
        JOB,
        put("state", "status", value=None),
        f"{ONE}: state.status is null, expected text",
    ),
    (status, JOB, put("tags", value="a"), f"{ONE}: tags is the text 'a', expected a list or null"),
    (status, JOB, whole([]), f"{ONE}: the reply is a list, expected an object"),
    (find, JOBS, drop("jobs"), f"{LIST}: jobs is missing, expected a list"),
    (find, JOBS, put("jobs", value={}), f"{LIST}: jobs is an object, expected a list"),
    (find, JOBS, drop("count"), f"{LIST}: count is missing, expected a whole number"),
    (
        find,
        JOBS,
        put("count", value="1"),
        f"{LIST}: count is the text '1', expected a whole number",
    ),
    (find, JOBS, drop("jobs", 0, "state"), f"{LIST}: jobs.0.state is missing, expected an object"),
    (find, JOBS, put("jobs", 0, value=None), f"{LIST}: jobs.0 is null, expected an object"),
    (outlook, "/metrics$", drop("usage"), f"{METRICS}: usage is missing, expected an object"),
    (
        outlook,
        "/metrics$",
        put("usage", "quantum_seconds", value="3"),
        f"{METRICS}: usage.quantum_seconds is the text '3', expected a number or null",
    ),
    (backends, "/backends$", drop("devices"), "GET /backends: devices is missing, expected a list"),
    (backends, "/backends$", whole([]), "GET /backends: the reply is a list, expected an object"),
    (
        backends,
        "/backends$",
        drop("devices", 0, "status"),
        "GET /backends: devices.0.status is missing, expected an object",
    ),
    (
        target,
        "/configuration$",
        put("n_qubits", value="133"),
        "GET /backends/{name}/configuration: n_qubits is the text '133', expected a whole number",
    ),
    (
        target,
        "/properties$",
        drop("gates"),
        "GET /backends/{name}/properties: gates is missing, expected a list",
    ),
    (
        target,
        "/properties$",
        put("qubits", value=[1]),
        "GET /backends/{name}/properties: calibration data",
    ),
    (
        usage,
        "/usage$",
        drop("usage_consumed_seconds"),
        "GET /instances/usage: usage_consumed_seconds is missing, expected a number",
    ),
    (
        session,
        r"/sessions/[^/]+$",
        put("mode", value="shared"),
        "GET /sessions/{id}: mode is the text 'shared', expected 'dedicated' or 'batch'",
    ),
]


@pytest.mark.parametrize(
    ("call", "path", "change", "says"), DRIFTS, ids=[says.split(",")[0] for *_, says in DRIFTS]
)
async def test_a_read_of_a_reply_that_drifted(
    provider: IBMProvider,
    compiled: Compiled,
    wire: Wire,
    emulator: EmulatorProcess,
    call: Call,
    path: str,
    change: Change,
    says: str,
) -> None:
    job = await completed(provider, compiled)
    # A backend that is known is not asked for its configuration again.
    asked = IBMProvider(settings(wire.url)) if call is target else provider
    await call(provider, job)
    wire.add("GET", path, forward=True, rewrite=edited(change))
    with pytest.raises(TransientProviderError, match=re.escape(f"schema drift: {says}")):
        await call(asked, job)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"backend": "ibm_torino"}', "id is missing, expected text"),
        (b'{"id": null, "backend": "ibm_torino"}', "id is null, expected text"),
        (b'"d1"', "the reply is the text 'd1', expected an object"),
    ],
)
async def test_a_submission_whose_reply_drifted_is_undecided(
    provider: IBMProvider,
    compiled: Compiled,
    wire: Wire,
    emulator: EmulatorProcess,
    body: bytes,
    says: str,
) -> None:
    wire.add("POST", JOBS, forward=True, body=body)
    with pytest.raises(Undecided, match=re.escape(f"schema drift: POST /jobs: {says}")):
        await submit(provider, compiled)
    assert len(await provider.find(TAG)) == 1


async def test_an_accepted_job_is_known_whatever_the_client_makes_of_the_reply(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    for change in (drop("backend"), put("backend", value="ibm_elsewhere")):
        fault = wire.add("POST", JOBS, forward=True, rewrite=edited(change))
        job = await submit(provider, compiled)
        assert job.provider_job_id in {found["id"] for found in emulator.control.jobs(TAG)}
        wire.faults.remove(fault)


async def test_what_only_describes_may_be_odd(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    job = await completed(provider, compiled)
    for change in (put("created", value=5), drop("tags"), put("news", value=[1]), drop("program")):
        fault = wire.add("GET", JOB, forward=True, rewrite=edited(change))
        assert (await provider.status(job)).provider_job_id == job
        wire.faults.remove(fault)
