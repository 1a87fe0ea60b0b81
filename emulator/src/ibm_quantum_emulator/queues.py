"""What the service tells about its queues."""

from __future__ import annotations

import math

from . import world
from .model import QUEUED
from .scheduler import Scheduler, held_after
from .sessionstate import Session


class Queues(Scheduler):
    """Lengths, places and expected starts; nothing here changes anything."""

    def pending(self, backend: str) -> int:
        """Return the queue length that the service reports for a backend."""
        own = sum(job.backend == backend and job.state == QUEUED for job in self._active.values())
        return own + self.others(backend)

    def others(self, backend: str) -> int:
        """Return how many of other people's jobs wait for a backend."""
        line = self.around.lines[backend]
        if not line.has_traffic:
            return self.settings.queues[backend].length
        self._catch_up(backend, self._floor)
        return line.others(self._floor)

    def places(self, backend: str) -> dict[str, tuple[int, float]]:
        """Return ``{job id: (jobs ahead, expected virtual start)}`` of the queued jobs.

        Infinite for jobs whose start nobody can know, because the backend is paused.
        """
        line, queue, now = self.around.lines[backend], self.settings.queues[backend], self._floor
        waiting, running = self._waiting_of(backend)
        not_before = now
        if holder := self._holder(backend):
            not_before = self._held_until(holder)
            chosen = {each.id for each in waiting}
            waiting += [
                self._waiting(job)
                for job in self._active.values()
                if job.backend == backend and job.state == QUEUED and job.id not in chosen
            ]
        if line.has_traffic:
            self._catch_up(backend, now)
            busy = max([now, *running])
            plan = line.expected(waiting, busy, not_before, queue)
            return {job_id: (ahead, start) for job_id, ahead, start in plan}
        by_id = {each.id: each for each in waiting}
        places = {}
        for own, (job_id, start, _) in enumerate(line.plan(waiting, running, queue, now)):
            if by_id[job_id].priority:
                places[job_id] = own, start
                continue
            pace = queue.seconds_per_job
            others = world.ahead_now(by_id[job_id], pace, now, line.calendar)
            places[job_id] = round(others) + own, max(start, not_before)
        return places

    def _held_until(self, session: Session) -> float:
        jobs = self.session_jobs(session.id)
        queued = held_after(job for job in jobs if job.state == QUEUED)
        running = max((job.due or 0.0 for job in jobs if job.state != QUEUED), default=-math.inf)
        last = max(self._floor + queued, running)
        return min(session.deadline, session.idle_until(last))

    def expected_wait(self, backend: str) -> float:
        """Return the seconds that a job accepted now would be expected to wait."""
        line, queue = self.around.lines[backend], self.settings.queues[backend]
        if line.has_traffic:
            return line.stream.mean_seconds * self.others(backend)
        return queue.length * queue.seconds_per_job
