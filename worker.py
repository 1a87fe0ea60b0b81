"""The worker: ``python worker.py [--role solve …]`` works until SIGTERM or SIGINT and then drains.

What it is made of is put together in ``composition``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from temporalio.client import Client
from temporalio.worker import Worker

from activities.watching import ensure_watcher
from composition.parts import Parts, database_url
from composition.rollout import become_current_if_first
from composition.steps import build
from composition.upkeep import regular, schedules
from composition.workers import (
    deployment_version,
    threads,
    worker,
    workers,
    workflow_runner,
)
from qsaga.connection import connect, register_search_attributes
from qsaga.core.roles import ALL_ROLES, WorkerRole
from qsaga.settings import Settings

__all__ = ["Parts", "build", "database_url", "worker", "workflow_runner"]

LAST_WORDS = 5.0
"""Seconds, after the drain, in which what was given up is reported."""


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way, within ``settings.drain``."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parts = await build(settings)
    loop.set_default_executor(ThreadPoolExecutor(threads(settings, parts), "qsaga"))
    client = await connect(settings)
    await prepare(client, settings, parts)
    # What is loaded by now stays. A full collection would go through all of it each time, and hold
    # up every task and heartbeat for a tenth of a second.
    gc.collect()
    gc.freeze()
    crew = workers(client, settings, parts)
    running = [asyncio.create_task(one.run()) for one in crew]
    beside: list[asyncio.Task[bool]] = [asyncio.create_task(_stopped(stop))]
    if settings.temporal.versioning and WorkerRole.WORKFLOW in parts.roles:
        beside.append(
            asyncio.create_task(become_current_if_first(client, deployment_version(settings)))
        )
    for warning in warnings(settings):
        logging.getLogger("qsaga").warning(warning)
    logging.getLogger("qsaga").info(
        "worker ready: %s of %s at %s, process %d",
        ", ".join(one.task_queue for one in crew) or "nothing to do",
        "all roles" if parts.roles == set(ALL_ROLES) else ", ".join(sorted(parts.roles)),
        settings.temporal.address,
        os.getpid(),
    )
    await asyncio.wait({beside[0], *running}, return_when=asyncio.FIRST_COMPLETED)
    for task in beside:
        task.cancel()
    await drain(crew, running, settings.drain)
    await parts.close()


async def _stopped(stop: asyncio.Event) -> bool:
    return await stop.wait()


def warnings(settings: Settings) -> tuple[str, ...]:
    """What an operator should know of these settings before jobs come."""
    if settings.identity.required and settings.encryption.keys_file is None:
        told = "callers' tokens are kept in clear in histories, for whoever may read those: "
        return (f"{told}set QSAGA_ENCRYPTION__KEYS_FILE here and at callers (docs/payloads.md)",)
    return ()


async def prepare(client: Client, settings: Settings, parts: Parts) -> None:
    """What the deployment needs beside its workers; safe to repeat, and for several at once."""
    temporal = settings.temporal
    if WorkerRole.WORKFLOW in parts.roles and temporal.register_search_attributes:
        await register_search_attributes(client)
    if WorkerRole.WORKFLOW in parts.roles:
        await schedules(parts).ensure(client, regular(settings))
    if (
        WorkerRole.WATCH in parts.roles
        and parts.provider is not None
        and await parts.submissions.watched()
    ):
        await ensure_watcher(
            client,
            settings.deployment,
            parts.provider.name,
            temporal.task_queue,
            temporal.queues,
        )


async def drain(
    crew: Sequence[Worker], running: Sequence[asyncio.Task[None]], grace: float
) -> None:
    """Take no new work, and leave ``grace`` seconds to what is under way.

    What is not done by then is reported as given up, and soon tried again by another worker.

    Raises:
        Exception: a worker had ended by itself, with this.
    """
    logging.getLogger("qsaga").info("worker ends within %g s", grace + LAST_WORDS)
    ending = [asyncio.create_task(one.shutdown()) for one in crew if one.is_running]
    if ending:
        await asyncio.wait(ending, timeout=grace + LAST_WORDS)
    for task in running:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error


def leave(code: int) -> NoReturn:
    """End the process although a thread may still compute: nobody waits for its result.

    An orderly exit would wait for it, and outlast the drain by as much as the step may take.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def settings_of(arguments: Sequence[str]) -> Settings:
    """The settings, with the roles that the command line names in place of theirs."""
    parser = argparse.ArgumentParser(description="A worker of qsaga.")
    parser.add_argument(
        "--role",
        nargs="+",
        choices=[*WorkerRole, "all"],
        help="what it is for (default: QSAGA_ROLES, else all)",
    )
    roles = parser.parse_args(arguments).role
    settings = Settings(roles=tuple(roles)) if roles else Settings()
    if set(settings.roles) != set(ALL_ROLES) and not settings.temporal.role_queues:
        parser.error(
            "a worker of some roles needs QSAGA_TEMPORAL__ROLE_QUEUES=true, in all workers of the "
            "deployment: without it every worker takes every step from one task queue"
        )
    return settings


def main() -> None:
    """Entry point."""
    settings = settings_of(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # They would tell of every pass of every transpilation and of every request.
    for name in ("qiskit", "qiskit_ibm_runtime", "runtime", "base_primitive"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with asyncio.Runner() as runner:
        try:
            runner.run(serve(settings))
        except Exception:
            logging.getLogger("qsaga").exception("the worker failed")
            leave(1)
        leave(0)


if __name__ == "__main__":
    main()
