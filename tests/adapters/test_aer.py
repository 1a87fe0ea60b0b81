"""Simulation: right distributions, right values, and clear refusals."""

from __future__ import annotations

import math

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

from adapters.aer import AerSimulator
from adapters.circuits import to_qpy
from qsaga.core.errors import InvalidRequest, SolverError
from qsaga.core.ports import RunSpec

SAMPLE = RunSpec(verb="sample", shots=2000)
TILTED = RunSpec(
    verb="estimate", shots=0, observables=({"ZI": 1.0}, {"XX": 2.0, "IZ": 0.5}), precision=0.05
)


def tilted() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(0.6, 1)
    return circuit


async def test_counts() -> None:
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.h(1)
    circuit.measure_all()
    result = await AerSimulator().run(to_qpy(circuit), SAMPLE, seed=3)
    counts = result.counts["meas"]
    # Qubit 0 is the rightmost bit.
    assert set(counts) == {"001", "011"}
    assert sum(counts.values()) == result.shots == 2000
    assert abs(counts["001"] - 1000) < 150
    assert await AerSimulator().run(to_qpy(circuit), SAMPLE, seed=3) == result
    assert await AerSimulator().run(to_qpy(circuit), SAMPLE, seed=4) != result


async def test_registers_and_gates_that_aer_does_not_know() -> None:
    circuit = QuantumCircuit(2)
    circuit.append(PauliEvolutionGate(SparsePauliOp("XX"), time=math.pi / 2), [0, 1])
    circuit.measure_all()
    result = await AerSimulator().run(to_qpy(circuit), SAMPLE, seed=1)
    assert result.counts == {"meas": {"11": 2000}}


async def test_expectation_values_are_exact() -> None:
    result = await AerSimulator().run(to_qpy(tilted()), TILTED, seed=1)
    assert result.values == pytest.approx((math.cos(0.6), 0.5))
    assert result.standard_errors == (0.0, 0.0)


async def test_expectation_values_with_the_noise_of_shots() -> None:
    simulator = AerSimulator(shot_noise=True)
    result = await simulator.run(to_qpy(tilted()), TILTED, seed=1)
    assert result.standard_errors == pytest.approx((0.05, 0.05))
    assert result.values[0] != pytest.approx(math.cos(0.6), abs=1e-9)
    assert result.values[0] == pytest.approx(math.cos(0.6), abs=0.25)
    assert await simulator.run(to_qpy(tilted()), TILTED, seed=1) == result


async def test_refusals() -> None:
    wide = QuantumCircuit(6)
    wide.measure_all()
    with pytest.raises(SolverError, match="6 qubits, the simulator takes 5"):
        await AerSimulator(max_qubits=5).run(to_qpy(wide), SAMPLE, seed=1)
    with pytest.raises(SolverError, match="measures nothing"):
        await AerSimulator().run(to_qpy(tilted()), SAMPLE, seed=1)
    with pytest.raises(SolverError, match="not a QPY file"):
        await AerSimulator().run(b"nonsense", SAMPLE, seed=1)
    narrow = TILTED.model_copy(update={"observables": ({"Z": 1.0},)})
    with pytest.raises(SolverError, match="cannot run"):
        await AerSimulator().run(to_qpy(tilted()), narrow, seed=1)


def test_a_device_that_is_not_there_is_refused_when_a_worker_starts() -> None:
    assert AerSimulator().name == "aer"
    with pytest.raises(InvalidRequest, match="Aer finds no GPU") as refused:
        AerSimulator(device="GPU")
    assert refused.value.field == "QSAGA_SIMULATOR__DEVICE"
    assert "CPU" in str(refused.value)


async def test_a_simulation_apart_has_the_limits_of_the_one_that_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.measure_all()
    here = await AerSimulator(max_qubits=3).run(to_qpy(circuit), SAMPLE, seed=3)
    monkeypatch.setattr("adapters.aer.AMPLITUDES", 0)
    assert await AerSimulator(max_qubits=3).run(to_qpy(circuit), SAMPLE, seed=3) == here
