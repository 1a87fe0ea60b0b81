"""Circuits with free parameters: read, checked, looked at, and bound to values."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import (
    CPhaseGate,
    CRXGate,
    CRYGate,
    CRZGate,
    PhaseGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    UGate,
)

from adapters.circuits import SOURCE, QiskitCircuitReader, to_qpy
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Circuit
from qsaga.core.loops import LoopRequest
from qsaga.core.optimisers import MAX_POINTS, Spectrum
from qsaga.core.validation import check_observables

ROTATIONS = (
    *(RXGate, RYGate, RZGate, PhaseGate, RXXGate, RYYGate, RZZGate, RZXGate),
    *(UGate, CPhaseGate),
)
"""Gates that are exp(-i x P / 2) in each angle, up to a phase and to what does not depend on x; the
eigenvalues of P differ by 2 or not at all: values have the frequencies 0 and 1 in x."""
CONTROLLED = (CRXGate, CRYGate, CRZGate)
"""Eigenvalues 0 and ±1 of P: values have the frequencies 0, 1/2 and 1 in x."""


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

    def spectrum(self) -> tuple[Spectrum | None, ...]:
        """See ``Setup.spectrum``: None where no parameter-shift rule is known to hold.

        One holds for a parameter that turns rotations by factors which are multiples of one
        another. In a gate with a definition of its own, or in an angle that is not linear in it,
        its frequencies are not known.
        """
        return tuple(self._of(parameter) for parameter in self._order)

    def _of(self, parameter: Parameter) -> Spectrum | None:
        try:
            turned = [(slope, step) for slope, step in self._turned(parameter) if slope]
        except TypeError:
            return None
        unit = common_unit([abs(slope) * step for slope, step in turned])
        if unit is None:
            return None
        degree = round(sum(abs(slope) for slope, _ in turned) / unit)
        return Spectrum(unit=math.copysign(unit, turned[0][0]), degree=degree)

    def _turned(self, parameter: Parameter) -> Iterator[tuple[float, float]]:
        """The factor of each angle, and the least frequency in that angle. Raises TypeError."""
        for one in self._circuit.data:
            for angle in one.operation.params:
                if parameter not in getattr(angle, "parameters", ()):
                    continue
                if not isinstance(one.operation, ROTATIONS + CONTROLLED):
                    raise TypeError(one.operation.name)
                # Raises where an expression is left: the angle is not linear.
                slope = float(angle.gradient(parameter))
                yield slope, 0.5 if isinstance(one.operation, CONTROLLED) else 1.0


def common_unit(steps: Sequence[float]) -> float | None:
    """The greatest number of which all are whole multiples, if each is not too large a one."""
    if not steps:
        return None
    least = min(steps)
    ratios = [Fraction(step / least).limit_denominator(MAX_POINTS) for step in steps]
    if any(
        not math.isclose(ratio, step / least, rel_tol=1e-9)
        for ratio, step in zip(ratios, steps, strict=True)
    ):
        return None
    return least / math.lcm(*(ratio.denominator for ratio in ratios))


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
