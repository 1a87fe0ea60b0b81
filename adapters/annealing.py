"""The classical fallback: a portfolio around simulated annealing that uses exactly its time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

import dimod
import numpy as np
from dwave.samplers import SteepestDescentSolver

from adapters.cooling import Meter, Seconds, Sweeps
from adapters.elite import Elite
from adapters.portfolio import Portfolio
from adapters.spins import SpinModel
from qsaga.problems.base import Bits

TELL_SECONDS = 0.5
"""Better samples are told no more often."""


class NealSolver:
    """An anytime portfolio (implements ``ClassicalSolver``); see ``adapters.portfolio``.

    Args:
        cores: searches beside each other, each with a seed of its own. The annealers are compiled
            and let other threads run.
        work: sweeps of the whole model that each core makes in place of using seconds. Equal
            seeds then give equal sample sets, byte by byte, whatever the speed of the machine.
            Without it the number of reads depends on that speed, so equal seeds give equal
            answers only where the optimum is found.
        clock: what seconds are counted on.
    """

    name = "neal"

    def __init__(
        self,
        *,
        cores: int = 1,
        work: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if cores < 1:
            raise ValueError("a solver needs a core at least")
        self._cores, self._work, self._clock = cores, work, clock

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

        ``info`` holds ``reads``, ``sweeps``, ``seconds`` used (or ``work``), ``schedules`` (reads,
        sweeps and lowest energy of each member of the portfolio) and ``energies``, at most
        ``MOST_ENERGIES`` of the reads, ascending. The other arguments are those of the port.
        Raises SolverError for a model without variables or with biases that are not finite.
        """
        began = self._clock()
        model = dimod.BinaryQuadraticModel.from_file(bqm)
        spins = SpinModel.of(model)
        search = _Search(model, should_stop, better)
        seeds = [seed] + [int(one) for one in _seeds(seed, self._cores - 1)]
        for one in seeds:
            meter: Meter = Seconds(seconds - (self._clock() - began), self._clock)
            if self._work is not None:
                meter = Sweeps(self._work)
            search.portfolios.append(Portfolio(spins, meter, one, search.stop))
        if start is not None:
            for portfolio in search.portfolios:
                portfolio.elite.resume(model, start)
        search.run()
        used = {"seconds": self._clock() - began} if self._work is None else {"work": self._work}
        return search.samples(used)


class _Search:
    """Portfolios beside each other, and what they have found together."""

    def __init__(
        self,
        model: dimod.BinaryQuadraticModel,
        should_stop: Callable[[], bool] | None,
        better: Callable[[bytes], None] | None,
    ) -> None:
        self.portfolios: list[Portfolio] = []
        self._model, self._should_stop, self._better = model, should_stop, better
        self._stopped, self._telling = Event(), Lock()
        self._said, self._told = time.perf_counter(), float("inf")

    def stop(self) -> bool:
        """Whether all shall end."""
        if self._should_stop is not None and self._should_stop():
            self._stopped.set()
        return self._stopped.is_set()

    def run(self) -> None:
        """Search to the end. An error of one search ends all and is raised."""
        self._told = min(one.elite.lowest for one in self.portfolios)
        if len(self.portfolios) == 1:
            self._search(self.portfolios[0])
            return
        with ThreadPoolExecutor(len(self.portfolios), thread_name_prefix="annealing") as pool:
            for done in [pool.submit(self._search, one) for one in self.portfolios]:
                done.result()

    def _search(self, portfolio: Portfolio) -> None:
        try:
            for _ in portfolio.run():
                self._tell(portfolio)
        except BaseException:
            self._stopped.set()
            raise

    def _tell(self, portfolio: Portfolio) -> None:
        if self._better is None or portfolio.elite.lowest >= self._told:
            return
        with self._telling:
            now = time.perf_counter()
            if portfolio.elite.lowest < self._told and now - self._said >= TELL_SECONDS:
                self._told, self._said = portfolio.elite.lowest, now
                self._better(self.samples({}))

    def samples(self, used: dict[str, float]) -> bytes:
        """What was found so far, by all."""
        elite = self._merged()
        told = _together([one.told() for one in self.portfolios])
        info = {
            "reads": sum(member["reads"] for member in told.values()),
            "sweeps": sum(member["sweeps"] for member in told.values()),
            "schedules": told,
            "energies": elite.reported_energies(),
            **used,
        }
        return json.dumps(elite.sample_set(self._model, info).to_serializable()).encode()

    def _merged(self) -> Elite:
        first, *others = (one.elite for one in self.portfolios)
        return first.merge(others)


def _seeds(seed: int, count: int) -> Any:
    return np.random.SeedSequence(seed).generate_state(count)


def _together(told: list[dict[str, Any]]) -> dict[str, Any]:
    """What the members of all searches did; of ranges that of the first."""
    found: dict[str, Any] = {}
    for name, member in ((name, member) for one in told for name, member in one.items()):
        known = found.setdefault(name, {**member, "reads": 0, "sweeps": 0})
        known["reads"] += member["reads"]
        known["sweeps"] += member["sweeps"]
        lows = [one for one in (known["lowest"], member["lowest"]) if one is not None]
        known["lowest"] = min(lows, default=None)
    return found


def steepest_descent(model: dimod.BinaryQuadraticModel, bits: Bits) -> Bits:
    """Compiled steepest descent of 0/1 samples: a ``Polisher`` for ``qsaga.problems.verify``."""
    names = list(model.variables)
    spin = model.change_vartype(dimod.SPIN, inplace=False)
    start = dimod.SampleSet.from_samples_bqm((2 * bits - 1, names), spin, sort_labels=False)
    found = SteepestDescentSolver().sample(spin, initial_states=start, num_reads=len(bits))
    order = [found.variables.index(name) for name in names]
    return np.asarray(found.record.sample[:, order] > 0, dtype=np.int8)
