"""What every ``QuantumProvider`` must do; nothing here knows which one it is."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import get_args
from uuid import uuid4

import pytest
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

from adapters.circuits import to_qpy
from qsaga.core.applied import on_hardware
from qsaga.core.errors import (
    CompileError,
    NoSuchRemoteJob,
    PermanentProviderError,
    RunFailed,
    TransientProviderError,
    Undecided,
)
from qsaga.core.mitigation import Mitigation
from qsaga.core.ports import (
    Compiled,
    QuantumProvider,
    RemoteJob,
    RemoteState,
    RunSpec,
    SessionMode,
    SessionSpec,
    SubmissionKey,
)
from tests.adapters.contract.benches import MAKERS, PATIENCE, Bench

pytestmark = pytest.mark.timeout(60)
SAMPLE = RunSpec(verb="sample", shots=2000, max_seconds=60)
OBSERVABLES = ({"IIZ": 2.0, "III": 0.5}, {"ZZI": 1.0, "XXI": -0.5, "YIY": 0.25}, {"XIX": 1.0})
PRECISION = 0.02
ESTIMATE = RunSpec(
    verb="estimate", shots=1, observables=OBSERVABLES, precision=PRECISION, max_seconds=60
)


@pytest.fixture(scope="module", params=MAKERS)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    bench = MAKERS[request.param](request, tmp_path_factory.mktemp("account"))
    yield bench
    bench.release()


@pytest.fixture(scope="module")
def provider(bench: Bench) -> QuantumProvider:
    return bench.provider()


@pytest.fixture
def held(bench: Bench) -> Iterator[None]:
    bench.hold()
    yield
    bench.release()


def new_key(deployment: str = "qsaga:contract") -> SubmissionKey:
    return SubmissionKey(tag=f"qsaga:{uuid4().hex}", deployment_tag=deployment)


def tilted() -> QuantumCircuit:
    """Three qubits with no outcome certain, so that no axis and no qubit is like another."""
    circuit = QuantumCircuit(3, name="tilted")
    circuit.ry(0.8, 0)
    circuit.rx(1.1, 1)
    circuit.cx(0, 2)
    circuit.rz(0.4, 2)
    circuit.ry(0.3, 2)
    return circuit


def measured() -> QuantumCircuit:
    circuit = tilted()
    low, high = ClassicalRegister(2, "low"), ClassicalRegister(1, "high")
    circuit.add_register(low, high)
    circuit.measure([0, 1], low)
    circuit.measure(2, high[0])
    return circuit


async def compiled(provider: QuantumProvider, bench: Bench, spec: RunSpec = SAMPLE) -> Compiled:
    circuit = measured() if spec.verb == "sample" else tilted()
    return await provider.compile(to_qpy(circuit), bench.backend, 7, spec)


async def sent(
    provider: QuantumProvider,
    bench: Bench,
    key: SubmissionKey,
    spec: RunSpec = SAMPLE,
    session: str | None = None,
) -> RemoteJob:
    isa = await compiled(provider, bench, spec)
    return await provider.submit(isa.qpy, isa.facts.layout, bench.backend, spec, key, session)


async def ended(provider: QuantumProvider, job: RemoteJob) -> RemoteJob:
    for _ in range(1000):
        now = await provider.status(job.provider_job_id)
        if now.state.ended:
            return now
        await asyncio.sleep(0.02)
    raise AssertionError("never ended")


async def test_the_account_describes_itself(provider: QuantumProvider, bench: Bench) -> None:
    health = await provider.health()
    assert health.reachable
    assert health.authorised is not False
    assert 0 <= health.seconds < 30
    (facts,) = [one for one in await provider.backends() if one.name == bench.backend]
    assert (facts.provider, facts.operational) == (provider.name, True)
    target = await provider.target(bench.backend)
    assert (target.backend, target.qubits) == (bench.backend, facts.qubits)
    assert target.calibration_id == facts.calibration_id
    assert "measure" in target.operations
    assert facts.qubits - 1 <= target.couplings <= facts.qubits * (facts.qubits - 1) // 2
    usage = await provider.usage()
    assert usage.consumed is None or usage.consumed >= 0


async def test_compiling_fits_the_target_and_can_be_repeated(
    provider: QuantumProvider, bench: Bench
) -> None:
    first = await compiled(provider, bench)
    target = await provider.target(bench.backend)
    assert (first.facts.backend, first.facts.qubits) == (bench.backend, 3)
    assert first.facts.calibration_id == target.calibration_id
    assert len(set(first.facts.layout)) == 3
    assert max(first.facts.layout) < target.qubits
    assert first.facts.measurements == 3
    assert first.facts.two_qubit_gates >= 1
    assert await compiled(provider, bench) == first


async def test_what_does_not_compile_is_refused(provider: QuantumProvider, bench: Bench) -> None:
    large = QuantumCircuit((await provider.target(bench.backend)).qubits + 1)
    large.measure_all()
    for data, spec in (
        (to_qpy(large), SAMPLE),
        (b"nonsense", SAMPLE),
        (to_qpy(tilted()), SAMPLE),
        (to_qpy(measured()), ESTIMATE),
    ):
        with pytest.raises(CompileError):
            await provider.compile(data, bench.backend, 7, spec)
    with pytest.raises(PermanentProviderError, match="nowhere"):
        await provider.compile(to_qpy(measured()), "nowhere", 7, SAMPLE)
    with pytest.raises(PermanentProviderError, match="nowhere"):
        await provider.target("nowhere")


async def test_a_sample_from_submission_to_charge(provider: QuantumProvider, bench: Bench) -> None:
    job = await sent(provider, bench, new_key())
    assert job.backend == bench.backend
    done = await ended(provider, job)
    assert (done.state, done.backend) == (RemoteState.COMPLETED, bench.backend)
    assert done.quantum_seconds is not None
    assert done.quantum_seconds >= 0
    assert bench.seconds is None or done.quantum_seconds == bench.seconds
    assert done.created is not None
    assert done.finished is not None
    assert done.created <= done.finished

    result = await provider.result(job.provider_job_id)
    assert result == await provider.result(job.provider_job_id), "it can be fetched again"
    assert (result.verb, result.shots) == ("sample", SAMPLE.shots)
    exact = Statevector(tilted())
    for register, qubits in (("low", [0, 1]), ("high", [2])):
        counts = result.counts[register]
        assert sum(counts.values()) == SAMPLE.shots
        for bits, p in exact.probabilities_dict(qubits).items():
            spread = math.sqrt(SAMPLE.shots * p * (1 - p))
            assert abs(counts.get(bits, 0) - SAMPLE.shots * p) <= 5 * spread + 1, (register, bits)


async def test_estimates_are_right_within_their_errors(
    provider: QuantumProvider, bench: Bench
) -> None:
    job = await sent(provider, bench, new_key(), ESTIMATE)
    assert (await ended(provider, job)).state is RemoteState.COMPLETED
    result = await provider.result(job.provider_job_id)
    state = Statevector(tilted())
    assert result.verb == "estimate"
    for observable, value, error in zip(
        OBSERVABLES, result.values, result.standard_errors, strict=True
    ):
        exact = state.expectation_value(SparsePauliOp.from_list(list(observable.items()))).real
        weight = sum(abs(c) for c in observable.values())
        assert 0 < error <= 1.5 * PRECISION * max(1.0, weight)
        assert abs(value - exact) <= 5 * error, observable


async def test_error_mitigation_is_handed_through_or_refused(
    provider: QuantumProvider, bench: Bench
) -> None:
    asked = Mitigation.model_validate({"resilience_level": 1})
    spec = ESTIMATE.model_copy(update={"mitigation": asked})
    key = new_key()
    if not provider.capabilities.mitigation:
        isa = await compiled(provider, bench, spec)
        with pytest.raises(PermanentProviderError, match="mitigation"):
            await provider.submit(isa.qpy, isa.facts.layout, bench.backend, spec, key)
        assert await provider.find(key.tag) == ()
        return
    job = await sent(provider, bench, key, spec)
    assert (await ended(provider, job)).state is RemoteState.COMPLETED
    told = on_hardware(asked, (await provider.result(job.provider_job_id)).applied)
    assert told is not None and told.mitigated is True


async def test_jobs_are_found_by_their_key_and_by_no_other(
    provider: QuantumProvider, bench: Bench
) -> None:
    one, other = new_key(), new_key()
    assert await provider.find(one.tag) == ()
    first, second = await sent(provider, bench, one), await sent(provider, bench, other)
    assert first.provider_job_id != second.provider_job_id
    for key, job in ((one, first), (other, second)):
        (found,) = await provider.find(key.tag)
        assert (found.provider_job_id, found.backend) == (job.provider_job_id, bench.backend)
        assert {key.tag, key.deployment_tag} <= set(found.tags)
    await ended(provider, first)
    assert [job.state for job in await provider.find(one.tag)] == [RemoteState.COMPLETED]


async def test_pending_jobs_are_those_of_the_deployment_that_have_not_ended(
    provider: QuantumProvider, bench: Bench, held: None
) -> None:
    ours, theirs = f"qsaga:{uuid4().hex}", f"qsaga:{uuid4().hex}"
    job = await sent(provider, bench, new_key(ours))
    await sent(provider, bench, new_key(theirs))
    assert await provider.pending(f"qsaga:{uuid4().hex}") == ()
    (waiting,) = await provider.pending(ours)
    assert (waiting.provider_job_id, waiting.state) == (job.provider_job_id, RemoteState.QUEUED)
    outlook = await provider.outlook(job.provider_job_id)
    assert outlook.position is None or outlook.position >= 1
    bench.release()
    await ended(provider, job)
    assert await provider.pending(ours) == ()


async def test_a_result_before_the_end_may_come_later(
    provider: QuantumProvider, bench: Bench, held: None
) -> None:
    job = await sent(provider, bench, new_key())
    with pytest.raises(TransientProviderError):
        await provider.result(job.provider_job_id)
    bench.release()
    await ended(provider, job)
    assert (await provider.result(job.provider_job_id)).shots == SAMPLE.shots


async def test_a_queued_job_is_cancelled_once_however_often_it_is_asked(
    provider: QuantumProvider, bench: Bench, held: None
) -> None:
    key = new_key()
    job = await sent(provider, bench, key)
    assert (await provider.cancel(job.provider_job_id)).state is RemoteState.CANCELLED
    again = await provider.cancel(job.provider_job_id)
    assert (again.state, again.quantum_seconds) == (RemoteState.CANCELLED, 0.0)
    assert await provider.status(job.provider_job_id) == again
    assert [one.state for one in await provider.find(key.tag)] == [RemoteState.CANCELLED]
    with pytest.raises(RunFailed):
        await provider.result(job.provider_job_id)


async def test_cancelling_what_has_ended_changes_nothing(
    provider: QuantumProvider, bench: Bench
) -> None:
    done = await ended(provider, await sent(provider, bench, new_key()))
    assert await provider.cancel(done.provider_job_id) == done
    assert (await provider.result(done.provider_job_id)).shots == SAMPLE.shots


async def test_unknown_jobs_are_said_to_be_unknown(provider: QuantumProvider, bench: Bench) -> None:
    for ask in (provider.status, provider.cancel, provider.result, provider.outlook):
        with pytest.raises(NoSuchRemoteJob):
            await ask("d0000000000000000000")


async def test_wrong_input_is_refused_and_nothing_is_found_under_its_key(
    provider: QuantumProvider, bench: Bench
) -> None:
    key = new_key()
    isa, bare = await compiled(provider, bench), await compiled(provider, bench, ESTIMATE)
    layout = isa.facts.layout
    wrong: list[tuple[bytes, tuple[int, ...], str, RunSpec]] = [
        (isa.qpy, layout, "nowhere", SAMPLE),
        (bare.qpy, bare.facts.layout[:2], bench.backend, ESTIMATE),
        (b"nonsense", layout, bench.backend, SAMPLE),
    ]
    for qpy, qubits, backend, spec in wrong:
        with pytest.raises((PermanentProviderError, CompileError)):
            await provider.submit(qpy, qubits, backend, spec, key)
        assert await provider.find(key.tag) == ()
    job = await provider.submit(isa.qpy, layout, bench.backend, SAMPLE, key)
    assert [one.provider_job_id for one in await provider.find(key.tag)] == [job.provider_job_id]


async def test_a_second_submission_of_a_key_makes_no_job_that_is_not_found(
    provider: QuantumProvider, bench: Bench
) -> None:
    """Idempotent: the same job. Otherwise the same job, a second one that ``find`` tells of, or a
    refusal to say."""
    key = new_key()
    made = {(await sent(provider, bench, key)).provider_job_id}
    try:
        made.add((await sent(provider, bench, key)).provider_job_id)
    except Undecided:
        assert not provider.capabilities.idempotent
    assert len(made) == 1 or not provider.capabilities.idempotent
    assert {job.provider_job_id for job in await provider.find(key.tag)} == made


async def test_another_process_finds_the_jobs(provider: QuantumProvider, bench: Bench) -> None:
    key = new_key(f"qsaga:{uuid4().hex}")
    bench.hold()
    try:
        job = await sent(provider, bench, key)
        restarted = bench.provider()
        assert [one.provider_job_id for one in await restarted.pending(key.deployment_tag)] == [
            job.provider_job_id
        ]
    finally:
        bench.release()
    assert (await ended(restarted, job)).state is RemoteState.COMPLETED
    (found,) = await restarted.find(key.tag)
    assert found.provider_job_id == job.provider_job_id
    assert (await restarted.result(job.provider_job_id)).shots == SAMPLE.shots


@pytest.mark.parametrize("mode", get_args(SessionMode))
async def test_sessions_where_they_are_offered(
    provider: QuantumProvider, bench: Bench, mode: SessionMode
) -> None:
    spec = SessionSpec(backend=bench.backend, mode=mode, max_seconds=600)
    if mode not in provider.capabilities.session_modes:
        with pytest.raises(PermanentProviderError):
            await provider.open_session(spec)
        with pytest.raises(PermanentProviderError):
            await sent(provider, bench, new_key(), session="none")
        return
    session = await provider.open_session(spec)
    assert (session.backend, session.mode, session.open) == (bench.backend, mode, True)
    for _ in range(2):
        job = await sent(provider, bench, new_key(), session=session.session_id)
        assert (await ended(provider, job)).state is RemoteState.COMPLETED
    assert (await provider.session(session.session_id)).accepting
    for _ in range(2):
        closed = await provider.close_session(session.session_id)
        assert not closed.accepting
    with pytest.raises(PermanentProviderError):
        await sent(provider, bench, new_key(), session=session.session_id)


async def test_every_call_is_bounded_in_time(provider: QuantumProvider, bench: Bench) -> None:
    job = await ended(provider, await sent(provider, bench, new_key()))
    isa = await compiled(provider, bench)
    key = new_key()
    with bench.silent() as silent:
        calls: list[Callable[[], Awaitable[object]]] = [
            silent.health,
            silent.backends,
            silent.usage,
            lambda: silent.target(bench.backend),
            lambda: silent.compile(to_qpy(measured()), bench.backend, 7, SAMPLE),
            lambda: silent.find(key.tag),
            lambda: silent.pending(key.deployment_tag),
            lambda: silent.status(job.provider_job_id),
            lambda: silent.outlook(job.provider_job_id),
            lambda: silent.result(job.provider_job_id),
            lambda: silent.cancel(job.provider_job_id),
            lambda: silent.submit(isa.qpy, isa.facts.layout, bench.backend, SAMPLE, key),
        ]

        async def took(call: Callable[[], Awaitable[object]]) -> float:
            began = time.monotonic()
            with suppress(TransientProviderError, Undecided):
                await call()
            return time.monotonic() - began

        # Far from the minute that nobody answers, for a machine that has other work as well.
        assert max(await asyncio.gather(*map(took, calls))) < PATIENCE + 5.0
