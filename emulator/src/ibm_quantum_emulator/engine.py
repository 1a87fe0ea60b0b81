"""Moves jobs through their lives: the one place where state, time, storage and pool meet."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable

from . import world
from .clock import ClockPatch
from .config import ServerConfig
from .errors import ApiError, BadRequest, NotFound
from .model import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    REASON_RAN_TOO_LONG,
    RUNNING,
    Job,
    new_job_id,
)
from .pool import Pool
from .settings import Settings
from .snapshot import Snapshot
from .store import Store
from .submission import Submission
from .world import QueuePatch, Waiting

log = logging.getLogger(__name__)

_WAIT_SECONDS = 60.0
_FAILS_AFTER_SECONDS = 1.0


class Engine:
    """The state of the emulated service.

    All methods run on the event loop; between two awaits nothing else happens, so what a method
    does without awaiting is atomic.
    """

    def __init__(
        self, config: ServerConfig, store: Store, pool: Pool, snapshots: dict[str, Snapshot]
    ) -> None:
        self.config = config
        self.store = store
        self.snapshots = snapshots
        self._pool = pool
        self._active: dict[str, Job] = {}
        self._simulations: dict[str, asyncio.Task[None]] = {}
        self._next: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._floor = 0.0
        self.settings = Settings(config, store)

    def start(self) -> None:
        """Take up the jobs that had not ended when the last process did."""
        self._floor = self.store.latest_moment()
        for job in self.store.active():
            self._active[job.id] = job
            if job.state == RUNNING:
                self._simulate(job)

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

    def pending(self, backend: str) -> int:
        """Return the queue length that the service reports for a backend."""
        own = sum(job.backend == backend and job.state == QUEUED for job in self._active.values())
        return self.settings.queues[backend].length + own

    def places(self, backend: str) -> dict[str, tuple[int, float]]:
        """Return ``{job id: (jobs ahead, expected virtual start)}`` of the queued jobs."""
        queue, now = self.settings.queues[backend], self._floor
        plan = self._plan(backend)
        places = {}
        for own, (job_id, start) in enumerate(plan):
            waiting = self._waiting(self._active[job_id])
            others = world.ahead_now(waiting, queue.seconds_per_job, now)
            places[job_id] = (round(others) + own, start)
        return places

    async def submit(self, submission: Submission, instance: str) -> Job:
        """Accept a job: persisted when this returns."""
        now = round(await self.time(), 6)
        queue = self.settings.queues[submission.backend]
        ahead = 0 if submission.in_active_session else queue.length
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
            max_seconds=submission.max_seconds,
            calibration_id=submission.calibration_id,
        )
        if failure := self.settings.faults.take_failure(job.tags, job.backend):
            job.planned_failure = json.dumps([failure.reason, failure.reason_code])
            job.charged_if_failed = failure.charged
            self.settings.keep_faults()
        self.store.add_job(job, submission.params)
        self._active[job.id] = job
        self._touch(job.backend)
        self._advance(now)
        return job

    async def cancel(self, job: Job) -> int:
        """Cancel a job and return the status to answer with.

        A queued job is charged nothing, a running one the time it has used. Under the fault
        ``cancel_loses_race`` nothing happens but the answer.

        Raises:
            ApiError: 409 when it has already ended.
        """
        now = await self.time()
        job = self._active.get(job.id, job)
        job.cancel_attempts += 1
        rule = self.settings.faults.cancel_loses_race
        if job.terminal:
            self.store.save(job)
            raise ApiError(409, f"Job {job.id} is already in state {job.state}.", 1217)
        if rule.applies(job.tags):
            job.lost_race = True
            self.store.save(job)
            if rule.reply == 409:
                raise ApiError(409, f"Job {job.id} is about to complete.", 1217)
            return rule.reply
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
        """Change the queue of one backend, or of all with ``*``; raises as ``queues_named``."""
        now = await self.time()
        for name in self.queues_named(backend):
            old = self.settings.queues[name]
            new = old.model_copy(update=patch.model_dump(exclude_none=True, exclude={"requeue"}))
            moved = [j for j in self._active.values() if j.backend == name and j.state == QUEUED]
            for job in moved:
                waiting = self._waiting(job)
                job.ahead = world.repositioned(waiting, old, new, patch.requeue, now)
                job.ahead_at = now
            self.settings.set_queue(name, new)
            self.store.save(*moved)
            self._touch(name)
        self._advance(now)

    async def reset(self) -> None:
        """Forget all jobs, sessions and counts, and go back to the start-up settings."""
        self._active.clear()
        await self.close()
        self._simulations.clear()
        self.store.forget(everything=True)
        self.settings = Settings(self.config, self.store)
        self._floor = 0.0
        self._next.clear()
        self._wake.set()

    # -- inside ---------------------------------------------------------------------------

    def _touch(self, backend: str) -> None:
        self._next[backend] = float("-inf")
        self._wake.set()

    def _advance(self, now: float) -> float:
        now = max(now, self._floor)
        for backend in self.snapshots:
            if world.reached(self._next.get(backend, float("-inf")), now):
                self._advance_backend(backend, now)
        self._floor = now
        self.settings.keep_followed_time()
        return now

    def _advance_backend(self, backend: str, now: float) -> None:
        changed = []
        upcoming = float("inf")
        for job_id, start in self._plan(backend):
            if not world.reached(start, now):
                upcoming = min(upcoming, start)
                continue
            job = self._active[job_id]
            job.state, job.started, job.due = RUNNING, start, start + _held(job)
            changed.append(job)
            self._simulate(job)
        for job in list(self._active.values()):
            if job.backend == backend and job.state == RUNNING and job.due is not None:
                if not world.reached(job.due, now):
                    upcoming = min(upcoming, job.due)
                elif self._finish(job, job.due) and job not in changed:
                    changed.append(job)
        self._next[backend] = upcoming
        self.store.save(*changed)

    def _plan(self, backend: str) -> list[tuple[str, float]]:
        mine = [job for job in self._active.values() if job.backend == backend]
        waiting = [self._waiting(job) for job in mine if job.state == QUEUED]
        until = [job.due or 0.0 for job in mine if job.state == RUNNING]
        return world.starts(waiting, until, self.settings.queues[backend], self._floor)

    @staticmethod
    def _waiting(job: Job) -> Waiting:
        return Waiting(job.id, job.seq, job.ahead, job.ahead_at, _held(job))

    def _finish(self, job: Job, moment: float) -> bool:
        """End a running job whose time has come, if its outcome is known."""
        assert job.started is not None
        used = world.charge(moment - job.started)
        if job.planned_failure:
            job.reason, job.reason_code = json.loads(job.planned_failure)
            self._end(job, FAILED, moment, used if job.charged_if_failed else 0)
        elif _too_long(job):
            job.reason, job.reason_code = (
                "Job ran longer than its maximum execution time.",
                (REASON_RAN_TOO_LONG),
            )
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
        job.state, job.finished, job.charged = state, moment, charged
        self._active.pop(job.id, None)
        if state == CANCELLED and (task := self._simulations.pop(job.id, None)):
            task.cancel()
        self._touch(job.backend)
        log.info("job %s %s at %.3f, charged %d", job.id, state, moment, charged)

    def _simulate(self, job: Job) -> None:
        if job.planned_failure or _too_long(job) or job.outcome:
            return
        self._simulations[job.id] = asyncio.create_task(self._simulated(job))

    async def _simulated(self, job: Job) -> None:
        config, snapshot = self.config, self.snapshots[job.backend]
        digest = hashlib.sha256(f"{config.seed}/{job.seq}".encode()).digest()
        answer = await self._pool.run(
            {
                "program": job.program,
                "params": self.store.params(job.id),
                "configuration": str(snapshot.configuration_path),
                "properties": str(snapshot.properties_path),
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
        if answer["ok"]:
            job.outcome = "ok"
        else:
            job.outcome, job.outcome_reason = "failed", answer["reason"]
            job.outcome_code = answer["code"]
            # A device refuses such a job early instead of holding the machine for its shots.
            job.due = min(job.due, job.started + _FAILS_AFTER_SECONDS)
        if world.reached(job.due, now):
            self._finish(job, max(job.due, now) if self.settings.clock.realtime else job.due)
        self.store.save(job, result=answer.get("result"))
        self._touch(job.backend)


def _held(job: Job) -> float:
    return job.duration if job.max_seconds is None else min(job.duration, job.max_seconds)


def _too_long(job: Job) -> bool:
    return job.max_seconds is not None and job.duration > job.max_seconds
