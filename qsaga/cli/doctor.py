"""``qsaga doctor``: the settings, and what can be reached with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError

from qsaga.cli.views import Row, print_to, rows
from qsaga.connection import connect
from qsaga.core.errors import Unreachable
from qsaga.settings import Settings


async def examine(settings: Settings, console: Console) -> int:
    """Print what was found; returns the exit code."""
    print_to(console, rows(_flat(settings.model_dump(mode="json"))))
    console.print()
    try:
        client = await connect(settings)
        found = [row async for row in _reached(client, settings)]
    except Unreachable as error:
        print_to(console, rows([("Temporal", Text(str(error), style="red"))]))
        return error.exit_code
    print_to(console, rows(found))
    return 0


async def _reached(client: Client, settings: Settings) -> Any:
    try:
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
        address = settings.temporal.address
        yield "Temporal", f"server {info.server_version} answers at {address}"
        queue = settings.temporal.task_queue
        described = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            )
        )
    except RPCError as error:
        raise Unreachable(f"Temporal does not answer: {error.message}") from error
    workers = {poller.identity for poller in described.pollers}
    yield (
        ("worker", ", ".join(sorted(workers)) + f" on task queue {queue!r}")
        if workers
        else ("worker", Text(f"none has asked task queue {queue!r} for work", style="yellow"))
    )


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[Row]:
    """Every setting with the variable that sets it."""
    for name, value in values.items():
        variable = f"{prefix or 'QSAGA_'}{name.upper()}"
        if isinstance(value, dict):
            yield from _flat(value, f"{variable}__")
        else:
            yield variable, "-" if value is None else str(value)
