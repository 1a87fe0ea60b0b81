"""From a Qiskit circuit to one that any process writes down in the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.circuit import CONTROL_FLOW_OP_NAMES, ClassicalRegister, ControlFlowOp
from qiskit.circuit.equivalence_library import SessionEquivalenceLibrary
from qiskit.circuit.library import Barrier, get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import BasisTranslator, HighLevelSynthesis, UnitarySynthesis

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Circuit

JOINT = "joint"
"""The register that stands for all registers of a circuit that has several."""
PLAIN = ("barrier", "break_loop", "continue_loop", "store")


@dataclass(frozen=True)
class Prepared:
    """A circuit as it is sent.

    Args:
        circuit: standard gates only, one classical register at most, no idle qubits; it may have
            parameters.
        qubits: for each of its qubits, which one of the given circuit it is.
        registers: for each register of the given circuit, which bits of the one register it has.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    registers: Mapping[str, tuple[int, ...]]


def for_sampling(circuit: QuantumCircuit, field: str) -> Prepared:
    """Prepare a circuit to be sampled.

    Counts come back for each register by itself, which would lose what the registers of one shot
    have to do with each other: several are sent as one.

    Raises InvalidRequest, with the path ``field``, for one that measures into no register, and for
    conditions on one whole register among several.
    """
    plain = _standard(circuit, field)
    if not plain.cregs or not _measures(plain):
        raise InvalidRequest(
            field, "the circuit measures nothing into a classical register", "measure instructions"
        )
    alone = len(plain.cregs) == 1 and list(plain.cregs[0]) == list(plain.clbits)
    name = plain.cregs[0].name if alone else JOINT
    made, qubits = _rebuilt(plain, ClassicalRegister(plain.num_clbits, name), (), field)
    registers = {
        register.name: tuple(plain.find_bit(bit).index for bit in register)
        for register in plain.cregs
    }
    return Prepared(made, qubits, registers)


def for_estimating(circuit: QuantumCircuit, needed: frozenset[int], field: str) -> Prepared:
    """Prepare a circuit to take expectation values of; measurements at its end are left out.

    Args:
        circuit: as it was given.
        needed: qubits that an observable looks at.
        field: path for errors.

    Raises InvalidRequest for one that measures on its way.
    """
    if not circuit.num_qubits:
        raise InvalidRequest(field, "the circuit has no qubits", "at least one qubit")
    plain = _standard(circuit.remove_final_measurements(inplace=False), field)
    if any(one.clbits for one in plain.data):
        raise InvalidRequest(
            field,
            "expectation values cannot be taken of a circuit that measures on its way",
            "measurements at the very end, which are left out, or none",
        )
    made, qubits = _rebuilt(plain, None, needed, field)
    return Prepared(made, qubits, {})


def written(circuit: QuantumCircuit) -> Circuit:
    """A circuit without parameters as QPY in base64."""
    # Where Qiskit made the name it counts the circuits of this process.
    circuit.name, circuit.metadata = "circuit", {}
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return Circuit(format="qpy", source=base64.b64encode(buffer.getvalue()).decode())


@cache
def _standard_types() -> dict[str, type]:
    return {name: _kind(gate) for name, gate in get_standard_gate_name_mapping().items()}


def _standard(circuit: QuantumCircuit, field: str) -> QuantumCircuit:
    """The same of standard gates: QPY names all others by identifiers that are made anew."""
    if all(_known(one.operation) for one in circuit.data):
        return circuit
    basis = [*_standard_types(), *CONTROL_FLOW_OP_NAMES, *PLAIN]
    # Not the preset pass managers: these load every plugin that is installed, for seconds.
    passes = PassManager(
        [
            UnitarySynthesis(basis),
            HighLevelSynthesis(equivalence_library=SessionEquivalenceLibrary, basis_gates=basis),
            BasisTranslator(SessionEquivalenceLibrary, basis),
        ]
    )
    try:
        return passes.run(circuit)
    except QiskitError as error:
        raise InvalidRequest(
            field,
            f"not to be written in standard gates: {str(error.message)[:300]}",
            "gates of Qiskit's library, or with a definition in them",
        ) from error


def _known(operation: Any) -> bool:
    if isinstance(operation, ControlFlowOp):
        return all(_known(one.operation) for block in operation.blocks for one in block.data)
    if operation.name in PLAIN:
        return True
    return _standard_types().get(operation.name) is _kind(operation)


def _kind(operation: Any) -> type:
    # A gate without parameters is of a class of its own, made for the one instance.
    kind: type = getattr(operation, "base_class", type(operation))
    return kind


def _rebuilt(
    circuit: QuantumCircuit,
    register: ClassicalRegister | None,
    needed: frozenset[int] | tuple[()],
    field: str,
) -> tuple[QuantumCircuit, tuple[int, ...]]:
    """The circuit on one register, without its idle qubits and its layout."""
    if circuit.num_vars or any(isinstance(one.operation, ControlFlowOp) for one in circuit.data):
        return _renamed(circuit, register, field), tuple(range(circuit.num_qubits))
    registers = [] if register is None else [register]
    used = {
        circuit.find_bit(bit).index
        for one in circuit.data
        if one.operation.name != "barrier"
        for bit in one.qubits
    }
    # A circuit that does nothing still has a qubit to speak of.
    qubits = tuple(sorted(used | set(needed))) or (0,)
    place = {circuit.qubits[old]: new for new, old in enumerate(qubits)}
    made = QuantumCircuit(len(qubits), global_phase=circuit.global_phase)
    for one in registers:
        made.add_register(one)
    for one in circuit.data:
        on = [place[bit] for bit in one.qubits if bit in place]
        operation = Barrier(len(on)) if one.operation.name == "barrier" else one.operation
        if on:
            made.append(operation, on, [circuit.find_bit(bit).index for bit in one.clbits])
    return made, qubits


def _renamed(
    circuit: QuantumCircuit, register: ClassicalRegister | None, field: str
) -> QuantumCircuit:
    """A circuit with conditions or variables on one register, all of its qubits kept."""
    if register in circuit.cregs:
        same = circuit.copy()
        same._layout = None  # noqa: SLF001 - there is no public way
        return same
    if any(_nested(one.operation) for one in circuit.data if register is not None):
        # Qiskit renames the bits of the outer condition only.
        raise InvalidRequest(
            field,
            "there are several classical registers and conditions inside conditions or loops",
            "a single register",
        )
    made = QuantumCircuit(circuit.num_qubits)
    if register is not None:
        made.add_register(register)
    made.compose(circuit, range(circuit.num_qubits), range(circuit.num_clbits), inplace=True)
    if len(made.cregs) != int(register is not None):
        raise InvalidRequest(
            field,
            "there are several classical registers and a condition on one as a whole",
            "conditions on single bits, or a single register",
        )
    return made


def _nested(operation: Any) -> bool:
    return any(
        isinstance(one.operation, ControlFlowOp)
        for block in getattr(operation, "blocks", ())
        for one in block.data
    )


def _measures(circuit: QuantumCircuit) -> bool:
    return any(
        one.operation.name == "measure"
        or any(_measures(block) for block in getattr(one.operation, "blocks", ()))
        for one in circuit.data
    )
