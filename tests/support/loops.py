"""Loops that tests ask for: hydrogen and a spin chain, with their exact energies."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import Any
from uuid import uuid4

import numpy as np

from qsaga.core.loops import Evaluation, Iteration, LoopRequest, PointShare
from qsaga.core.results import Cost
from qsaga.core.states import JobState, Rung

HYDROGEN = {
    "II": -1.052373245772859,
    "IZ": 0.39793742484318045,
    "ZI": -0.39793742484318045,
    "ZZ": -0.01128010425623538,
    "XX": 0.18093119978423156,
}
"""H2 in STO-3G at 0.735 angstrom, parity mapping, two qubits; see docs/loops.md for the source."""
GROUND = -1.857275030202
"""Its electronic ground energy, hartree."""
ONE_ANGLE = """OPENQASM 3.0;
include "stdgates.inc";
input float theta;
qubit[2] q;
ry(theta) q[0];
x q[1];
cx q[0], q[1];
"""
"""cos(theta/2) |10> + sin(theta/2) |01>: the ground state is among them."""
TWO_ANGLES = """OPENQASM 3.0;
include "stdgates.inc";
input float zeta;
input float alpha;
qubit[2] q;
ry(2 * zeta) q[0];
ry(alpha) q[1];
cx q[0], q[1];
"""

PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def lowest(observable: dict[str, float]) -> float:
    """Its lowest eigenvalue."""
    matrix = sum(
        weight * reduce(np.kron, [PAULI[letter] for letter in label])
        for label, weight in observable.items()
    )
    return float(np.linalg.eigvalsh(matrix)[0])


def ising_chain(spins: int, field: float) -> dict[str, float]:
    """-sum Z Z - field sum X on an open chain."""
    pairs = {"I" * i + "ZZ" + "I" * (spins - i - 2): -1.0 for i in range(spins - 1)}
    return pairs | {"I" * i + "X" + "I" * (spins - i - 1): -field for i in range(spins)}


def loop(**changes: Any) -> LoopRequest:
    """Hydrogen on the simulator under a new key."""
    workload = {
        "kind": "estimate",
        "circuit": {"source": changes.pop("source", ONE_ANGLE)},
        "observables": [changes.pop("observable", HYDROGEN)],
        "precision": changes.pop("precision", 0.02),
    }
    base: dict[str, Any] = {
        "key": f"k-{uuid4().hex[:12]}",
        "workload": workload,
        "optimiser": {"name": "adam", "iterations": 3, "options": {"rate": 0.3}},
        "initial": [2.5],
        "route": "simulator",
        "budgets": {"deadline": 600, "quantum_seconds": 600},
    }
    return LoopRequest.model_validate(base | changes)


SHARE = PointShare(deadline=60.0, quantum_seconds=10.0, money=Decimal(5))


def point(value: float | None, place: int = 0, **changes: Any) -> Evaluation:
    """A point of hardware and its value."""
    given: dict[str, Any] = {
        "job_id": f"default/k:loop:0:{place}",
        "parameters": (0.5,),
        "share": SHARE,
        "value": value,
        "standard_error": 0.1,
        "state": JobState.COMPLETED,
        "source": Rung.HARDWARE,
    }
    return Evaluation(**(given | changes))


def iteration(*values: float | None, number: int = 0, **changes: Any) -> Iteration:
    """Points with these values."""
    asked = tuple(point(value, place) for place, value in enumerate(values))
    return Iteration(number=number, points=asked, **changes)


def costing(seconds: float, money: float = 0.0, *, settled: bool = True) -> Iteration:
    """One point with these costs."""
    cost = Cost(quantum_seconds=seconds, money=Decimal(str(money)), settled=settled)
    return Iteration(number=0, points=(point(1.0, cost=cost),))
