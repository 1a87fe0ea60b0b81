"""Several ways of searching that share one budget: more turns for those that win."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from adapters.cooling import Cooling, Meter
from adapters.elite import Elite
from adapters.members import Anneal, Bench, Member, Neal, Recombine, Reheat, Tabu
from adapters.spins import SpinModel

LONG = 0.3
"""Share of all there is that one read on the better schedule may take."""

OTHER = 0.05
"""The same of the other schedule."""

OPENING = 0.02
"""Share that one read takes when the two schedules have been tried."""

ROUNDS = 3
"""So many lengths of reads in a row the geometric schedule must win to be taken for the better."""

HEATED = 0.03
"""Share that one reheating may take; of tabu search as well, on models that are not dense."""

LASTING = 0.1
"""The same of tabu search on dense models: fewer, longer searches find more there."""

LOCAL = 5.0
"""Couplings of a spin, on average, up to which good samples differ in parts that do not touch."""

DENSE, MANY = 0.08, 80.0
"""Share of all possible couplings, and couplings of a spin on average, from which tabu search is
the best of the members.
"""

TABU_SPINS = (8, 1000)
"""Tabu search looks at every spin in each move and keeps the couplings as a square."""

NEAL_WORK = 100_000
"""Beyond so many spins and couplings neal's own conversion takes longer than its reads."""

SMOOTHLY = {
    "better": 0.55, "other": 0.05, "reheat": 0.2, "recombine": 0.1, "neal": 0.05, "tabu": 0.05,
}  # fmt: skip
"""Shares of the turns to begin with: most models are annealed best with few, long reads."""

LOCALLY = SMOOTHLY | {"recombine": 0.4}
"""Where a spin has few neighbours."""

DENSELY = {
    "better": 0.15, "other": 0.05, "reheat": 0.1, "recombine": 0.05, "neal": 0.05, "tabu": 0.6,
}  # fmt: skip
"""Where most spins are coupled and biases are of similar sizes."""

ROUGHLY = {
    "better": 0.25, "other": 0.05, "reheat": 0.25, "recombine": 0.2, "neal": 0.05, "tabu": 0.2,
}  # fmt: skip
"""Where biases are of very different sizes, as with penalties: the geometric schedule wins."""

BETTER, AS_GOOD, FADING, MOST = 1.0, 0.25, 0.7, 3.0
"""What a turn that improves on the best adds to a member's weight, in times of it; what one that
reaches the best again does; how it fades in turns that do neither; the most that it can be.
"""


class Portfolio:
    """One search on one core.

    A linear and a geometric schedule begin, with reads four times as long each time. From then on
    the one that found lower energies gets most of the time, and the rest is shared by heating the
    best samples again, recombining them, reads of the other schedule, dwave-neal's defaults and
    tabu search. Turns follow the members' weights (stride scheduling, Waldspurger and Weihl
    1995): the cost of each turn over the weight of its member is added up, the lowest sum is next.

    Args:
        model: what to minimise.
        meter: what may be spent.
        seed: of everything random.
        stop: True ends the search early.
    """

    def __init__(self, model: SpinModel, meter: Meter, seed: int, stop: Callable[[], bool]) -> None:
        self.elite = Elite(symmetric=model.symmetric)
        random = np.random.default_rng(seed)
        self._bench = Bench(model, meter, self.elite, random, stop)
        coldest = 10 / model.scale
        self._linear = Anneal("linear", 0.0, Cooling(0.2 / model.scale, coldest), LONG)
        hot, cold = model.default_betas
        self._geometric = Anneal("geometric", 0.0, Cooling(hot, cold, "geometric"), LONG)
        self._members: list[Member] = [self._linear, self._geometric]
        self._won = 0
        self._passed: dict[str, float] = {}
        self._credit: dict[str, float] = {}

    def run(self) -> Iterator[None]:
        """Search until nothing fits any more; yields after every turn."""
        for _ in self._open():
            yield
            if self._bench.stop():
                return
        if not self._bench.rate:
            return
        self._enlist()
        while not self._bench.stop():
            order = sorted(self._members, key=lambda one: self._passed[one.name])
            if not any(self._turn(member) for member in order):
                return
            yield

    def told(self) -> dict[str, Any]:
        """Reads, sweeps and lowest energy of each member."""
        return {member.name: member.told() for member in self._members}

    def _open(self) -> Iterator[None]:
        """Try both schedules on reads of equal lengths."""
        total = self._bench.meter.total
        longest = 0.0
        # The first turn is taken even without any time: there must be an answer.
        while longest < OPENING * total or not self._linear.cost:
            for member in (self._linear, self._geometric):
                if member.turn(self._bench) is None:
                    return
                self._bench.rate = member.rate
                yield
            better = self._geometric.latest < self._linear.latest
            self._won = self._won + 1 if better else 0
            longest = max(self._linear.next_cost, self._geometric.next_cost)

    def _enlist(self) -> None:
        """All members, weighed by the structure of the model and by the opening."""
        model = self._bench.model
        rough = self._won >= ROUNDS
        better, other = self._linear, self._geometric
        if rough:
            better, other = other, better
        else:
            leader = self.elite.leading(1)[0]
            better.cooling = Cooling(0.5 / model.scale, model.freezing(leader))
        degree = 2 * len(model.pairs) / model.size
        local = degree <= LOCAL
        dense = not rough and degree >= max(MANY, DENSE * (model.size - 1))
        weights = LOCALLY if local else ROUGHLY if rough else DENSELY if dense else SMOOTHLY
        better.weight, other.weight, other.share = weights["better"], weights["other"], OTHER
        self._members += [
            Reheat(weights["reheat"], better.cooling, HEATED),
            Recombine(weights["recombine"]),
        ]
        if model.work <= NEAL_WORK:
            self._members.append(Neal(weights["neal"], model))
        if TABU_SPINS[0] <= model.size <= TABU_SPINS[1]:
            self._members.append(Tabu(weights["tabu"], model, LASTING if dense else HEATED))
        self._credit = dict.fromkeys((one.name for one in self._members), 0.0)
        # A member of little weight comes late: its first turn must not cost more than its share.
        at_first = HEATED * self._bench.meter.total
        self._passed = {one.name: at_first / one.weight for one in self._members}
        self._passed[better.name] = 0.0

    def _turn(self, member: Member) -> bool:
        lowest = self.elite.lowest
        found = member.turn(self._bench)
        if found is None:
            return False
        name = member.name
        credit = self._credit[name]
        self._passed[name] += found / (member.weight * (1 + credit))
        if self.elite.lowest < lowest:
            credit += BETTER
        elif member.latest <= lowest:
            credit += AS_GOOD
        else:
            credit *= FADING
        self._credit[name] = min(credit, MOST)
        return True
