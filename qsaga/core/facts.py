"""What a decision depends on, and the decision itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from qsaga.core.approval import ApprovalTerms, Ceiling
from qsaga.core.contract import Contract, Seconds, StrictContract
from qsaga.core.jobs import Sensitivity
from qsaga.core.states import Rung

Verb = Literal["optimise", "sample", "estimate"]
Environment = Literal["test", "production"]
VERBS: tuple[Verb, ...] = ("optimise", "sample", "estimate")


class BackendFacts(Contract):
    """What a provider says of one backend now.

    ``queue_length`` is None where the provider did not say. ``simulator`` marks a backend that
    is no quantum hardware.
    """

    name: str
    provider: str
    qubits: int
    operational: bool
    queue_length: int | None = None
    calibration_id: str | None = None
    region: str | None = None
    detail: str = ""


class Facts(Contract):
    """All that a decision may depend on.

    Args:
        verb: the kind of workload.
        variables: of the binary model; None unless optimise.
        qubits: that the circuit needs, of a model that was reduced those that are left.
        shots: that will be asked for.
        executions: shots that a machine has to run, error mitigation included; None is as many.
        backends: as the providers describe them; empty when none could be reached.
        provider_trouble: why they could not be reached.
        queue_budget: seconds the job may wait at the provider.
        quantum_seconds: that the job may be charged.
        execution_limit: whole seconds after which a run would be stopped at the provider.
        money: that the job may cost; None is no limit.
        currency: of ``money``.
        forced_route: the rung that the caller asked for.
        backend: the backend that the caller asked for.
        tenant: on whose account.
        sensitivity: of the data.
        regions: where the circuit may run; empty is anywhere.
        environment: test or production.
        template: of which the job is one.
        template_runs: how many jobs of it have been answered for the tenant.
        approved: a person has said yes already.
        withheld: why hardware is not open to this job, whatever the policy says.
        cached_age: seconds since the tenant's newest answer to the same input; None if there is
            none, or no ladder asks for it.
        learned: name of the installed estimator; empty if there is none.
        reduction: name and version of what reduced the model; empty where nothing did.
        warnings: of coefficients too far apart for hardware or for floating point, with the ratio.
        evaluations: of a variational loop, the most times that it may run the circuit; its budgets
            are those of the whole loop then.
        loop: of the job of a loop that was decided on as a whole, the loop's id.
    """

    verb: Verb
    variables: int | None = None
    qubits: int
    shots: int
    executions: int | None = None
    backends: tuple[BackendFacts, ...] = ()
    provider_trouble: str = ""
    queue_budget: float
    quantum_seconds: float
    execution_limit: int | None = None
    money: Decimal | None = None
    currency: str = "USD"
    forced_route: Rung | None = None
    backend: str | None = None
    tenant: str = "default"
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    regions: tuple[str, ...] = ()
    environment: Environment = "production"
    template: str | None = None
    template_runs: int = 0
    approved: bool = False
    withheld: str = ""
    cached_age: float | None = None
    learned: str = ""
    reduction: str = ""
    warnings: tuple[str, ...] = ()
    evaluations: int = 1
    loop: str = ""

    @property
    def judged(self) -> bool:
        """Whether people need not be asked again: about this job, or about its loop."""
        return self.approved or bool(self.loop)

    @property
    def size(self) -> int | None:
        """Variables of the binary model after its reduction, if any; None unless optimise."""
        return self.qubits if self.reduction else self.variables

    @property
    def smaller(self) -> bool:
        """Whether the reduction took variables out."""
        return bool(self.reduction) and self.qubits != self.variables


class Forecast(Contract):
    """What a hardware run is expected to take. ``queue_seconds`` None is an honest "unknown".

    ``ceiling`` is the most that it can be charged: the provider is asked to stop it there.
    """

    backend: str
    queue_seconds: float | None
    quantum_seconds: float
    money: Decimal
    currency: str
    ceiling: Ceiling | None = None


class HedgeTerms(StrictContract):
    """Classical work beside the hardware, so that the answer is never worse than without it.

    Args:
        after: seconds that the hardware may take before it begins; jobs that are answered sooner
            never pay for it.
        seconds: of work; None is the job's budget ``solve``.
    """

    after: Annotated[float, Field(ge=0, le=7 * 86400)] = 30.0
    seconds: Seconds | None = None


class GateTerms(StrictContract):
    """What a circuit has to show on a simulator before hardware may run it.

    Args:
        max_qubits: larger circuits are not simulated.
        seconds: that the simulation may take.
        progress: of an optimise job, how far the mean energy of the samples has to be on the way
            from guessing at random (0) to the best assignment that is known (1).
        too_large: what becomes of a circuit that cannot be simulated within these limits.
        verbs: workloads that are checked; empty for all.
        noise: samples are simulated with the noise of the backend that the decision chose, by its
            calibration of now; estimates, of which is only asked that they run, are not.
    """

    max_qubits: Annotated[int, Field(ge=1, le=24)] = 20
    seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    progress: Annotated[float, Field(ge=0, le=1)] = 0.1
    too_large: Literal["pass", "refuse"] = "pass"
    verbs: tuple[Verb, ...] = ()
    noise: bool = False

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Said only where it is on: a message of before it was there stays what it was."""
        body: dict[str, Any] = handler(self)
        return body if self.noise else {k: v for k, v in body.items() if k != "noise"}


class Refusal(Contract):
    """A rung that was considered and not taken, and why."""

    rung: Rung
    reason: str


class Decision(Contract):
    """Where a job goes and why; stored with the job.

    Args:
        policy_version: of the policy that decided.
        rule: name of the rule that fired.
        reason: in words, with the facts that mattered.
        wanted: the rung that the rule or the caller asked for.
        ladder: the rungs to try, in order; its first may differ from ``wanted``.
        refused: rungs left out, each with its reason.
        backend: where a hardware rung would run.
        forecast: what a hardware run is expected to take.
        facts: what the decision was based on.
        approval: what is asked of a person before the job may go on.
        on_expiry: what happens if nobody says anything.
        alternates: further runs that fit, best first, for the rung ``other_backend``.
        hedge: classical work beside the hardware; None is none.
        top_ups: how many more runs may buy the shots that an answer lacks.
        review: what is asked of a person on the rung ``manual``.
        cached_max_age: how old an answer the rung ``cached`` may serve, in seconds.
        gate: what the circuit has to show on a simulator before hardware may run it; None is
            nothing.
        shortage: in a plan, why the tenant's budgets would refuse the job.
    """

    policy_version: str
    rule: str
    reason: str
    wanted: Rung
    ladder: tuple[Rung, ...]
    refused: tuple[Refusal, ...] = ()
    backend: str | None = None
    forecast: Forecast | None = None
    facts: Facts
    approval: ApprovalTerms | None = None
    on_expiry: Literal["end", "fallback"] = "end"
    alternates: tuple[Forecast, ...] = ()
    hedge: HedgeTerms | None = None
    top_ups: int = 0
    review: ApprovalTerms | None = None
    cached_max_age: float | None = None
    gate: GateTerms | None = None
    shortage: str = ""
    detail: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def max_seconds(self) -> int | None:
        """Whole seconds after which a hardware run is stopped; None if there is none."""
        ceiling = self.forecast.ceiling if self.forecast else None
        return int(ceiling.quantum_seconds) if ceiling else None


def as_sensitive(facts: Facts, least: Sensitivity | None) -> bool:
    """Whether the job's data are at least that sensitive; None is any."""
    return least is None or facts.sensitivity.level >= least.level
