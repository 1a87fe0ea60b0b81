"""Circuits as bytes, what tells two of them apart, and circuits that users supply."""

from __future__ import annotations

import base64
import binascii
import io
import re
from functools import lru_cache
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.circuit import ClassicalRegister, Clbit, ParameterExpression
from qiskit.exceptions import QiskitError

from qsaga.core.contract import canonical_json, digest
from qsaga.core.errors import InvalidRequest
from qsaga.core.ports import RunVerb

SOURCE = "workload.circuit.source"
READ_BEFORE, SHORT = 256, 64 * 1024
"""Circuits that are remembered once they are read, and the longest text of one."""

_PASSING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+")
"""Identifiers that are new in each process."""


def to_qpy(circuit: QuantumCircuit) -> bytes:
    """One circuit as QPY bytes, without its layout.

    QPY writes the registers of a layout in the order of a set, so that no two processes would
    write the same bytes.
    """
    plain = circuit.copy()
    plain._layout = None  # noqa: SLF001 - there is no public way
    buffer = io.BytesIO()
    qpy.dump(plain, buffer)
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


def circuit_digest(circuit: QuantumCircuit) -> str:
    """SHA-256 over what a circuit does, as 64 hex digits.

    Equal for circuits of the same instructions, in the same order, on the same qubits and bits,
    whatever wrote them: QPY bytes hold the version of the writer and, for gates that are not
    standard, identifiers made anew each time.
    """
    return digest(canonical_json(_described(circuit)))


def _described(circuit: QuantumCircuit) -> list[Any]:
    def bits(some: Any) -> list[int]:
        return [circuit.find_bit(bit).index for bit in some]

    return [
        [circuit.num_qubits, circuit.num_clbits, _value(circuit, circuit.global_phase)],
        [[register.name, bits(register)] for register in circuit.cregs],
        [
            [*_operation(circuit, one.operation), bits(one.qubits), bits(one.clbits)]
            for one in circuit.data
        ],
    ]


def _operation(circuit: QuantumCircuit, operation: Any) -> list[Any]:
    params = getattr(operation, "params", [])
    told = [operation.name, [_value(circuit, param) for param in params]]
    # A condition, the target of a switch and its cases, the unit of a delay.
    more = (getattr(operation, name, None) for name in ("condition", "target", "unit"))
    told += [_value(circuit, value) for value in more if value is not None]
    if hasattr(operation, "cases_specifier"):
        told.append([_value(circuit, labels) for labels, _ in operation.cases_specifier()])
    if not _says_all(operation):
        definition = getattr(operation, "definition", None)
        told.append(None if definition is None else _described(definition))
    return told


def _says_all(operation: Any) -> bool:
    """Whether name and parameters say what an operation does, without its definition."""
    kind = getattr(operation, "base_class", type(operation))
    standard = kind.__module__.startswith("qiskit.circuit.library.standard_gates")
    # A matrix among the parameters says all, and would have to be synthesised.
    params = getattr(operation, "params", [])
    return standard or any(isinstance(param, np.ndarray) for param in params)


def _not_finite(circuit: QuantumCircuit) -> str:
    """Where a circuit has a number that is infinite or none at all; empty if nowhere."""
    if not _is_finite(circuit.global_phase):
        return "the global phase"
    return next(filter(None, (_infinite(one.operation) for one in circuit.data)), "")


def _infinite(operation: Any) -> str:
    powers = [getattr(each, "power", 0) for each in getattr(operation, "modifiers", ())]
    if not all(map(_is_finite, [*getattr(operation, "params", []), *powers])):
        return f"a parameter of {operation.name!r}"
    if (base := getattr(operation, "base_op", None)) is not None:
        return _infinite(base)
    inner = [*getattr(operation, "blocks", ())]
    if not _says_all(operation):
        inner.append(getattr(operation, "definition", None))
    return next(filter(None, (_not_finite(each) for each in inner if each is not None)), "")


