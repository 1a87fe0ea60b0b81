"""Variational loops: what a caller asks for, and what comes of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from qsaga.core.approval import ApprovalRecord, Ceiling
from qsaga.core.contract import Contract, JobKey, Seconds, Slug, StrictContract, digest
from qsaga.core.jobs import Estimate, JobRequest, SessionTerms
from qsaga.core.results import Cost, Unanswered
from qsaga.core.states import JobState, Rung

HYBRID_LOOP = "HybridLoop"
"""Name on the wire."""
LONGEST_KEY = 100
"""Characters of a loop's key: those of its jobs are longer."""
MAX_ITERATIONS = 10_000
POINTS_PER_RUN = 200
"""Evaluations after which a loop goes on in a new run, with a short history."""

ParameterName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Stop = Literal[
    "converged", "iterations", "budget", "deadline", "cancelled", "failed", "rejected", "expired"
]
Purpose = Literal["search", "calibrate", "confirm"]


class OptimiserSpec(StrictContract):
    """The classical half of a loop.

    Args:
        name: of an installed optimiser; with qsaga come ``spsa``, ``adam`` and ``cma_es``.
        iterations: the most that it may take; calibration and confirmation come on top.
        options: of the optimiser; see ``docs/loops.md``.
        tolerance: stop once the mean value of the last ``patience`` iterations is less than this
            below the mean of as many before them, in the unit of the observable; None never does.
        patience: how many iterations are compared.
    """

    name: Slug = "spsa"
    iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = 50
    options: dict[str, JsonValue] = Field(default_factory=dict)
    tolerance: Annotated[float, Field(gt=0)] | None = None
    patience: Annotated[int, Field(ge=1, le=1000)] = 5


class PointBudgets(StrictContract):
    """The most that one evaluation may use, where the loop has as much left.

    Args:
        deadline: seconds to its answer; None is a quarter of the loop's deadline.
        quantum_seconds: that the provider may charge; None is what is left, shared by the points
            of an iteration.
        money: that it may cost; None likewise.
    """

    deadline: Seconds | None = None
    quantum_seconds: Annotated[float, Field(gt=0, le=1e6)] | None = None
    money: Annotated[Decimal, Field(gt=0, le=10**9, allow_inf_nan=False)] | None = None


class LoopRequest(JobRequest):
    """Minimise the expectation value of an observable over the parameters of a circuit.

    A job request whose circuit has parameters: each point is a job of its own, with all that the
    request says of route, backend, data and purpose. ``workload`` is ``estimate`` with one
    observable. Of ``budgets`` deadline, quantum seconds and money are for the whole loop, the
    layers are for each job. ``seed`` is also that of the optimiser.

    Args:
        workload: circuit with parameters (``input float`` in OpenQASM 3, or QPY), the observable,
            and the precision of each value.
        expect_peak: nothing: it is about samples.
        optimiser: which points are asked.
        parameters: names of the circuit's parameters in the order of ``initial``; empty is the
            order of Qiskit: by name, elements of a vector by index.
        initial: where to begin, one number for each parameter; empty draws each from
            [-pi/10, pi/10] by the seed.
        point: the most that one evaluation may use.
        share_session: its jobs share a provider session of their own, where the provider has
            batches and ``session`` names none.
    """

    key: JobKey
    workload: Estimate
    expect_peak: None = None
    optimiser: OptimiserSpec = OptimiserSpec()
    parameters: tuple[ParameterName, ...] = ()
    initial: tuple[float, ...] = ()
    point: PointBudgets = PointBudgets()
    share_session: bool = True

    @model_validator(mode="after")
    def _one_loop(self) -> Self:
        if len(self.key) > LONGEST_KEY:
            raise _refused("key", f"{len(self.key)} characters", f"at most {LONGEST_KEY}")
        observables = self.workload.observables
        if len(observables) != 1:
            raise _refused(
                "workload.observables", f"{len(observables)} of them", "one, to be minimised"
            )
        if len({len(label) for label in observables[0]}) > 1:
            raise _refused(
                "workload.observables.0", "labels of several lengths", "one letter for each qubit"
            )
        if len(set(self.parameters)) != len(self.parameters):
            raise _refused("parameters", "a name is there twice", "each name once")
        named, given = len(self.parameters), len(self.initial)
        if named and given and named != given:
            raise _refused("initial", f"{given} values", f"one for each of {named} parameters")
        return self

    @property
    def job_id(self) -> str:
        """The workflow id, ``tenant/loop/key``: no job's, since a key has no ``/``."""
        return f"{self.tenant}/loop/{self.key}"

    def own_session(self) -> SessionTerms:
        """The provider session of this loop alone."""
        return SessionTerms(key="loop-" + digest(self.job_id)[:32])


def _refused(field: str, problem: str, allowed: str) -> PydanticCustomError:
    context = {"problem": problem, "at": field, "allowed": allowed}
    return PydanticCustomError("loop", "{problem}", context)


