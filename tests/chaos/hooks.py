"""A worker that dies, or has a server die, at a place of its work that was named before.

A *place* is a call of an adapter inside an activity (``submit/provider.submit``), an activity as a
whole (``submit/activity``), or a workflow task (``QuantumJob/history.17``: the one that was given
when the history had 17 events). Each has two sides: before, and after, which for a workflow task
means that the server has the worker's reply, and for an activity that the server does not yet know.

The classes are wrapped in the process that is to die, after it was forked. What runs there is the
worker as it is, on ``worker.serve``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from temporalio.worker._workflow import _WorkflowWorker

import worker
from activities.running import Running
from adapters.artefacts import FolderArtefacts
from adapters.cache import FolderCache
from adapters.ibm import IBMProvider
from adapters.incumbents import FolderIncumbents
from adapters.sql import SqlAuditLog, SqlJobRecords, SqlLedger, SqlSessionRecords, SqlSubmissions
from qsaga.payloads import FolderDriver
from qsaga.settings import Settings
from tests.chaos.points import Point, Side

INSTALLED = Path(__file__).parent / "installed"
"""Metadata of the package that brings the estimator of ``tests.chaos.estimator``."""
PORTS: dict[str, type] = {
    "provider": IBMProvider,
    "ledger": SqlLedger,
    "records": SqlJobRecords,
    "submissions": SqlSubmissions,
    "sessions": SqlSessionRecords,
    "audit": SqlAuditLog,
    "artefacts": FolderArtefacts,
    "payloads": FolderDriver,
    "incumbents": FolderIncumbents,
    "cache": FolderCache,
}


class Places:
    """Counts how often each place is reached, and does what is ordered for one of them.

    Args:
        order: at which point somebody is killed; None only counts.
        harness: is told of every place, and of a server to kill; it answers the latter.
    """

    def __init__(self, order: Point | None, harness: Connection) -> None:
        self._order, self._harness = order, harness
        self._turns: Counter[str] = Counter()
        self._lock = Lock()

    def reach(self, place: str) -> int:
        """Which time this is, from 1."""
        with self._lock:
            self._turns[place] += 1
            turn = self._turns[place]
            if self._order is None:
                self._harness.send((place, turn))
        return turn

    def meet(self, place: str, turn: int, side: Side) -> bool:
        """Kill, if this is the point. True if the harness was asked to do it and will answer."""
        order = self._order
        if order is None or (place, turn, side) != (order.place, order.turn, order.side):
            return False
        with self._lock:
            self._harness.send(order.victim)
        if order.victim == "worker":
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def answer(self) -> None:
        """Wait until the harness has killed the server."""
        self._harness.recv()


def _here(name: str) -> str:
    where = activity.info().activity_type if activity.in_activity() else "worker"
    return f"{where}/{name}"


async def _surrounded(places: Places, place: str, work: Callable[[], Any]) -> Any:
    async def side(which: Side) -> None:
        if places.meet(place, turn, which):
            await asyncio.to_thread(places.answer)

    turn = places.reach(place)
    await side("before")
    try:
        done = await work()
    except Exception:
        await side("after")
        raise
    await side("after")
    return done


def _wrap(places: Places, owner: type, name: str, port: str) -> None:
    original = getattr(owner, name)

    async def waiting(*args: Any, **kwargs: Any) -> Any:
        return await _surrounded(places, _here(f"{port}.{name}"), lambda: original(*args, **kwargs))

    def blocking(*args: Any, **kwargs: Any) -> Any:
        place = _here(f"{port}.{name}")
        turn = places.reach(place)
        if places.meet(place, turn, "before"):
            places.answer()
        done = original(*args, **kwargs)
        if places.meet(place, turn, "after"):
            places.answer()
        return done

    setattr(owner, name, waiting if inspect.iscoroutinefunction(original) else blocking)


def _wrap_activities(places: Places) -> None:
    class Meeting(ActivityInboundInterceptor):
        async def execute_activity(self, input: ExecuteActivityInput) -> Any:
            return await _surrounded(
                places, _here("activity"), lambda: self.next.execute_activity(input)
            )

    original = Running.intercept_activity

    def intercept(self: Running, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        # Outermost: after its "after" nothing of ours is done.
        return Meeting(original(self, next))

    Running.intercept_activity = intercept  # type: ignore[method-assign]


def _wrap_workflow_tasks(places: Places) -> None:
    # Not through a workflow interceptor: it sees the beginning of a workflow and its signals, but
    # not each task, and not the moment when the reply has been sent.
    original = _WorkflowWorker._handle_activation
    kinds: dict[str, str] = {}

    async def handle(self: Any, act: Any) -> None:
        for job in act.jobs:
            if job.HasField("initialize_workflow"):
                kinds[act.run_id] = job.initialize_workflow.workflow_type
        if any(job.HasField("remove_from_cache") for job in act.jobs):
            await original(self, act)
            return
        place = f"{kinds.get(act.run_id, 'unknown')}/history.{act.history_length}"
        await _surrounded(places, place, lambda: original(self, act))

    _WorkflowWorker._handle_activation = handle  # type: ignore[method-assign]


def install(places: Places) -> None:
    """Wrap everything in this process."""
    for port, owner in PORTS.items():
        for name, member in list(vars(owner).items()):
            if inspect.isfunction(member) and not name.startswith("_") and name != "name":
                _wrap(places, owner, name, port)
    _wrap_activities(places)
    _wrap_workflow_tasks(places)


def _not_without_harness() -> None:
    # Forked workers keep the fork server alive, so that nobody else would end them.
    harness = parent_process()
    assert harness is not None
    harness.join()
    os.kill(os.getpid(), signal.SIGKILL)


def live(settings: Settings, order: Point | None, harness: Connection, log: Path) -> None:
    """The whole life of a forked worker."""
    Thread(target=_not_without_harness, daemon=True).start()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    sys.path.append(str(INSTALLED))
    install(Places(order, harness))
    asyncio.run(worker.serve(settings))