def _is_finite(value: Any) -> bool:
    """Whether what may be a number is none that is infinite; parameters still free are none."""
    if isinstance(value, ParameterExpression):
        return bool(value.parameters) or bool(np.isfinite(complex(value)))
    if not isinstance(value, float | complex | np.number | np.ndarray):
        return True
    numbers = np.asarray(value)
    return numbers.dtype.kind not in "fc" or bool(np.all(np.isfinite(numbers)))


def _value(circuit: QuantumCircuit, value: Any) -> Any:
    if isinstance(value, QuantumCircuit):
        return _described(value)
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if isinstance(value, tuple | list):
        return [_value(circuit, one) for one in value]
    if isinstance(value, Clbit):
        return circuit.find_bit(value).index
    if isinstance(value, ClassicalRegister):
        return value.name
    if isinstance(value, int | float):
        return float(value)
    return _PASSING.sub("", repr(value))


class QiskitCircuitReader:
    """Reads OpenQASM 3 and base64 QPY (implements ``CircuitReader``).

    For ``sample`` a circuit must measure something: what was forgotten is not guessed, as it would
    be paid for. For ``estimate`` measurements at the end are removed, any other is refused.
    """

    formulation = "circuit/1"
    preprocessing = "measurements/2"

    def digest(self, qpy: bytes) -> str:
        """``circuit_digest`` of the one circuit in QPY bytes. Raises ValueError."""
        return circuit_digest(from_qpy(qpy))

    def read(self, format: str, source: str, verb: RunVerb) -> tuple[bytes, int]:
        """QPY bytes and number of qubits.

        Raises InvalidRequest for text that cannot be parsed, free parameters, no qubits, and
        measurements that do not fit the verb.
        """
        return _read(format, source, verb)

    def parse(self, format: str, source: str) -> QuantumCircuit:
        """The circuit as it was given.

        Raises InvalidRequest for what cannot be read, and for numbers that are not finite: a
        simulator answers those with counts all the same.
        """
        return _parse(format, source)


class RememberingReader(QiskitCircuitReader):
    """Reads the same text once in a process.

    A job's circuit is read when it is admitted and when it is encoded, and many jobs have the same.
    """

    def read(self, format: str, source: str, verb: RunVerb) -> tuple[bytes, int]:
        """As ``QiskitCircuitReader.read``."""
        return (_read_again if len(source) <= SHORT else _read)(format, source, verb)


def _read(format: str, source: str, verb: RunVerb) -> tuple[bytes, int]:
    circuit = _parse(format, source)
    if not circuit.num_qubits:
        raise InvalidRequest(SOURCE, "the circuit has no qubits", "at least one qubit")
    if circuit.parameters:
        names = ", ".join(sorted(parameter.name for parameter in circuit.parameters))
        raise InvalidRequest(SOURCE, f"free parameters: {names}", "a circuit with none")
    circuit = _for_sampling(circuit) if verb == "sample" else _for_estimating(circuit)
    return to_qpy(circuit), int(circuit.num_qubits)


_read_again = lru_cache(READ_BEFORE)(_read)


def _parse(format: str, source: str) -> QuantumCircuit:
    circuit = _parsed(format, source)
    if where := _not_finite(circuit):
        raise InvalidRequest(SOURCE, f"{where} is not finite", "finite numbers")
    return circuit


def _parsed(format: str, source: str) -> QuantumCircuit:
    if format == "qpy":
        try:
            return from_qpy(base64.b64decode(source, validate=True))
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest(SOURCE, str(error), "one circuit as QPY in base64") from error
    try:
        circuit = qasm3.loads(source)
    except Exception as error:  # the parser raises a dozen unrelated types
        raise InvalidRequest(
            SOURCE, f"not readable OpenQASM 3: {_first_line(error)}", "OpenQASM 3"
        ) from error
    circuit.name = "qasm3"  # the parser's own name counts the circuits of this process
    return circuit


def _for_sampling(circuit: QuantumCircuit) -> QuantumCircuit:
    if not _measures(circuit):
        raise InvalidRequest(
            SOURCE, "nothing is measured", "measure instructions; measure_all() of Qiskit adds them"
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
