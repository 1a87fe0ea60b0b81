"""The handle of one variational loop: follow it, await its result, end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from temporalio.client import Client

from qsaga.calls import translated
from qsaga.core.approval import ApprovalRecord
from qsaga.core.errors import NoSuchJob, PolicyRefused, QsagaError, Unreachable
from qsaga.core.loops import LoopResult, LoopStatus
from qsaga.core.runs import STATUS
from qsaga.deciding import Decidable
from qsaga.settings import Settings


class LoopHandle(Decidable):
    """One loop, whether running, ended or known to the records only.

    Args:
        client: of Temporal.
        loop_id: ``tenant/loop/key``.
        settings: of the caller.
    """

    def __init__(self, client: Client, loop_id: str, settings: Settings) -> None:
        self.loop_id = loop_id
        self._loop = client.get_workflow_handle(loop_id, result_type=LoopResult)
        super().__init__(client, self._loop, settings)

    async def result(self, seconds: float | None = None) -> LoopResult:
        """Wait for the end of the loop.

        Args:
            seconds: how long to wait; None waits as long as it takes.

        Raises:
            InvalidRequest: the worker refused the request; nothing was run.
            Unauthenticated, Forbidden, KeyConflict: its first jobs were refused.
            NoSuchJob: nothing is known under this id.
            TimeoutError: the loop had not ended after ``seconds``.
        """
        try:
            with translated(self.loop_id):
                return await asyncio.wait_for(self._loop.result(), seconds)
        except NoSuchJob:
            return await self.record()

    async def record(self) -> LoopResult:
        """How it ended as the records have it, also when Temporal has forgotten it.

        Raises:
            NoSuchJob: they know nothing of it either.
            Unauthenticated, Forbidden, Unreachable: as ``QsagaClient.operate``.
        """
        report = await self._kept()
        if report.loop is None:
            raise NoSuchJob(f"no loop {self.loop_id!r} is known")
        return report.loop

    async def progress(self) -> LoopStatus:
        """Where the loop stands now."""
        with translated(self.loop_id):
            status: LoopStatus = await self._loop.query(STATUS, result_type=LoopStatus)
        return status

    async def watch(self, interval: float = 0.5) -> AsyncIterator[LoopStatus]:
        """Each change of the loop until it ends, however it ends."""
        async for now in self._changes(self.progress, lambda now: now, interval):
            yield now
            if now.state.final:
                return

    async def cancel(self) -> None:
        """Ask the loop and its running jobs to end: the best point so far is its answer.

        Safe to repeat.
        """
        with translated(self.loop_id):
            await self._loop.cancel()

    async def approval(self) -> ApprovalRecord | None:
        """What is or was asked of a person about the whole loop; None if nothing was."""
        return (await self.progress()).approval

    async def _has_ended(self) -> QsagaError:
        if await self._running():
            return Unreachable("the decision did not arrive (allowed: decide again)")
        return PolicyRefused(f"loop {self.loop_id} has ended")
