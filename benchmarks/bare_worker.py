"""A worker of the bare workflow: as plain as can be, and without the sandbox, as qsaga's.

``python -m benchmarks.bare_worker HOST:PORT`` works until it is killed.
"""

from __future__ import annotations

import asyncio
import sys

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.bare import QUEUE, Bare, nothing
from tools.stage import READY


async def serve(address: str) -> None:
    """Work for the server at ``host:port``."""
    client = await Client.connect(address)
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Bare],
        activities=[nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        print(READY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
