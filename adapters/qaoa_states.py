"""QAOA on a state vector, in numpy: an energy and its gradient with respect to every angle.

Made for tuning the angles of small models. Every term of the Hamiltonian and every
qubit of the mixer has an angle of its own in each layer (ma-QAOA, Herrman et al. 2022,
arXiv:2109.11455); where a layer shares one angle, its derivative is a sum of theirs. The gradient
is found by going through the circuit backwards once (Jones and Gacon 2020, arXiv:2009.02823), so
that it costs about three times the energy however many angles there are: Walsh-Hadamard transforms
turn the angles of all terms into phases, and phases into the derivatives of all terms.

Single precision: shots are far coarser.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
State = npt.NDArray[np.complex64]

GROUP = 4
"""Qubits that the mixer is applied to at a time, as one matrix product."""
X = np.array([[0, 1], [1, 0]], dtype=np.complex64)
Z = np.array([[1, 0], [0, -1]], dtype=np.complex64)
ONE = np.eye(2, dtype=np.complex64)

Term = tuple[int, ...]
"""Qubits of a product of Z."""


class QaoaStates:
    """The states of QAOA circuits of one Hamiltonian.

    Args:
        qubits: how many.
        terms: products of Z in the Hamiltonian.
        weights: of the terms, shape (terms,).
        tilts: of each qubit in radians, shape (qubits,): it begins in RY(tilt)|0>, and its mixer
            is sin(tilt) X + cos(tilt) Z, of which that state is the top one. pi/2 for all is
            |+...+> and sum X (Egger, Marecek and Woerner 2021, arXiv:2009.10095).
        share: of the lowest energies that count, above 0 and at most 1: 1 is the mean, less is
            CVaR (Barkoutsos et al. 2020, arXiv:1907.04769).
    """

    def __init__(
        self,
        qubits: int,
        terms: Sequence[Term],
        weights: Floats,
        tilts: Floats,
        share: float = 1.0,
    ) -> None:
        places = [sum(1 << qubit for qubit in term) for term in terms]
        self._places = np.array(places, dtype=np.intp)
        self._size = 2**qubits
        self._share = share
        self.energies = self._over_states(weights)
        self._order = np.argsort(self.energies, kind="stable") if share < 1 else None
        begin = [np.array([np.cos(tilt / 2), np.sin(tilt / 2)]) for tilt in tilts]
        # The last qubit is the highest bit, which a Kronecker product has first.
        self._begin: State = reduce(np.kron, begin[::-1]).astype(np.complex64)
        self._axes = [np.sin(tilt) * X + np.cos(tilt) * Z for tilt in tilts]

    def state(self, thetas: Floats, betas: Floats) -> State:
        """Layer by layer exp(-i sum theta Z..Z), then exp(-i sum beta M), on the first state.

        Args:
            thetas: shape (depth, terms), radians.
            betas: shape (depth, qubits), radians.
        """
        state = self._begin
        for theta, beta in zip(thetas, betas, strict=True):
            state = self._mixed(self._phases(theta) * state, beta)
        return state

    def chances(self, thetas: Floats, betas: Floats) -> Floats:
        """Of measuring each basis state, qubit 0 the lowest bit. Shape (2**qubits,)."""
        return np.asarray(np.abs(self.state(thetas, betas)) ** 2, dtype=np.float64)

    def with_gradient(self, thetas: Floats, betas: Floats) -> tuple[float, Floats, Floats]:
        """The mean energy, or CVaR, and its derivatives by ``thetas`` and ``betas``."""
        states = [self._begin]
        phases = [self._phases(theta) for theta in thetas]
        for phase, beta in zip(phases, betas, strict=True):
            states.append(phase * states[-1])
            states.append(self._mixed(states[-1], beta))
        value, diagonal = self._objective(np.abs(states[-1]) ** 2)
        back: State = diagonal * states[-1]
        by_theta, by_beta = np.zeros_like(thetas), np.zeros_like(betas)
        for layer in reversed(range(len(thetas))):
            by_beta[layer] = self._mixer_slopes(back, states[2 * layer + 2])
            back = self._mixed(back, -betas[layer])
            overlap = 2 * (back.conj() * states[2 * layer + 1]).imag
            by_theta[layer] = _hadamard(overlap)[self._places]
            back = phases[layer].conj() * back
        return value, by_theta, by_beta

    def _objective(self, chances: Singles) -> tuple[float, Singles]:
        """Its value, and the diagonal operator whose mean changes as it does."""
        if self._order is None:
            return float(chances @ self.energies), self.energies
        # The energy below which ``share`` of the chances lies: the value at risk.
        sums = np.cumsum(chances[self._order], dtype=np.float64)
        place = int(np.searchsorted(sums, self._share - 1e-9))
        risk = self.energies[self._order[min(place, len(sums) - 1)]]
        below = np.minimum(self.energies - risk, 0) / self._share
        return float(risk + chances @ below), below

    def _over_states(self, angles: Floats) -> Singles:
        spectrum = np.zeros(self._size, dtype=np.float32)
        np.add.at(spectrum, self._places, angles)
        return _hadamard(spectrum)

    def _phases(self, theta: Floats) -> State:
        angles = self._over_states(theta)
        found = np.empty(self._size, dtype=np.complex64)
        found.real, found.imag = np.cos(angles), -np.sin(angles)
        return found

    def _mixed(self, state: State, beta: Floats) -> State:
        """exp(-i sum beta M) on a state; the square of M is one."""
        turns = [
            np.cos(b) * ONE - 1j * np.sin(b) * axis
            for b, axis in zip(beta, self._axes, strict=True)
        ]
        for low in range(0, len(turns), GROUP):
            matrix = reduce(np.kron, turns[low : low + GROUP][::-1]).astype(np.complex64)
            state = np.matmul(matrix, state.reshape(-1, len(matrix), 2**low)).reshape(-1)
        return state

    def _mixer_slopes(self, back: State, state: State) -> list[float]:
        found = []
        for qubit, axis in enumerate(self._axes):
            left = back.reshape(-1, 2, 2**qubit)
            right = state.reshape(-1, 2, 2**qubit)
            value = axis[0, 1] * (
                np.vdot(left[:, 0], right[:, 1]) + np.vdot(left[:, 1], right[:, 0])
            )
            if abs(axis[0, 0]) > 1e-7:
                value += axis[0, 0] * (
                    np.vdot(left[:, 0], right[:, 0]) - np.vdot(left[:, 1], right[:, 1])
                )
            found.append(2 * float(value.imag))
        return found


def _hadamard(values: Singles) -> Singles:
    """The Walsh-Hadamard transform, unnormalised: entry s is the sum of (-1)^|s & z| v[z]."""
    found, width = values, 1
    while width < len(values):
        pairs = found.reshape(-1, 2, width)
        found = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1)
        width *= 2
    return found.reshape(-1)
