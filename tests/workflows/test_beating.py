"""Heartbeats of activities: none from those that are soon done, regularly from the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.testing import ActivityEnvironment

from activities.running import _beat


async def beats(patience: timedelta, enough: int, seconds: float) -> int:
    """Heartbeats until there are enough of them, or until ``seconds`` are over."""
    env, heard, done = ActivityEnvironment(), 0, asyncio.Event()

    def hear(*_: object) -> None:
        nonlocal heard
        heard += 1
        if heard == enough:
            done.set()

    async def work() -> None:
        beating = asyncio.create_task(_beat(patience))
        await asyncio.wait([asyncio.create_task(done.wait())], timeout=seconds)
        beating.cancel()

    env.on_heartbeat = hear
    await env.run(work)
    return heard


async def test_a_step_that_is_soon_done_sends_none() -> None:
    assert await beats(timedelta(seconds=60), enough=1, seconds=0.1) == 0


async def test_a_long_one_sends_several_within_its_timeout() -> None:
    assert await beats(timedelta(seconds=0.4), enough=3, seconds=30) == 3
