"""Simulated annealing with dwave-neal, as a portfolio that uses exactly its time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dimod
import neal
import numpy as np
from dwave.samplers import SteepestDescentSolver

from qsaga.core.errors import SolverError
from qsaga.problems.base import Bits

KEEP = 64
"""Distinct samples that are returned."""

MOST_ENERGIES = 1000
"""Energies of reads that are reported."""

MAX_SWEEPS = 1 << 18
"""Beyond this, further reads are worth more than longer ones."""

MAX_BATCH = 64
"""Reads of one call at most."""

BATCH_SECONDS = 0.02
"""Short reads are taken together until a call lasts about this long, against its overhead."""

RESERVE = 0.02
"""Share of the time kept for putting the result together."""

MARGIN = 0.85
"""Share of the time left that a read is planned to take: the machine may slow down meanwhile."""

TELL_SECONDS = 0.5
"""Better samples are told no more often."""

LONGEST_READ = 0.3
"""Share of all time that one read may take. A read cannot be stopped, so this bounds how far a
machine that suddenly slows down can carry the solver past its time.
"""

LONGEST_SILENCE = 5.0
"""Seconds that one read may take in any case: between two reads the solver can be stopped."""


@dataclass
class _Schedule:
    """One way of cooling, the sweeps of its next read, and what came of it."""

    kind: str
    beta_range: tuple[float, float] | None
    sweeps: int = 16
    reads: int = 0
    total_sweeps: int = 0
    lowest: float = math.inf
    per_sweep: float = 0.0

    def took(self, reads: int, sweeps: int, lowest: float, seconds: float) -> None:
        """Count reads, learn their speed (hot sweeps are slower than cold ones), double sweeps."""
        self.per_sweep = seconds / (reads * sweeps)
        self.reads += reads
        self.total_sweeps += reads * sweeps
        self.lowest = min(self.lowest, lowest)
        self.sweeps = min(2 * self.sweeps, MAX_SWEEPS)

    def told(self) -> dict[str, Any]:
        """What a reader may want to know. The lowest energy is None if it had no turn."""
        return {
            "reads": self.reads,
            "sweeps": self.total_sweeps,
            "lowest": self.lowest if self.reads else None,
            "beta_range": list(self.beta_range or ()),
        }


@dataclass
class _Incumbents:
    """The best distinct samples so far and the energy of every read."""

    energies: list[float] = field(default_factory=list)
    best: dict[bytes, tuple[float, int]] = field(default_factory=dict)
    lowest: float = math.inf

    def add(self, samples: Any, energies: Any) -> float:
        """Take reads in; returns the lowest energy among them."""
        for row, value in zip(np.asarray(samples, dtype=np.int8), energies.tolist(), strict=True):
            key = row.tobytes()
            self.best[key] = (value, self.best.get(key, (value, 0))[1] + 1)
        if len(self.best) > 2 * KEEP:
            self._trim()
        self.energies.extend(energies.tolist())
        lowest = float(energies.min())
        self.lowest = min(self.lowest, lowest)
        return lowest

    def resume(self, model: dimod.BinaryQuadraticModel, samples: bytes) -> None:
        """Go on from a sample set of the same model that was found before."""
        before = dimod.SampleSet.from_serializable(json.loads(samples))
        order = [before.variables.index(name) for name in model.variables]
        rows = before.record.sample[:, order]
        spins = rows if before.vartype is dimod.SPIN else 2 * rows.astype(np.int8) - 1
        self.add(spins, before.record.energy)

    def reported_energies(self) -> list[float]:
        """Energies of the reads, ascending; evenly thinned if there are too many."""
        ordered = sorted(self.energies)
        if len(ordered) <= MOST_ENERGIES:
            return ordered
        places = np.linspace(0, len(ordered) - 1, MOST_ENERGIES).round().astype(int)
        return [ordered[place] for place in places]

    def _trim(self) -> None:
        kept = sorted(self.best.items(), key=lambda item: item[1][0])[:KEEP]
        self.best = dict(kept)

    def sample_set(self, model: dimod.BinaryQuadraticModel, info: dict[str, Any]) -> Any:
        """The kept samples, best first, in the model's own vartype and variable order."""
        self._trim()
        rows = np.array([np.frombuffer(key, dtype=np.int8) for key in self.best])
        values = rows if model.vartype is dimod.SPIN else (rows + 1) // 2
        return dimod.SampleSet.from_samples(
            (values, list(model.variables)),
            vartype=model.vartype,
            energy=[energy for energy, _ in self.best.values()],
            num_occurrences=[count for _, count in self.best.values()],
            info=info,
            sort_labels=False,
        )


