"""Keeps a time-skipping server's clock going although activities are given up while they run.

Such a server counts what holds its clock. What times out or is cancelled while it runs stays
counted for good (docs/decisions/0005). Where the clock follows the real one although no worker
computes, one too many is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import temporalio.client
import temporalio.worker
from temporalio.api.testservice.v1 import (
    LockTimeSkippingRequest,
    SleepRequest,
    UnlockTimeSkippingRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

LOOK = 0.1
STANDS = 2.5
"""Real seconds without anything that computes, after which the clock must have skipped."""
LATE = 0.5
"""Real seconds after which a look counts as late."""


class FreedClock(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """The clock of a server, and what its workers compute.

    Workers must have ``client`` or one made of its configuration.
    """

    def __init__(self, env: WorkflowEnvironment) -> None:
        self._service = env.client.test_service
        self._env = env
        self._running = 0
        config = env.client.config()
        config["interceptors"] = [*config["interceptors"], self]
        self.client = Client(**config)

    def intercept_activity(
        self, next: temporalio.worker.ActivityInboundInterceptor
    ) -> temporalio.worker.ActivityInboundInterceptor:
        """Count what computes."""
        return _Counted(next, self)

    async def now(self) -> float:
        """Virtual time, epoch seconds."""
        return (await self._env.get_current_time()).timestamp()

    async def sleep(self, seconds: float) -> None:
        """Skip as far as that; however long something computes meanwhile."""
        given = SleepRequest()
        given.duration.FromTimedelta(timedelta(seconds=seconds))
        async with self._freeing():
            await self._service.unlock_time_skipping_with_sleep(given, timeout=timedelta(hours=1))

    @asynccontextmanager
    async def skipping(self) -> AsyncIterator[None]:
        """Let the time skip."""
        await self._service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            async with self._freeing():
                yield
        finally:
            await self._service.lock_time_skipping(LockTimeSkippingRequest())

    @asynccontextmanager
    async def _freeing(self) -> AsyncIterator[None]:
        freeing = asyncio.create_task(self._free())
        try:
            yield
        finally:
            freeing.cancel()
            with suppress(asyncio.CancelledError):
                await freeing

    async def _free(self) -> None:
        while True:
            real, virtual = time.monotonic(), await self.now()
            idle = await self._idle_for(STANDS)
            passed = time.monotonic() - real
            if idle and await self.now() - virtual < 2 * passed:
                with suppress(RPCError):
                    await self._service.unlock_time_skipping(UnlockTimeSkippingRequest())

    async def _idle_for(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            await asyncio.sleep(LOOK)
            # On a machine that is late itself, nothing can be told from what does not happen.
            if self._running or time.monotonic() - now > LATE:
                return False
        return True


class _Counted(temporalio.worker.ActivityInboundInterceptor):
    def __init__(
        self, next: temporalio.worker.ActivityInboundInterceptor, clock: FreedClock
    ) -> None:
        super().__init__(next)
        self._clock = clock

    async def execute_activity(self, input: temporalio.worker.ExecuteActivityInput) -> Any:
        self._clock._running += 1
        try:
            return await self.next.execute_activity(input)
        finally:
            self._clock._running -= 1
