"""What the control API can change, kept in the data directory."""

from __future__ import annotations

from .clock import Clock, ClockPatch, ClockState
from .config import ServerConfig
from .faultrules import Fail
from .faults import FailNext, Faults
from .injector import Injector
from .model import Job
from .store import Store
from .visit import Visit
from .world import Execution, QueueState

_NAMES = ("clock", "queues", "execution", "faults", "fault_plan")


class Settings:
    """Clock, queues, execution model and faults; every change is persisted when made.

    Args:
        config: Initial values where nothing is kept yet, or always with ``reset_settings``.
        store: Where they are kept.
    """

    def __init__(self, config: ServerConfig, store: Store) -> None:
        self._store = store
        if config.reset_settings:
            for name in _NAMES:
                store.set_setting(name, None)
        mode = "followed" if config.clock_url else "stepped" if config.stepped else "rate"
        fresh = {"mode": mode, "rate": config.rate, "url": config.clock_url}
        self.clock = Clock(ClockState.model_validate(store.setting("clock") or fresh))
        self.keep_clock()
        queue = QueueState(
            length=config.queue_length, seconds_per_job=config.seconds_per_job, slots=config.slots
        )
        kept = store.setting("queues") or {}
        self.queues = {
            spec.name: QueueState.model_validate(kept.get(spec.name) or queue.model_dump())
            for spec in config.backends
        }
        execution = Execution(
            overhead_seconds=config.overhead_seconds, seconds_per_shot=config.seconds_per_shot
        )
        kept = store.setting("execution")
        self.execution = Execution.model_validate(kept) if kept else execution
        self.faults = Faults.model_validate(store.setting("faults") or {})
        self.plan = Injector(store, config.faults)

    def keep_clock(self) -> None:
        """Persist where the clock stands."""
        self._kept_now = self.clock.state.anchor_now
        self._store.set_setting("clock", self.clock.state.model_dump())

    def keep_followed_time(self) -> None:
        """Persist the time of a followed clock now and then.

        Without it, a restart before the outside clock answers would be in the past.
        """
        state = self.clock.state
        if state.mode == "followed" and state.anchor_now - self._kept_now > 1.0:
            self.keep_clock()

    def change_clock(self, patch: ClockPatch) -> None:
        """Change the clock; raises as :meth:`~.clock.Clock.change` does."""
        self.clock.change(patch)
        self.keep_clock()

    def set_queue(self, backend: str, queue: QueueState) -> None:
        """Replace the queue of one backend."""
        self.queues[backend] = queue
        self._store.set_setting("queues", {n: q.model_dump() for n, q in self.queues.items()})

    def set_execution(self, execution: Execution) -> None:
        """Replace the execution model; it holds for jobs accepted from now on."""
        self.execution = execution
        self._store.set_setting("execution", execution.model_dump())

    def failure(self, job: Job, visit: Visit) -> Fail | FailNext | None:
        """Return how a job being accepted will fail: by the fault plan, or by a switch."""
        failure = self.plan.accepted(job, visit)
        if failure is not None:
            return failure
        switched = self.faults.take_failure(job.tags, job.backend)
        if switched is not None:
            self.keep_faults()
        return switched

    def late_cancel(self, job: Job, visit: Visit | None, now: float) -> int | None:
        """Return what a cancel that comes too late is answered; None: it is in time."""
        # A session that is closed cancels without a request for the job.
        visit = visit or Visit("", "", "cancel", job.id, now=now)
        reply = self.plan.cancel_reply(job, visit)
        switch = self.faults.cancel_loses_race
        if reply is None and switch.applies(job.tags):
            reply = switch.reply
        return reply

    def set_faults(self, faults: Faults) -> None:
        """Replace the fault switches."""
        self.faults = faults
        self.keep_faults()

    def keep_faults(self) -> None:
        """Persist the fault switches, some of which are used up."""
        self._store.set_setting("faults", self.faults.model_dump())
