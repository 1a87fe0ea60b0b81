"""Whether what was deleted is nowhere any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

from temporalio.service import RPCError

from tests.support.stack import Stack


def mentions(folder: Path, name: str) -> list[Path]:
    """The files in which a name stands."""
    return [
        path for path in folder.rglob("*") if path.is_file() and name.encode() in path.read_bytes()
    ]


async def compacted(stack: Stack) -> None:
    """What SQLite deleted is gone from its files once they are written anew."""
    async with stack.parts.engine.connect() as connection:
        raw = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await raw.exec_driver_sql("COMMIT")
        await raw.exec_driver_sql("VACUUM")
        await raw.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        await raw.exec_driver_sql("BEGIN")


async def gone(stack: Stack, workflow_id: str) -> None:
    """Wait until Temporal has deleted a workflow."""
    for _ in range(400):
        try:
            await stack.temporal.get_workflow_handle(workflow_id).describe()
        except RPCError:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{workflow_id} is still there")


async def visible(stack: Stack, count: int, query: str = "ExecutionStatus = 'Completed'") -> None:
    """Until Temporal's visibility, which lags, lists so many workflows, if not told closed ones."""
    query = f"TaskQueue = '{stack.settings.temporal.task_queue}' AND {query}"
    for _ in range(400):
        if (await stack.temporal.count_workflows(query)).count >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the workflows never became visible")