class LoopGrant(Contract):
    """What was decided on a loop as a whole: its jobs are not asked about one by one.

    Args:
        loop_id: the loop's.
        withheld: why hardware is not open to its jobs; empty where it is.
        ceiling: the most that a person allowed the whole loop; None is as it was asked.
        open: hardware could not be judged when this was decided, and is to be judged again.
        guarded: who speaks to the loop must prove who he is.
    """

    loop_id: str
    withheld: str = ""
    ceiling: Ceiling | None = None
    open: bool = False
    guarded: bool = False


class PointShare(Contract):
    """What one evaluation may use: seconds, quantum seconds, money (None is no limit)."""

    deadline: float
    quantum_seconds: float
    money: Decimal | None = None


class Evaluation(Contract):
    """One point and the job that measured it.

    Args:
        job_id: of the job; its row has the provenance.
        parameters: in the order of ``LoopResult.parameters``.
        share: what the job was allowed.
        value: in the unit of the observable; None where the job has no answer.
        standard_error: of the value.
        state: in which the job ended; None while it runs.
        source: the rung that answered: hardware, or what it fell back to.
        cost: of the job, as far as it was known when it ended.
        short: the tenant's budgets did not allow it.
        reason: why there is no value.
    """

    job_id: str
    parameters: tuple[float, ...]
    share: PointShare
    value: float | None = None
    standard_error: float | None = None
    state: JobState | None = None
    source: Rung | None = None
    backend: str | None = None
    provider_job_ids: tuple[str, ...] = ()
    cost: Cost = Cost()
    short: bool = False
    reason: str = ""


class Iteration(Contract):
    """The points that were measured side by side; ``number`` counts from 0."""

    number: int
    purpose: Purpose = "search"
    points: tuple[Evaluation, ...]

    @property
    def complete(self) -> bool:
        """Whether each point has a value."""
        return all(point.value is not None for point in self.points)


class LoopAnswer(Contract):
    """The lowest value, and where it was measured.

    ``confirmed`` says that it was measured anew after the search. A value that was picked as the
    lowest of many is too low on average, by one to three standard errors.
    """

    value: float
    standard_error: float
    parameters: dict[str, float]
    iteration: int
    job_id: str
    source: Rung
    confirmed: bool = False


class LoopResult(Contract):
    """How a loop ended. Either ``answer`` or ``unanswered`` is set, never both.

    Args:
        stopped: why it asked no more points; ``reason`` says it in words.
        sources: how many points each rung answered.
        cost: of all its jobs, as far as it was known when they ended.
        software: versions of what chose the points.
        approval: what a person was asked about the loop as a whole; None if nobody was.
    """

    schema_version: Literal["1"] = "1"
    loop_id: str
    tenant: str
    key: str
    payload_hash: str
    state: JobState
    stopped: Stop
    reason: str
    answer: LoopAnswer | None = None
    unanswered: Unanswered | None = None
    parameters: tuple[str, ...] = ()
    optimiser: OptimiserSpec
    iterations: tuple[Iteration, ...] = ()
    sources: dict[Rung, int] = Field(default_factory=dict)
    cost: Cost = Cost()
    began: datetime
    ended: datetime
    software: dict[str, str] = Field(default_factory=dict)
    approval: ApprovalRecord | None = None


class LoopStatus(Contract):
    """What a loop says of itself. ``running`` are the ids of the jobs that it waits for."""

    loop_id: str
    payload_hash: str
    state: JobState
    iteration: int
    of: int
    best: LoopAnswer | None = None
    cost: Cost = Cost()
    running: tuple[str, ...] = ()
    stopped: Stop | None = None
    reason: str = ""
    approval: ApprovalRecord | None = None


class LoopCarry(Contract):
    """What a new run of a loop takes over from the one before it.

    ``plan_state`` is the optimiser's, before it was told the values of the last iteration.
    """

    began: datetime
    plan_state: JsonValue
    iterations: tuple[Iteration, ...]
    parameters: tuple[str, ...]
    software: dict[str, str]
    session: SessionTerms | None = None
    grant: LoopGrant | None = None
    approval: ApprovalRecord | None = None


class JobInput(JobRequest):
    """What the workflow of a job takes: a request as it is, or one that a loop has begun.

    ``grant`` is heeded of the loop that started the job only: what was decided on all of it.
    """

    grant: LoopGrant | None = None

    @property
    def request(self) -> JobRequest:
        """As it was asked."""
        return JobRequest.model_construct(**_fields(self, JobRequest))

    @classmethod
    def granted(cls, request: JobRequest, grant: LoopGrant | None) -> JobInput:
        """For a job of a loop."""
        return cls.model_construct(**_fields(request, JobRequest), grant=grant)


class LoopInput(LoopRequest):
    """What the workflow takes: a request as it is, or one that another run has begun."""

    carry: LoopCarry | None = None

    @property
    def request(self) -> LoopRequest:
        """As the caller asked."""
        return LoopRequest.model_construct(**_fields(self, LoopRequest))

    @classmethod
    def carried(cls, request: LoopRequest, carry: LoopCarry) -> LoopInput:
        """For the run that goes on."""
        return cls.model_construct(**_fields(request, LoopRequest), carry=carry)


def _fields(request: JobRequest, of: type[JobRequest]) -> dict[str, Any]:
    """What was validated once: a large problem is not read again with each look at it."""
    return {name: getattr(request, name) for name in of.model_fields}
