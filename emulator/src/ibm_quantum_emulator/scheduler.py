"""Who runs when: moves jobs and sessions through virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Iterable

from . import world
from .config import ServerConfig
from .model import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    REASON_RAN_TOO_LONG,
    RUNNING,
    Job,
)
from .pool import Pool
from .sessionstate import ACTIVE, CLOSED, Session
from .settings import Settings
from .snapshot import Snapshot
from .store import Store
from .surroundings import Surroundings
from .world import Waiting

log = logging.getLogger(__name__)

_FAILS_AFTER_SECONDS = 1.0


class Scheduler:
    """Jobs and sessions that have not ended, and what happens to them as time passes.

    Everything due is done in order of virtual time, so one long step ends where many short ones do.
    """

    def __init__(
        self, config: ServerConfig, store: Store, pool: Pool, snapshots: dict[str, Snapshot]
    ) -> None:
        self.config = config
        self.store = store
        self.snapshots = snapshots
        self._pool = pool
        self._active: dict[str, Job] = {}
        self._sessions: dict[str, Session] = {}
        self._simulations: dict[str, asyncio.Task[None]] = {}
        self._next: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._floor = 0.0
        self.settings = Settings(config, store)
        self.around = Surroundings(config, store, snapshots)

    def start(self) -> None:
        """Take up the jobs and sessions that had not ended when the last process did."""
        self._floor = self.store.latest_moment()
        for job in self.store.active():
            self._active[job.id] = job
            if job.state == RUNNING:
                self._simulate(job)
        for session in map(Session.load, self.store.sessions()):
            if session.state != CLOSED or self.session_jobs(session.id):
                self._sessions[session.id] = session

    def session_jobs(self, session_id: str) -> list[Job]:
        """Return the jobs of a session that have not ended."""
        return [job for job in self._active.values() if job.session_id == session_id]

    # -- time -----------------------------------------------------------------------------

    def _touch(self, backend: str) -> None:
        self._next[backend] = float("-inf")
        self._wake.set()

    def _advance(self, now: float) -> float:
        now = max(now, self._floor)
        if not self.around.begun:
            self._floor = now
            self._begin_world()
        self.around.calibrate(now)
        for backend in self.snapshots:
            if world.reached(self._next.get(backend, float("-inf")), now):
                self._advance_backend(backend, now)
        self._floor = now
        self.settings.keep_followed_time()
        return now

    def _begin_world(self) -> None:
        raise NotImplementedError

    def _advance_backend(self, backend: str, now: float) -> None:
        changed: dict[str, Job] = {}
        with self.store.together():
            moment: float | None = self._floor
            while moment is not None:
                moment = self._run_until_event(backend, moment, now, changed)
            for job in list(self._active.values()):
                if job.backend == backend and job.state == RUNNING and job.due is not None:
                    if not world.reached(job.due, now):
                        self._next[backend] = min(self._next[backend], job.due)
                    elif self._finish(job, job.due):
                        changed[job.id] = job
            self.store.save(*changed.values())
            if changed and self.around.lines[backend].has_traffic:
                self.around.keep_lines()

    def _run_until_event(
        self, backend: str, at: float, now: float, changed: dict[str, Job]
    ) -> float | None:
        """Start jobs from ``at`` on, up to what changes their order.

        Returns:
            The moment of the change; None when nothing more is due by ``now``, with ``_next`` set.
        """
        line, queue = self.around.lines[backend], self.settings.queues[backend]
        event, session = self._session_event(backend, at)
        waiting, running = self._waiting_of(backend)
        reserved = self._holder(backend) is not None
        upcoming = math.inf
        for job_id, start, before in line.plan(waiting, running, queue, at, reserved=reserved):
            upcoming = start
            if event <= start or not world.reached(start, now):
                break
            line.begun(before)
            job = self._active[job_id]
            changed[job.id] = job
            job.state, job.started, job.due = RUNNING, start, start + _held(job)
            if job.calibration_id is None:
                job.calibration_id = self.around.calibrations[backend].before(start).id
            self._simulate(job)
            if mine := self._sessions.get(job.session_id or ""):
                mine.job_started(start)
                self.store.save_session(mine.dump())
                return start
            upcoming = math.inf
        if session is not None and world.reached(event, now):
            self._apply(session, event)
            return max(at, event)
        self._next[backend] = min(upcoming, event)
        return None

    def _waiting_of(self, backend: str) -> tuple[list[Waiting], list[float]]:
        """Return the queued jobs that may start, and when each running one ends."""
        holder = self._holder(backend)
        waiting, running = [], []
        for job in self._active.values():
            if job.backend != backend:
                continue
            if job.state == RUNNING:
                running.append(job.due or 0.0)
            elif holder is None or job.session_id == holder.id:
                waiting.append(self._waiting(job))
        return waiting, running

    def _holder(self, backend: str) -> Session | None:
        """Return the dedicated session that has the machine for itself."""
        found = (s for s in self._sessions.values() if s.backend == backend and s.reserves)
        return next(found, None)

    def _waiting(self, job: Job) -> Waiting:
        session = self._sessions.get(job.session_id or "")
        if session is not None and session.state == ACTIVE:
            return Waiting(job.id, job.seq, 0.0, job.created, _held(job), priority=True)
        return Waiting(job.id, job.seq, job.ahead, job.ahead_at, _held(job))

    def _catch_up(self, backend: str, now: float) -> None:
        """Let other people's jobs start up to ``now``, before something changes for them."""
        line = self.around.lines[backend]
        if line.has_traffic and self._holder(backend) is None:
            waiting, running = self._waiting_of(backend)
            line.caught_up(waiting, running, self.settings.queues[backend].seconds_per_job, now)

    # -- sessions -------------------------------------------------------------------------

    def _session_event(self, backend: str, at: float) -> tuple[float, Session | None]:
        """Return when a session of a backend next ends or gives way, and which."""
        first: tuple[float, Session | None] = (math.inf, None)
        for session in self._sessions.values():
            if session.backend == backend and session.state != CLOSED:
                moment = min(session.deadline, self._idle_until(session, at))
                if moment < first[0]:
                    first = moment, session
        return first

    def _idle_until(self, session: Session, at: float) -> float:
        if session.state != ACTIVE:
            return math.inf
        jobs = self.session_jobs(session.id)
        if any(job.state == QUEUED for job in jobs):
            return math.inf
        dues = [job.due or 0.0 for job in jobs]
        if self.settings.clock.realtime and any(world.reached(due, at) for due in dues):
            # Its simulation is late, so it is still running.
            return math.inf
        return session.idle_until(max(dues, default=-math.inf))

    def _apply(self, session: Session, moment: float) -> None:
        """Do what a session's time limit demands."""
        if session.reserves:
            # Before anything that lets other people's jobs catch up.
            self.around.lines[session.backend].ended(moment)
        if moment < session.deadline:
            session.lapse(moment)
        else:
            session.close(moment)
            self._cancel_queued(session, moment, "The session reached its maximum time.")
        self._keep_session(session)
        log.info("session %s %s at %.3f", session.id, session.state, moment)

    def _cancel_queued(self, session: Session, moment: float, reason: str) -> None:
        for job in self.session_jobs(session.id):
            if job.state == QUEUED:
                job.reason = reason
                self._end(job, CANCELLED, moment, 0)
                self.store.save(job)

    def _keep_session(self, session: Session) -> None:
        self.store.save_session(session.dump())
        if self.around.lines[session.backend].has_traffic:
            self.around.keep_lines()
        if session.state == CLOSED and not self.session_jobs(session.id):
            self._sessions.pop(session.id, None)
        self._touch(session.backend)

    # -- ends -----------------------------------------------------------------------------

    def _finish(self, job: Job, moment: float) -> bool:
        """End a running job whose time has come, if its outcome is known."""
        assert job.started is not None
        used = world.charge(moment - job.started)
        if job.planned_failure:
            job.reason, job.reason_code = json.loads(job.planned_failure)
            self._end(job, FAILED, moment, used if job.charged_if_failed else 0)
        elif _too_long(job):
            job.reason = "Job ran longer than its maximum execution time."
            job.reason_code = REASON_RAN_TOO_LONG
            self._end(job, CANCELLED, moment, used)
        elif job.outcome == "ok":
            self._end(job, COMPLETED, moment, world.charge(job.duration))
        elif job.outcome == "failed":
            job.reason, job.reason_code = job.outcome_reason, job.outcome_code
            self._end(job, FAILED, moment, 0)
        else:
            return False
        return True

    def _end(self, job: Job, state: str, moment: float, charged: int) -> None:
        had_traffic = self.around.lines[job.backend].has_traffic
        if state == CANCELLED:
            self._catch_up(job.backend, moment)
        job.state, job.finished, job.charged = state, moment, charged
        self._active.pop(job.id, None)
        if job.private:
            self.store.drop(job.id, "params")
        if state == CANCELLED and (task := self._simulations.pop(job.id, None)):
            task.cancel()
        if job.started is not None:
            self.around.lines[job.backend].ended(moment)
        if session := self._sessions.get(job.session_id or ""):
            if job.started is not None:
                session.job_ended(moment)
            if not session.accepting and session.state != ACTIVE:
                self._close_when_done(session, moment)
            self._keep_session(session)
        if had_traffic:
            self.around.keep_lines()
        self._touch(job.backend)
        log.info("job %s %s at %.3f, charged %d", job.id, state, moment, charged)

    def _close_when_done(self, session: Session, moment: float) -> None:
        if not self.session_jobs(session.id):
            session.close(moment)

    # -- simulations ----------------------------------------------------------------------

    def _simulate(self, job: Job) -> None:
        if job.planned_failure or _too_long(job) or job.outcome:
            return
        self._simulations[job.id] = asyncio.create_task(self._simulated(job))

    async def _simulated(self, job: Job) -> None:
        config, snapshot = self.config, self.snapshots[job.backend]
        digest = hashlib.sha256(f"{config.seed}/{job.seq}".encode()).digest()
        calibrations = self.around.calibrations[job.backend]
        calibration = calibrations.by_id(job.calibration_id or "") or calibrations.current
        answer = await self._pool.run(
            {
                "program": job.program,
                "params": self.store.params(job.id),
                "configuration": str(snapshot.configuration_path),
                "properties": str(self.around.properties_path(job.backend, calibration)),
                "noise": config.noise,
                "seed": int.from_bytes(digest[:4], "big"),
                "max_active_qubits": config.max_active_qubits,
                "max_active_qubits_full": config.max_active_qubits_full,
                "started": job.started,
                "due": job.due,
            }
        )
        self._simulations.pop(job.id, None)
        if job.terminal or job.id not in self._active:
            return
        assert job.started is not None
        assert job.due is not None
        now = self.settings.clock.local()
        with self.store.together():
            if answer["ok"]:
                job.outcome = "ok"
            else:
                job.outcome, job.outcome_reason = "failed", answer["reason"]
                job.outcome_code = answer["code"]
                self._shorten(job, job.started + _FAILS_AFTER_SECONDS)
            if world.reached(job.due, now):
                self._finish(job, max(job.due, now) if self.settings.clock.realtime else job.due)
            self.store.save(job, result=answer.get("result"))
        self._touch(job.backend)

    def _shorten(self, job: Job, due: float) -> None:
        """End a running job early: a device refuses it instead of holding the machine."""
        assert job.due is not None
        if job.due > self._floor:
            self._catch_up(job.backend, self._floor)
            self.around.lines[job.backend].ended(self._floor)
            self.around.keep_lines()
        job.due = min(job.due, due)


def held_after(jobs: Iterable[Job]) -> float:
    """Return the seconds that these jobs will hold the machine together."""
    return sum(_held(job) for job in jobs)


def _held(job: Job) -> float:
    return job.duration if job.max_seconds is None else min(job.duration, job.max_seconds)


def _too_long(job: Job) -> bool:
    return job.max_seconds is not None and job.duration > job.max_seconds
