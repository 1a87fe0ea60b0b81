"""A binary quadratic model as flat arrays of spins: converted once, annealed many times.

The samplers of dwave-samplers convert the whole model at every call, which takes longer than a
short read of it. Here their compiled cores are called directly, on vectors that are kept.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt
from dwave.samplers.greedy.descent import steepest_gradient_descent
from dwave.samplers.sa.simulated_annealing import simulated_annealing
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from qsaga.core.errors import SolverError
from qsaga.problems.base import Floats

Spins = npt.NDArray[np.int8]
"""Values -1 and 1; one row for each sample, one column for each spin."""

Places = npt.NDArray[np.int64]

CERTAINTY = 100
"""Of a flip at the end of the default range only one in so many is taken against the energy."""

FREEZING = 10.0
"""Inverse temperature, in smallest gaps, at which next to nothing (e^-10) moves any more."""

SPARSE = 2000
"""From so many spins on, descent looks up the best flip in a heap."""


class SpinModel:
    """Energy of spins s: offset + sum h s + sum J s s.

    Args:
        fields: h, shape (spins,).
        heads: one end of each coupling, shape (couplings,).
        tails: the other end.
        pairs: J of each coupling.
        offset: the constant.
    """

    def __init__(
        self, fields: Floats, heads: Places, tails: Places, pairs: Floats, offset: float
    ) -> None:
        self.fields, self.heads, self.tails = fields, heads, tails
        self.pairs, self.offset = pairs, offset
        # The compiled cores copy their arguments item by item: twice as fast from lists.
        self._vectors = (fields.tolist(), heads.tolist(), tails.tolist(), pairs.tolist())

    @classmethod
    def of(cls, model: dimod.BinaryQuadraticModel) -> SpinModel:
        """The same energies, spins in the order of the model's variables.

        Raises SolverError for a model without variables or with biases that are not finite.
        """
        if not model.num_variables:
            raise SolverError("the model has no variables")
        spin = model.change_vartype(dimod.SPIN, inplace=False)
        vectors: Any = spin.to_numpy_vectors(variable_order=list(model.variables))
        fields, (heads, tails, pairs), offset = vectors
        if not (np.all(np.isfinite(fields)) and np.all(np.isfinite(pairs))) or not math.isfinite(
            offset
        ):
            raise SolverError("the model has biases that are not finite")
        ends = heads.astype(np.int64), tails.astype(np.int64)
        return cls(fields.astype(np.float64), *ends, pairs.astype(np.float64), float(offset))

    @property
    def size(self) -> int:
        """Number of spins."""
        return len(self.fields)

    @property
    def work(self) -> int:
        """What a sweep has to look at: spins, and couplings from both ends."""
        return self.size + 2 * len(self.pairs)

    @property
    def symmetric(self) -> bool:
        """Whether turning all spins changes nothing."""
        return not self.fields.any()

    @cached_property
    def scale(self) -> float:
        """s = sqrt((sum h² + 2 sum J²) / n), what a spin typically feels; 1 of a flat model."""
        squares = float(np.sum(self.fields**2) + 2 * np.sum(self.pairs**2))
        return math.sqrt(squares / self.size) or 1.0

    @cached_property
    def default_betas(self) -> tuple[float, float]:
        """The range that neal takes by default; what it computes in Python, in numpy."""
        sizes = np.abs(self.pairs)
        felt = np.abs(self.fields)
        felt = felt + np.bincount(self.heads, sizes, self.size)
        felt = felt + np.bincount(self.tails, sizes, self.size)
        every = np.concatenate([np.abs(self.fields), sizes])
        every = every[every > 0]
        if not len(every):
            return 0.1, 1.0
        hot = math.log(2) / (2 * float(felt.max()))
        return hot, math.log(CERTAINTY) / (2 * float(every.min()))

    def freezing(self, spins: Spins) -> float:
        """Inverse temperature at which the smallest gaps above a state near the bottom freeze.

        Never above 10 / ``scale``: with biases of all sizes there is no smallest gap.
        """
        gaps = np.abs(2 * self._felt(spins.astype(np.float64)))
        gaps = gaps[gaps > 1e-9 * self.scale]
        coldest = 10 / self.scale
        return min(coldest, FREEZING / float(np.percentile(gaps, 1))) if len(gaps) else coldest

    def random(self, reads: int, random: np.random.Generator) -> Spins:
        """Uniformly random states."""
        return (2 * random.integers(0, 2, (reads, self.size), dtype=np.int8) - 1).astype(np.int8)

    def anneal(self, spins: Spins, betas: list[float], seed: int) -> Spins:
        """One Metropolis sweep of each row at each inverse temperature; releases the GIL."""
        rows = np.array(spins, dtype=np.int8, order="C")
        found, _ = simulated_annealing(len(rows), *self._vectors, 1, betas, seed, rows)
        return np.asarray(found, dtype=np.int8)

    def descend(self, spins: Spins) -> tuple[Spins, Floats]:
        """Steepest descent of each row, and the energies at its end."""
        rows = np.array(spins, dtype=np.int8, order="C")
        large = self.size >= SPARSE and self.work < self.size**1.5
        found, energies, _ = steepest_gradient_descent(len(rows), *self._vectors, rows, large)
        return np.asarray(found, dtype=np.int8), np.asarray(energies) + self.offset

    def contract(self, rows: Spins) -> Contracted:
        """The model of what some states disagree about.

        Connected spins whose relative sign is the same in all rows become one: a small model
        that holds every row, and every mixture of them (Houdayer and Martin 1999,
        doi:10.1103/PhysRevLett.83.1030). At most 63 rows.
        """
        reference = rows[0].astype(np.float64)
        pattern = (1 << np.arange(len(rows), dtype=np.int64)) @ (rows != rows[0])
        alike = pattern[self.heads] == pattern[self.tails]
        joined = coo_matrix(
            (np.ones(int(alike.sum())), (self.heads[alike], self.tails[alike])),
            shape=(self.size, self.size),
        )
        count, cluster = connected_components(joined, directed=False)
        cluster = cluster.astype(np.int64)
        biases = self.pairs * reference[self.heads] * reference[self.tails]
        ends = np.sort(np.stack([cluster[self.heads], cluster[self.tails]]), axis=0)
        between = ends[0] != ends[1]
        keys, place = np.unique(ends[0][between] * count + ends[1][between], return_inverse=True)
        pairs = np.bincount(place, biases[between], len(keys)).astype(np.float64)
        fields = np.bincount(cluster, self.fields * reference, count).astype(np.float64)
        model = SpinModel(
            fields,
            keys // count,
            keys % count,
            pairs,
            self.offset + float(biases[~between].sum()),
        )
        return Contracted(model, cluster, rows[0])

    def _felt(self, spins: Floats) -> Floats:
        felt = self.fields + np.bincount(self.heads, self.pairs * spins[self.tails], self.size)
        felt = felt + np.bincount(self.tails, self.pairs * spins[self.heads], self.size)
        return np.asarray(felt, dtype=np.float64)


class Contracted:
    """A model of clusters, and the way back.

    Args:
        model: one spin for each cluster, 1 where it is as in the reference.
        cluster: the cluster of each spin, shape (spins,).
        reference: the state that all clusters at 1 stand for, shape (spins,).
    """

    def __init__(self, model: SpinModel, cluster: Places, reference: Spins) -> None:
        self.model, self.cluster, self._reference = model, cluster, reference

    def expand(self, rows: Spins) -> Spins:
        """States of the whole model; of the same energy."""
        return np.asarray(rows[:, self.cluster] * self._reference, dtype=np.int8)