class NealSolver:
    """An anytime portfolio on one core (implements ``ClassicalSolver``).

    Two schedules take turns: neal's own geometric one, and a linear one from 0.2/s to 10/s with
    s = sqrt((sum h² + 2 sum J²) / n), which is better on sparse graphs. Each read has twice the
    sweeps of the one before on its schedule, cut to the time that is left as the measured speed
    tells it, and ends in a greedy descent. The number of reads depends on the speed of the
    machine, so equal seeds give equal answers only where the optimum is found.
    """

    name = "neal"

    def solve(
        self,
        bqm: bytes,
        seconds: float,
        seed: int,
        *,
        start: bytes | None = None,
        better: Callable[[bytes], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> bytes:
        """The best samples found in ``seconds``, as the JSON of a dimod SampleSet, best first.

        ``info`` holds ``reads``, ``sweeps``, ``seconds`` used, ``schedules`` (reads, sweeps and
        lowest energy of each) and ``energies``, at most ``MOST_ENERGIES`` of the reads, ascending.
        The other arguments are those of the port. Raises SolverError for a model without variables
        or with biases that are not finite.
        """
        began = time.perf_counter()
        deadline = began + seconds * (1 - RESERVE)
        model = dimod.BinaryQuadraticModel.from_file(bqm)
        spin = model.change_vartype(dimod.SPIN, inplace=False)
        scale = _scale(spin)
        portfolio = _Portfolio(spin, list(model.variables), seed, seconds)
        schedules = [
            # Of a flat model neal cannot tell a range; any will do.
            _Schedule("geometric", None if scale else (0.1, 1.0)),
            _Schedule("linear", (0.2 / (scale or 1.0), 10 / (scale or 1.0))),
        ]
        found = portfolio.incumbents
        if start is not None:
            found.resume(model, start)

        def samples() -> bytes:
            info = {
                "reads": sum(schedule.reads for schedule in schedules),
                "sweeps": sum(schedule.total_sweeps for schedule in schedules),
                "seconds": time.perf_counter() - began,
                "schedules": {schedule.kind: schedule.told() for schedule in schedules},
                "energies": found.reported_energies(),
            }
            return json.dumps(found.sample_set(model, info).to_serializable()).encode()

        turn, told, said = 0, found.lowest, began
        while portfolio.read(schedules[turn % 2], deadline):
            turn += 1
            if should_stop is not None and should_stop():
                break
            now = time.perf_counter()
            if better is not None and found.lowest < told and now - said >= TELL_SECONDS:
                told, said = found.lowest, now
                better(samples())
        return samples()


class _Portfolio:
    """Reads one after another, each planned from the speed of those before."""

    def __init__(
        self, spin: dimod.BinaryQuadraticModel, names: list[Any], seed: int, seconds: float
    ) -> None:
        self.incumbents = _Incumbents()
        self._spin = spin
        self._names = names
        self._random = np.random.default_rng(seed)
        self._sampler = neal.SimulatedAnnealingSampler()
        self._descent = SteepestDescentSolver()
        self._longest = min(LONGEST_READ * seconds, LONGEST_SILENCE)
        self._overhead = 0.0

    def read(self, schedule: _Schedule, deadline: float) -> bool:
        """Take one read or a batch of short ones; False when no time is left for it.

        The very first is always taken, so that there is an answer.
        """
        reads, sweeps = self._plan(schedule, deadline)
        if not sweeps:
            return False
        began = time.perf_counter()
        found = self._sampler.sample(
            self._spin,
            num_reads=reads,
            num_sweeps=sweeps,
            beta_range=schedule.beta_range,
            beta_schedule_type=schedule.kind,
            seed=int(self._random.integers(2**31)),
        )
        # The default range costs a pass over all couplings in Python: ask for it once only.
        schedule.beta_range = schedule.beta_range or tuple(found.info["beta_range"])
        annealing = found.info["timing"]["sampling_ns"] * 1e-9
        # Descent starts from the given states, so no seed takes part.
        found = self._descent.sample(self._spin, initial_states=found, num_reads=reads)
        order = [found.variables.index(name) for name in self._names]
        lowest = self.incumbents.add(found.record.sample[:, order], found.record.energy)
        schedule.took(reads, sweeps, lowest, annealing)
        self._overhead = time.perf_counter() - began - annealing
        return True

    def _plan(self, schedule: _Schedule, deadline: float) -> tuple[int, int]:
        """How many reads of how many sweeps fit; no sweeps if none do."""
        left = MARGIN * (deadline - time.perf_counter() - self._overhead)
        if not schedule.per_sweep:
            # Nothing is known of its speed yet. Without an answer there must be a read at all.
            return (1, schedule.sweeps) if left > 0 or not self.incumbents.best else (0, 0)
        fitting = int(min(left, self._longest) / schedule.per_sweep)
        if fitting < 1:
            return 0, 0
        sweeps = min(schedule.sweeps, fitting)
        wanted = min(BATCH_SECONDS, left) / (schedule.per_sweep * sweeps)
        return min(max(1, int(wanted)), MAX_BATCH), sweeps


def steepest_descent(model: dimod.BinaryQuadraticModel, bits: Bits) -> Bits:
    """Compiled steepest descent of 0/1 samples: a ``Polisher`` for ``qsaga.problems.verify``."""
    names = list(model.variables)
    spin = model.change_vartype(dimod.SPIN, inplace=False)
    start = dimod.SampleSet.from_samples_bqm((2 * bits - 1, names), spin, sort_labels=False)
    found = SteepestDescentSolver().sample(spin, initial_states=start, num_reads=len(bits))
    order = [found.variables.index(name) for name in names]
    return np.asarray(found.record.sample[:, order] > 0, dtype=np.int8)


def _scale(spin: dimod.BinaryQuadraticModel) -> float:
    """Root mean square energy scale of a spin; 0 for a model without biases."""
    if not spin.num_variables:
        raise SolverError("the model has no variables")
    fields = np.fromiter(spin.linear.values(), dtype=np.float64)
    pairs = np.fromiter(spin.quadratic.values(), dtype=np.float64)
    scale = math.sqrt((np.sum(fields**2) + 2 * np.sum(pairs**2)) / len(fields))
    if not (math.isfinite(scale) and math.isfinite(spin.offset)):
        raise SolverError("the model has biases that are not finite")
    return scale
