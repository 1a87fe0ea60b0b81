"""The time-indexed model of a job shop: which variables there are, and which exclude each other.

All times here are whole time steps. The variables are the starts of the operations, each in its
window, then those that count the makespan: one for each time from ``least + 1`` to ``end``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsaga.problems.base import Floats
from qsaga.problems.schedules import Shop, dispatched, lower_bounds, makespan

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """When operations may start.

    Args:
        shop: with durations in time steps.
        first: the earliest start of each operation.
        last: the latest.
        least: no schedule is done before.
        end: by then all is done.
    """

    shop: Shop
    first: tuple[int, ...]
    last: tuple[int, ...]
    least: int
    end: int

    @classmethod
    def of(cls, shop: Shop, least: int, end: int) -> Windows:
        """Between what the job needs before and from each operation."""
        last = tuple(end - tail for tail in shop.tails)
        return cls(shop, shop.heads, last, least, end)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The number of starts of each operation."""
        return tuple(b - a + 1 for a, b in zip(self.first, self.last, strict=True))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The index of each operation's first variable; at the end that of the makespan's."""
        return tuple(int(place) for place in np.cumsum([0, *self.widths]))

    @cached_property
    def times(self) -> Ints:
        """The start that each variable of an operation stands for."""
        pairs = zip(self.first, self.last, strict=True)
        return np.concatenate([np.arange(a, b + 1, dtype=np.int64) for a, b in pairs])

    @property
    def size(self) -> int:
        """The number of variables."""
        return self.offsets[-1] + self.end - self.least

    @property
    def told(self) -> Ints:
        """1 for each variable that counts the makespan. Shape (variables,)."""
        return (np.arange(self.size) >= self.offsets[-1]).astype(np.int64)


class Couplings(NamedTuple):
    """Penalties, in units of their weight.

    Args:
        linear: of each variable.
        heads: one variable of each pair.
        tails: the other.
        biases: of each pair.
    """

    linear: Floats
    heads: Ints
    tails: Ints
    biases: Floats


def fitted(
    shop: Shop, time_step: int | None, horizon: int | None, couplings: int
) -> tuple[int, Windows]:
    """The time step, and windows up to the end of the dispatching rules' schedule.

    A horizon before that narrows them further, but only where the model is exact: in longer time
    steps there may be no schedule by then although there is one.

    Args:
        shop: with durations as they are.
        time_step: wanted; None is the finest of 1, 2, 5, 10, … with at most ``couplings``, or the
            one in which nothing takes more than one step.
        horizon: all must be done by then, if anything.
        couplings: see there.
    """
    if time_step:
        return time_step, _between(shop, time_step, horizon)
    longest = max(shop.durations)
    steps = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    for step in steps:
        windows = _between(shop, step, horizon)
        if step >= longest or coupling_count(windows) <= couplings:
            return step, windows
    raise ValueError(f"{longest} is longer than any time step")


def _between(shop: Shop, step: int, horizon: int | None) -> Windows:
    coarse = Shop(shop.jobs, shop.machines, tuple(-(-d // step) for d in shop.durations))
    least = max(*lower_bounds(coarse), *coarse.tails)
    last = makespan(coarse, dispatched(coarse))
    if step == 1 and horizon is not None:
        last = max(least, min(last, horizon))
    return Windows.of(coarse, least, last)


def coupling_count(windows: Windows) -> int:
    """The number of pairs in ``couplings``, from the windows alone."""
    shop = windows.shop
    once = sum(width * (width - 1) // 2 for width in windows.widths)
    apart = sum(_overlaps(windows, *rule) for rule in _rules(windows))
    last_steps = [job[-1] for job in shop.jobs]
    # Only ends after the least makespan need a variable to tell them.
    ends = sum(
        min(windows.widths[op], windows.last[op] + shop.durations[op] - windows.least)
        for op in last_steps
        if windows.last[op] + shop.durations[op] > windows.least
    )
    return once + apart + ends + max(0, windows.end - windows.least - 1)


def couplings(windows: Windows) -> Couplings:
    """All penalties: one start for each operation, no forbidden pair, a makespan that is told."""
    heads, tails, signs = [], [], []

    def add(one: Ints, other: Ints, sign: float) -> None:
        heads.append(one)
        tails.append(other)
        signs.append(np.full(len(one), sign))

    linear = np.zeros(windows.size)
    linear[: windows.offsets[-1]] = -1.0
    for offset, width in zip(windows.offsets, windows.widths, strict=False):
        low, high = np.triu_indices(width, 1)
        add(offset + low, offset + high, 2.0)
    for one, other, least, most in _rules(windows):
        for lag in range(least, most + 1):
            begin = max(windows.first[one], windows.first[other] - lag)
            finish = min(windows.last[one], windows.last[other] - lag)
            starts = np.arange(begin, finish + 1)
            here = starts - windows.first[one] + windows.offsets[one]
            add(here, starts + lag - windows.first[other] + windows.offsets[other], 1.0)
    told = windows.offsets[-1]
    for job in windows.shop.jobs:
        op = job[-1]
        ends = np.arange(windows.first[op], windows.last[op] + 1) + windows.shop.durations[op]
        late = np.flatnonzero(ends > windows.least)
        linear[windows.offsets[op] + late] += 1.0
        add(windows.offsets[op] + late, told + ends[late] - windows.least - 1, -1.0)
    later = np.arange(told + 1, windows.size)
    linear[later] += 1.0
    add(later, later - 1, -1.0)
    return Couplings(linear, np.concatenate(heads), np.concatenate(tails), np.concatenate(signs))


def _rules(windows: Windows) -> Iterator[tuple[int, int, int, int]]:
    """Two operations and the forbidden range of the second's start less the first's."""
    shop = windows.shop
    for job in shop.jobs:
        for one, other in pairwise(job):
            yield (
                one,
                other,
                windows.first[other] - windows.last[one],
                shop.durations[one] - 1,
            )
    place = {op: index for index, job in enumerate(shop.jobs) for op in job}
    for line in shop.on_machine:
        for index, one in enumerate(line):
            for other in line[index + 1 :]:
                if place[one] != place[other]:
                    yield one, other, 1 - shop.durations[other], shop.durations[one] - 1


def _overlaps(windows: Windows, one: int, other: int, least: int, most: int) -> int:
    """The number of pairs of starts with a lag in a range."""
    lags = np.arange(least, most + 1)
    begin = np.maximum(windows.first[one], windows.first[other] - lags)
    finish = np.minimum(windows.last[one], windows.last[other] - lags)
    return int(np.sum(np.maximum(0, finish - begin + 1)))
