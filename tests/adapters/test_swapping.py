"""A swap beside a coupling: fewer gates, the same unitary."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

from adapters.swapping import AbsorbSwaps

TWO_QUBIT = {"cx": 1, "rzz": 2, "swap": 3}


def cost(circuit: QuantumCircuit) -> int:
    """Gates on two qubits, in CX."""
    return sum(TWO_QUBIT.get(name, 0) * times for name, times in circuit.count_ops().items())


def anything(seed: int) -> QuantumCircuit:
    random, circuit = np.random.default_rng(seed), QuantumCircuit(3)
    for _ in range(14):
        one, other = (int(qubit) for qubit in random.permutation(3)[:2])
        angle = float(random.uniform(0.1, 3))
        match random.integers(6):
            case 0 | 1:
                circuit.rzz(angle, one, other)
            case 2:
                circuit.swap(one, other)
            case 3:
                circuit.rx(angle, one)
            case 4:
                circuit.rz(angle, other)
            case _:
                circuit.cx(one, other)
    return circuit


def test_whatever_stands_around_them_the_circuit_does_the_same() -> None:
    saved = 0
    for seed in range(300):
        circuit = anything(seed)
        found = AbsorbSwaps()(circuit)
        assert Operator(found).equiv(Operator(circuit)), seed
        assert cost(found) <= cost(circuit)
        saved += cost(circuit) - cost(found)
    assert saved > 300


def test_gates_between_the_two_go_to_the_other_side() -> None:
    circuit = QuantumCircuit(2)
    circuit.rzz(0.4, 0, 1)
    circuit.rx(0.1, 0)
    circuit.h(1)
    circuit.swap(1, 0)
    found = AbsorbSwaps()(circuit)
    assert (cost(circuit), cost(found)) == (5, 3)
    assert Operator(found).equiv(Operator(circuit))


def test_parameters_stay_parameters() -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.swap(0, 1)
    circuit.rzz(2 * angle, 0, 1)
    found = AbsorbSwaps()(circuit)
    assert (set(found.parameters), cost(found)) == ({angle}, 3)
    assert Operator(found.assign_parameters([0.3])).equiv(
        Operator(circuit.assign_parameters([0.3]))
    )


def test_what_must_stay_between_them_keeps_them_apart() -> None:
    for between in ("measure", "barrier", "condition"):
        circuit = QuantumCircuit(2, 1)
        circuit.rzz(0.4, 0, 1)
        if between == "measure":
            circuit.measure(0, 0)
        elif between == "barrier":
            circuit.barrier()
        else:
            with circuit.if_test((0, 1)):
                circuit.x(0)
        circuit.swap(0, 1)
        assert cost(AbsorbSwaps()(circuit)) == 5
