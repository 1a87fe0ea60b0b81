"""What the API and the control API do to the service: the one way in from outside."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from typing import Any

from . import limits, world
from .clock import ClockPatch
from .errors import ApiError, BadRequest, NotFound
from .limits import LimitsPatch
from .model import CANCELLED, QUEUED, Job, iso, new_job_id
from .moments import microsecond_before
from .queues import Queues
from .sessionstate import DEDICATED, Session
from .settings import Settings
from .submission import Submission
from .surroundings import Surroundings
from .visit import Visit
from .world import QueuePatch, QueueState
from .worldfile import World

_WAIT_SECONDS = 60.0


class Engine(Queues):
    """The state of the emulated service.

    All methods run on the event loop; between two awaits nothing else happens, so what a method
    does without awaiting is atomic.
    """

    async def run(self) -> None:
        """Keep an unattended clock going: start and finish jobs at their moments."""
        while True:
            self._wake.clear()
            delay = 0.5
            if self.settings.clock.ticking:
                now = self._advance(self.settings.clock.local())
                upcoming = min(self._next.values(), default=now + 3600)
                delay = min(0.5, max(0.002, (upcoming - now) / self.settings.clock.state.rate))
            try:
                await asyncio.wait_for(self._wake.wait(), delay)
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Stop simulating; jobs under way are taken up again at the next start."""
        tasks = list(self._simulations.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def time(self) -> float:
        """Return the virtual time after everything due by then has been done."""
        return self._advance(await self.settings.clock.now())

    def job(self, job_id: str, instance: str | None = None) -> Job:
        """Return a job of this instance (any, when None).

        Raises:
            NotFound: No such job, or deleted.
        """
        job = self._active.get(job_id) or self.store.job(job_id)
        if job is None or job.deleted or (instance is not None and job.instance != instance):
            raise NotFound(f"Job not found. Job ID: {job_id}", 1291)
        return job

    async def settled(self, jobs: Iterable[Job]) -> None:
        """Wait, at most a minute, until jobs whose virtual end has come are simulated.

        Virtual time that runs faster than real time would otherwise pass them by. In real time
        it returns at once: there a late simulation just makes the job run longer.
        """
        if self.settings.clock.realtime:
            return
        now = self.settings.clock.local()
        tasks = [
            self._simulations[job.id]
            for job in jobs
            if job.id in self._simulations and job.due is not None and world.reached(job.due, now)
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=_WAIT_SECONDS)

    def active_jobs(self) -> list[Job]:
        """Return the jobs that have not ended."""
        return list(self._active.values())

    # -- jobs -----------------------------------------------------------------------------

    async def submit(self, submission: Submission, instance: str, visit: Visit) -> Job:
        """Accept a job: persisted when this returns; raises as :meth:`admit` does."""
        now = visit.now = round(await self.time(), 6)
        self.admit(submission, instance, now)
        queue = self.settings.queues[submission.backend]
        longest = self.around.limits.of(instance).max_execution_seconds
        is_simple = not self.around.lines[submission.backend].stream.running
        ahead = queue.length if is_simple and not submission.in_active_session else 0
        job = Job(
            id=new_job_id(),
            instance=instance,
            backend=submission.backend,
            program=submission.program,
            created=now,
            executions=submission.executions,
            duration=self.settings.execution.duration(submission.executions),
            ahead=float(ahead),
            ahead_at=now,
            tags=submission.tags,
            session_id=submission.session_id,
            private=submission.private,
            max_seconds=submission.max_seconds or longest,
            calibration_id=submission.calibration_id,
        )
        with self.store.together():
            if failure := self.settings.failure(job, visit):
                job.planned_failure = json.dumps([failure.reason, failure.reason_code])
                job.charged_if_failed = failure.charged
            self.store.add_job(job, submission.params)
        visit.job_id = job.id
        self._active[job.id] = job
        self._touch(job.backend)
        self._advance(now)
        return job

    async def cancel(self, job: Job, visit: Visit | None = None) -> int:
        """Cancel a job and return the status to answer with.

        A queued job is charged nothing, a running one the time it has used. Under the fault
        ``cancel_loses_race`` nothing happens but the answer.

        Raises:
            ApiError: 409 when it has already ended.
        """
        now = await self.time()
        job = self._active.get(job.id, job)
        job.cancel_attempts += 1
        if job.terminal:
            self.store.save(job)
            raise ApiError(409, f"Job {job.id} is already in state {job.state}.", 1217)
        if reply := self.settings.late_cancel(job, visit, now):
            job.lost_race = True
            self.store.save(job)
            if reply == 409:
                raise ApiError(409, f"Job {job.id} is about to complete.", 1217)
            return reply
        used = 0 if job.started is None else world.charge(min(now, job.due or now) - job.started)
        self._end(job, CANCELLED, now, used)
        self.store.save(job)
        return 204

    def delete(self, job: Job) -> None:
        """Hide a job that has ended.

        Raises:
            ApiError: 409 when it has not.
        """
        if not job.terminal:
            raise ApiError(409, f"Job {job.id} has not ended; cancel it first.")
        job.deleted = True
        self.store.save(job)

    # -- limits and sessions --------------------------------------------------------------

    def consumed(self, instance: str) -> float:
        """Return the seconds that count against an instance's limit at the present time.

        Jobs count with their charge; those of dedicated sessions count by the session's time.
        """
        days = self.around.limits.of(instance).period_days
        since = -math.inf if days is None else self._floor - days * limits.DAY
        dedicated = [
            session
            for session in map(Session.load, self.store.sessions(instance))
            if session.mode == DEDICATED
        ]
        wall = sum(session.used(self._floor) for session in dedicated if session.opened >= since)
        return wall + self.store.consumed(instance, since, [each.id for each in dedicated])

    def usage(self, instance: str) -> dict[str, Any]:
        """Return the use of an instance as the API shows it."""
        book, consumed = self.around.limits.of(instance), self.consumed(instance)
        document: dict[str, Any] = {
            "instance_id": instance,
            "plan_id": "emulated",
            "usage_consumed_seconds": consumed,
            "usage_allocation_seconds": book.allocation_seconds,
            "usage_limit_reached": False,
        }
        if book.limit_seconds is not None:
            document["usage_limit_seconds"] = book.limit_seconds
            document["usage_limit_reached"] = consumed >= book.limit_seconds
        if book.period_days is not None:
            begin = self._floor - book.period_days * limits.DAY
            document["usage_period"] = {"start_time": iso(begin), "end_time": iso(self._floor)}
        return document

    def admit(self, submission: Submission, instance: str, now: float) -> None:
        """Refuse a submission that limits or the backend's state do not allow; raises ApiError."""
        book = self.around.limits.of(instance)
        pending = sum(job.instance == instance for job in self._active.values())
        limits.refuse(book, self.consumed(instance), pending, submission.max_seconds)
        self.around.admit(submission.backend, submission.calibration_id, now)

    async def change_limits(self, name: str, patch: LimitsPatch) -> None:
        """Change the limits of an instance, or of all with ``*``; raises BadRequest."""
        await self.time()
        self.around.limits.checked(name)
        self.around.set_limits(self.around.limits.patched(name, patch))

    def session(self, session_id: str, instance: str) -> Session:
        """Return a session of an instance.

        Raises:
            NotFound: No such session.
        """
        session = self._sessions.get(session_id)
        if session is None and (document := self.store.session(session_id)):
            session = Session.load(document)
        if session is None or session.instance != instance:
            raise NotFound(f"Session not found. Session ID: {session_id}", 1352)
        return session

    def add_session(self, session: Session) -> None:
        """Open a session."""
        self._sessions[session.id] = session
        self._keep_session(session)

    def accept_again(self, session: Session) -> None:
        """Take jobs again, of a session that has not been closed yet."""
        session.accepting = True
        self._keep_session(session)

    def stop_accepting(self, session: Session, now: float) -> None:
        """Take no more jobs; it is closed when its last one has ended."""
        session.accepting = False
        self._close_when_done(session, now)
        self._keep_session(session)

    async def close_session(self, session: Session) -> None:
        """Close a session at once: queued jobs are cancelled, running ones go on."""
        for job in self.session_jobs(session.id):
            if job.state == QUEUED:
                await self.cancel(job)
        now = await self.time()
        if session.reserves:
            self.around.lines[session.backend].ended(now)
        session.close(now)
        self._keep_session(session)

    # -- changes --------------------------------------------------------------------------

    async def change_clock(self, patch: ClockPatch) -> None:
        """Change the clock and do what has become due."""
        await self.time()
        self.settings.change_clock(patch)
        await self.time()
        self._wake.set()

    def queues_named(self, backend: str) -> list[str]:
        """Return the backends meant by a name, where ``*`` means all.

        Raises:
            BadRequest: No such backend.
        """
        names = list(self.settings.queues)
        if backend != "*" and backend not in names:
            raise BadRequest(f"no backend {backend!r}; there are {', '.join(names)}")
        return names if backend == "*" else [backend]

    async def change_queue(self, backend: str, patch: QueuePatch) -> None:
        """Change the queue of one backend, or of all with ``*``; raises as ``queues_named``.

        With traffic it takes effect when the traffic is over.
        """
        now = await self.time()
        for name in self.queues_named(backend):
            old = self.settings.queues[name]
            new = old.model_copy(update=patch.model_dump(exclude_none=True, exclude={"requeue"}))
            if not self.around.lines[name].has_traffic:
                self._reposition(name, old, new, patch.requeue, now)
            self.settings.set_queue(name, new)
            self._touch(name)
        self._advance(now)

    def _reposition(
        self, backend: str, old: QueueState, new: QueueState, requeue: bool | None, now: float
    ) -> None:
        calendar = self.around.lines[backend].calendar
        moved = [j for j in self._active.values() if j.backend == backend and j.state == QUEUED]
        for job in moved:
            waiting = self._waiting(job)
            job.ahead = world.repositioned(waiting, old, new, requeue, now, calendar)
            job.ahead_at = now
        self.store.save(*moved)

    async def change_world(self, world: World) -> None:
        """Put a world in force from now on; raises BadRequest before anything is changed."""
        self.around.checked(world)
        now = await self.time()
        with self.store.together():
            self._put_in_force(world, now)
        self._advance(now)

    async def pause(self, backend: str, paused: bool) -> None:
        """Start no more jobs on a backend, or go on."""
        now = await self.time()
        line = self.around.lines[backend]
        with self.store.together():
            self._anchor(backend, now)
            line.set_calendar(line.windows, paused)
            self.around.keep_lines()
        self._touch(backend)
        self._advance(now)

    async def recalibrate(self, backend: str) -> None:
        """Calibrate a backend at once."""
        now = await self.time()
        self.around.calibrations[backend].add(now)
        self.around.keep_calibrations()

    async def reset(self) -> None:
        """Forget all jobs, sessions and counts, and go back to the start-up settings."""
        self._active.clear()
        self._sessions.clear()
        await self.close()
        self._simulations.clear()
        self.store.forget(everything=True)
        self.settings = Settings(self.config, self.store)
        self.around = Surroundings(self.config, self.store, self.snapshots)
        self._floor = 0.0
        self._next.clear()
        self._wake.set()

    # -- inside ---------------------------------------------------------------------------

    def _begin_world(self) -> None:
        self._put_in_force(self.around.world, self._floor)

    def _put_in_force(self, world: World, now: float) -> None:
        for backend in self.snapshots:
            self._anchor(backend, now)
        # Jobs are accepted at rounded moments; none may lie before the world that they find.
        self.around.apply(world, microsecond_before(now))
        for told in world.backends:
            if told.queue is not None:
                queue = QueueState.model_validate(told.queue.model_dump())
                self.settings.set_queue(told.name, queue)
        for backend in self.snapshots:
            self._touch(backend)

    def _anchor(self, backend: str, now: float) -> None:
        """Settle what the simple queue has done for waiting jobs, before its times change."""
        self._catch_up(backend, now)
        calendar = self.around.lines[backend].calendar
        pace = self.settings.queues[backend].seconds_per_job
        moved = [j for j in self._active.values() if j.backend == backend and j.state == QUEUED]
        for job in moved:
            if not job.ahead:
                continue
            waiting = self._waiting(job)
            left = world.ahead_now(waiting, pace, now, calendar)
            job.ahead_at = now if left else waiting.ready(pace, calendar)
            job.ahead = left
        self.store.save(*moved)
