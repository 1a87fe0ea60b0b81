"""Kinds of jobs that the released client can send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

from ibm_quantum_emulator.config import BackendSpec
from ibm_quantum_emulator.process import EmulatorProcess
from ibm_quantum_emulator.simulate import simulate
from ibm_quantum_emulator.snapshot import Snapshot

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0

Submit = Callable[..., Any]
Isa = Callable[[QuantumCircuit], QuantumCircuit]


def _if_else() -> tuple[QuantumCircuit, str, set[str]]:
    circuit = QuantumCircuit(
        QuantumRegister(2), ClassicalRegister(1, "a"), ClassicalRegister(2, "b")
    )
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.cregs[0], 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.id(1)
    circuit.measure([0, 1], [1, 2])
    return circuit, "b", {"00", "11"}


def _switch() -> tuple[QuantumCircuit, str, set[str]]:
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(2, "b"))
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.switch(circuit.cregs[0]) as case, case(1):
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit, "b", {"00", "11"}


def _loop() -> tuple[QuantumCircuit, str, set[str]]:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "b"))
    with circuit.for_loop(range(3)):
        circuit.x(0)
    circuit.measure(0, 0)
    return circuit, "b", {"1"}


@pytest.mark.parametrize("build", [_if_else, _switch, _loop])
def test_dynamic_circuits_run(
    ibm_emulator: EmulatorProcess, submit: Submit, isa: Isa, build: Callable[[], Any]
) -> None:
    circuit, register, expected = build()
    job = submit(circuits=[isa(circuit)], shots=100)
    ibm_emulator.control.step(LONG)
    data = job.result()[0].data
    assert set(data[register].get_counts()) == expected
    assert set(data) == {each.name for each in circuit.cregs}


@pytest.mark.parametrize("noise", ["none", "readout", "full"])
def test_dynamic_circuits_run_with_noise(noise: str) -> None:
    snapshot = Snapshot(BackendSpec.parse("ibm_torino"))
    circuit = QuantumCircuit(QuantumRegister(133), ClassicalRegister(2, "c"))
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    answer = simulate(
        {
            "program": "sampler",
            "params": json.dumps({"pubs": [(circuit, None, 200)]}, cls=RuntimeEncoder),
            "configuration": str(snapshot.configuration_path),
            "properties": str(snapshot.properties_path),
            "noise": noise,
            "seed": 1,
            "max_active_qubits": 5,
            "max_active_qubits_full": 5,
            "started": 0.0,
            "due": 1.0,
        }
    )
    assert answer["ok"], answer
    counts = json.loads(answer["result"], cls=RuntimeDecoder)[0].data.c.get_counts()
    assert max(counts, key=lambda bits: int(counts[bits])) == "11"
    assert (len(counts) == 1) == (noise == "none")


def test_parameters_are_broadcast(ibm_emulator: EmulatorProcess, submit: Submit, isa: Isa) -> None:
    first, second = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "one"))
    circuit.rx(first, 0)
    circuit.rz(second, 0)
    circuit.measure(0, 0)
    angles = {"a": [[0.0], [3.141592653589793]], "b": [[0.1, 0.2, 0.3]] * 2}
    values = [[[a, b] for b in angles["b"][0]] for (a,) in angles["a"]]
    job = submit(circuits=[(isa(circuit), values)], shots=20)
    ibm_emulator.control.step(LONG)
    data = job.result()[0].data
    assert data.shape == (2, 3)
    assert data.one.get_counts((0, 2)) == {"0": 20}
    assert data.one.get_counts((1, 0)) == {"1": 20}


def test_a_private_job_is_read_once(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit
) -> None:
    job = submit(environment={"private": True}, shots=10)
    ibm_emulator.control.step(LONG)
    again = service.job(job.job_id())
    assert again.private
    assert again.inputs == {}
    assert sum(job.result()[0].data.meas.get_counts().values()) == 10
    assert again.result() is None
    assert ibm_emulator.control.summary()["charged_seconds"] == 3
