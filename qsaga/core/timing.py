"""How long to wait, as pure functions of times in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from qsaga.core.jobs import Budgets
from qsaga.core.states import Layer

FIRST_POLL = 0.25
LONGEST_POLL = 300.0
LAST_LOOK = 0.1
"""Seconds before the end of a budget, at least, at which there is a last look.

The server fails an activity early when its next retry would fall behind the budget.
"""
FOLLOW_SECONDS = 15.0
"""A run that waits no longer than that looks by itself; any other is told when to look."""
SAFETY_NET = 3600.0
"""A run that is told nothing looks again after so many seconds."""
WATCH_REQUESTS = 1000.0
"""Most requests of a watcher in an hour, whatever the number of runs."""
LISTED_BY_REQUEST = 200
IDLE_WATCH = 300.0
"""Seconds without a waiting run after which a watcher ends."""
SOLVER_SLACK = 15.0
"""Seconds beyond a solver's own time until it counts as lost."""


SLACK = 60.0
"""Seconds by which workers and Temporal may differ when a long wait nears its end."""


def poll_delay(waited: float, remaining: float | None) -> float:
    """Seconds to the next look at a remote job.

    A tenth of the time waited so far: a job of seconds is noticed in a fraction of a second, one
    of hours within minutes, and the number of polls grows with the logarithm of the wait.

    Args:
        waited: since the submission.
        remaining: until the budget ends; None is no budget.
    """
    return in_time(min(max(FIRST_POLL, waited / 10), LONGEST_POLL), remaining)


def in_time(delay: float, remaining: float | None) -> float:
    """``delay``, or what leaves time for a last look before the budget ends; None is no budget.

    A delay that ends after the budget is no delay: the server ends the activity at once, as if its
    budget were used up. It counts from when it hears, by its own clock; a worker that is held up,
    or whose clock is slow, must not end a wait of hours. So a tenth is left, up to a minute.
    """
    if remaining is None:
        return delay
    last = min(max(LAST_LOOK, remaining / 10), SLACK)
    return min(delay, max(remaining - last, LAST_LOOK))


def watch_interval(starts: Sequence[float], waited: Sequence[float], listed: int) -> float:
    """Seconds to the watcher's next look at all waiting jobs.

    A tenth of the time to the next expected start or since one that is overdue, or of the shortest
    wait where no start is known; no less than keeps the watcher's requests under
    ``WATCH_REQUESTS`` an hour.

    Args:
        starts: seconds until the expected starts that are known; negative for those overdue.
        waited: seconds that the other runs have waited.
        listed: how many jobs the provider listed.
    """
    requests = 2 + listed // LISTED_BY_REQUEST
    least = requests * 3600 / WATCH_REQUESTS
    due = [abs(seconds) / 10 for seconds in (*starts, *waited)]
    return max(least, min([*due, LONGEST_POLL]))


def checking_reserve(budgets: Budgets) -> float:
    """Seconds kept for verification: a tenth of the deadline, at least 1 s, at most its budget."""
    share = max(1.0, budgets.seconds(Layer.DEADLINE) / 10)
    return min(budgets.seconds(Layer.POSTPROCESS), share)


def closing_reserve(budgets: Budgets) -> float:
    """Seconds kept for writing an answer down: a fortieth of the deadline, at most 0.5 s."""
    return min(0.5, budgets.seconds(Layer.DEADLINE) / 40)


def closing_seconds(budgets: Budgets, left: float) -> float:
    """Seconds in which an answer may be written down when ``left`` seconds remain to the deadline.

    A tenth of the deadline, at most 1 s, is left to hand it over. An answer that comes so late
    that this is gone has four fifths of what was kept.
    """
    over = min(1.0, budgets.seconds(Layer.DEADLINE) / 10)
    return max(left - over, 0.8 * closing_reserve(budgets))


def fallback_reserve(budgets: Budgets, fallback: Layer | None) -> float:
    """Seconds before the deadline at which a hardware rung must have ended.

    Leaves time for the next rung, if there is one (``fallback`` is its layer), and for
    verification; never more than four fifths of the deadline.
    """
    deadline = budgets.seconds(Layer.DEADLINE)
    rung = min(budgets.seconds(fallback), deadline / 2) if fallback else 0.0
    return min(rung + checking_reserve(budgets), 0.8 * deadline)


def solver_seconds(budgets: Budgets, left: float, wanted: float | None = None) -> float:
    """Seconds that a classical solver may use when ``left`` seconds remain to the deadline.

    ``wanted`` is taken in place of the budget ``solve``.
    """
    free = left - min(checking_reserve(budgets), left / 2)
    return max(0.05, min(wanted or budgets.seconds(Layer.SOLVE), free))


def solver_limit(budgets: Budgets, left: float, seconds: float) -> float:
    """Seconds until a solver that works for ``seconds`` counts as lost.

    More than it works, also where hardware has used all that it may: its process has to start and
    to hand over what it found. Then half of what is kept for checking, at most, goes into that.
    """
    kept = checking_reserve(budgets)
    least = min(SOLVER_SLACK, kept / 2, left / 4)
    return max(seconds + least, min(seconds + SOLVER_SLACK, left - kept))
