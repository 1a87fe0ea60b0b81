"""Where the time of a job goes: step by step beside the bare workflow, and in the database.

A bare workflow of as many activities has the same events in the same order but for the search
attributes, so the steps of both stand side by side.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

import worker as composition
from benchmarks.overhead_jobs import BARE, QSAGA, Bench, request
from qsaga.client import QsagaClient
from qsaga.settings import Settings, TemporalSettings

TASK = "workflow task"
PORTS = {
    "records": ("guarded", "get", "open", "close", "template_runs", "newest_answer"),
    "ledger": ("tenant", "reserve", "settle", "release"),
    "artefacts": ("put", "get"),
}
"""Methods of the adapters of a worker that a job on the simulator may use."""
WARM_UP = 3


def steps(events: Sequence[HistoryEvent]) -> list[tuple[str, float, float]]:
    """Each step of a history: its name, milliseconds until a worker had it, and in the worker.

    A workflow task counts from its scheduling to its completion, and so with the local activities
    that it did; an activity likewise.
    """
    found: list[tuple[str, float, float]] = []
    names: dict[int, str] = {}
    at: dict[int, float] = {event.event_id: event.event_time.ToMicroseconds() for event in events}
    tasks = 0
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            about = event.activity_task_scheduled_event_attributes
            names[event.event_id] = about.activity_type.name
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            begun, started = done.scheduled_event_id, done.started_event_id
            found.append(_step(names[begun], at[begun], at[started], at[event.event_id]))
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            ended = event.workflow_task_completed_event_attributes
            tasks += 1
            begun, started = ended.scheduled_event_id, ended.started_event_id
            found.append(_step(f"{TASK} {tasks}", at[begun], at[started], at[event.event_id]))
    return found


def _step(name: str, scheduled: float, started: float, ended: float) -> tuple[str, float, float]:
    return name, (started - scheduled) / 1000, (ended - started) / 1000


async def by_step(bench: Bench, rounds: int) -> list[dict[str, Any]]:
    """Medians of the last ``rounds`` jobs, and bare workflows, of the measurement one by one.

    Returns:
        A row for each step in order: ``step`` (qsaga's name for it), and for both the
        milliseconds ``to`` the worker and ``in`` it.
    """
    timed = {}
    for name in (BARE, QSAGA):
        histories = [await bench.history(each) for each in bench.ids[name][-rounds:]]
        timed[name] = list(zip(*(steps(one.events) for one in histories), strict=True))
    return [
        {
            "step": ours[0][0],
            **{
                f"{name}_{part}_ms": round(statistics.median(one[place] for one in rows), 2)
                for name, rows in (("bare", theirs), ("qsaga", ours))
                for place, part in ((1, "to"), (2, "in"))
            },
        }
        for theirs, ours in zip(timed[BARE], timed[QSAGA], strict=True)
    ]


async def by_call(temporal: Client, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """What a worker in this process spends in the database and with files, call by call.

    Returns:
        A row for each method that was used: ``call``, ``times`` a job, ``ms`` a job (mean).
    """
    settings = Settings(
        data_dir=folder,
        hardware=False,
        temporal=TemporalSettings(task_queue=f"profile-{uuid4().hex[:8]}"),
    )
    parts = await composition.build(settings)
    spent: dict[str, list[float]] = defaultdict(list)
    for port, methods in PORTS.items():
        adapter = getattr(parts, port)
        for method in methods:
            _time(adapter, method, spent[f"{port}.{method}"])
    try:
        async with composition.worker(temporal, settings, parts):
            client = QsagaClient(temporal, settings)
            for turn in range(WARM_UP + rounds):
                if turn == WARM_UP:
                    for times in spent.values():
                        times.clear()
                await client.run(request())
    finally:
        await parts.close()
    return [
        {
            "call": name,
            "times": round(len(times) / rounds, 1),
            "ms": round(1000 * sum(times) / rounds, 2),
        }
        for name, times in spent.items()
        if times
    ]


def _time(adapter: object, method: str, into: list[float]) -> None:
    """Note how long each call of a method of one adapter takes, in seconds."""
    call: Callable[..., Any] = getattr(adapter, method)

    @functools.wraps(call)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        done = call(*args, **kwargs)
        if isinstance(done, Awaitable):
            return _awaited(done, began, into)
        into.append(time.perf_counter() - began)
        return done

    setattr(adapter, method, timed)


async def _awaited(done: Awaitable[Any], began: float, into: list[float]) -> Any:
    try:
        return await done
    finally:
        into.append(time.perf_counter() - began)
