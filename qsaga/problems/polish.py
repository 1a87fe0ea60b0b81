"""Greedy improvement of samples, one flip at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt

from qsaga.problems.base import Bits, Floats

Places = npt.NDArray[np.intp]

Polisher = Callable[[dimod.BinaryQuadraticModel, Bits], Bits]
"""Takes a model and samples (samples, variables), returns samples of no higher energy."""


def descend(model: dimod.BinaryQuadraticModel, bits: Bits) -> Bits:
    """Steepest descent: flip the variable that lowers the energy most, until none does.

    numpy only; a compiled descent of the same kind is some ten times faster.

    Args:
        model: to minimise.
        bits: 0/1, shape (samples, variables), columns in the model's order.
    """
    ising = model.change_vartype(dimod.SPIN, inplace=False)
    vectors: Any = ising.to_numpy_vectors(list(model.variables))
    fields, (heads, tails, biases), _ = vectors
    count = len(fields)
    ends = np.concatenate([heads, tails])
    order = np.argsort(ends, kind="stable")
    others = np.concatenate([tails, heads])[order]
    weights = np.concatenate([biases, biases])[order]
    starts = np.searchsorted(ends[order], np.arange(count + 1))
    # Rounding must not make two flips undo each other for ever.
    scale = float(np.max(np.abs(fields), initial=0) + np.max(np.abs(biases), initial=0))
    least = 1e-9 * scale
    polished = 2 * bits.astype(np.float64) - 1
    for spins in polished:
        gains = 2 * spins * (fields + _pull(spins, ends[order], others, weights, count))
        while count and gains[best := int(np.argmax(gains))] > least:
            around = slice(starts[best], starts[best + 1])
            near = others[around]
            # The energy of a pair changes by twice its bias when one of its ends flips.
            gains[near] -= 4 * spins[best] * spins[near] * weights[around]
            gains[best] = -gains[best]
            spins[best] = -spins[best]
    return np.asarray((polished + 1) / 2, dtype=np.int8)


def energies(model: dimod.BinaryQuadraticModel, bits: Bits) -> Floats:
    """Energy of each sample. Columns are in the model's order; shape (samples,)."""
    values = bits if model.vartype is dimod.BINARY else 2 * bits - 1
    found = model.energies((values, list(model.variables)))
    return np.atleast_1d(np.asarray(found, dtype=np.float64))


def _pull(spins: Floats, ends: Places, others: Places, weights: Floats, count: int) -> Floats:
    found = np.bincount(ends, weights=weights * spins[others], minlength=count)
    return np.asarray(found, dtype=np.float64)
