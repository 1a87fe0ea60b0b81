"""QAOA circuits with angles that need no optimisation.

The model becomes an Ising Hamiltonian H = sum h Z + sum J ZZ over the qubits; variable i is
qubit i and measures as 1 where the binary variable is 1 (the spin is +1). The circuit is, layer
by layer, exp(-i gamma H), then exp(-i beta sum X), on |+...+>. ``given`` angles are used in this
convention as they are. To lower the energy from |+...+>, the top state of sum X, gamma and beta
have opposite signs; the built-in angles make beta the negative one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import dimod
import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit

from adapters.circuits import to_qpy
from adapters.fixed_angles import DEGREES, FIXED_ANGLES, MAX_DEPTH
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Qaoa

FIELD = "workload.algorithm.angles"

COST_STEP, MIXER_STEP = 1.05, 0.75
"""Largest angles of the ramp: gamma in units of 1/strength, beta in radians.

Sack and Serbyn (2021, arXiv:2101.05742) start from steps of 0.75. A coarse grid over dense QUBO,
independent set and MaxCut models of 10 and 11 variables at depths 1 to 8 favours a longer cost
step: energies 2 to 9 % of the range below those of 0.75 for both.
"""


Floats = npt.NDArray[np.float64]


class Ising:
    """H = sum h Z + sum J ZZ, from a model of either vartype; constants are left out.

    Args:
        fields: h of each qubit, shape (qubits,).
        pairs: (u, v, J) of each coupling that is not 0.
    """

    def __init__(self, fields: Floats, pairs: Sequence[tuple[int, int, float]]) -> None:
        self.fields = fields
        self.pairs = tuple(pairs)

    @classmethod
    def of(cls, model: dimod.BinaryQuadraticModel) -> Ising:
        """The Hamiltonian whose energy is the model's. A spin of +1 is the qubit's state 1, which
        has Z = -1, so the fields change their sign.
        """
        spin = model.change_vartype(dimod.SPIN, inplace=False)
        place = {name: index for index, name in enumerate(model.variables)}
        pairs = [(place[u], place[v], float(bias)) for (u, v), bias in spin.quadratic.items()]
        fields: Floats = np.array(
            [-float(spin.get_linear(name)) for name in model.variables], dtype=np.float64
        )
        largest = max([abs(bias) for _, _, bias in pairs] + list(np.abs(fields)), default=0.0)
        # What the change of vartype leaves of a cancelled bias is rounding, not a field.
        fields[np.abs(fields) <= 1e-12 * largest] = 0.0
        return cls(fields, [pair for pair in pairs if pair[2] != 0.0])

    @property
    def qubits(self) -> int:
        """How many qubits."""
        return len(self.fields)

    @property
    def degrees(self) -> tuple[int, ...]:
        """Number of couplings of each qubit that has any."""
        return tuple(Counter(qubit for u, v, _ in self.pairs for qubit in (u, v)).values())

    @property
    def coupling(self) -> float:
        """Root mean square of the couplings."""
        return math.sqrt(sum(j * j for _, _, j in self.pairs) / max(1, len(self.pairs)))

    @property
    def strength(self) -> float:
        """Root mean square over the qubits of the energy scale sqrt(h² + sum of J²) of each."""
        square = float(np.sum(self.fields**2)) + 2 * sum(j * j for _, _, j in self.pairs)
        return math.sqrt(square / max(1, self.qubits))

    @property
    def like_maxcut(self) -> bool:
        """Whether this is MaxCut without weights: no fields, all couplings equal."""
        values = [j for _, _, j in self.pairs]
        return (
            bool(values)
            and not np.any(self.fields)
            and max(values) - min(values) <= 1e-9 * max(map(abs, values))
        )

    @property
    def nearly_regular(self) -> bool:
        """Whether the degrees differ by 1 at most and lie in the table of fixed angles."""
        degrees = self.degrees
        return bool(degrees) and max(degrees) - min(degrees) <= 1 and max(degrees) <= DEGREES[1]


class QaoaBuilder:
    """Builds bound, measured QAOA circuits (implements ``AnsatzBuilder``)."""

    version = "qaoa/1"

    def build(self, bqm: bytes, algorithm: Qaoa) -> bytes:
        """The circuit as QPY, measured into register ``meas``.

        Raises InvalidRequest where ``fixed`` angles are asked for and none are known.
        """
        ising = Ising.of(dimod.BinaryQuadraticModel.from_file(bqm))
        gammas, betas = angles(ising, algorithm)
        return to_qpy(circuit(ising, gammas, betas))


def circuit(ising: Ising, gammas: Sequence[float], betas: Sequence[float]) -> QuantumCircuit:
    """The measured QAOA circuit; angles in the convention of this module."""
    built = QuantumCircuit(ising.qubits, name="qaoa")
    built.h(range(ising.qubits))
    for gamma, beta in zip(gammas, betas, strict=True):
        for u, v, j in ising.pairs:
            built.rzz(2 * gamma * j, u, v)
        for qubit, h in enumerate(ising.fields.tolist()):
            if h:
                built.rz(2 * gamma * h, qubit)
        built.rx(2 * beta, range(ising.qubits))
    built.measure_all()
    return built


def angles(ising: Ising, algorithm: Qaoa) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The angles that an algorithm means for a Hamiltonian, in the convention of this module."""
    depth = algorithm.depth
    match algorithm.angles:
        case "given":
            return algorithm.gammas, algorithm.betas
        case "ramp":
            return ramp(ising, depth)
        case "fixed":
            if trouble := _no_fixed(ising, depth):
                raise InvalidRequest(FIELD, f"no fixed angles: {trouble}", "auto, ramp, given")
            return fixed(ising, depth)
        case "auto":
            # On graphs that are far from regular the ramp does better than fixed angles.
            known = not _no_fixed(ising, depth)
            if known and ising.like_maxcut and ising.nearly_regular:
                return fixed(ising, depth)
            return ramp(ising, depth)


