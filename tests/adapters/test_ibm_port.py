"""Health, targets, outlooks, sessions, and the client's own repetitions."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from adapters.ibm import IBMProvider
from adapters.ibm._submitting import mode_of
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import PermanentProviderError, TransientProviderError, Undecided
from qsaga.core.ports import Capabilities, Compiled, Outlook, RemoteState, SessionSpec
from tests.adapters.ibm_wire import (
    BACKEND,
    JOBS,
    TAG,
    Wire,
    all_calls_over,
    completed,
    ended,
    settings,
    submit,
)

pytestmark = pytest.mark.timeout(60)
MODES = ("dedicated", "batch")


def test_what_can_be_relied_upon() -> None:
    given = settings("http://127.0.0.1:9", call_timeout=10.0, listing_grace=5.0)
    assert IBMProvider(given).capabilities == Capabilities(
        idempotent=False,
        repeats=False,
        searchable=True,
        found_within=25.0,
        session_modes=("dedicated", "batch"),
        mitigation=True,
    )
    repeating = IBMProvider(given.model_copy(update={"client_retries": True})).capabilities
    assert repeating.repeats
    # The client sends six times, with pauses of 0, 1, 2, 4 and 8 seconds.
    assert repeating.found_within == 25.0 + 15.0


async def test_health_tells_what_is_wrong_and_never_raises(
    provider: IBMProvider, wire: Wire, emulator: EmulatorProcess
) -> None:
    good = await provider.health()
    assert (good.reachable, good.authorised, good.detail) == (True, True, "")
    assert 0 < good.seconds < 10
    for what, reachable, authorised in (
        ({"status": 503}, False, None),
        ({"drop": True}, False, None),
        ({"status": 403}, True, False),
        ({"status": 429, "headers": {"Retry-After": "60"}}, True, None),
        ({"body": b"<html>"}, True, True),
    ):
        fault = wire.add("GET", JOBS, **what)
        now = await provider.health()
        assert (now.reachable, now.authorised) == (reachable, authorised), what
        assert now.detail
        wire.faults.remove(fault)
    emulator.control.set_faults(revoked_keys=["key"])
    now = await provider.health()
    assert (now.reachable, now.authorised) == (True, False)
    emulator.control.set_faults(revoked_keys=[])
    nowhere = await IBMProvider(settings("http://127.0.0.1:9", call_timeout=2.0)).health()
    assert (nowhere.reachable, nowhere.authorised) == (False, None)
    incomplete = await IBMProvider(settings(wire.url, token=None)).health()
    assert not incomplete.reachable
    assert "QSAGA_IBM__TOKEN" in incomplete.detail


async def test_the_target_is_the_isa_of_now(
    provider: IBMProvider, compiled: Compiled, emulator: EmulatorProcess
) -> None:
    target = await provider.target(BACKEND)
    assert (target.backend, target.qubits) == (BACKEND, 133)
    assert {"cz", "rz", "sx", "measure"} <= set(target.operations)
    assert target.couplings == 150  # of the 133-qubit heavy-hex lattice, either direction
    assert target.calibration_id == compiled.facts.calibration_id is not None
    with pytest.raises(PermanentProviderError, match="status 404"):
        await provider.target("ibm_nowhere")


async def test_the_outlook_is_what_the_service_tells(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    emulator.control.set_queue(length=5, seconds_per_job=60.0)
    job = (await submit(provider, compiled)).provider_job_id
    told = await provider.outlook(job)
    assert told.position == 6
    assert told.starts is not None
    assert 200 < (told.starts - datetime.fromtimestamp(emulator.control.now(), UTC)).seconds <= 300
    wire.add("GET", "/metrics$", times=1, body=b'{"usage": {"status": "pending"}}')
    assert await provider.outlook(job) == Outlook()
    emulator.control.set_queue(length=0)
    await completed(provider, compiled)
    wire.add("GET", "/metrics$", times=1, body=b'{"position_in_queue": 3}')
    with pytest.raises(TransientProviderError, match="metrics: usage is missing"):
        await provider.outlook(job)


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_from_opening_to_closing(
    provider: IBMProvider, compiled: Compiled, emulator: EmulatorProcess, mode: str
) -> None:
    emulator.control.set_execution(overhead_seconds=0.3, seconds_per_shot=0.0)
    spec = SessionSpec.model_validate({"backend": BACKEND, "mode": mode, "max_seconds": 600})
    opened = await provider.open_session(spec)
    assert (opened.backend, opened.mode, opened.open, opened.accepting) == (
        BACKEND,
        mode,
        True,
        True,
    )
    before = emulator.control.requests()
    job = await submit(provider, compiled, session=opened.session_id)
    after = emulator.control.requests()
    asked = {k for k, n in after.items() if n > before.get(k, 0) and "control" not in k}
    assert asked == {
        "GET /api/v1/instances/usage",
        f"GET /api/v1/backends/{'{id}'}/status",
        "POST /api/v1/jobs",
    }
    assert emulator.control.jobs(TAG)[0]["session_id"] == opened.session_id
    assert (await ended(provider, job)).state is RemoteState.COMPLETED
    used = await provider.session(opened.session_id)
    assert used.open
    assert used.seconds is not None and used.seconds > 0
    emulator.control.set_queue(length=50, seconds_per_job=60.0)
    emulator.control.set_execution(overhead_seconds=60.0)
    waiting = [await submit(provider, compiled, session=opened.session_id) for _ in range(2)]
    closed = await provider.close_session(opened.session_id)
    assert (closed.open, closed.accepting) == (False, False)
    assert (await provider.status(waiting[1].provider_job_id)).state is RemoteState.CANCELLED
    again = await provider.close_session(opened.session_id)
    assert not again.open
    with pytest.raises(PermanentProviderError, match="status 409"):
        await submit(provider, compiled, session=opened.session_id)


async def test_sessions_that_cannot_be_had(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    spec = SessionSpec(backend=BACKEND, mode="dedicated", max_seconds=60)
    wire.add("POST", "/sessions$", times=1, status=403, body=b'{"errors": [{"message": "Plan."}]}')
    with pytest.raises(PermanentProviderError, match=r"status 403: Plan\."):
        await provider.open_session(spec)
    wire.add("POST", "/sessions$", times=1, forward=True, drop=True)
    with pytest.raises(TransientProviderError, match="no reply"):
        await provider.open_session(spec)
    wire.add("POST", "/sessions$", times=1, body=b"{}")
    with pytest.raises(TransientProviderError, match="POST /sessions: id is missing"):
        await provider.open_session(spec)
    for call in (provider.session, provider.close_session):
        with pytest.raises(PermanentProviderError, match="status 404"):
            await call("nobody")


def test_the_private_id_of_a_session_is_where_we_expect_it(provider: IBMProvider) -> None:
    connection = provider._account._connection
    assert connection is not None
    backend = provider._backends.known(connection, BACKEND, fresh=False).backend
    assert mode_of(backend, None) is backend
    assert mode_of(backend, "s1").session_id == "s1"


async def test_one_post_for_each_submission_unless_the_client_repeats_it(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    wire.add("POST", JOBS, times=2, forward=True, status=504)
    with pytest.raises(Undecided, match="status 504"):
        await submit(provider, compiled)
    assert wire.count("POST", JOBS) == 1
    wire.faults.clear()
    repeating = IBMProvider(settings(wire.url, client_retries=True))
    wire.add("POST", JOBS, times=2, forward=True, status=504)
    job = await submit(repeating, compiled, "qsaga:repeats")
    found = [j.provider_job_id for j in await repeating.find("qsaga:repeats")]
    assert len(found) == 3
    assert job.provider_job_id == found[-1]
    wire.faults.clear()
    wire.add("POST", JOBS, times=1, forward=True, status=504)
    wire.add("POST", JOBS, status=400)
    with pytest.raises(Undecided, match="2 requests"):
        await submit(repeating, compiled, "qsaga:refused-at-last")
    assert len(await repeating.find("qsaga:refused-at-last")) == 1


async def test_the_clients_repetitions_end_with_the_call(
    compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    repeating = IBMProvider(settings(wire.url, client_retries=True))
    await submit(repeating, compiled)
    wire.log.clear()
    repeating._calls.seconds = 2.0
    wire.add("POST", JOBS, status=502, headers={"Retry-After": "3600"})
    began = time.monotonic()
    with pytest.raises(Undecided):
        await submit(repeating, compiled)
    assert time.monotonic() - began < 10
    await all_calls_over()
    assert wire.count("POST", JOBS) == 3, "at 0, 0 and 1 seconds; not at 3"
