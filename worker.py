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

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.worker import Interceptor, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.admission import Admit, Terms
from activities.answering import Close, Encode, Simulate, Solve, Verify
from activities.closing import Cancel, Settle
from activities.doorman import Doorman
from activities.found import Found
from activities.hardware import Collect, Collector, Compile, Follow
from activities.identified import IdentifiedActivities, Identity
from activities.keeping import Keeping
from activities.office import Desk, Operate
from activities.oversight import Notify, Review
from activities.quarantine import Quarantine
from activities.reconciling import Reconciling
from activities.reproduction import Reproducer
from activities.running import Running
from activities.sessions import JoinSession, Sessions
from activities.submitting import Submit
from activities.watching import Watch, Watching, ensure_watcher
from adapters import identity, providers
from adapters.aer import AerSimulator
from adapters.annealing import NealSolver, steepest_descent
from adapters.artefacts import FolderArtefacts
from adapters.circuits import QiskitCircuitReader
from adapters.ibm import IBMRecompiler
from adapters.notifier import LogNotifier, WebhookNotifier
from adapters.qaoa import QaoaBuilder
from adapters.sql import (
    SqlAuditLog,
    SqlJobRecords,
    SqlLedger,
    SqlSessionRecords,
    SqlSubmissions,
    migrate,
    open_engine,
)
from adapters.temporal import TemporalArchive
from qsaga.connection import connect, register_search_attributes
from qsaga.core.policy import Policy
from qsaga.core.ports import QuantumProvider
from qsaga.policies import load_policy, load_prices, with_prices
from qsaga.settings import Settings
from workflows import WORKFLOWS
from workflows.identified import IdentifiedWorkflows

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
class Kept:
    """Everything that is kept in the database."""

    engine: AsyncEngine
    records: SqlJobRecords
    submissions: SqlSubmissions
    sessions: SqlSessionRecords
    ledger: SqlLedger
    audit: SqlAuditLog

    @classmethod
    def in_(cls, engine: AsyncEngine) -> Kept:
        """Of one database."""
        return cls(
            engine,
            SqlJobRecords(engine),
            SqlSubmissions(engine),
            SqlSessionRecords(engine),
            SqlLedger(engine),
            SqlAuditLog(engine),
        )


@dataclass(frozen=True)
class Parts(Kept):
    """Everything a worker is made of, before it meets Temporal."""

    policy: Policy
    provider: QuantumProvider | None
    activities: Sequence[Callable[..., Any]]
    interceptors: Sequence[Interceptor]


def software() -> dict[str, str]:
    """Versions of the packages that make an answer."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def policy_of(settings: Settings) -> Policy:
    """The routing policy with the deployment's prices, hardware off where the settings say so."""
    policy = load_policy(settings.policy_file)
    if settings.prices_file is not None:
        policy = with_prices(policy, load_prices(settings.prices_file))
    if not settings.hardware:
        off = policy.hardware.model_copy(update={"enabled": False})
        policy = policy.model_copy(update={"hardware": off})
    return policy


