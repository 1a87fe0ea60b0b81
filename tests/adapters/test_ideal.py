"""What circuits show without noise, and how far counts are from it."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.library import PauliGate, QFTGate, UnitaryGate
from qiskit_aer.primitives import SamplerV2

from activities.answering import compared
from adapters.circuits import to_qpy
from adapters.ideal import MOST_QUBITS, ExactDistributions
from qsaga.core.distance import chance, distance
from qsaga.core.errors import SolverError
from qsaga.core.jobs import Circuit, Sample
from qsaga.core.results import SampleAnswer
from qsaga.core.states import Rung


def given(circuit: QuantumCircuit) -> Circuit:
    return Circuit(format="qpy", source=base64.b64encode(to_qpy(circuit)).decode())


def scattered() -> QuantumCircuit:
    """Registers whose bits are not in the order of the qubits, one never written, idle qubits."""
    circuit = QuantumCircuit(QuantumRegister(30), ClassicalRegister(3, "a"))
    circuit.add_register(ClassicalRegister(2, "b"))
    circuit.ry(1.1, 7)
    circuit.cx(7, 3)
    circuit.rx(0.4, 3)
    circuit.barrier()
    circuit.delay(10, 3)
    circuit.measure([3, 7, 29], [2, 0, 4])
    return circuit


def test_it_is_what_a_simulator_draws() -> None:
    ideal = ExactDistributions().of(given(scattered()))
    assert ideal is not None
    assert {name: math.fsum(shares.values()) for name, shares in ideal.items()} == {
        "a": pytest.approx(1),
        "b": pytest.approx(1),
    }
    assert ideal["b"] == {"00": 1.0}
    small = QuantumCircuit(3, 3)
    small.ry(1.1, 0)
    small.cx(0, 1)
    small.rx(0.4, 1)
    small.measure([1, 0], [2, 0])
    drawn = SamplerV2(seed=5).run([small], shots=20_000).result()[0].data.c.get_counts()
    found = distance({"a": drawn}, ideal)
    assert found is not None
    assert found.total_variation < 3 * found.chance < 0.03


def test_what_has_no_pure_state_at_its_end_is_not_compared() -> None:
    reset, middle, nothing, wide = (QuantumCircuit(n, 1) for n in (1, 1, 1, MOST_QUBITS + 1))
    reset.h(0)
    reset.reset(0)
    middle.h(0)
    middle.measure(0, 0)
    middle.x(0)
    wide.h(range(MOST_QUBITS + 1))
    condition = QuantumCircuit(2, 1)
    condition.measure(0, 0)
    with condition.if_test((0, True)):
        condition.x(1)
    for circuit in (reset, wide):
        circuit.measure(0, 0)
    for circuit in (reset, middle, nothing, wide, condition):
        assert ExactDistributions().of(given(circuit)) is None


def test_a_long_circuit_is_too_much_work() -> None:
    circuit = QuantumCircuit(12, 1)
    for _ in range(100):
        circuit.h(range(12))
    circuit.measure(0, 0)
    assert ExactDistributions().of(given(circuit)) is None


@pytest.mark.timeout(30)
def test_gates_of_many_qubits_are_taken_apart() -> None:
    """Whole, the matrix of the first would take four gigabytes."""
    transform = QuantumCircuit(MOST_QUBITS, MOST_QUBITS)
    transform.append(QFTGate(MOST_QUBITS), range(MOST_QUBITS))
    transform.measure(range(MOST_QUBITS), range(MOST_QUBITS))
    assert ExactDistributions().of(given(transform)) is not None
    own = QuantumCircuit(6, name="own")
    for _ in range(3):
        own.append(PauliGate("XXXXXX"), range(6))
    circuit = QuantumCircuit(8, 6)
    circuit.append(own.to_gate(), range(2, 8))
    circuit.measure(range(2, 8), range(6))
    assert ExactDistributions().of(given(circuit)) == {"c": {"111111": pytest.approx(1)}}
    long = QuantumCircuit(6, name="long")
    for _ in range(4_001):
        long.x(0)
    circuit = QuantumCircuit(6, 1)
    circuit.append(long.to_gate(), range(6))
    circuit.measure(0, 0)
    assert ExactDistributions().of(given(circuit)) is None


def test_a_matrix_of_many_qubits_is_not_compared() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.append(UnitaryGate(np.eye(32)), range(5))
    circuit.measure(0, 0)
    with pytest.raises(SolverError, match="a matrix on 5 qubits"):
        ExactDistributions().of(given(circuit))


def test_an_answer_stays_where_nothing_can_be_compared() -> None:
    class Broken:
        def of(self, circuit: Circuit) -> None:
            raise SolverError("out of memory")

    answer = SampleAnswer(counts={"c": {"0": 5}}, shots=5)
    workload = Sample.model_validate({"circuit": given(scattered()).model_dump(), "shots": 5})
    assert compared(answer, workload, Rung.HARDWARE, Broken()) == answer


def test_the_farthest_register_counts() -> None:
    ideal = {"a": {"0": 1.0}, "b": {"0": 0.5, "1": 0.5}}
    found = distance({"a": {"0": 10}, "b": {"0": 10}}, ideal)
    assert found is not None
    assert (found.creg, found.total_variation) == ("b", 0.5)
    assert found.hellinger == pytest.approx(math.sqrt(1 - math.sqrt(0.5)), abs=1e-6)
    apart = distance({"a": {"1": 10}}, ideal)
    assert apart is not None
    assert (apart.hellinger, apart.total_variation, apart.chance) == (1.0, 1.0, 0.0)
    assert distance({"c": {"1": 10}}, ideal) is None


@pytest.mark.parametrize("shots", [1, 7, 400])
def test_chance_is_the_mean_of_many_draws(shots: int) -> None:
    ideal = {"00": 0.5, "01": 0.3, "10": 0.19, "11": 0.01}
    draw = np.random.default_rng(3)
    rows = draw.multinomial(shots, list(ideal.values()), size=4000) / shots
    mean = float(np.abs(rows - np.array(list(ideal.values()))).sum(axis=1).mean() / 2)
    assert chance(ideal, shots) == pytest.approx(mean, rel=0.02)
