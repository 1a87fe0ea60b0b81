"""Where the angles of QAOA come from: tables, a ramp, or tuning on a state vector.

The convention is that of ``adapters.qaoa``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from adapters.fixed_angles import DEGREES, FIXED_ANGLES, MAX_DEPTH
from adapters.ising import Floats, Ising
from adapters.qaoa_states import QaoaStates
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Qaoa

FIELD = "workload.algorithm.angles"

COST_STEP, MIXER_STEP = 1.05, 0.75
"""Largest angles of the ramp: gamma in units of 1/strength, beta in radians.

Sack and Serbyn (2021, arXiv:2101.05742) start from steps of 0.75. A coarse grid over dense QUBO,
independent set and MaxCut models of 10 and 11 variables at depths 1 to 8 favours a longer cost
step: energies 2 to 9 % of the range below those of 0.75 for both.
"""

MOST_TUNED = 16
"""Qubits up to which angles are tuned on the model itself: a second at depth 3."""
PART = 12
"""Variables of the part of a larger model on which its angles are tuned."""
STEPS = 12
"""Of the quasi-Newton method. The first few bring nearly all of the gain."""


class Schedule(NamedTuple):
    """All angles of a circuit, in radians.

    ``thetas`` has shape (depth, terms), weights included, ``betas`` (depth, qubits), ``tilts``
    (qubits,): see ``QaoaStates``.
    """

    thetas: Floats
    betas: Floats
    tilts: Floats


Shared = tuple[tuple[float, ...], tuple[float, ...]]
"""One gamma and one beta for each layer."""


def schedule(ising: Ising, algorithm: Qaoa, tilts: Floats | None = None) -> Schedule:
    """The angles that an algorithm means for a Hamiltonian.

    Args:
        ising: of the model.
        algorithm: what is asked.
        tilts: of a warm start, shape (qubits,); None begins in |+...+>.

    Raises InvalidRequest where ``fixed`` angles are asked for and none are known, or ``tuned``
    ones of a model that is too large.
    """
    begin = np.full(ising.qubits, math.pi / 2) if tilts is None else tilts
    way, depth = algorithm.angles, algorithm.depth
    if way == "given":
        return _spread(ising, (algorithm.gammas, algorithm.betas), begin)
    if way == "fixed":
        if trouble := _no_fixed(ising, depth):
            allowed = "auto, tuned, transferred, ramp, given"
            raise InvalidRequest(FIELD, f"no fixed angles: {trouble}", allowed)
        return _spread(ising, fixed(ising, depth), begin)
    if way == "ramp" or not ising.terms:
        return _spread(ising, ramp(ising, depth), begin)
    small = ising.qubits <= MOST_TUNED
    if way == "tuned" and not small:
        raise InvalidRequest(
            FIELD,
            f"{ising.qubits} qubits are too many to tune on",
            f"at most {MOST_TUNED}; or auto, transferred, ramp, given",
        )
    if small and way != "transferred":
        return _tuned_each(ising, algorithm, _spread(ising, start(ising, depth), begin))
    regular = not _no_fixed(ising, depth) and ising.like_maxcut and ising.nearly_regular
    if way == "auto" and regular and tilts is None:
        return _spread(ising, fixed(ising, depth), begin)
    return _spread(ising, _transferred(ising, algorithm, begin), begin)


def start(ising: Ising, depth: int) -> Shared:
    """Where tuning begins: fixed angles where they fit, the ramp elsewhere; never at random."""
    known = not _no_fixed(ising, depth)
    # On graphs that are far from regular the ramp does better than fixed angles.
    fits = known and ising.like_maxcut and ising.nearly_regular
    return fixed(ising, depth) if fits else ramp(ising, depth)


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


def _spread(ising: Ising, shared: Shared, tilts: Floats) -> Schedule:
    gammas, betas = (np.array(angles, dtype=np.float64) for angles in shared)
    return Schedule(
        np.outer(gammas, ising.weights), np.repeat(betas[:, None], ising.qubits, axis=1), tilts
    )


def _states(ising: Ising, algorithm: Qaoa, tilts: Floats) -> QaoaStates:
    # In units of the strength, so that single precision and the stopping rules always fit.
    weights = ising.weights / (ising.strength or 1.0)
    return QaoaStates(ising.qubits, ising.terms, weights, tilts, algorithm.cvar)


def _tuned_each(ising: Ising, algorithm: Qaoa, begin: Schedule) -> Schedule:
    """Tune every angle for itself, from angles that are shared."""
    states = _states(ising, algorithm, begin.tilts)
    shape, turns = begin.thetas.shape, begin.betas.shape

    def objective(flat: Floats) -> tuple[float, Floats]:
        thetas, betas = flat[: begin.thetas.size], flat[begin.thetas.size :]
        value, *slopes = states.with_gradient(thetas.reshape(shape), betas.reshape(turns))
        return value, np.concatenate([slope.ravel() for slope in slopes])

    found = _lowest(objective, np.concatenate([begin.thetas.ravel(), begin.betas.ravel()]))
    thetas, betas = found[: begin.thetas.size], found[begin.thetas.size :]
    return Schedule(thetas.reshape(shape), betas.reshape(turns), begin.tilts)


def _tuned_shared(ising: Ising, algorithm: Qaoa, tilts: Floats) -> Shared:
    """Tune one gamma and one beta for each layer."""
    states, depth, size = _states(ising, algorithm, tilts), algorithm.depth, ising.qubits
    # Gammas in units of 1/strength: all angles are then of order one.
    unit = ising.strength or 1.0
    weights = ising.weights / unit

    def objective(flat: Floats) -> tuple[float, Floats]:
        betas = np.repeat(flat[depth:, None], size, axis=1)
        value, by_theta, by_beta = states.with_gradient(np.outer(flat[:depth], weights), betas)
        return value, np.concatenate([by_theta @ weights, by_beta.sum(axis=1)])

    gammas, betas = start(ising, depth)
    found = _lowest(objective, np.array([*(gamma * unit for gamma in gammas), *betas]))
    return tuple((found[:depth] / unit).tolist()), tuple(found[depth:].tolist())


def _transferred(ising: Ising, algorithm: Qaoa, tilts: Floats) -> Shared:
    """Angles tuned on a part of the model, gamma in units of each one's strength.

    Good angles depend on the kind of model far more than on its size (Brandao et al. 2018,
    arXiv:1812.04170; Shaydulin et al. 2023, arXiv:2201.11785). The part is what a breadth-first
    search from the strongest variable meets first.
    """
    kept = ising.around(PART)
    part = ising.part(kept)
    gammas, betas = _tuned_shared(part, algorithm, tilts[kept])
    scale = part.strength / (ising.strength or 1.0)
    return tuple(scale * gamma for gamma in gammas), betas


def _lowest(objective: object, begin: Floats) -> Floats:
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return np.asarray(found.x, dtype=np.float64)


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
