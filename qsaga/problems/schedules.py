"""Job-shop schedules: construction, local search and bounds.

Operations have indices, job after job in their order. All schedules here are semi-active: no
operation could start earlier without another order on some machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

Rule = Callable[[int, int], int]
"""How late an operation is served that could start at a time: the least goes first."""

Order = list[list[int]]
"""For each machine its operations in the order that it works on them."""


@dataclass(frozen=True)
class Shop:
    """Operations of jobs on machines.

    Args:
        jobs: for each job its operations' indices in order.
        machines: of each operation.
        durations: of each operation, above 0.
    """

    jobs: tuple[tuple[int, ...], ...]
    machines: tuple[int, ...]
    durations: tuple[int, ...]

    @cached_property
    def before(self) -> tuple[int, ...]:
        """The operation before each in its job; -1 if none."""
        found = [-1] * len(self.machines)
        for job in self.jobs:
            for one, other in pairwise(job):
                found[other] = one
        return tuple(found)

    @cached_property
    def after(self) -> tuple[int, ...]:
        """The operation behind each in its job; -1 if none."""
        found = [-1] * len(self.machines)
        for operation, one in enumerate(self.before):
            if one >= 0:
                found[one] = operation
        return tuple(found)

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """The time that the job needs before each operation."""
        found = [0] * len(self.machines)
        for job in self.jobs:
            for one, other in pairwise(job):
                found[other] = found[one] + self.durations[one]
        return tuple(found)

    @cached_property
    def tails(self) -> tuple[int, ...]:
        """The time that the job needs from the start of each operation to its own end."""
        ends = {job[-1]: self.heads[job[-1]] + self.durations[job[-1]] for job in self.jobs}
        total = {operation: ends[job[-1]] for job in self.jobs for operation in job}
        return tuple(total[op] - self.heads[op] for op in range(len(self.machines)))

    @cached_property
    def on_machine(self) -> tuple[tuple[int, ...], ...]:
        """The operations of each machine."""
        found: list[list[int]] = [[] for _ in range(max(self.machines) + 1)]
        for operation, machine in enumerate(self.machines):
            found[machine].append(operation)
        return tuple(tuple(operations) for operations in found)


def makespan(shop: Shop, starts: Sequence[int]) -> int:
    """When the last operation ends."""
    return max(start + shop.durations[op] for op, start in enumerate(starts))


def listed(shop: Shop, wanted: Sequence[float]) -> list[int]:
    """The schedule in which operations are placed one by one, those wanted earliest first.

    The usual way from wanted times to a schedule without conflicts (serial generation scheme,
    Kolisch 1996, doi:10.1016/0377-2217(95)00357-6). An operation waits for its job.
    """
    starts = [0] * len(shop.machines)
    free = [0] * len(shop.on_machine)
    ready = [0] * len(shop.machines)
    open_ = [(wanted[job[0]], job[0]) for job in shop.jobs]
    heapq.heapify(open_)
    while open_:
        _, op = heapq.heappop(open_)
        machine = shop.machines[op]
        starts[op] = max(free[machine], ready[op])
        free[machine] = starts[op] + shop.durations[op]
        if (following := shop.after[op]) >= 0:
            ready[following] = free[machine]
            heapq.heappush(open_, (wanted[following], following))
    return starts


def dispatched(shop: Shop) -> list[int]:
    """The best schedule by a few dispatching rules, active and without delay.

    Of the operations that compete for a machine goes first: the one whose job has most work
    left, the one that can start first, the shortest, or the longest.
    """
    rules: tuple[Rule, ...] = (
        lambda op, _: -shop.tails[op],
        lambda _, start: start,
        lambda op, _: shop.durations[op],
        lambda op, _: -shop.durations[op],
    )
    made = (_generated(shop, rule, delay) for rule in rules for delay in (True, False))
    return min(made, key=lambda found: makespan(shop, found))


def _generated(shop: Shop, rule: Rule, delay: bool) -> list[int]:
    """An active schedule (Giffler and Thompson 1960, doi:10.1287/opre.8.4.487).

    Without ``delay`` no machine waits for an operation while another could start on it.
    """
    starts = [0] * len(shop.machines)
    free = [0] * len(shop.on_machine)
    ready = {job[0]: 0 for job in shop.jobs}
    while ready:
        start = {op: max(at, free[shop.machines[op]]) for op, at in ready.items()}
        ends = {op: start[op] + (shop.durations[op] if delay else 1) for op in ready}
        first = min(ready, key=lambda op: (ends[op], op))
        machine, end = shop.machines[first], ends[first]
        rivals = [op for op in ready if shop.machines[op] == machine and start[op] < end]
        chosen = min(rivals, key=lambda op: (rule(op, start[op]), op))
        starts[chosen] = start[chosen]
        free[machine] = start[chosen] + shop.durations[chosen]
        del ready[chosen]
        if (following := shop.after[chosen]) >= 0:
            ready[following] = free[machine]
    return starts


def lower_bounds(shop: Shop) -> list[int]:
    """For each machine a time that no schedule undercuts.

    The best schedule of the machine alone, its operations as early as their jobs allow and
    interrupted at will (Jackson 1955; Carlier 1982, doi:10.1016/S0377-2217(82)80007-6).
    """
    return [_preemptive(shop, operations) for operations in shop.on_machine]


def _preemptive(shop: Shop, operations: Sequence[int]) -> int:
    coming = sorted((shop.heads[op], op) for op in operations)
    waiting: list[tuple[int, int, int]] = []
    now, place, latest = 0, 0, 0
    while waiting or place < len(coming):
        if not waiting:
            now = max(now, coming[place][0])
        while place < len(coming) and coming[place][0] <= now:
            op = coming[place][1]
            rest = shop.tails[op] - shop.durations[op]
            heapq.heappush(waiting, (-rest, op, shop.durations[op]))
            place += 1
        rest, op, left = heapq.heappop(waiting)
        until = coming[place][0] if place < len(coming) else now + left
        worked = min(left, until - now)
        now += worked
        if worked < left:
            heapq.heappush(waiting, (rest, op, left - worked))
        else:
            latest = max(latest, now - rest)
    return latest


def improved(shop: Shop, starts: Sequence[int], moves: int, enough: int = 0) -> list[int]:
    """The best schedule that ``moves`` moves of a tabu search lead to (Nowicki and Smutnicki 1996,
    doi:10.1287/mnsc.42.6.797).

    A move exchanges two neighbours at the border of a block: operations that follow each other
    on one machine and one critical path. Undoing a move is closed for some rounds, unless that
    is known to lead to something better than ever. Nothing is random. It ends early with a
    makespan of ``enough``.
    """
    order = [sorted(ops, key=lambda op: (starts[op], op)) for ops in shop.on_machine]
    best = found = _timed(shop, order)
    until: dict[tuple[int, int], int] = {}
    for turn in range(moves):
        options = {pair: _estimate(shop, found, pair) for pair in _swaps(shop, found, turn)}
        if not options or best.makespan <= enough:
            break
        free = [
            pair
            for pair, end in options.items()
            if until.get(pair, -1) < turn or end < best.makespan
        ]
        # If all are closed, the one that was closed first.
        one, other = (
            min(free, key=lambda pair: (options[pair], pair))
            if free
            else min(options, key=lambda pair: (until[pair], pair))
        )
        line = order[shop.machines[one]]
        place = line.index(one)
        line[place], line[place + 1] = other, one
        until[other, one] = turn + TENURE + turn % 5
        found = _timed(shop, order)
        if found.makespan < best.makespan:
            best = found
    return list(best.starts)


TENURE = 8
"""Rounds for which the undoing of a move is closed, at least."""


@dataclass(frozen=True)
class _Timed:
    """Start of each operation, the time from there to the end, and who goes before and behind it
    on its machine.
    """

    starts: list[int]
    rests: list[int]
    previous: list[int]
    following: list[int]
    makespan: int


def _timed(shop: Shop, order: Order) -> _Timed:
    size = len(shop.machines)
    previous, following = [-1] * size, [-1] * size
    for line in order:
        for one, other in pairwise(line):
            following[one], previous[other] = other, one
    before, after, durations = shop.before, shop.after, shop.durations
    open_ = [(before[op] >= 0) + (previous[op] >= 0) for op in range(size)]
    queue = [op for op in range(size) if not open_[op]]
    starts, rests = [0] * size, [0] * size
    for op in queue:
        end = starts[op] + durations[op]
        for behind in (after[op], following[op]):
            if behind >= 0:
                starts[behind] = max(starts[behind], end)
                open_[behind] -= 1
                if not open_[behind]:
                    queue.append(behind)
    for op in reversed(queue):
        later = [rests[k] for k in (after[op], following[op]) if k >= 0]
        rests[op] = durations[op] + max(later, default=0)
    return _Timed(starts, rests, previous, following, max(rests))


def _swaps(shop: Shop, at: _Timed, turn: int) -> list[tuple[int, int]]:
    """The exchanges at the borders of the blocks of one critical path, as (earlier, later).

    Which path it is, where there are several, changes with ``turn``.
    """
    ends = [start + shop.durations[op] for op, start in enumerate(at.starts)]
    begin = [op for op, rest in enumerate(at.rests) if rest == at.makespan]
    op = begin[turn % len(begin)]
    blocks = [[op]]
    while True:
        behind = [
            k
            for k in (at.following[op], shop.after[op])
            if k >= 0 and at.starts[k] == ends[op] and ends[op] + at.rests[k] == at.makespan
        ]
        if not behind:
            break
        step = behind[(turn + len(blocks)) % len(behind)]
        if shop.machines[step] == shop.machines[op]:
            blocks[-1].append(step)
        else:
            blocks.append([step])
        op = step
    found: dict[tuple[int, int], None] = {}
    for place, block in enumerate(blocks):
        # Nothing comes before the first block or behind the last: no gain at their outer ends.
        if len(block) > 1 and place > 0:
            found[block[0], block[1]] = None
        if len(block) > 1 and place < len(blocks) - 1:
            found[block[-2], block[-1]] = None
    return [pair for pair in found if shop.after[pair[0]] != pair[1]]


def _estimate(shop: Shop, at: _Timed, pair: tuple[int, int]) -> int:
    """The longest path through the two after their exchange (Taillard 1994)."""
    one, other = pair

    def end(op: int) -> int:
        return at.starts[op] + shop.durations[op] if op >= 0 else 0

    def rest(op: int) -> int:
        return at.rests[op] if op >= 0 else 0

    first = max(end(shop.before[other]), end(at.previous[one]))
    second = max(first + shop.durations[other], end(shop.before[one]))
    last = shop.durations[one] + max(rest(shop.after[one]), rest(at.following[other]))
    whole = shop.durations[other] + max(rest(shop.after[other]), last)
    return max(first + whole, second + last)
