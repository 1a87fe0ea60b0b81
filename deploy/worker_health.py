"""Is a worker at work on our task queue? Exit code 0 if one asked for work in the last minute."""

from __future__ import annotations

import asyncio
import os
import time

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from qsaga.connection import connect
from qsaga.settings import Settings

RECENT = 90.0
"""Seconds; a poll that finds nothing lasts up to 60."""


async def main() -> int:
    settings = Settings()
    temporal = settings.temporal
    client = await connect(settings)
    reply = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=temporal.namespace,
            task_queue=TaskQueue(name=temporal.task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    seen = max((poller.last_access_time.ToSeconds() for poller in reply.pollers), default=0)
    return 0 if time.time() - seen < RECENT else 1


if __name__ == "__main__":
    # The SDK's runtime has threads that outlive the interpreter: an orderly exit of so short a
    # script crashed in 7 of 40 runs (signals 6 and 11), which would count as ill health.
    os._exit(asyncio.run(main()))