def fixed(ising: Ising, depth: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fixed angles of the graph's degree.

    A graph that is not regular takes those of its average degree, rounded up, gamma scaled by
    arctan(1/sqrt(d-1)), which is exact at depth 1; with weights, gamma is in units of their root
    mean square (Shaydulin, Lotshaw, Larson, Ostrowski, Humble 2023, arXiv:2201.11785). The row of
    degree 2 serves cycles alone: deeper angles for a ring fit nothing else.
    """
    degrees = ising.degrees
    average = sum(degrees) / len(degrees)
    regular = min(degrees) == max(degrees)
    lowest = DEGREES[0] if regular and average >= DEGREES[0] else DEGREES[0] + 1
    row = min(max(math.ceil(average), lowest), DEGREES[1])
    table = FIXED_ANGLES[row, depth]
    scale = _depth_one(average) / _depth_one(row) / (2 * ising.coupling)
    return tuple(scale * gamma for gamma in table.gammas), tuple(-beta for beta in table.betas)


def ramp(ising: Ising, depth: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A linear annealing schedule cut into ``depth`` steps, in units of the model's strength.

    Step k of p, from 1, has the share t = k / (p + 1) of the cost and 1 - t of the mixer.
    """
    scale = ising.strength or 1.0
    shares = [step / (depth + 1) for step in range(1, depth + 1)]
    gammas = tuple(COST_STEP * share / scale for share in shares)
    return gammas, tuple(-MIXER_STEP * (1 - share) for share in shares)


def _no_fixed(ising: Ising, depth: int) -> str:
    if not ising.pairs:
        return "the model has no couplings"
    if np.any(ising.fields):
        return "the model has linear terms in its Ising form"
    if depth > MAX_DEPTH:
        return f"the table ends at depth {MAX_DEPTH}, asked for {depth}"
    return ""


def _depth_one(degree: float) -> float:
    """The best gamma at depth 1 on a triangle-free graph (Wang et al. 2018, arXiv:1706.02998)."""
    return math.pi / 2 if degree <= 1 else math.atan(1 / math.sqrt(degree - 1))
