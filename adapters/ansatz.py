"""Circuits with free parameters: read, checked, looked at, and bound to values."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import (
    PhaseGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
)

from adapters.circuits import SOURCE, QiskitCircuitReader, to_qpy
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Circuit
from qsaga.core.loops import LoopRequest
from qsaga.core.validation import check_observables

ROTATIONS = (RXGate, RYGate, RZGate, PhaseGate, RXXGate, RYYGate, RZZGate, RZXGate)
"""Gates exp(-i x P / 2), up to a global phase, of a Pauli string P."""


class QiskitAnsatz:
    """A circuit whose parameters have an order (implements ``Ansatz``).

    Args:
        circuit: with free parameters.
        order: all of them, each once.
    """

    def __init__(self, circuit: QuantumCircuit, order: Sequence[Parameter]) -> None:
        self._circuit, self._order = circuit, tuple(order)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in their order."""
        return tuple(parameter.name for parameter in self._order)

    def bound(self, values: Sequence[float]) -> Circuit:
        """The circuit at a point, as QPY."""
        # By parameter and not by place: Qiskit's own order is another one.
        at = dict(zip(self._order, values, strict=True))
        circuit = self._circuit.assign_parameters(at)
        circuit.name = self._circuit.name  # Qiskit counts the copies of this process in it
        data = to_qpy(circuit)
        return Circuit(format="qpy", source=base64.b64encode(data).decode())

    def slopes(self) -> tuple[float | None, ...]:
        """See ``Setup.slopes``: None where the two-term parameter-shift rule does not hold.

        It holds for a parameter that turns one rotation, and by a constant factor. One that
        stands in several gates, in a controlled rotation, in the global phase or in a gate with a
        definition of its own would need more terms.
        """
        return tuple(self._slope(parameter) for parameter in self._order)

    def _slope(self, parameter: Parameter) -> float | None:
        gates = [
            one.operation
            for one in self._circuit.data
            if any(parameter in getattr(value, "parameters", ()) for value in one.operation.params)
        ]
        phase = getattr(self._circuit.global_phase, "parameters", ())
        if len(gates) != 1 or not isinstance(gates[0], ROTATIONS) or parameter in phase:
            return None
        (angle,) = gates[0].params
        try:
            slope = float(angle.gradient(parameter))
        except TypeError:  # an expression: the angle is not linear in it
            return None
        return slope or None


class QiskitAnsatzReader:
    """Reads parameterised OpenQASM 3 and QPY (implements ``AnsatzReader``)."""

    def read(self, request: LoopRequest) -> QiskitAnsatz:
        """The circuit of a request.

        Raises InvalidRequest for a circuit that cannot be read, has no parameters, has classical
        bits, or does not fit the observable; and for names that are not those of its parameters.
        """
        given = request.workload.circuit
        circuit = QiskitCircuitReader().parse(given.format, given.source)
        if circuit.num_clbits or any(one.operation.name == "measure" for one in circuit.data):
            raise InvalidRequest(
                SOURCE, "the circuit has classical bits", "a circuit without measurements"
            )
        if not circuit.num_qubits:
            raise InvalidRequest(SOURCE, "the circuit has no qubits", "at least one qubit")
        if not circuit.parameters:
            raise InvalidRequest(
                SOURCE, "the circuit has no parameters", "at least one input float"
            )
        check_observables(request.workload, circuit.num_qubits)
        return QiskitAnsatz(circuit, _ordered(circuit, request.parameters))


def _ordered(circuit: QuantumCircuit, names: Sequence[str]) -> list[Parameter]:
    known = {parameter.name: parameter for parameter in circuit.parameters}
    if not names:
        return list(circuit.parameters)
    if missing := sorted(set(known) - set(names)):
        raise InvalidRequest(
            "parameters", f"not there: {', '.join(missing)}", "every parameter of the circuit"
        )
    if unknown := sorted(set(names) - set(known)):
        raise InvalidRequest(
            "parameters", f"not in the circuit: {', '.join(unknown)}", ", ".join(sorted(known))
        )
    return [known[name] for name in names]
