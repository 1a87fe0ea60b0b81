"""Error mitigation on the wire: the released client, the emulator's noise, and what is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

from adapters.ibm import IBMProvider
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.applied import on_hardware
from qsaga.core.mitigation import Mitigation
from qsaga.core.ports import CircuitResult, RemoteJob, RemoteState, RunSpec
from tests.adapters.ibm_wire import BACKEND, ended, ghz, key, packed, settings

pytestmark = pytest.mark.timeout(120)
OBSERVABLE = {"ZZ": 1.0, "XX": 0.5}
LEVEL_2 = Mitigation.model_validate(
    {
        "resilience_level": 2,
        "resilience": {"zne": {"noise_factors": [1, 3, 5], "extrapolator": "exponential"}},
        "twirling": {"num_randomizations": 8},
    }
)


@pytest.fixture(scope="module")
def noisy() -> Iterator[EmulatorProcess]:
    """Gates and readout err as the calibration says."""
    with EmulatorProcess(noise="full") as running:
        running.control.set_queue(length=0, seconds_per_job=0.0)
        running.control.set_execution(overhead_seconds=0.0, seconds_per_shot=1e-3)
        yield running


@pytest.fixture(scope="module")
def device(noisy: EmulatorProcess) -> IBMProvider:
    return IBMProvider(settings(noisy.url))


def deep() -> QuantumCircuit:
    """A Bell pair behind two dozen gates that undo each other."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    for _ in range(12):
        circuit.cz(0, 1)
        circuit.barrier()
        circuit.cz(0, 1)
        circuit.barrier()
    return circuit


async def run(
    provider: IBMProvider, circuit: QuantumCircuit, spec: RunSpec, tag: str
) -> tuple[RemoteJob, CircuitResult]:
    compiled = await provider.compile(packed(circuit), BACKEND, 7, spec)
    sent = await provider.submit(compiled.qpy, compiled.facts.layout, BACKEND, spec, key(tag))
    # A mitigated one is hundreds of circuits, and the first waits for its simulator to start.
    job = await ended(provider, sent, looks=4000)
    assert job.state is RemoteState.COMPLETED, job.reason
    return job, await provider.result(job.provider_job_id)


def estimating(mitigation: Mitigation | None) -> RunSpec:
    return RunSpec(
        verb="estimate",
        shots=1,
        observables=(OBSERVABLE,),
        precision=0.02,
        max_seconds=600,
        mitigation=mitigation,
    )


async def test_a_mitigated_estimate_is_nearer_to_the_truth(
    device: IBMProvider, noisy: EmulatorProcess
) -> None:
    operator = SparsePauliOp.from_list(list(OBSERVABLE.items()))
    exact = float(Statevector(deep()).expectation_value(operator).real)
    plain_job, plain = await run(device, deep(), estimating(None), "qsaga:plain")
    job, mitigated = await run(device, deep(), estimating(LEVEL_2), "qsaga:mitigated")
    assert abs(mitigated.values[0] - exact) < abs(plain.values[0] - exact) / 2

    told = on_hardware(LEVEL_2, mitigated.applied)
    assert told is not None and told.applied is not None
    assert told.asked == LEVEL_2.model_dump(mode="json")
    assert told.mitigated is True
    assert told.applied["resilience"] == {
        "measure_mitigation": True,
        "zne_mitigation": True,
        "pec_mitigation": False,
        "zne": {"noise_factors": [1.0, 3.0, 5.0], "extrapolator": ["exponential"]},
    }
    unasked = on_hardware(None, plain.applied)
    assert unasked is None or unasked.mitigated is not True

    # Three noise factors and the readout: four times the shots, as the forecast reckons.
    assert plain_job.quantum_seconds is not None and job.quantum_seconds is not None
    assert job.quantum_seconds == pytest.approx(4 * plain_job.quantum_seconds, abs=2)
    assert LEVEL_2.executions(2500) == pytest.approx(4 * 2500, rel=0.01)


async def test_only_what_was_asked_is_sent(device: IBMProvider, noisy: EmulatorProcess) -> None:
    service = noisy.service()
    plain, _ = await run(device, ghz(2), RunSpec(verb="sample", shots=50), "qsaga:bare")
    assert service.job(plain.provider_job_id).inputs["options"] == {}
    asked = Mitigation.model_validate(
        {
            "dynamical_decoupling": {"enable": True, "sequence_type": "XY4"},
            "twirling": {"enable_gates": True, "strategy": "active"},
        }
    )
    spec = RunSpec(verb="sample", shots=50, mitigation=asked)
    job, result = await run(device, ghz(2), spec, "qsaga:suppressed")
    assert service.job(job.provider_job_id).inputs["options"] == asked.model_dump(mode="json")
    told = on_hardware(asked, result.applied)
    assert told is not None and told.applied is not None
    # The emulator does not do it, and says so.
    assert told.applied["ignored"] == ["dynamical_decoupling", "twirling"]
    assert told.mitigated is None
    spec = estimating(Mitigation(resilience_level=0))
    job, result = await run(device, deep(), spec, "qsaga:level")
    inputs = service.job(job.provider_job_id).inputs
    assert (inputs["resilience_level"], inputs["options"]) == (0, {})
    told = on_hardware(spec.mitigation, result.applied)
    assert told is not None and told.mitigated is False
