"""Whoever watches hears of the end, also of one that comes between two questions."""

from __future__ import annotations

import pytest

from qsaga.core.states import JobState
from qsaga.handle import JobHandle
from qsaga.loop_handle import LoopHandle
from tests.support.loops import loop
from tests.support.stack import Stack, bell

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


async def test_a_job_that_ends_between_two_questions(dev: Stack) -> None:
    class EndsMeanwhile(JobHandle):
        async def _running(self) -> bool:
            await self.result(120)
            return await super()._running()

    handle = await dev.client.start(bell(route="simulator"))
    watched = EndsMeanwhile(dev.client.temporal, handle.job_id, dev.settings)
    assert [told.job.state async for told in watched.watch()][-1] is JobState.COMPLETED


async def test_a_loop_that_ends_between_two_questions(dev: Stack) -> None:
    class EndsMeanwhile(LoopHandle):
        async def _running(self) -> bool:
            await self.result(120)
            return await super()._running()

    handle = await dev.client.submit_loop(loop(optimiser={"name": "adam", "iterations": 2}))
    watched = EndsMeanwhile(dev.client.temporal, handle.loop_id, dev.settings)
    assert [told.state.final async for told in watched.watch()][-1]
