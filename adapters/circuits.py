"""Circuits as bytes, and circuits that users supply."""

from __future__ import annotations

import base64
import binascii
import io

from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.exceptions import QiskitError

from qsaga.core.errors import InvalidRequest
from qsaga.core.ports import RunVerb

SOURCE = "workload.circuit.source"


def to_qpy(circuit: QuantumCircuit) -> bytes:
    """One circuit as QPY bytes."""
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return buffer.getvalue()


def from_qpy(data: bytes) -> QuantumCircuit:
    """The one circuit in QPY bytes. Raises ValueError if that is not what they are."""
    try:
        circuits = qpy.load(io.BytesIO(data))
    except Exception as error:
        raise ValueError(f"not a QPY file: {_first_line(error)}") from error
    if len(circuits) != 1:
        raise ValueError(f"{len(circuits)} circuits, not one")
    return circuits[0]


class QiskitCircuitReader:
    """Reads OpenQASM 3 and base64 QPY (implements ``CircuitReader``).

    For ``sample`` a circuit without classical bits is measured in full, into register ``meas``;
    one that has classical bits must measure into them itself. For ``estimate`` measurements at
    the end are removed, any other is refused.
    """

    def read(self, format: str, source: str, verb: RunVerb) -> tuple[bytes, int]:
        """QPY bytes and number of qubits.

        Raises InvalidRequest for text that cannot be parsed, free parameters, no qubits, and
        measurements that do not fit the verb.
        """
        circuit = self._parse(format, source)
        if not circuit.num_qubits:
            raise InvalidRequest(SOURCE, "the circuit has no qubits", "at least one qubit")
        if circuit.parameters:
            names = ", ".join(sorted(parameter.name for parameter in circuit.parameters))
            raise InvalidRequest(SOURCE, f"free parameters: {names}", "a circuit with none")
        circuit = _for_sampling(circuit) if verb == "sample" else _for_estimating(circuit)
        return to_qpy(circuit), int(circuit.num_qubits)

    def _parse(self, format: str, source: str) -> QuantumCircuit:
        if format == "qpy":
            try:
                return from_qpy(base64.b64decode(source, validate=True))
            except (binascii.Error, ValueError) as error:
                raise InvalidRequest(SOURCE, str(error), "one circuit as QPY in base64") from error
        try:
            return qasm3.loads(source)
        except Exception as error:  # the parser raises a dozen unrelated types
            raise InvalidRequest(
                SOURCE, f"not readable OpenQASM 3: {_first_line(error)}", "OpenQASM 3"
            ) from error


def _for_sampling(circuit: QuantumCircuit) -> QuantumCircuit:
    if not circuit.num_clbits:
        return circuit.measure_all(inplace=False)
    if not _measures(circuit):
        raise InvalidRequest(
            SOURCE,
            "there are classical bits but nothing is measured into them",
            "measure instructions, or no classical bits to have every qubit measured",
        )
    return circuit


def _for_estimating(circuit: QuantumCircuit) -> QuantumCircuit:
    plain = circuit.remove_final_measurements(inplace=False)
    if _measures(plain) or plain.num_clbits:
        raise InvalidRequest(
            SOURCE,
            "expectation values cannot be taken of a circuit that measures on its way",
            "measurements at the very end, which are left out, or none",
        )
    return plain


def _measures(circuit: QuantumCircuit) -> bool:
    for instruction in circuit.data:
        if instruction.operation.name == "measure":
            return True
        blocks = getattr(instruction.operation, "blocks", ())
        if any(_measures(block) for block in blocks):
            return True
    return False


def _first_line(error: Exception) -> str:
    text = error.message if isinstance(error, QiskitError) else str(error)
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[0][:300] if lines else "syntax error"
