"""Memory of a worker, and places in it, while thousands of jobs wait in the provider's queue."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from adapters.sql import SqlSubmissions, open_engine
from benchmarks import machine
from composition.parts import database_url
from qsaga.client import QsagaClient
from qsaga.connection import connect
from tests.support.stack import bell
from tools.stage import Stage

BACKEND = "bench=lagos"
"""Seven qubits, for which compiling takes little."""
AHEAD, SECONDS_EACH = 480, 60.0
BUDGETS = {"queue": 2_000_000, "execution": 3600, "deadline": 2_100_000}
"""Seconds: a job does not go where the forecast of its queue, of thousands, is longer than that."""
AT_ONCE = 50
"""Jobs between their start and their waiting at the same time."""
WARM_UP = 5
"""Jobs that wait before the first level: with them everything is imported."""
QUIET, CALM = 0.15, 5
"""The worker is at rest when it used less than this share of a core for so many seconds."""
LOOKS = 20
WATCHED = "SELECT count(*) FROM runs WHERE watched IS NOT NULL"
ENDED = "SELECT count(*) FROM jobs WHERE closed IS NOT NULL"
"""A machine that is too busy makes the provider look away: such a job is answered beside it."""
STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


async def measure(folder: Path, levels: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """The levels from the lowest up, in one worker that starts and holds all of them.

    Args:
        folder: for logs and data.
        levels: numbers of waiting jobs.
        seed: of the jobs.

    Returns:
        For each level: ``waiting``, ``worker_mib`` (resident, median of several looks),
        ``slots_held`` by waiting jobs, how long it took, and the CPU time of a job that got there.
    """
    stage = Stage(folder, ui=False, emulator={"backend": [BACKEND], "noise": "none"})
    await asyncio.to_thread(stage.start)
    try:
        stage.emulator.control.set_queue(AHEAD, SECONDS_EACH)
        # Nothing but the worker's own settings; the stage would keep workflows a shorter time.
        pid = await asyncio.to_thread(lambda: stage.start_worker(QSAGA_TEMPORAL__STICKY_TIMEOUT=""))
        settings = stage.settings()
        temporal = await connect(settings)
        engine = open_engine(database_url(settings))
        crowd = Crowd(QsagaClient(temporal, settings), engine, seed)
        try:
            rows: list[dict[str, Any]] = []
            await crowd.grow(WARM_UP)
            for level in sorted(levels):
                began, used = time.monotonic(), _cpu(stage, pid)
                await crowd.grow(WARM_UP + level)
                started = time.monotonic()
                new = level - (rows[-1]["waiting"] if rows else 0)
                await _at_rest(pid)
                rows.append(
                    {
                        "waiting": level,
                        "worker_mib": round(await _memory(pid), 1),
                        "slots_held": await slots(temporal, await crowd.waiting()),
                        "started_in_s": round(started - began, 1),
                        "at_rest_after_s": round(time.monotonic() - started, 1),
                        "cpu_ms_per_job": {
                            part: round(1000 * (seconds - used[part]) / max(new, 1))
                            for part, seconds in _cpu(stage, pid).items()
                        },
                    }
                )
                print(f"memory: {rows[-1]}", flush=True)
            return rows
        finally:
            await engine.dispose()
    finally:
        await asyncio.to_thread(stage.stop)


class Crowd:
    """Jobs that wait in the queue."""

    def __init__(self, client: QsagaClient, engine: AsyncEngine, seed: int) -> None:
        self._client, self._engine, self._seed = client, engine, seed
        self._started = 0

    async def waiting(self) -> list[str]:
        """Ids of the runs whose waiting the watcher has taken over."""
        return [run.run_id for run in await SqlSubmissions(self._engine).watched()]

    async def count(self) -> int:
        """How many these are."""
        return await self._number(WATCHED)

    async def _number(self, query: str) -> int:
        async with self._engine.connect() as connection:
            return int(await connection.scalar(text(query)) or 0)

    async def grow(self, size: int) -> None:
        """Start jobs until so many wait."""
        began = told = time.monotonic()
        first = count = await self.count()
        while count < size:
            ended = await self._number(ENDED)
            if ended > max(AT_ONCE, size // 10):
                raise RuntimeError(f"{ended} jobs were answered beside the queue, {count} wait")
            under_way = self._started - ended - count
            for _ in range(min(AT_ONCE, size - count) - under_way):
                await self._client.start(bell(seed=self._seed, budgets=BUDGETS))
                self._started += 1
            await asyncio.sleep(0.2)
            count = await self.count()
            if time.monotonic() - told > 15:
                told = time.monotonic()
                rate = (count - first) / (told - began)
                print(f"memory: {count} of {size} wait, {rate:.1f} more a second", flush=True)


async def slots(temporal: Client, run_ids: Sequence[str]) -> int:
    """How many activities of these runs are with a worker now."""
    places = asyncio.Semaphore(AT_ONCE)

    async def held(run_id: str) -> int:
        async with places:
            found = await temporal.get_workflow_handle(run_id).describe()
        return sum(one.state == STARTED for one in found.raw_description.pending_activities)

    return sum(await asyncio.gather(*(held(run_id) for run_id in run_ids)))


def _cpu(stage: Stage, worker: int) -> dict[str, float]:
    pids = {"worker": worker, "server": machine.child("temporal"), "emulator": stage.emulator.pid}
    return {part: machine.cpu_seconds(pid) for part, pid in pids.items()}


async def _at_rest(pid: int) -> None:
    calm, used = 0, machine.cpu_seconds(pid)
    while calm < CALM:
        await asyncio.sleep(1.0)
        before, used = used, machine.cpu_seconds(pid)
        calm = calm + 1 if used - before < QUIET else 0


async def _memory(pid: int) -> float:
    looks = []
    for _ in range(LOOKS):
        looks.append(machine.resident(pid))
        await asyncio.sleep(0.25)
    return statistics.median(looks)
