"""The line in front of one backend: own jobs among other people's, and the times without any."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from . import world
from .maintenance import Calendar, Closed, Refusal
from .traffic import HOUR, Head, Stream, Traffic
from .world import QueueState, Waiting


class Line:
    """What decides when jobs of one backend start.

    Without traffic it is the simple queue: a number of jobs ahead of each own one. With traffic
    there is one machine, and other people's jobs are served in order of arrival with ours between.

    Args:
        document: What :meth:`dump` returned; absent, there is neither traffic nor maintenance.
    """

    def __init__(self, document: dict[str, Any] | None = None) -> None:
        document = document or {}
        self.windows = tuple(Closed(**each) for each in document.get("windows", ()))
        self.paused = bool(document.get("paused", False))
        self.when_closed: Refusal = document.get("when_closed", "accept")
        self.calendar = Calendar(self.windows, self.paused)
        self.stream = Stream.load(document.get("eras", []))
        self._head = Head(**document["head"]) if "head" in document else Head(0)

    def dump(self) -> dict[str, Any]:
        """Return all of it as a JSON document."""
        return {
            "windows": [asdict(each) for each in self.windows],
            "paused": self.paused,
            "when_closed": self.when_closed,
            "eras": self.stream.dump(),
            "head": asdict(self._head),
        }

    @property
    def has_traffic(self) -> bool:
        """Whether other people's jobs come from traffic instead of the simple queue."""
        return bool(self.stream.eras)

    def plan(
        self,
        waiting: Sequence[Waiting],
        running_until: Sequence[float],
        queue: QueueState,
        now: float,
        *,
        reserved: bool = False,
    ) -> Iterator[tuple[str, float, Head]]:
        """Yield ``(id, virtual start, line before it)`` of own jobs in order of start.

        The line is what :meth:`begun` takes when the job starts.

        Args:
            waiting: Queued jobs that may start.
            running_until: When each running one ends.
            queue: The simple queue.
            now: No start lies before.
            reserved: Whether a session has the machine, so that nobody else's jobs start.
        """
        if not self.has_traffic:
            plan = world.starts(waiting, running_until, queue, now, self.calendar)
            yield from ((job_id, start, self._head) for job_id, start in plan)
            return
        head = self._head.busy_until(max(running_until, default=0.0))
        order = world.in_order(waiting, queue.seconds_per_job, self.calendar)
        if not reserved:
            head = self.stream.served(
                head, self.calendar, arrived_by=_first_in_line(order), started_by=now
            )
        for ready, job in order:
            if not job.priority:
                head = self.stream.served(
                    head, self.calendar, arrived_by=ready, started_by=math.inf
                )
            start = self.calendar.open_at(max(ready, head.free, now))
            yield job.id, start, head
            head = replace(head, free=start + job.duration)

    def expected(
        self, waiting: Sequence[Waiting], now: float, held_until: float, queue: QueueState
    ) -> Iterator[tuple[str, int, float]]:
        """Yield ``(id, jobs ahead, expected start)`` as far as a scheduler can know.

        Call :meth:`caught_up` before. With traffic, other people's jobs are expected to take as
        long as they do on average.

        Args:
            now: No start is expected before.
            held_until: Until then only jobs with priority are expected to start.
        """
        order = world.in_order(waiting, queue.seconds_per_job, self.calendar)
        moment, mean, passed = max(now, self._head.free), self.stream.mean_seconds, 0
        for own, (ready, job) in enumerate(order):
            others = 0
            if not job.priority:
                others = self.stream.waiting(self._head, ready)
                moment = max(moment, held_until)
            moment = self.calendar.after(moment, max(0, others - passed) * mean)
            moment = self.calendar.open_at(max(moment, ready))
            yield job.id, others + own, moment
            moment, passed = moment + job.duration, max(passed, others)

    def begun(self, head: Head) -> None:
        """Take note that an own job starts, with the line as :meth:`plan` said."""
        if self.has_traffic:
            self._head = head

    def caught_up(
        self, waiting: Iterable[Waiting], running_until: Sequence[float], pace: float, now: float
    ) -> None:
        """Start other people's jobs up to ``now``; own ones that wait hold up those behind them."""
        order = world.in_order(waiting, pace, self.calendar)
        busy = self._head.busy_until(max(running_until, default=0.0))
        served = self.stream.served(
            busy, self.calendar, arrived_by=_first_in_line(order), started_by=now
        )
        if served.free == busy.free:
            # Nothing was started; an own running job may yet end earlier than it should.
            served = replace(served, free=self._head.free)
        self._head = served
        if not self.stream.running and not self.others(now):
            self.stream = Stream(())

    def ended(self, moment: float) -> None:
        """Take note that an own job held the machine until ``moment``."""
        self._head = self._head.busy_until(moment)

    def others(self, now: float) -> int:
        """Return how many of other people's jobs wait at ``now``, after :meth:`caught_up`."""
        return self.stream.waiting(self._head, now)

    def set_traffic(self, traffic: Traffic | None, seed: str, now: float) -> None:
        """Replace the traffic from ``now`` on, after :meth:`caught_up`; who waits, waits on."""
        if not self.has_traffic:
            self._head = Head(math.floor(now / HOUR), 0, self._head.free)
        if traffic is None and not self.others(now):
            self.stream = Stream(())
            return
        self.stream = self.stream.changed(now, self._head.hour, seed, traffic)
        most = self.stream.index_before(self._head.hour, now)
        self._head = replace(self._head, index=min(self._head.index, most))

    def set_calendar(self, windows: Sequence[Closed], paused: bool) -> None:
        """Replace the times at which no jobs are started, after :meth:`caught_up`."""
        self.windows, self.paused = tuple(windows), paused
        self.calendar = Calendar(windows, paused)


def _first_in_line(order: Sequence[tuple[float, Waiting]]) -> float:
    return min((ready for ready, job in order if not job.priority), default=math.inf)
