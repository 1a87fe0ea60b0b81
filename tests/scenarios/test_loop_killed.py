"""A loop on hardware while its worker is killed: no point is measured twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from qsaga.client import QsagaClient
from qsaga.core.loop_rules import points
from qsaga.core.loops import LoopRequest, LoopResult
from qsaga.core.states import JobState, Rung
from qsaga.loop_handle import LoopHandle
from tests.support.loops import loop
from tools.stage import Stage

pytestmark = pytest.mark.timeout(300)

ITERATIONS = 4
EMULATOR = {"noise": "none", "overhead_seconds": 0.5, "seconds_per_job": 1.0, "workers": 1}


def test_a_worker_killed_in_every_iteration_costs_no_remote_job(tmp_path: Path) -> None:
    with Stage(tmp_path, ui=False, emulator=EMULATOR) as stage:
        stage.start_worker()
        result = asyncio.run(_killed_now_and_then(stage))
        jobs = stage.emulator.control.jobs()
    assert result.state is JobState.COMPLETED
    assert [len(one.points) for one in result.iterations[:-1]] == [2] * ITERATIONS
    assert result.sources == {Rung.HARDWARE: len(points(result.iterations))}
    claimed = Counter(job for point in points(result.iterations) for job in point.provider_job_ids)
    assert claimed == Counter({job["id"]: 1 for job in jobs}), "one remote job for each point"


async def _killed_now_and_then(stage: Stage) -> LoopResult:
    client = await QsagaClient.connect(stage.settings())
    handle = await client.submit_loop(_request())
    for kills in range(ITERATIONS - 1):
        # With its points under way, each time at another place of their lives.
        await _asked(handle, kills)
        await asyncio.sleep(0.4 * kills)
        await asyncio.to_thread(stage.kill_worker)
        await asyncio.to_thread(stage.start_worker)
    return await handle.result(120)


async def _asked(handle: LoopHandle, iteration: int) -> None:
    async with asyncio.timeout(90):
        async for status in handle.watch(0.05):
            if status.iteration >= iteration and status.running:
                return


def _request() -> LoopRequest:
    return loop(
        route="hardware",
        precision=0.05,
        initial=[2.9],
        optimiser={"name": "spsa", "iterations": ITERATIONS, "options": {"a": 1.0}},
    )