def database_url(settings: Settings) -> str:
    """Where job table and ledger are; the URL may hold a password."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_dir / 'qsaga.db'}"


async def build(settings: Settings) -> Parts:
    """Adapters and activities as the settings say; the database is brought up to date."""
    policy = policy_of(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    artefacts = FolderArtefacts(settings.data_dir / "artefacts")
    engine = open_engine(database_url(settings))
    await migrate(engine)
    kept = Kept.in_(engine)
    records, ledger, audit = kept.records, kept.ledger, kept.audit
    reader = QiskitCircuitReader()
    provider = providers.provider(settings)
    notifier = WebhookNotifier(settings.notify_url) if settings.notify_url else LogNotifier()
    verifier, seals = identity.verifier(settings.identity), identity.seal_keys(settings.identity)
    terms = Terms(
        policy=policy,
        deployment=settings.deployment,
        identity_required=settings.identity.required,
        registered_only=settings.registered_tenants_only,
    )
    doorman = Doorman(records, settings.deployment, required=settings.identity.required)
    admit = Admit(
        terms,
        provider=provider,
        records=records,
        ledger=ledger,
        audit=audit,
        reader=reader,
        doorman=doorman,
    )

    sessions = Sessions(provider, kept.sessions, ledger, policy) if provider else None
    found = Found(provider, records, ledger, policy) if provider else None

    def archive(client: Client) -> TemporalArchive:
        queue = settings.temporal.task_queue
        return TemporalArchive(client, queue, settings.data_dir / "payloads")

    desk = Desk(
        ledger=ledger,
        records=records,
        submissions=kept.submissions,
        audit=audit,
        keeping=Keeping(records, ledger, artefacts, archive),
        reproducer=Reproducer(
            artefacts,
            QaoaBuilder(),
            reader,
            IBMRecompiler(),
            AerSimulator(),
            steepest_descent,
            software(),
        ),
        reconciling=Reconciling(
            provider, records, ledger, audit, archive, settings.deployment, sessions, found
        ),
    )
    activities: list[Callable[..., Any]] = [
        admit.admit,
        admit.readmit,
        Review(audit).review,
        Notify(notifier).notify,
        Operate(desk, identity_required=settings.identity.required).operate,
        Encode(artefacts, QaoaBuilder(), reader).encode,
        Solve(artefacts, NealSolver()).solve,
        Simulate(artefacts, AerSimulator()).simulate,
        Verify(artefacts, steepest_descent, software()).verify,
        Close(records, ledger, settings.deployment, doorman).close,
        Identity(seals).check_seal,
        Identity(seals).check_caller,
    ]
    if provider is not None:
        activities += hardware_steps(
            settings,
            provider,
            kept,
            artefacts,
            policy,
            Quarantine(kept.submissions, notifier),
            doorman,
        )
    if sessions is not None:
        queue = settings.temporal.task_queue
        activities += [
            JoinSession(kept.sessions, doorman, settings.deployment, queue).join,
            sessions.open,
            sessions.look,
            sessions.close,
        ]
    return Parts(
        **vars(kept),
        policy=policy,
        provider=provider,
        activities=activities,
        # The first stands outermost: it translates what the others raise.
        interceptors=[
            Running(),
            IdentifiedActivities(verifier, seals),
            IdentifiedWorkflows(
                identity.quickly(verifier) if verifier else None,
                seals.seal if seals else None,
            ),
        ],
    )


def hardware_steps(
    settings: Settings,
    provider: QuantumProvider,
    kept: Kept,
    artefacts: FolderArtefacts,
    policy: Policy,
    quarantine: Quarantine,
    doorman: Doorman,
) -> list[Callable[..., Any]]:
    """The activities of a HardwareRun and of the watcher."""
    collector = Collector(artefacts, provider)
    submissions, patience = kept.submissions, settings.quarantine_after
    watching = Watching(submissions, provider, settings.deployment, settings.temporal.task_queue)
    return [
        Compile(artefacts, provider).compile,
        Submit(artefacts, provider, submissions, quarantine, doorman).submit,
        Follow(provider, collector, watching).follow,
        Collect(collector).collect,
        Cancel(provider, submissions, quarantine, doorman, patience=patience).cancel_remote,
        Settle(
            artefacts,
            provider,
            kept.records,
            submissions,
            kept.ledger,
            policy,
            steepest_descent,
            quarantine,
            doorman,
            patience=patience,
        ).settle,
        Watch(provider, submissions, settings.deployment).watch,
    ]


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
        interceptors=parts.interceptors,
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
    parts = await build(settings)
    client = await connect(settings)
    if settings.temporal.register_search_attributes:
        await register_search_attributes(client)
    if parts.provider is not None and await parts.submissions.watched():
        await ensure_watcher(
            client, settings.deployment, parts.provider.name, settings.temporal.task_queue
        )
    async with worker(client, settings, parts):
        logging.getLogger("qsaga").info(
            "worker ready: %s at %s, process %d",
            settings.temporal.task_queue,
            settings.temporal.address,
            os.getpid(),
        )
        await stop.wait()
    await parts.engine.dispose()


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # They would tell of every pass of every transpilation and of every request.
    for name in ("qiskit", "qiskit_ibm_runtime", "runtime", "base_primitive"):
        logging.getLogger(name).setLevel(logging.WARNING)
    asyncio.run(serve(Settings()))


if __name__ == "__main__":
    main()
