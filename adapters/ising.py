"""The Ising Hamiltonian of a binary quadratic model, and what is characteristic of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import dimod
import numpy as np
import numpy.typing as npt

from adapters.fixed_angles import DEGREES

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
    def terms(self) -> tuple[tuple[int, ...], ...]:
        """Qubits of each product of Z: fields that are not 0, then the couplings."""
        fields = tuple((qubit,) for qubit, h in enumerate(self.fields) if h)
        return fields + tuple((u, v) for u, v, _ in self.pairs)

    @property
    def weights(self) -> Floats:
        """Of the terms."""
        return np.array([h for h in self.fields if h] + [j for _, _, j in self.pairs])

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

    def around(self, most: int) -> list[int]:
        """Qubits that a breadth-first search from the strongest one meets first, ascending."""
        near: list[list[tuple[float, int]]] = [[] for _ in range(self.qubits)]
        own = self.fields**2
        for u, v, j in self.pairs:
            near[u].append((-abs(j), v))
            near[v].append((-abs(j), u))
            own[u] += j * j
            own[v] += j * j
        found: dict[int, None] = {}
        # What nothing joins to the rest is met from a start of its own.
        for first in np.argsort(-own, kind="stable").tolist():
            queue = [first]
            while queue and len(found) < most:
                qubit = queue.pop(0)
                if qubit not in found:
                    found[qubit] = None
                    queue += [other for _, other in sorted(near[qubit])]
        return sorted(found)

    def part(self, qubits: Sequence[int]) -> Ising:
        """The Hamiltonian of some qubits, without their couplings to others."""
        place = {qubit: index for index, qubit in enumerate(qubits)}
        pairs = [(place[u], place[v], j) for u, v, j in self.pairs if u in place and v in place]
        return Ising(self.fields[list(qubits)], pairs)

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
