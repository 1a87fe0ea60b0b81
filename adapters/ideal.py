"""What a circuit would show on a device without noise, exactly, where that is little work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qiskit import QuantumCircuit
from qiskit.circuit import Clbit, Gate, Qubit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Statevector

from adapters.circuits import QiskitCircuitReader
from qsaga.core.errors import SolverError
from qsaga.core.jobs import Circuit

WORK, MOST_GATES = 2**21, 4000
"""Amplitudes times gates, and gates: half a second, for it is done beside every answer."""
MOST_QUBITS = 14
MOST_AT_ONCE = 4
"""Qubits of a gate that is applied as one matrix."""
STANDARD = frozenset(get_standard_gate_name_mapping())
IDLE = frozenset({"barrier", "delay"})


class ExactDistributions:
    """Probabilities from a state vector (implements ``Distributions``)."""

    def of(self, circuit: Circuit) -> Mapping[str, Mapping[str, float]] | None:
        """See ``Distributions``."""
        try:
            return self._of(circuit)
        except Exception as error:  # of gates of others anything may be raised
            raise SolverError(f"{type(error).__name__}: {error}") from error

    def _of(self, circuit: Circuit) -> Mapping[str, Mapping[str, float]] | None:
        read = QiskitCircuitReader().parse(circuit.format, circuit.source)
        measured = _measured(read)
        if not measured:
            return None
        state = _state(read)
        if state is None:
            return None
        vector, places = state
        return {
            register.name: _probabilities(vector, [measured.get(bit) for bit in register], places)
            for register in read.cregs
        }


def _measured(circuit: QuantumCircuit) -> dict[Clbit, Qubit] | None:
    """Which qubit each classical bit tells; None unless there are gates and, at last, measurements.

    A reset or a condition leaves no pure state.
    """
    told: dict[Clbit, Qubit] = {}
    over: set[Qubit] = set()
    for one in circuit.data:
        if one.operation.name in IDLE:
            continue
        if over.intersection(one.qubits):
            return None
        if one.operation.name == "measure":
            over.update(one.qubits)
            told[one.clbits[0]] = one.qubits[0]
        elif not isinstance(one.operation, Gate):
            return None
    return told


def _state(circuit: QuantumCircuit) -> tuple[Statevector, dict[Qubit, int]] | None:
    gates = [one for one in circuit.data if isinstance(one.operation, Gate)]
    used = list(dict.fromkeys(qubit for one in gates for qubit in one.qubits))
    if len(used) > MOST_QUBITS:
        return None
    places = {qubit: place for place, qubit in enumerate(used)}
    small = QuantumCircuit(len(used))
    most = min(WORK >> len(used), MOST_GATES)
    for one in gates:
        at = tuple(places[qubit] for qubit in one.qubits)
        for gate, where in _simple(one.operation, at):
            small.append(gate, where)
            if len(small.data) > most:
                return None
    return Statevector(small), places


def _simple(gate: Gate, at: tuple[int, ...]) -> Iterator[tuple[Gate, tuple[int, ...]]]:
    """The gates that it is made of, whose matrices are small.

    A state vector would take a gate's whole matrix where it has one, 4^n numbers. Raises
    SolverError for a large one that is made of nothing else.
    """
    named = gate.name in STANDARD or isinstance(gate, UnitaryGate)
    if named and gate.num_qubits <= MOST_AT_ONCE:
        yield gate, at
        return
    if isinstance(gate, UnitaryGate) or gate.definition is None:
        raise SolverError(f"{gate.name} is a matrix on {gate.num_qubits} qubits")
    inner = gate.definition
    for one in inner.data:
        there = tuple(at[inner.find_bit(qubit).index] for qubit in one.qubits)
        yield from _simple(one.operation, there)


def _probabilities(
    state: Statevector, register: list[Qubit | None], places: Mapping[Qubit, int]
) -> dict[str, float]:
    """Of the outcomes of a register, bit 0 rightmost; a qubit without gates reads 0."""
    told = [None if qubit is None else places.get(qubit) for qubit in register]
    live = [place for place in told if place is not None]
    if not live:
        return {"0" * len(register): 1.0}
    found: dict[str, float] = {}
    for bits, share in state.probabilities_dict(live).items():
        values = iter(reversed(bits))
        row = ["0" if place is None else next(values) for place in told]
        key = "".join(reversed(row))
        found[key] = found.get(key, 0.0) + float(share)
    return found
