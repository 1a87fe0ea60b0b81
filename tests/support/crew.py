"""A stack whose worker can be lost; others take its place on the same queue and database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import worker
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import QsagaClient
from qsaga.connection import register_search_attributes
from qsaga.payloads import data_converter
from qsaga.settings import TemporalSettings
from tests.support.databases import put_at_head
from tests.support.stack import Stack, settings_for


@dataclass
class Crewed(Stack):
    """What a test talks to, and whoever works for it now."""

    at_work: list[tuple[Worker, asyncio.Task[None], worker.Parts]] = field(default_factory=list)
    change_over: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def hire(self, policy: str = "") -> None:
        """A new worker, with another policy if one is given."""
        if policy:
            await asyncio.to_thread(Path(str(self.settings.policy_file)).write_text, policy)
        parts = await worker.build(self.settings)
        # Without grace: what is under way breaks off, and only threads go on unheard.
        hasty = self.settings.model_copy(update={"drain": 0.0})
        new = worker.worker(self.temporal, hasty, parts)
        self.at_work.append((new, asyncio.create_task(new.run()), parts))

    async def lose(self) -> None:
        """Nobody works any more; what was under way is lost where it stands."""
        gone, self.at_work = self.at_work, []
        for one, running, parts in gone:
            await one.shutdown()
            await running
            await parts.engine.dispose()

    async def replace(self, policy: str = "") -> None:
        """Lose the worker and hire another."""
        # Two of the same kind may not work for one client at a time: the second is refused, and
        # then nobody works.
        async with self.change_over:
            await self.lose()
            await self.hire(policy)


@asynccontextmanager
async def crewed_stack(
    env: WorkflowEnvironment, emulator: EmulatorProcess, folder: Path, changes: dict[str, Any]
) -> AsyncIterator[Crewed]:
    """One worker at first, on a queue that does not wait for one that was lost."""
    queue = TemporalSettings(task_queue=f"qsaga-{uuid4().hex[:8]}", sticky_timeout=0.3)
    settings = settings_for(folder, emulator.url, {"temporal": queue} | changes)
    config = env.client.config()
    config["data_converter"] = data_converter(settings)
    client = Client(**config)
    await register_search_attributes(client)
    put_at_head(settings.data_dir / "qsaga.db")
    parts = await worker.build(settings)
    stack = Crewed(client, QsagaClient(client, settings), settings, parts, emulator, env)
    try:
        await stack.hire()
        yield stack
    finally:
        await stack.lose()
        await parts.engine.dispose()
