"""The composition root: settings → adapters → activities → worker.

Start it with ``python worker.py``; it runs until SIGTERM or SIGINT and then drains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.admission import Admit
from activities.answering import Close, Encode, Simulate, Solve, Verify
from activities.hardware import Cancel, Collect, Collector, Compile, Follow, Settle, Submit
from activities.running import Running
from adapters.aer import AerSimulator
from adapters.annealing import NealSolver, steepest_descent
from adapters.artefacts import FolderArtefacts
from adapters.circuits import QiskitCircuitReader
from adapters.ibm import IBMProvider
from adapters.qaoa import QaoaBuilder
from adapters.sql import SqlJobRecords
from qsaga.connection import connect, register_search_attributes
from qsaga.core.policy import Policy
from qsaga.core.ports import JobRecords, QuantumProvider
from qsaga.policies import load_policy
from qsaga.settings import Settings
from workflows import WORKFLOWS

PACKAGES = (
    "qsaga",
    "temporalio",
    "qiskit",
    "qiskit-ibm-runtime",
    "qiskit-aer",
    "dimod",
    "dwave-neal",
    "dwave-samplers",
)
DRAIN = timedelta(seconds=20)
BUILD_ID = "qsaga-" + version("qsaga")


@dataclass(frozen=True)
class Parts:
    """Everything a worker is made of, before it meets Temporal."""

    policy: Policy
    records: JobRecords
    provider: QuantumProvider | None
    activities: Sequence[Callable[..., Any]]


def software() -> dict[str, str]:
    """Versions of the packages that make an answer."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def build(settings: Settings) -> Parts:
    """Adapters and activities as the settings say."""
    policy = load_policy(settings.policy_file)
    if not settings.hardware:
        off = policy.hardware.model_copy(update={"enabled": False})
        policy = policy.model_copy(update={"hardware": off})
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    artefacts = FolderArtefacts(settings.data_dir / "artefacts")
    database = settings.database_url or f"sqlite:///{settings.data_dir / 'qsaga.db'}"
    records = SqlJobRecords(database)
    reader = QiskitCircuitReader()
    provider = IBMProvider(settings.ibm) if settings.ibm.token else None
    activities: list[Callable[..., Any]] = [
        Admit(
            policy=policy,
            provider=provider,
            records=records,
            reader=reader,
            deployment=settings.deployment,
            grace=settings.ibm.grace,
        ).admit,
        Encode(artefacts, QaoaBuilder(), reader).encode,
        Solve(artefacts, NealSolver()).solve,
        Simulate(artefacts, AerSimulator()).simulate,
        Verify(artefacts, steepest_descent, software()).verify,
        Close(records).close,
    ]
    if provider is not None:
        collector = Collector(artefacts, provider)
        activities += [
            Compile(artefacts, provider).compile,
            Submit(artefacts, provider, records, settings.ibm.call_timeout).submit,
            Follow(provider, collector).follow,
            Collect(collector).collect,
            Cancel(provider).cancel_remote,
            Settle(artefacts, provider, records, policy, steepest_descent).settle,
        ]
    return Parts(policy=policy, records=records, provider=provider, activities=activities)


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox, with our pure modules loaded once for all workflows."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            "pydantic", "pydantic_core", "annotated_types", "qsaga.core"
        )
    )


def worker(client: Client, settings: Settings, parts: Parts) -> Worker:
    """A worker for all of qsaga's workflows and activities."""
    return Worker(
        client,
        task_queue=settings.temporal.task_queue,
        workflows=WORKFLOWS,
        activities=parts.activities,
        interceptors=[Running()],
        # Without a build id the worker hashes every loaded module, which takes seconds.
        build_id=BUILD_ID,
        workflow_runner=workflow_runner(),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.temporal.sticky_timeout),
        graceful_shutdown_timeout=DRAIN,
    )


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=32, thread_name_prefix="qsaga"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parts = await asyncio.to_thread(build, settings)
    client = await connect(settings)
    if settings.temporal.register_search_attributes:
        await register_search_attributes(client)
    async with worker(client, settings, parts):
        logging.getLogger("qsaga").info(
            "worker ready: %s at %s, process %d",
            settings.temporal.task_queue,
            settings.temporal.address,
            os.getpid(),
        )
        await stop.wait()


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # They would tell of every pass of every transpilation and of every request.
    for name in ("qiskit", "qiskit_ibm_runtime", "runtime", "base_primitive"):
        logging.getLogger(name).setLevel(logging.WARNING)
    asyncio.run(serve(Settings()))


if __name__ == "__main__":
    main()
