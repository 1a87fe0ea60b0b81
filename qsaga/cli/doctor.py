"""``qsaga doctor``: the settings, and what can be reached with them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
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
from qsaga.core.errors import InvalidRequest, Unreachable
from qsaga.keyring import read_keys
from qsaga.settings import Settings

OTHERS = stat.S_IRWXO

WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def examine(settings: Settings, console: Console) -> int:
    """Print what was found; returns the exit code."""
    print_to(console, rows(_flat(settings.model_dump(mode="json"))))
    console.print()
    print_to(console, rows([_encryption(settings.encryption.keys_file)]))
    try:
        client = await connect(settings)
        found = [row async for row in _reached(client, settings)]
    except Unreachable as error:
        print_to(console, rows([("Temporal", Text(str(error), style="red"))]))
        return error.exit_code
    print_to(console, rows(found))
    return 0


def _encryption(keys_file: Path | None) -> Row:
    """What encrypts payloads: ids of keys, never a key."""
    if keys_file is None:
        return "encryption", Text("off: histories hold requests and answers in clear")
    try:
        keys = read_keys(keys_file)
    except InvalidRequest as error:
        return "encryption", Text(str(error), style="red")
    others = sorted(set(keys.keys) - {keys.current})
    said = f"key {keys.current!r} encrypts" if keys.current else "no key encrypts"
    if others:
        said += f", {', '.join(map(repr, others))} can decrypt"
    if keys_file.stat().st_mode & OTHERS:
        return "encryption", Text(f"{said}; others may read {keys_file}", style="yellow")
    return "encryption", said


async def _reached(client: Client, settings: Settings) -> Any:
    try:
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
        address = settings.temporal.address
        yield "Temporal", f"server {info.server_version} answers at {address}"
        temporal = settings.temporal
        yield await _working(client, "worker", temporal.task_queue, WORKFLOW)
        for role, queue in temporal.queues.items():
            yield await _working(client, f"worker, {role}", queue, ACTIVITY)
    except RPCError as error:
        raise Unreachable(f"Temporal does not answer: {error.message}") from error


async def _working(client: Client, what: str, queue: str, kind: TaskQueueType.ValueType) -> Row:
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    workers = {poller.identity for poller in described.pollers}
    if workers:
        return what, ", ".join(sorted(workers)) + f" on task queue {queue!r}"
    return what, Text(f"none has asked task queue {queue!r} for work", style="yellow")


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[Row]:
    """Every setting with the variable that sets it."""
    for name, value in values.items():
        variable = f"{prefix or 'QSAGA_'}{name.upper()}"
        if isinstance(value, dict):
            yield from _flat(value, f"{variable}__")
        else:
            yield variable, "-" if value is None else str(value)
