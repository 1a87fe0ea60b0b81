"""The activities of each role, with the adapters that they need and no others.

Vendors are imported where they are used: a worker of one role neither waits for those of the
others nor holds them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from composition.parts import WITH_DATABASE, Parts, software
from qsaga.core.ports import QuantumProvider
from qsaga.core.roles import WorkerRole
from qsaga.settings import Settings

Steps = list[Callable[..., Any]]


async def build(settings: Settings, roles: Sequence[WorkerRole] | None = None) -> Parts:
    """Adapters and activities of the roles, those of the settings if left out.

    The database is brought up to date by roles that use it.
    """
    parts = Parts(settings, settings.roles if roles is None else roles)
    if parts.roles & WITH_DATABASE:
        from adapters.sql import migrate

        await migrate(parts.engine)
    # One instance of each for all queues: some remember what saves a request.
    parts.steps = {role: make(parts) for role, make in STEPS.items() if role in parts.roles}
    if WorkerRole.PROVIDER in parts.roles:
        parts.desk = desk_steps(parts)
    return parts


def workflow_steps(parts: Parts) -> Steps:
    """Local activities of workflows."""
    from activities.identified import Identity

    seals = Identity(parts.seals)
    return [parts.closing.close, seals.check_seal, seals.check_caller]


def desk_steps(parts: Parts) -> Steps:
    """Steps that stay on the workflow's own queue: admission, people, operators."""
    from activities.admission import Admit, Terms
    from activities.holding import HoldRun
    from activities.looping import Ask
    from activities.loops import LoopDesk
    from activities.office import Operate
    from activities.oversight import Notify, Review
    from activities.rungs import Cached, Incumbent, Merge, Take
    from adapters.annealing import NealSolver
    from adapters.ansatz import QiskitAnsatzReader
    from adapters.circuits import RememberingReader
    from adapters.optimisers import optimiser
    from adapters.reduction import RoofDuality

    settings = parts.settings
    required = settings.identity.required
    admit = Admit(
        Terms(
            policy=parts.policy,
            deployment=settings.deployment,
            identity_required=required,
            registered_only=settings.registered_tenants_only,
            queues=settings.temporal.queues,
        ),
        provider=parts.provider,
        records=parts.records,
        ledger=parts.ledger,
        audit=parts.audit,
        reader=RememberingReader(),
        doorman=parts.doorman,
        learned=parts.estimator.name if parts.estimator else "",
        reducer=RoofDuality(),
    )
    loops = LoopDesk(admit, parts.policy, parts.kept.loops, identity_required=required)
    return [
        admit.admit,
        admit.readmit,
        loops.admit_loop,
        loops.close_loop,
        Review(parts.audit).review,
        Notify(parts.notifier).notify,
        Operate(_desk(parts), identity_required=required).operate,
        parts.closing.close,
        HoldRun(parts.ledger, settings.deployment, parts.doorman).hold_run,
        Cached(parts.records, parts.doorman).cached,
        Take(parts.artefacts).take,
        Merge(parts.artefacts).merge,
        Ask(QiskitAnsatzReader(), optimiser, parts.provider, software()).ask_tell,
        # Here and not with the solvers: it is asked for when those are dead.
        Incumbent(parts.artefacts, parts.incumbents, NealSolver.name).incumbent,
    ]


def _desk(parts: Parts) -> Any:
    """What the operations work on."""
    from activities.found import Found
    from activities.keeping import Keeping
    from activities.office import Desk
    from activities.quarantine import Quarantine
    from activities.reconciling import Reconciling
    from activities.reproduction import Reproducer
    from adapters.aer import AerSimulator
    from adapters.annealing import steepest_descent
    from adapters.circuits import QiskitCircuitReader
    from adapters.ibm import IBMRecompiler
    from adapters.ideal import ExactDistributions
    from adapters.qaoa import QaoaBuilder
    from adapters.reduction import RoofDuality
    from composition.upkeep import schedules, sweeping

    provider, kept, artefacts = parts.provider, parts.kept, parts.artefacts
    quarantine = Quarantine(kept.submissions, parts.notifier)
    found = None
    if provider is not None:
        found = Found(
            provider, kept.records, kept.ledger, parts.policy, kept.submissions, quarantine
        )
    return Desk(
        ledger=kept.ledger,
        records=kept.records,
        submissions=kept.submissions,
        audit=kept.audit,
        loops=kept.loops,
        keeping=Keeping(
            kept.records, kept.ledger, artefacts, parts.archive, kept.loops, parts.cache
        ),
        reproducer=Reproducer(
            artefacts,
            QaoaBuilder(),
            QiskitCircuitReader(),
            IBMRecompiler(),
            AerSimulator(),
            steepest_descent,
            software(),
            ExactDistributions(),
            RoofDuality(),
        ),
        reconciling=Reconciling(
            provider,
            kept.records,
            kept.loops,
            kept.ledger,
            kept.audit,
            parts.archive,
            parts.settings.deployment,
            parts.sessions,
            found,
        ),
        sweeping=sweeping(parts),
        schedules=schedules(parts),
    )


