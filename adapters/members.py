"""The ways of searching that take turns in the annealing portfolio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dimod
import neal
import numpy as np
from dwave.samplers.tabu.tabu_search import TabuSearch

from adapters.cooling import Cooling, Meter
from adapters.elite import Elite
from adapters.spins import SpinModel, Spins
from qsaga.problems.base import Floats

FIRST = 16
"""Sweeps of the first read: whatever happens, there is an answer."""

GROWTH = 4
"""Each read of a member has so many times the sweeps of the one before."""

MAX_SWEEPS = 1 << 18
"""Beyond this, further reads are worth more than longer ones."""

MAX_BATCH = 16
"""Reads of one call at most."""

BATCH = 0.01
"""Short reads are taken together until a call takes about this share of all there is."""

RESTART = 1000
"""Sweeps of a read of neal unless it is told otherwise."""

PARENTS = 4
"""Samples that are recombined at most, and that there must be."""

POOL = 12
"""Samples that take part in recombination."""

LEADERS = 3
"""Samples that are heated again."""

HEAT = {"linear": (0.1, 0.3), "geometric": (0.4, 0.7)}
"""Where on its schedule a sample that is heated begins."""

MIXING = 128
"""Sweeps of a contracted model, which is small."""

MIXES = 4
"""Reads of a contracted model."""

CONTRACTING = 4.0
"""What it takes to contract a model, in sweeps of it."""


@dataclass
class Bench:
    """What members work on: the model, what may be spent, what was found."""

    model: SpinModel
    meter: Meter
    elite: Elite
    random: np.random.Generator
    stop: Callable[[], bool]
    rate: float = 0.0
    """What a sweep of the whole model cost last; 0 before the first."""

    def seed(self) -> int:
        """For a compiled sampler."""
        return int(self.random.integers(1, 2**31))

    def cool(self, spins: Spins, cooling: Cooling, sweeps: int, rate: float) -> tuple[Spins, int]:
        """A read in pieces: the states at its end and the sweeps that were made of each.

        The read gets shorter if it turns out dearer than planned, and ends when told to stop.
        """
        done, at, left = 0, 0.0, sweeps
        while left > 0:
            piece = min(left, self.meter.piece(rate * len(spins)) if rate else left)
            upto = at + (1 - at) * piece / left
            mark = self.meter.mark()
            spins = self.model.anneal(spins, cooling.betas(piece, at, upto), self.seed())
            rate = self.meter.since(mark, piece * len(spins)) / (piece * len(spins))
            done, at, left = done + piece, upto, left - piece
            left = min(left, int(max(0.0, self.meter.left()) / (rate * len(spins))))
            if self.stop():
                break
        return spins, done


class Member(ABC):
    """One way of searching. ``weight`` is its share of the turns, all else being equal."""

    def __init__(self, name: str, weight: float) -> None:
        self.name, self.weight = name, weight
        self.reads, self.sweeps_made = 0, 0
        self.lowest = self.latest = float("inf")
        self.rate = 0.0
        self.cost = 0.0

    def told(self) -> dict[str, Any]:
        """What a reader may want to know. The lowest energy is None if it had no turn."""
        return {
            "reads": self.reads,
            "sweeps": self.sweeps_made,
            "lowest": self.lowest if self.reads else None,
        }

    def turn(self, bench: Bench) -> float | None:
        """Search and add what was found; what it cost, None if no turn of it fits."""
        mark, before = bench.meter.mark(), bench.meter.left()
        took = self._take(bench, before)
        if took is None:
            return None
        spins, energies, sweeps = took
        bench.elite.add(spins, energies)
        self.reads += len(energies)
        self.sweeps_made += sweeps
        self.latest = float(energies.min(initial=np.inf))
        self.lowest = min(self.lowest, self.latest)
        cost = max(before - bench.meter.left(), bench.meter.since(mark, 0))
        self.rate, self.cost = cost / sweeps, cost
        return cost

    @abstractmethod
    def _take(self, bench: Bench, left: float) -> tuple[Spins, Floats, int] | None:
        """Samples, energies and the sweeps (or the like) that they took; None if none fit."""


class Anneal(Member):
    """Cools random states, four times as slowly in each turn.

    Args:
        name: of the schedule.
        weight: see ``Member``.
        cooling: the schedule.
        share: of all there is, that one read may take.
    """

    def __init__(self, name: str, weight: float, cooling: Cooling, share: float) -> None:
        super().__init__(name, weight)
        self.cooling, self.share, self.sweeps = cooling, share, FIRST

    @property
    def next_cost(self) -> float:
        """Of the next read."""
        return self.rate * self.sweeps

    def _take(self, bench: Bench, left: float) -> tuple[Spins, Floats, int] | None:
        rate = self.rate or bench.rate
        reads, sweeps = 1, self.sweeps
        if rate:
            sweeps = min(sweeps, int(self.share * bench.meter.total / rate))
            # A read much shorter than those before would only be worse than them.
            if sweeps < 1 or int(left / rate) < max(1, sweeps // 2):
                return None
            sweeps = min(sweeps, int(left / rate))
            wanted = min(BATCH * bench.meter.total, left) / (rate * sweeps)
            reads = min(max(1, int(wanted)), MAX_BATCH)
        elif left <= 0 and len(bench.elite):
            return None
        start = bench.model.random(reads, bench.random)
        spins, done = bench.cool(start, self.cooling, sweeps, rate)
        self.sweeps = min(GROWTH * self.sweeps, MAX_SWEEPS)
        return *bench.model.descend(spins), done * reads

    def told(self) -> dict[str, Any]:
        """With the range of inverse temperatures."""
        return super().told() | {"beta_range": [self.cooling.first, self.cooling.last]}


class Reheat(Member):
    """Heats one of the best samples, not enough to forget it, and cools it again.

    Args:
        weight: see ``Member``.
        cooling: the schedule whose colder part is gone through.
        share: of all there is, that one read may take.
    """

    def __init__(self, weight: float, cooling: Cooling, share: float) -> None:
        super().__init__("reheat", weight)
        self._cooling, self._share = cooling, share

    def _take(self, bench: Bench, left: float) -> tuple[Spins, Floats, int] | None:
        rate = self.rate or bench.rate
        sweeps = min(int(min(self._share * bench.meter.total, left) / rate), MAX_SWEEPS)
        if sweeps < FIRST:
            return None
        leaders = bench.elite.leading(LEADERS)
        start = leaders[[int(bench.random.integers(len(leaders)))]]
        from_here = float(bench.random.uniform(*HEAT[self._cooling.shape]))
        (hot,) = self._cooling.betas(1, 0.0, from_here)
        cooling = replace(self._cooling, first=hot)
        spins, done = bench.cool(start, cooling, sweeps, rate)
        return *bench.model.descend(spins), done


class Recombine(Member):
    """Contracts what several good samples agree about and anneals the rest."""

    def __init__(self, weight: float) -> None:
        super().__init__("recombine", weight)

    def _take(self, bench: Bench, left: float) -> tuple[Spins, Floats, int] | None:
        pool = bench.elite.leading(POOL)
        if len(pool) < PARENTS or left < (self.cost or MIXING * bench.rate):
            return None
        mark = bench.meter.mark()
        count = int(bench.random.integers(2, PARENTS + 1))
        parents = pool[bench.random.choice(len(pool), count, replace=False)]
        contracted = bench.model.contract(parents)
        small = contracted.model
        work = MIXING * MIXES * small.work / bench.model.work
        bench.meter.since(mark, work + CONTRACTING)
        sweeps = 1 + int(work)
        if small.size < 2:
            return parents[:0], np.zeros(0), sweeps
        betas = Cooling(*small.default_betas, "geometric").betas(MIXING)
        start = small.random(MIXES, bench.random)
        mixed, energies = small.descend(small.anneal(start, betas, bench.seed()))
        best = contracted.expand(mixed[[int(energies.argmin())]])
        return *bench.model.descend(best), sweeps


class Neal(Member):
    """Independent reads of dwave-neal as it comes: 1000 sweeps on its default schedule."""

    def __init__(self, weight: float, model: SpinModel) -> None:
        super().__init__("neal", weight)
        self._sampler = neal.SimulatedAnnealingSampler()
        self._model = model

    @cached_property
    def _bqm(self) -> dimod.BinaryQuadraticModel:
        model = self._model
        ends = (model.heads, model.tails, model.pairs)
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            model.fields, ends, model.offset, dimod.SPIN
        )

    def _take(self, bench: Bench, left: float) -> tuple[Spins, Floats, int] | None:
        rate = self.rate or bench.rate
        if left < RESTART * rate:
            return None
        mark = bench.meter.mark()
        reads = min(max(1, int(BATCH * bench.meter.total / (RESTART * rate))), MAX_BATCH)
        found = self._sampler.sample(
            self._bqm,
            num_reads=reads,
            num_sweeps=RESTART,
            beta_range=self._model.default_betas,
            seed=bench.seed(),
        )
        bench.meter.since(mark, reads * RESTART)
        order = np.argsort(np.array(found.variables))
        return *bench.model.descend(found.record.sample[:, order]), reads * RESTART


class Tabu(Member):
    """Tabu search from one of the best samples.

    The simple tabu search of dwave-samplers, after Palubeckis 2004
    (doi:10.1023/B:ANOR.0000039522.58036.68).
    """

    def __init__(self, weight: float, model: SpinModel, share: float) -> None:
        super().__init__("tabu", weight)
        self._model, self._share = model, share
        self._moves_a_sweep = max(1.0, model.work / model.size)

    @cached_property
    def _matrix(self) -> Floats:
        """Of the same model in 0/1 variables: symmetric, half of each coupling on each side."""
        model = self._model
        matrix = np.zeros((model.size, model.size))
        matrix[model.heads, model.tails] = 2 * model.pairs
        matrix += matrix.T
        np.fill_diagonal(matrix, 2 * model.fields - matrix.sum(axis=1))
        return matrix

    def _take(self, bench: Bench, left: float) -> tuple[Spins, Floats, int] | None:
        rate = self.rate or bench.rate
        sweeps = int(min(self._share * bench.meter.total, left) / rate)
        if sweeps < FIRST:
            return None
        mark = bench.meter.mark()
        moves = min(int(sweeps * self._moves_a_sweep), 1 << 24)
        leaders = bench.elite.leading(LEADERS)
        start = leaders[int(bench.random.integers(len(leaders)))]
        tenure = min(20, self._model.size // 4)
        search = TabuSearch(
            self._matrix, (start + 1) // 2, tenure, -1, 0, bench.seed(), None, 1, 1, moves
        )
        bench.meter.since(mark, sweeps)
        found = 2 * np.array([search.bestSolution()], dtype=np.int8) - 1
        return *bench.model.descend(found), sweeps
