"""QAOA circuits.

The model becomes an Ising Hamiltonian H = sum h Z + sum J ZZ over the qubits; variable i is
qubit i and measures as 1 where the binary variable is 1 (the spin is +1). The circuit is, layer
by layer, exp(-i gamma H), then exp(-i beta sum X), on |+...+>; where angles are tuned, each term
and each qubit has its own gamma and beta. ``given`` angles are used in this convention as they
are. To lower the energy from |+...+>, the top state of sum X, gamma and beta have opposite signs;
the built-in angles make beta the negative one.
"""

from __future__ import annotations

import math

import dimod
import numpy as np
from qiskit import QuantumCircuit

from adapters.circuits import to_qpy
from adapters.ising import Floats, Ising
from adapters.qaoa_angles import Schedule, schedule
from qsaga.core.jobs import Qaoa
from qsaga.problems.polish import descend, energies

STARTS = 64
"""Random assignments that are improved greedily for a warm start."""


class QaoaBuilder:
    """Builds bound, measured QAOA circuits (implements ``AnsatzBuilder``)."""

    version = "qaoa/2"

    def build(self, bqm: bytes, algorithm: Qaoa) -> bytes:
        """The circuit as QPY, measured into register ``meas``.

        Raises InvalidRequest where ``fixed`` angles are asked for and none are known, or
        ``tuned`` ones of a model that is too large.
        """
        model = dimod.BinaryQuadraticModel.from_file(bqm)
        ising = Ising.of(model)
        tilts = None if algorithm.warm_start is None else warm(model, algorithm.warm_start)
        return to_qpy(circuit(ising, schedule(ising, algorithm, tilts)))


def warm(model: dimod.BinaryQuadraticModel, doubt: float) -> Floats:
    """The tilts of a warm start: each qubit begins as its variable in the best of a few greedy
    solutions, but with the chance ``doubt`` of the other value (Egger, Marecek and Woerner 2021,
    arXiv:2009.10095, section 2.2, where it is epsilon). Shape (qubits,), radians.
    """
    begin = np.random.default_rng(0).integers(0, 2, (STARTS, model.num_variables), dtype=np.int8)
    found = descend(model, begin)
    best = found[int(np.argmin(energies(model, found)))]
    chances = np.where(best, 1 - doubt, doubt)
    return np.asarray(2 * np.arcsin(np.sqrt(chances)), dtype=np.float64)


def circuit(ising: Ising, angles: Schedule) -> QuantumCircuit:
    """The measured QAOA circuit."""
    built = QuantumCircuit(ising.qubits, name="qaoa")
    plain = bool(np.all(angles.tilts == math.pi / 2))
    if plain:
        built.h(range(ising.qubits))
    else:
        for qubit, tilt in enumerate(angles.tilts.tolist()):
            built.ry(tilt, qubit)
    for thetas, betas in zip(angles.thetas.tolist(), angles.betas.tolist(), strict=True):
        # Couplings first: on hardware their order decides the depth.
        for term, theta in sorted(
            zip(ising.terms, thetas, strict=True), key=lambda one: -len(one[0])
        ):
            if len(term) == 2:
                built.rzz(2 * theta, *term)
            else:
                built.rz(2 * theta, *term)
        for qubit, (beta, tilt) in enumerate(zip(betas, angles.tilts.tolist(), strict=True)):
            if plain:
                built.rx(2 * beta, qubit)
            else:
                built.ry(-tilt, qubit)
                built.rz(2 * beta, qubit)
                built.ry(tilt, qubit)
    built.measure_all()
    return built
