"""Circuits as they are sent: the same bytes from every process, and the same meaning."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Gate, Parameter
from qiskit.circuit.library import (
    PauliEvolutionGate,
    UnitaryGate,
    efficient_su2,
    qaoa_ansatz,
)
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp, Statevector, random_unitary
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer.primitives import SamplerV2 as AerSampler

from adapters.circuits import QiskitCircuitReader, from_qpy
from qsaga.core.errors import InvalidRequest
from qsaga.primitives.circuits import JOINT, for_estimating, for_sampling, written


def mixed() -> QuantumCircuit:
    """Gates that Qiskit names anew in each process, and conditions."""
    circuit = QuantumCircuit(4)
    circuit.initialize([0.5, 0.5j, -0.5, 0.5], [0, 1])
    circuit.mcx([0, 1, 2], 3)
    circuit.append(UnitaryGate(random_unitary(8, seed=3)), [3, 1, 0])
    inner = efficient_su2(2, reps=1).assign_parameters(np.arange(8) / 7)
    circuit.append(inner.to_gate(), [2, 3])
    circuit.add_register(ClassicalRegister(1, "early"))
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rx(0.3, 1)
    return circuit


def sent_bytes() -> list[str]:
    """Digests of two circuits as they are sent; also run by another process."""
    cost = SparsePauliOp.from_list([("ZZII", 1.1), ("IZZI", 0.7), ("IIZZ", 0.3), ("ZIIZ", -0.2)])
    digests = []
    for circuit in (mixed(), qaoa_ansatz(cost, reps=2)):
        circuit.measure_all()
        prepared = for_sampling(circuit, "c").circuit
        numbers = np.arange(1, 1 + circuit.num_parameters) / 7
        values = BindingsArray({tuple(circuit.parameters): numbers})
        source = written(values.bind(prepared, ())).source
        digests.append(hashlib.sha256(source.encode()).hexdigest())
    return digests


def test_every_process_writes_the_same_bytes() -> None:
    code = f"import runpy; print(*runpy.run_path({__file__!r})['sent_bytes']())"
    other = subprocess.run(
        [sys.executable, "-c", code],
        # Another order of sets and dictionaries than here.
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    here = sent_bytes()
    assert other.stdout.split() == here
    assert len(set(here)) == 2


def states(*gates: object) -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    for gate in gates:
        circuit.append(gate, range(gate.num_qubits))
    return circuit


@pytest.mark.parametrize(
    "gate",
    [
        efficient_su2(3, reps=1).assign_parameters(np.arange(12) / 5).to_gate(),
        PauliEvolutionGate(SparsePauliOp.from_list([("XYZ", 0.4), ("ZZI", 0.9)]), 0.7),
        UnitaryGate(np.eye(8)[[3, 1, 0, 2, 7, 5, 6, 4]]),
    ],
    ids=["circuit", "evolution", "unitary"],
)
def test_gates_that_are_not_standard_keep_their_meaning(gate: object) -> None:
    circuit = states(gate)
    circuit.global_phase = 0.4
    sent = for_estimating(circuit, frozenset(), "c").circuit
    # By its definition: an evolution is what its synthesis makes of it.
    assert Statevector(sent).equiv(Statevector(circuit.decompose(reps=5)))


def test_the_worker_reads_what_was_written() -> None:
    circuit = states(PauliEvolutionGate(SparsePauliOp("XYZ"), 0.7))
    sent = written(for_estimating(circuit, frozenset(), "c").circuit)
    data, qubits = QiskitCircuitReader().read(sent.format, sent.source, "estimate")
    assert qubits == 3 and data


def test_registers_become_one_and_come_apart_again() -> None:
    """Loose bits and registers that share bits included: every outcome here is certain."""
    loose = [Clbit(), Clbit()]
    first, shared = ClassicalRegister(2, "first"), ClassicalRegister(bits=loose[:1], name="shared")
    circuit = QuantumCircuit(QuantumRegister(4), loose, first, shared)
    circuit.x([0, 3])
    for qubit, bit in enumerate([first[1], first[0], loose[1], loose[0]]):
        circuit.measure(qubit, bit)
    prepared = for_sampling(circuit, "c")
    assert [register.name for register in prepared.circuit.cregs] == [JOINT]
    whole = StatevectorSampler().run([prepared.circuit], shots=5).result()[0].data[JOINT]
    found = {
        name: whole.slice_bits(list(places)).get_counts()
        for name, places in prepared.registers.items()
    }
    assert found == {"first": {"10": 5}, "shared": {"1": 5}}


def test_a_single_register_keeps_its_name() -> None:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(3, "mine"))
    circuit.measure(0, 2)
    assert [one.name for one in for_sampling(circuit, "c").circuit.cregs] == ["mine"]


def test_idle_qubits_of_an_isa_circuit_are_not_sent() -> None:
    plain = efficient_su2(3, reps=1).assign_parameters(np.arange(12) / 5)
    backend = GenericBackendV2(20, seed=3)
    isa = generate_preset_pass_manager(1, backend, seed_transpiler=5).run(plain)
    observable = SparsePauliOp.from_list([("XYZ", 0.4), ("ZZI", 0.9)])
    placed = observable.apply_layout(isa.layout)
    needed = frozenset(np.flatnonzero((placed.paulis.x | placed.paulis.z).any(axis=0)).tolist())
    prepared = for_estimating(isa, needed, "c")
    assert prepared.circuit.num_qubits == len(prepared.qubits) == 3
    letters = [
        ("".join(label[::-1][qubit] for qubit in reversed(prepared.qubits)), value)
        for label, value in placed.to_list()
    ]
    pubs = [(plain, observable), (prepared.circuit, SparsePauliOp.from_list(letters))]
    wanted, found = (one.data.evs for one in StatevectorEstimator().run(pubs).result())
    assert found == pytest.approx(wanted)


def test_a_qubit_that_is_looked_at_is_not_idle() -> None:
    circuit = QuantumCircuit(5)
    circuit.h(1)
    circuit.barrier()
    assert for_estimating(circuit, frozenset({3}), "c").qubits == (1, 3)
    assert for_estimating(QuantumCircuit(5), frozenset(), "c").qubits == (0,)


def test_measurements_at_the_end_are_left_out_of_an_estimate() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.measure_all()
    sent = for_estimating(circuit, frozenset({0, 1}), "c").circuit
    assert dict(sent.count_ops()) == {"h": 1} and sent.num_clbits == 0


def conditional(*, whole: bool) -> QuantumCircuit:
    early, late = ClassicalRegister(1, "early"), ClassicalRegister(1, "late")
    circuit = QuantumCircuit(QuantumRegister(2), early, late)
    circuit.x(0)
    circuit.measure(0, early[0])
    with circuit.if_test((early if whole else early[0], 1)):
        circuit.x(1)
    circuit.measure(1, late[0])
    return circuit


def test_conditions_on_a_bit_are_kept() -> None:
    prepared = for_sampling(conditional(whole=False), "c")
    assert QiskitCircuitReader().read("qpy", written(prepared.circuit).source, "sample")
    branch = next(one for one in prepared.circuit.data if one.operation.name == "if_else")
    assert branch.operation.condition == (prepared.circuit.clbits[0], 1)
    assert prepared.registers == {"early": (0,), "late": (1,)}


def test_a_condition_on_one_of_several_registers_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^pubs\.0\.circuit: .*condition on one as a whole"):
        for_sampling(conditional(whole=True), "pubs.0.circuit")


def nested(*registers: ClassicalRegister) -> QuantumCircuit:
    """Bits 0 and 1 become 1, and so bit 2."""
    circuit = QuantumCircuit(QuantumRegister(2), *registers)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.measure(0, 1)
        with circuit.if_test((circuit.clbits[1], 1)):
            circuit.x(1)
    circuit.measure(1, 2)
    return circuit


def test_conditions_inside_conditions_are_kept_on_a_single_register() -> None:
    sent = written(for_sampling(nested(ClassicalRegister(3, "c")), "c").circuit)
    data, _ = QiskitCircuitReader().read(sent.format, sent.source, "sample")
    found = AerSampler().run([from_qpy(data)], shots=4).result()[0].data.c.get_counts()
    assert found == {"111": 4}


def test_conditions_inside_conditions_are_refused_on_several() -> None:
    with pytest.raises(InvalidRequest, match="conditions inside conditions"):
        for_sampling(nested(ClassicalRegister(2, "a"), ClassicalRegister(1, "b")), "c")


def without_measurement() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    return circuit


@pytest.mark.parametrize("circuit", [without_measurement(), QuantumCircuit(1)])
def test_nothing_measured_is_refused(circuit: QuantumCircuit) -> None:
    with pytest.raises(InvalidRequest, match="measures nothing into a classical register"):
        for_sampling(circuit, "c")


def test_an_estimate_that_measures_on_its_way_is_refused() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.rx(Parameter("t"), 0)
    with pytest.raises(InvalidRequest, match="measures on its way"):
        for_estimating(circuit, frozenset({0}), "c")
    with pytest.raises(InvalidRequest, match="no qubits"):
        for_estimating(QuantumCircuit(0), frozenset(), "c")


def test_a_gate_that_nobody_knows_is_refused() -> None:
    circuit = QuantumCircuit(1)
    circuit.append(Gate("secret", 1, []), [0])
    with pytest.raises(InvalidRequest, match=r"^pubs\.0\.circuit: not to be written in standard"):
        for_estimating(circuit, frozenset(), "pubs.0.circuit")
