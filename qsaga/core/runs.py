"""What QuantumJob and HardwareRun say to each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.jobs import Budgets, SessionTerms, Workload
from qsaga.core.ports import Charge, LateResult, RemoteJob, RunSpec
from qsaga.core.remote_steps import Settled
from qsaga.core.results import Cost, JobResult, JobStatus, LayerTiming, Transition
from qsaga.core.states import JobState, Layer
from qsaga.core.steps import Raw

QUANTUM_JOB = "QuantumJob"
HARDWARE_RUN = "HardwareRun"
PLAN_JOB = "PlanJob"
RUN_REPORTED = "run_reported"
GIVE_UP = "give_up"
STATUS = "status"
LOOK = "look"
"""Says that it is worth looking at the remote job. Anybody may send it: it tells nothing more."""
WATCH = "Watch"
FOLLOW = "follow"
"""Names on the wire: applications use them with a plain Temporal client."""


class RunRequest(Contract):
    """One hardware submission and its account.

    Args:
        job_id: the job that owns the run; it receives the report.
        tag: identifies the submission at the provider; also the run's workflow id.
        deployment_tag: marks the remote job as this deployment's.
        circuit: QPY, not yet compiled.
        model: of an optimise workload, to compare a late result with what was served.
        expected_wait: seconds that the job may stay queued at the provider; None is unknown.
        session: the provider session to take part in, if any.
        hold: key of the reservation that the run settles; empty where there is none.
        guarded: the run is started by its job only, and heeds sealed signals only.
        reduction: of that model; see ``Encoded``.
        only_close: submit nothing, only end and settle what was begun under the tag; why.
        queues: task queues of the roles of workers; empty where there is one queue for all.
        published: the run sets search attributes; those of before did not.
    """

    job_id: str
    tag: str
    deployment_tag: str
    workload: Workload
    circuit: ArtefactRef
    model: ArtefactRef | None
    spec: RunSpec
    backend: str
    seed: int
    budgets: Budgets
    expected_wait: float | None = None
    session: SessionTerms | None = None
    hold: str = ""
    guarded: bool = False
    only_close: str = ""
    reduction: ArtefactRef | None = None
    queues: dict[str, str] = {}
    published: bool = False


class RunReport(Contract):
    """How a run went, for the job that owns it.

    ``outcome`` is ``answered``, ``failed`` (``reason``), ``timed_out`` (``layer`` names the budget)
    or ``abandoned`` (the job had asked for the end). ``account_open`` says that the run lives on
    to end and settle the remote job; ``account`` is set once that is done. ``artefacts`` is what
    it stored.
    """

    run_id: str
    outcome: Literal["answered", "failed", "timed_out", "abandoned"]
    reason: str = ""
    layer: Layer | None = None
    raw: Raw | None = None
    transitions: tuple[Transition, ...] = ()
    timings: tuple[LayerTiming, ...] = ()
    artefacts: tuple[ArtefactRef, ...] = ()
    cost: Cost = Cost()
    account_open: bool = False
    account: Settled | None = None


class RunStatus(Contract):
    """What a running HardwareRun says of itself.

    ``quarantined`` is why its account waits for a person; empty while it does not.
    """

    run_id: str
    state: JobState
    remote: RemoteJob | None = None
    giving_up: str = ""
    quarantined: str = ""
    account_closed: bool = False
    transitions: tuple[Transition, ...] = ()


class Progress(Contract):
    """A job and, while hardware works on it, its run.

    ``retries`` is as in ``JobAccount``, where it was asked for.
    """

    job: JobStatus
    run: RunStatus | None = None
    retries: dict[str, int] | None = None


class JobAccount(Contract):
    """A job that ended and what its hardware runs came to.

    ``closed`` says that no run is open any more: ``charges`` and ``late_results`` are complete.
    ``retries`` counts attempts after the first, by step, of the job and its runs, except looks at
    the provider; None where Temporal, which keeps them, has forgotten the job.
    """

    result: JobResult
    runs: tuple[RunReport, ...] = ()
    charges: tuple[Charge, ...] = ()
    late_results: tuple[LateResult, ...] = ()
    closed: bool
    retries: dict[str, int] | None = None

    def cost(self) -> Cost:
        """What the job cost in the end: all charges, late and extra jobs among them."""
        if not self.closed or not self.charges:
            return self.result.cost.model_copy(update={"settled": self.closed})
        first = self.charges[0].cost
        return Cost(
            quantum_seconds=sum(charge.cost.quantum_seconds for charge in self.charges),
            money=sum((charge.cost.money for charge in self.charges), Decimal(0)),
            currency=first.currency,
            classical_seconds=self.result.cost.classical_seconds,
        )