def provider_steps(parts: Parts) -> Steps:
    """A run's dealings with the provider, and those of the owners of sessions."""
    if parts.provider is None:
        return []
    return [*_run_steps(parts, parts.provider), *_session_steps(parts)]


def _run_steps(parts: Parts, provider: QuantumProvider) -> Steps:
    from activities.closing import Cancel, Settle
    from activities.hardware import Collect, Collector, Follow
    from activities.quarantine import Quarantine
    from activities.submitting import Submit
    from activities.watching import Watching
    from adapters.annealing import steepest_descent

    settings, artefacts, doorman = parts.settings, parts.artefacts, parts.doorman
    submissions, patience = parts.submissions, settings.quarantine_after
    quarantine = Quarantine(submissions, parts.notifier)
    collector = Collector(artefacts, provider)
    watching = Watching(
        submissions,
        provider,
        settings.deployment,
        settings.temporal.task_queue,
        settings.temporal.queues,
    )
    return [
        Submit(artefacts, provider, submissions, quarantine, doorman).submit,
        Follow(provider, collector, watching).follow,
        Collect(collector).collect,
        Cancel(provider, submissions, quarantine, doorman, patience=patience).cancel_remote,
        Settle(
            artefacts,
            provider,
            parts.records,
            submissions,
            parts.ledger,
            parts.policy,
            steepest_descent,
            quarantine,
            doorman,
            patience=patience,
        ).settle,
    ]


def _session_steps(parts: Parts) -> Steps:
    from activities.sessions import JoinSession

    settings, sessions = parts.settings, parts.sessions
    if sessions is None:
        return []
    join = JoinSession(
        parts.kept.sessions,
        parts.doorman,
        settings.deployment,
        settings.temporal.task_queue,
        settings.temporal.queues,
    )
    return [join.join, sessions.open, sessions.look, sessions.close]


def compile_steps(parts: Parts) -> Steps:
    """From the problem to a circuit, and to the circuit of a backend."""
    from activities.answering import Encode
    from activities.encoding import EncodeOnce
    from adapters.circuits import RememberingReader
    from adapters.qaoa import QaoaBuilder
    from adapters.reduction import RoofDuality

    builder, reducer = QaoaBuilder(), RoofDuality()
    encode = Encode(parts.artefacts, builder, RememberingReader(), reducer)
    once = EncodeOnce(encode, parts.artefacts, parts.cache, builder.version, reducer.version)
    steps: Steps = [once.encode]
    if parts.provider is not None:
        from activities.hardware import Compile

        steps.append(Compile(parts.artefacts, parts.provider, parts.cache).compile)
    return steps


def solve_steps(parts: Parts) -> Steps:
    """Classical computing: no account, no database, no secret."""
    from activities.answering import Simulate, Solve, Verify
    from activities.exact import Exact
    from activities.gate import Gate
    from activities.rungs import Learned
    from adapters.aer import AerSimulator
    from adapters.annealing import NealSolver, steepest_descent
    from adapters.cpsat import CpSatSolver
    from adapters.ideal import ExactDistributions

    solver = NealSolver(cores=parts.settings.slots.solver_cores)
    terms = parts.settings.simulator
    simulator = AerSimulator(terms.max_qubits, device=terms.device)
    return [
        Solve(parts.artefacts, solver, parts.incumbents, parts.settings.drain).solve,
        Simulate(parts.artefacts, simulator).simulate,
        Gate(parts.artefacts, simulator).gate,
        Verify(parts.artefacts, steepest_descent, software(), ExactDistributions()).verify,
        Exact(parts.artefacts, CpSatSolver(), parts.incumbents, parts.settings.drain).exact,
        Learned(parts.artefacts, parts.estimator).learned,
    ]


def watch_steps(parts: Parts) -> Steps:
    """The one look for all who wait."""
    if parts.provider is None:
        return []
    from activities.watching import Watch

    return [Watch(parts.provider, parts.submissions, parts.settings.deployment).watch]


STEPS: Mapping[WorkerRole, Callable[[Parts], Steps]] = {
    WorkerRole.WORKFLOW: workflow_steps,
    WorkerRole.PROVIDER: provider_steps,
    WorkerRole.COMPILE: compile_steps,
    WorkerRole.SOLVE: solve_steps,
    WorkerRole.WATCH: watch_steps,
}
