"""What the IBM adapter makes of a bad wire: real requests through a proxy that misbehaves."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import requests

from adapters.ibm import IBMProvider
from adapters.ibm._errors import never_connected, status_of
from adapters.ibm._wire import retry_after
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import (
    PermanentProviderError,
    ProviderError,
    ResultUnusable,
    TransientProviderError,
    Undecided,
)
from qsaga.core.ports import Compiled, RemoteState
from tests.adapters.ibm_wire import (
    JOB,
    JOBS,
    TAG,
    Wire,
    all_calls_over,
    completed,
    settings,
    submit,
)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def hasty(module_wire: Wire, compiled: Compiled) -> IBMProvider:
    """Signed in, with everything at hand, and from then on in a hurry."""
    made = IBMProvider(settings(module_wire.url, call_timeout=20.0))
    asyncio.run(submit(made, compiled))
    made._calls.seconds = 1.5
    return made


@pytest.mark.parametrize(
    ("status", "becomes"),
    [
        *((s, PermanentProviderError) for s in (400, 403, 404, 409, 413, 422)),
        (408, Undecided),
        (429, TransientProviderError),
        *((s, Undecided) for s in (500, 501, 502, 503, 504, 520, 524)),
    ],
)
async def test_a_submission_is_sent_once_and_its_refusal_told_apart(
    provider: IBMProvider,
    compiled: Compiled,
    wire: Wire,
    emulator: EmulatorProcess,
    status: int,
    becomes: type[ProviderError],
) -> None:
    body = json.dumps({"errors": [{"code": 1, "message": "Said so."}]}).encode()
    wire.add("POST", JOBS, status=status, body=body, headers={"Retry-After": "7"})
    with pytest.raises(becomes, match=rf"status {status}: Said so\.") as raised:
        await submit(provider, compiled)
    assert type(raised.value) is becomes
    if isinstance(raised.value, TransientProviderError):
        assert raised.value.retry_after == 7
    assert wire.count("POST", JOBS) == 1
    assert emulator.control.summary()["created"] == 0


@pytest.mark.parametrize(
    ("what", "jobs"),
    [
        ({"drop": True}, 0),
        ({"forward": True, "drop": True}, 1),
        ({"forward": True, "status": 500}, 1),
        ({"forward": True, "status": 504}, 1),
        ({"forward": True, "cut": 5}, 1),
        ({"forward": True, "body": b"<html>Welcome</html>"}, 1),
        ({"forward": True, "body": b"{}"}, 1),
    ],
)
async def test_a_lost_reply_leaves_a_submission_undecided(
    provider: IBMProvider,
    compiled: Compiled,
    wire: Wire,
    emulator: EmulatorProcess,
    what: dict[str, Any],
    jobs: int,
) -> None:
    wire.add("POST", JOBS, times=1, **what)
    with pytest.raises(Undecided):
        await submit(provider, compiled)
    assert wire.count("POST", JOBS) == 1
    found = await provider.find(TAG)
    assert [j.provider_job_id for j in found] == [j["id"] for j in emulator.control.jobs(TAG)]
    assert len(found) == jobs


async def test_trouble_before_the_submission_is_not_undecided(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("GET", "/instances/usage", drop=True)
    with pytest.raises(TransientProviderError):
        await submit(provider, compiled)
    wire.faults.clear()
    emulator.control.set_faults(outage=True)
    with pytest.raises(TransientProviderError, match="status 503"):
        await submit(provider, compiled)
    assert wire.count("POST", JOBS) == 0


async def test_a_server_that_is_not_there(wire: Wire, emulator: EmulatorProcess) -> None:
    gone = Wire(emulator.url)
    provider = IBMProvider(settings(gone.url, call_timeout=5.0))
    await provider.backends()
    gone.close()
    with pytest.raises(TransientProviderError, match="was not sent"):
        await provider.find(TAG)
    with pytest.raises(TransientProviderError, match="was not sent"):
        await IBMProvider(settings(gone.url, call_timeout=5.0)).backends()


async def test_an_expired_token_is_renewed_within_the_call(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("POST", JOBS, times=1, status=401)
    await submit(provider, compiled)
    assert len(emulator.control.jobs(TAG)) == 1
    assert wire.count("POST", "/identity/token") >= 1
    wire.add("GET", JOBS, status=401)
    with pytest.raises(PermanentProviderError, match="credentials"):
        await provider.find(TAG)


async def test_the_api_key_never_leaves_but_to_the_identity_service(
    wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("POST", "/identity/token", status=500, body=b"{}")
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(TransientProviderError):
            await IBMProvider(settings(wire.url, call_timeout=5.0)).backends()
    assert time.monotonic() - began < 5
    wire.faults.clear()
    fresh = IBMProvider(settings(wire.url, call_timeout=5.0))
    await fresh.backends()
    connection = fresh._account._connection
    assert connection is not None
    tokens = connection.client._session.auth._tokens
    tokens.expire_time = tokens.refresh_time = 0
    wire.add("POST", "/identity/token", status=500, body=b"{}")
    with pytest.raises(TransientProviderError, match="no access token"):
        await fresh.find(TAG)
    assert {scheme for _, _, scheme in wire.log} <= {"", "Bearer"}


async def test_a_hung_submission_is_undecided_in_time(
    hasty: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("POST", JOBS, hang=30.0)
    began = time.monotonic()
    with pytest.raises(Undecided):
        await submit(hasty, compiled)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("what", [{"hang": 30.0}, {"forward": True, "drip": 0.05}])
async def test_hung_calls_end_in_time_and_stop_no_others(
    hasty: IBMProvider, wire: Wire, emulator: EmulatorProcess, what: dict[str, Any]
) -> None:
    wire.add("GET", JOBS, **what)
    began = time.monotonic()
    hung = [asyncio.ensure_future(hasty.find(TAG)) for _ in range(15)]
    await asyncio.sleep(0.1)
    assert await hasty.backends()
    outcomes = await asyncio.gather(*hung, return_exceptions=True)
    assert {type(o) for o in outcomes} == {TransientProviderError}
    assert time.monotonic() - began < 8
    wire.faults.clear()
    assert await hasty.find(TAG) == ()
    await all_calls_over()


async def test_signing_in_to_a_hung_server_ends_in_time(
    wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("POST", "/identity/token", hang=8.0)
    provider = IBMProvider(settings(wire.url, call_timeout=0.8))
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(TransientProviderError):
            await provider.backends()
    assert time.monotonic() - began < 7


async def test_a_call_that_was_given_up_sends_nothing_more(
    hasty: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("GET", "/instances/usage", hang=0.3, forward=True)
    task = asyncio.ensure_future(submit(hasty, compiled))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.5)
    assert emulator.control.summary()["posts"] == 0


async def test_a_get_is_repeated_but_does_not_wait_for_long(
    provider: IBMProvider, wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("GET", JOBS, times=1, status=503)
    wire.add("GET", JOBS, times=1, drop=True)
    assert await provider.find(TAG) == ()
    assert wire.count("GET", JOBS) == 3
    wire.add("GET", JOBS, times=1, status=429, headers={"Retry-After": "21600"})
    with pytest.raises(TransientProviderError) as raised:
        await provider.find(TAG)
    assert raised.value.retry_after == 21600


async def test_an_unknown_status_is_cannot_tell(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    job = await completed(provider, compiled)
    wire.add("GET", JOB, forward=True, rewrite=lambda b: b.replace(b"Completed", b"Pondering"))
    now = await provider.status(job)
    assert (now.state, now.reason) == (RemoteState.UNKNOWN, "unknown status 'Pondering'")
    with pytest.raises(TransientProviderError, match="Pondering"):
        await provider.result(job)
    wire.faults.clear()
    wire.add("GET", JOB, body=b"[]")
    with pytest.raises(TransientProviderError, match="schema drift"):
        await provider.status(job)


@pytest.mark.parametrize(
    ("what", "becomes"),
    [
        ({"status": 204}, ResultUnusable),
        ({"body": b""}, ResultUnusable),
        ({"status": 404}, ResultUnusable),
        ({"body": b'{"results": [1, 2'}, ResultUnusable),
        ({"body": b"[1, 2, 3]"}, ResultUnusable),
        ({"body": b'{"quasi_dists": []}'}, ResultUnusable),
        (
            {"forward": True, "rewrite": lambda b: b.replace(b"BitArray", b"BytArray")},
            ResultUnusable,
        ),
        ({"forward": True, "cut": 20}, TransientProviderError),
        ({"status": 503}, TransientProviderError),
    ],
)
async def test_a_bad_result_is_named(
    provider: IBMProvider,
    compiled: Compiled,
    wire: Wire,
    emulator: EmulatorProcess,
    what: dict[str, Any],
    becomes: type[Exception],
) -> None:
    job = await completed(provider, compiled)
    wire.add("GET", "/results$", **what)
    with pytest.raises(becomes) as raised:
        await provider.result(job)
    assert type(raised.value) is becomes
    wire.faults.clear()
    assert (await provider.result(job)).shots == 100


async def test_the_charge_is_none_while_nobody_tells_it(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    job = await completed(provider, compiled)
    for what in (
        {"status": 404},
        {"body": b"not json"},
        {"body": b'{"usage": {"status": "pending", "quantum_seconds": 3}}'},
        {"body": b'{"usage": null, "timestamps": null}'},
    ):
        wire.add("GET", "/metrics$", **what)
        now = await provider.status(job)
        assert (now.state, now.quantum_seconds) == (RemoteState.COMPLETED, None)
        wire.faults.clear()


async def test_cancelling_again_after_a_lost_reply(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    emulator.control.set_queue(length=50, seconds_per_job=60.0)
    job = await submit(provider, compiled)
    wire.add("POST", "/cancel$", times=1, forward=True, drop=True)
    with pytest.raises(TransientProviderError):
        await provider.cancel(job.provider_job_id)
    assert (await provider.cancel(job.provider_job_id)).state is RemoteState.CANCELLED


def test_details_of_exceptions() -> None:
    assert status_of(Exception("Failed to run program: '502 Server Error: Bad Gateway for'")) == 502
    assert status_of(Exception("job 404 of 500")) is None
    assert retry_after("12") == 12
    assert retry_after("soon") is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for url, before_sending in (("http://127.0.0.1:9", True), ("http://nowhere.invalid", True)):
        session = requests.Session()
        session.trust_env = False
        with pytest.raises(requests.ConnectionError) as raised:
            session.get(url, timeout=5)
        assert never_connected(raised.value) is before_sending
    assert not never_connected(requests.ReadTimeout("too slow"))
