"""What a worker is made of, before it meets Temporal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from temporalio.client import Client
from temporalio.worker import Interceptor

from activities.doorman import Doorman
from activities.identified import IdentifiedActivities
from activities.running import Running
from adapters import estimators, identity, providers
from adapters.artefacts import FolderArtefacts
from adapters.cache import FolderCache
from adapters.incumbents import FolderIncumbents
from adapters.temporal import TemporalArchive
from qsaga.core.policy import Policy
from qsaga.core.ports import QuantumProvider
from qsaga.core.records import Notifier
from qsaga.core.roles import WorkerRole
from qsaga.core.seals import SealKeys
from qsaga.core.solvers import LearnedEstimator
from qsaga.policies import load_policy, load_prices, with_prices
from qsaga.settings import Settings
from workflows.identified import IdentifiedWorkflows

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from activities.answering import Close
    from activities.sessions import Sessions
    from adapters.sql import (
        SqlAuditLog,
        SqlJobRecords,
        SqlLedger,
        SqlLoopRecords,
        SqlSessionRecords,
        SqlSubmissions,
    )

PACKAGES = (
    "qsaga",
    "temporalio",
    "qiskit",
    "qiskit-ibm-runtime",
    "qiskit-aer",
    "dimod",
    "dwave-neal",
    "dwave-preprocessing",
    "dwave-samplers",
    "ortools",
)
WITH_DATABASE = frozenset({WorkerRole.WORKFLOW, WorkerRole.PROVIDER, WorkerRole.WATCH})
WITH_KEYS = frozenset({WorkerRole.WORKFLOW, WorkerRole.PROVIDER})
"""Roles whose steps ask who the caller is, or whether a workflow of ours asks."""


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
    if settings.hardware:
        return policy
    off = policy.hardware.model_copy(update={"enabled": False})
    return policy.model_copy(update={"hardware": off})


def database_url(settings: Settings) -> str:
    """Of the job table and the ledger."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_dir / 'qsaga.db'}"


@dataclass(frozen=True)
class Kept:
    """Everything that is kept in the database."""

    engine: AsyncEngine
    records: SqlJobRecords
    submissions: SqlSubmissions
    sessions: SqlSessionRecords
    ledger: SqlLedger
    audit: SqlAuditLog
    loops: SqlLoopRecords


class Parts:
    """Adapters of one process, each made when a step first needs it: a role needs few of them.

    Args:
        settings: of the deployment.
        roles: of the process.
    """

    def __init__(self, settings: Settings, roles: Sequence[WorkerRole]) -> None:
        self.settings, self.roles = settings, frozenset(roles)
        self.steps: Mapping[WorkerRole, Sequence[Callable[..., Any]]] = {}
        self.desk: Sequence[Callable[..., Any]] = ()
        self.artefacts = FolderArtefacts(settings.data_dir / "artefacts")
        self.incumbents = FolderIncumbents(settings.data_dir / "incumbents")
        self.cache = FolderCache(settings.data_dir / "cache") if settings.work_cache else None

    @property
    def activities(self) -> tuple[Callable[..., Any], ...]:
        """Every step of the process, each once."""
        every = (self.desk, *self.steps.values())
        return tuple(dict.fromkeys(step for steps in every for step in steps))

    @cached_property
    def policy(self) -> Policy:
        """Of the deployment."""
        return policy_of(self.settings)

    @cached_property
    def provider(self) -> QuantumProvider | None:
        """Where circuits run; None where no account is configured."""
        return providers.provider(self.settings)

    @cached_property
    def kept(self) -> Kept:
        """The database; it is brought up to date by ``build``."""
        from adapters import sql

        engine = sql.open_engine(database_url(self.settings))
        return Kept(
            engine,
            sql.SqlJobRecords(engine),
            sql.SqlSubmissions(engine),
            sql.SqlSessionRecords(engine),
            sql.SqlLedger(engine),
            sql.SqlAuditLog(engine),
            sql.SqlLoopRecords(engine),
        )

    @property
    def engine(self) -> AsyncEngine:
        """Of the database."""
        return self.kept.engine

    @property
    def records(self) -> SqlJobRecords:
        """The job table."""
        return self.kept.records

    @property
    def submissions(self) -> SqlSubmissions:
        """What is sent, and which runs wait."""
        return self.kept.submissions

    @property
    def ledger(self) -> SqlLedger:
        """The budgets of the tenants."""
        return self.kept.ledger

    @property
    def audit(self) -> SqlAuditLog:
        """Who did what."""
        return self.kept.audit

    @cached_property
    def seals(self) -> SealKeys | None:
        """The secrets of the deployment, if there are any."""
        return identity.seal_keys(self.settings.identity)

    @cached_property
    def doorman(self) -> Doorman:
        """Lets steps of guarded jobs in."""
        required = self.settings.identity.required
        return Doorman(self.kept.records, self.settings.deployment, required=required)

    @cached_property
    def sessions(self) -> Sessions | None:
        """Provider sessions; None without a provider."""
        from activities.sessions import Sessions

        if self.provider is None:
            return None
        return Sessions(self.provider, self.kept.sessions, self.ledger, self.policy)

    @cached_property
    def closing(self) -> Close:
        """The step that is done here where it can be, and handed on where it cannot."""
        from activities.answering import Close

        return Close(
            self.records,
            self.ledger,
            self.settings.deployment,
            self.doorman,
            self.incumbents,
        )

    @cached_property
    def estimator(self) -> LearnedEstimator | None:
        """The user's own; None where none is named."""
        return estimators.estimator(self.settings.estimator)

    @cached_property
    def notifier(self) -> Notifier:
        """Tells people."""
        from adapters.notifier import LogNotifier, WebhookNotifier

        url = self.settings.notify_url
        return WebhookNotifier(url.get_secret_value()) if url else LogNotifier()

    def archive(self, client: Client) -> TemporalArchive:
        """What Temporal holds of the deployment's jobs."""
        queue = self.settings.temporal.task_queue
        return TemporalArchive(client, queue)

    @cached_property
    def interceptors(self) -> Sequence[Interceptor]:
        """Of all workers of the process."""
        verifier = seals = None
        if self.roles & WITH_KEYS:
            verifier, seals = identity.verifier(self.settings.identity), self.seals
        # The first stands outermost: it translates what the others raise.
        return (
            Running(),
            IdentifiedActivities(verifier, seals),
            IdentifiedWorkflows(
                identity.quickly(verifier) if verifier else None, seals.seal if seals else None
            ),
        )

    async def close(self) -> None:
        """Let the database go, if it was used."""
        if "kept" in vars(self):
            await self.kept.engine.dispose()
