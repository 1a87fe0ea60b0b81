"""The IBM adapter against the emulator, through IBM's own client."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter

from adapters.ibm import IBMProvider
from adapters.ibm._account import active_client, connect
from adapters.ibm._wire import BoundedAdapter, StrictAuth, session_of
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import (
    CompileError,
    NoSuchRemoteJob,
    PermanentProviderError,
    RunFailed,
)
from qsaga.core.ports import RemoteJob, RemoteState, RunSpec
from tests.adapters.ibm_wire import BACKEND, ended, ghz, key, packed, settings

pytestmark = pytest.mark.timeout(60)
SAMPLE = RunSpec(verb="sample", shots=400, max_seconds=60)


@pytest.fixture(scope="module")
def provider(ibm_emulator_process: EmulatorProcess) -> IBMProvider:
    return IBMProvider(settings(ibm_emulator_process.url))


async def sent(
    provider: IBMProvider, circuit: QuantumCircuit, tag: str, spec: RunSpec = SAMPLE
) -> RemoteJob:
    compiled = await provider.compile(packed(circuit), BACKEND, 7, spec)
    return await provider.submit(compiled.qpy, compiled.facts.layout, BACKEND, spec, key(tag))


async def test_a_sample_from_submission_to_charge(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    emulator.control.set_execution(overhead_seconds=0.25, seconds_per_shot=0.0)
    (facts,) = await provider.backends()
    assert (facts.name, facts.qubits, facts.operational) == (BACKEND, 133, True)
    assert facts.queue_length == 0
    compiled = await provider.compile(packed(ghz()), BACKEND, 7, SAMPLE)
    assert compiled.facts.calibration_id == facts.calibration_id is not None
    assert len(set(compiled.facts.layout)) == compiled.facts.qubits == 3
    assert compiled.facts.two_qubit_gates == 2

    job = await provider.submit(
        compiled.qpy, compiled.facts.layout, BACKEND, SAMPLE, key("qsaga:one")
    )
    (found,) = await provider.find("qsaga:one")
    assert found.provider_job_id == job.provider_job_id
    assert found.tags == job.tags == ("qsaga:test", "qsaga:one")
    assert await provider.find("qsaga:other") == ()
    done = await ended(provider, job)
    assert done.state is RemoteState.COMPLETED
    assert done.created is not None
    assert done.running is not None
    assert done.finished is not None
    assert done.created <= done.running < done.finished

    result = await provider.result(job.provider_job_id)
    assert result.shots == 400
    assert set(result.counts["meas"]) == {"000", "111"}
    (truth,) = emulator.control.jobs("qsaga:one")
    assert truth["id"] == job.provider_job_id
    assert done.quantum_seconds == truth["charged_seconds"]
    assert emulator.control.summary("qsaga:one")["posts"] == 1


async def test_expectation_values_follow_the_layout(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.h(1)
    circuit.cx(1, 2)
    spec = RunSpec(
        verb="estimate",
        shots=1,
        observables=({"IIZ": 2.0}, {"ZZI": 1.0, "XXI": 0.5}, {"ZII": 1.0}),
        precision=0.02,
    )
    job = await sent(provider, circuit, "qsaga:estimate", spec)
    await ended(provider, job)
    result = await provider.result(job.provider_job_id)
    assert result.verb == "estimate"
    assert result.values == pytest.approx((-2.0, 1.5, 0.0), abs=0.1)
    assert len(result.standard_errors) == 3
    assert all(0 <= error < 0.1 for error in result.standard_errors)


async def test_every_register_is_counted(provider: IBMProvider, emulator: EmulatorProcess) -> None:
    circuit = QuantumCircuit(3)
    low, high = ClassicalRegister(2, "low"), ClassicalRegister(1, "high")
    circuit.add_register(low, high)
    circuit.x(0)
    circuit.measure([0, 1], low)
    circuit.measure(2, high[0])
    job = await sent(provider, circuit, "qsaga:registers")
    await ended(provider, job)
    result = await provider.result(job.provider_job_id)
    assert result.counts == {"low": {"01": 400}, "high": {"0": 400}}


async def test_compiling_again_gives_the_same_bytes_and_asks_for_the_calibration_alone(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    data = packed(ghz())
    first = await provider.compile(data, BACKEND, 3, SAMPLE)
    before = emulator.control.requests()
    second = await provider.compile(data, BACKEND, 3, SAMPLE)
    after = emulator.control.requests()
    assert second == first
    asked = {k: n - before.get(k, 0) for k, n in after.items() if "control" not in k}
    assert {k: n for k, n in asked.items() if n} == {"GET /api/v1/backends/{id}/properties": 1}
    known = provider._backends._known[BACKEND]
    provider._backends._known[BACKEND] = replace(known, calibration_id="older")
    await provider.compile(data, BACKEND, 3, SAMPLE)
    assert provider._backends._known[BACKEND].backend is not known.backend


def parametrised() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("theta"), 0)
    circuit.measure_all()
    return circuit


@pytest.mark.parametrize(
    ("data", "spec", "says"),
    [
        (packed(ghz(140)), SAMPLE, "140 qubits do not fit on ibm_torino, which has 133"),
        (packed(parametrised()), SAMPLE, "theta"),
        (packed(QuantumCircuit(2)), SAMPLE, "must measure"),
        (b"nonsense", SAMPLE, "not a circuit in QPY"),
        (
            packed(QuantumCircuit(2)),
            RunSpec(verb="estimate", shots=1, observables=({"ZZZ": 1.0},)),
            "3 qubits",
        ),
    ],
)
async def test_circuits_that_cannot_run_are_refused(
    provider: IBMProvider, emulator: EmulatorProcess, data: bytes, spec: RunSpec, says: str
) -> None:
    with pytest.raises(CompileError, match=says):
        await provider.compile(data, BACKEND, 7, spec)


async def test_an_unknown_backend_is_refused_before_anything_is_sent(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    with pytest.raises(PermanentProviderError, match="ibm_nowhere"):
        await provider.compile(packed(ghz()), "ibm_nowhere", 7, SAMPLE)
    compiled = await provider.compile(packed(ghz()), BACKEND, 7, SAMPLE)
    with pytest.raises(PermanentProviderError, match="status 404"):
        await provider.submit(
            compiled.qpy, compiled.facts.layout, "ibm_nowhere", SAMPLE, key("qsaga:nowhere")
        )
    with pytest.raises(PermanentProviderError, match="refused the input"):  # not the ISA
        await provider.submit(packed(ghz()), (0, 1, 2), BACKEND, SAMPLE, key("qsaga:nowhere"))
    assert emulator.control.summary()["posts"] == 0


async def test_cancelling_is_safe_to_repeat(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    emulator.control.set_queue(length=50, seconds_per_job=60.0)
    job = await sent(provider, ghz(), "qsaga:cancel")
    assert (await provider.status(job.provider_job_id)).state is RemoteState.QUEUED
    first = await provider.cancel(job.provider_job_id)
    second = await provider.cancel(job.provider_job_id)
    assert first == second
    assert first.state is RemoteState.CANCELLED
    assert first.quantum_seconds == 0
    with pytest.raises(RunFailed, match="cancelled"):
        await provider.result(job.provider_job_id)
    for call in (provider.cancel, provider.status, provider.result, provider.outlook):
        with pytest.raises(NoSuchRemoteJob, match="status 404"):
            await call("d0000000000000000000")


async def test_cancelling_a_completed_job_tells_how_it_stands(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    job = await sent(provider, ghz(), "qsaga:late-cancel")
    done = await ended(provider, job)
    assert await provider.cancel(job.provider_job_id) == done


async def test_a_job_stopped_for_its_length_has_failed(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    emulator.control.set_execution(overhead_seconds=30.0, seconds_per_shot=0.0)
    emulator.control.set_clock(rate=100.0)
    job = await sent(provider, ghz(), "qsaga:long", RunSpec(verb="sample", shots=10, max_seconds=5))
    done = await ended(provider, job)
    assert done.state is RemoteState.FAILED
    assert "1305" in done.reason
    with pytest.raises(RunFailed, match="1305"):
        await provider.result(job.provider_job_id)


async def test_the_reason_of_a_failed_job_is_told(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    emulator.control.set_faults(fail_next=[{"reason": "Cryostat warm.", "reason_code": 1234}])
    job = await sent(provider, ghz(), "qsaga:fails")
    assert (await ended(provider, job)).state is RemoteState.FAILED
    with pytest.raises(RunFailed, match=r"Cryostat warm.*1234"):
        await provider.result(job.provider_job_id)


async def test_the_deprecation_of_the_primitives_is_not_the_users_concern(
    provider: IBMProvider, emulator: EmulatorProcess
) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        await sent(provider, ghz(), "qsaga:quiet")
    assert [str(w.message) for w in seen if "V2 class is deprecated" in str(w.message)] == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"token": None}, "QSAGA_IBM__TOKEN"),
        ({"instance": None}, "QSAGA_IBM__INSTANCE"),
        ({"instance": "nobody"}, "nobody"),
    ],
)
async def test_incomplete_settings_are_refused(
    emulator: EmulatorProcess, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(PermanentProviderError, match=says):
        await IBMProvider(settings(emulator.url, **given)).backends()


def test_the_private_session_of_the_client_is_where_we_expect_it(
    emulator: EmulatorProcess,
) -> None:
    plain = session_of(active_client(emulator.service()))
    assert plain.get_adapter("http://x").max_retries.total == 5, "the client's own retries"
    connection = connect(settings(emulator.url))
    assert connection.instance == emulator.crn
    guarded = session_of(connection.client)
    for scheme in ("http", "https"):
        adapter = guarded.get_adapter(f"{scheme}://x")
        assert isinstance(adapter, BoundedAdapter)
        assert adapter.max_retries.total == 0
    assert isinstance(guarded.auth, StrictAuth)
    with pytest.raises(RuntimeError, match="elsewhere"):
        session_of(object())
