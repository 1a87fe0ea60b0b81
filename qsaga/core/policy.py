"""Where a job goes: a policy and facts in, a decision out.

``decide`` is pure. The worker calls it when it admits a job, ``qsaga plan`` calls it without
running anything, and a backtest may call it on facts of long ago.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from qsaga.core.contract import Contract, StrictContract
from qsaga.core.errors import InvalidRequest, PolicyRefused
from qsaga.core.states import Rung

Verb = Literal["optimise", "sample", "estimate"]
VERBS: tuple[Verb, ...] = ("optimise", "sample", "estimate")


class Price(StrictContract):
    """What a quantum second costs, in ``currency``."""

    per_quantum_second: Annotated[Decimal, Field(ge=0)]
    currency: str = "USD"


class HardwareTerms(StrictContract):
    """What the policy assumes of hardware.

    Args:
        enabled: False switches all hardware off; every job is then answered another way.
        seconds_per_queued_job: expected wait for each job ahead, in seconds; None means that
            no forecast is made.
        quantum_seconds_overhead: charged for each job whatever its shots.
        quantum_seconds_per_1000_shots: charged beside the overhead.
        optimise_max_qubits: the largest optimise problem worth a hardware run.
        prices: by backend name; ``default`` for the others.
    """

    enabled: bool = True
    seconds_per_queued_job: Annotated[float, Field(gt=0)] | None = None
    quantum_seconds_overhead: Annotated[float, Field(ge=0)] = 2.0
    quantum_seconds_per_1000_shots: Annotated[float, Field(ge=0)] = 1.0
    optimise_max_qubits: Annotated[int, Field(ge=1)] = 127
    prices: dict[str, Price] = Field(default_factory=dict)

    def price(self, backend: str) -> Price:
        """The price of a backend: its own, else ``default``, else zero."""
        free = Price(per_quantum_second=Decimal(0))
        return self.prices.get(backend) or self.prices.get("default") or free


class Rule(StrictContract):
    """One line of the policy: if every condition that is given holds, the job goes to ``route``.

    Args:
        name: what the rule is called in decisions.
        verbs: workloads it is about; empty for all.
        variables_at_least: optimise problems of this many variables or more.
        variables_at_most: optimise problems of this many variables or fewer.
        route: the rung to try first.
        because: the reason in words.
    """

    name: str
    verbs: tuple[Verb, ...] = ()
    variables_at_least: int | None = None
    variables_at_most: int | None = None
    route: Rung
    because: str

    def applies(self, facts: Facts) -> bool:
        """Whether the rule is about these facts."""
        size = facts.variables
        return (
            (not self.verbs or facts.verb in self.verbs)
            and (
                self.variables_at_least is None
                or (size is not None and size >= self.variables_at_least)
            )
            and (
                self.variables_at_most is None
                or (size is not None and size <= self.variables_at_most)
            )
        )


class Policy(StrictContract):
    """A versioned routing policy, as read from its file.

    Args:
        version: named in every decision.
        hardware: what is assumed of hardware.
        simulator_max_qubits: larger circuits are not simulated.
        ladders: for each verb the rungs that may answer it, best first. The rung that a rule
            chooses is tried first, then the others in this order.
        rules: the first that applies chooses.
    """

    version: str
    hardware: HardwareTerms = HardwareTerms()
    simulator_max_qubits: Annotated[int, Field(ge=1, le=32)] = 24
    ladders: dict[Verb, Annotated[tuple[Rung, ...], Field(min_length=1)]]
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _every_verb_has_a_ladder(self) -> Self:
        for verb in VERBS:
            if verb not in self.ladders:
                raise ValueError(f"ladders.{verb}: missing (allowed: a list of rungs)")
            if verb != "optimise" and Rung.ANNEALING in self.ladders[verb]:
                raise ValueError(f"ladders.{verb}: annealing cannot answer this workload")
        for rule in self.rules:
            for verb in rule.verbs or tuple(self.ladders):
                if rule.route not in self.ladders[verb]:
                    raise ValueError(
                        f"rules.{rule.name}: route {rule.route} is not on the ladder of {verb}"
                    )
        return self


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
    detail: str = ""


class Facts(Contract):
    """All that a decision may depend on.

    Args:
        verb: the kind of workload.
        variables: of the binary model; None unless optimise.
        qubits: that the circuit needs.
        shots: that will be asked for.
        backends: as the providers describe them; empty when none could be reached.
        provider_trouble: why they could not be reached.
        queue_budget: seconds the job may wait at the provider.
        quantum_seconds: that the job may be charged.
        money: that the job may cost; None is no limit.
        currency: of ``money``.
        forced_route: the rung that the caller asked for.
        backend: the backend that the caller asked for.
    """

    verb: Verb
    variables: int | None = None
    qubits: int
    shots: int
    backends: tuple[BackendFacts, ...] = ()
    provider_trouble: str = ""
    queue_budget: float
    quantum_seconds: float
    money: Decimal | None = None
    currency: str = "USD"
    forced_route: Rung | None = None
    backend: str | None = None


class Forecast(Contract):
    """What a hardware run is expected to take. ``queue_seconds`` None is an honest "unknown"."""

    backend: str
    queue_seconds: float | None
    quantum_seconds: float
    money: Decimal
    currency: str


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
    detail: dict[str, JsonValue] = Field(default_factory=dict)


def forecast(policy: Policy, facts: Facts, backend: BackendFacts) -> Forecast:
    """Queue, quantum seconds and money that a run on this backend is expected to take."""
    terms = policy.hardware
    pace = terms.seconds_per_queued_job
    known = pace is not None and backend.queue_length is not None
    price = terms.price(backend.name)
    quantum = terms.quantum_seconds_overhead + (
        terms.quantum_seconds_per_1000_shots * facts.shots / 1000
    )
    return Forecast(
        backend=backend.name,
        queue_seconds=(pace or 0.0) * (backend.queue_length or 0) if known else None,
        quantum_seconds=quantum,
        money=price.per_quantum_second * Decimal(str(round(quantum, 6))),
        currency=price.currency,
    )


def decide(policy: Policy, facts: Facts) -> Decision:
    """Choose the route of a job.

    Raises:
        InvalidRequest: the caller forces a route or backend that can never take the job.
        PolicyRefused: no rung of the ladder can answer the job; the message names each.
    """
    _refuse_impossible(policy, facts)
    if facts.forced_route is not None:
        wanted, rule = facts.forced_route, "forced by the request"
        because = f"the request asks for {wanted.value}"
    else:
        chosen = next((rule for rule in policy.rules if rule.applies(facts)), None)
        ladder = policy.ladders[facts.verb]
        wanted = chosen.route if chosen else ladder[0]
        rule = chosen.name if chosen else "first of the ladder"
        because = chosen.because if chosen else "no rule applies"
    order = (wanted, *(rung for rung in policy.ladders[facts.verb] if rung is not wanted))
    target, refusals = _target(policy, facts)
    blocked: dict[Rung, str] = {}
    if target is None:
        blocked[Rung.HARDWARE] = refusals
    if facts.qubits > policy.simulator_max_qubits:
        blocked[Rung.SIMULATOR] = (
            f"{facts.qubits} qubits, the simulator takes {policy.simulator_max_qubits}"
        )
    if facts.verb != "optimise":
        blocked[Rung.ANNEALING] = f"annealing cannot answer {facts.verb}"
    open_rungs = tuple(rung for rung in order if rung not in blocked)
    refused = tuple(Refusal(rung=rung, reason=blocked[rung]) for rung in order if rung in blocked)
    if not open_rungs:
        raise PolicyRefused(
            "no way to answer this job: "
            + "; ".join(f"{refusal.rung.value}: {refusal.reason}" for refusal in refused)
        )
    if wanted in blocked:
        because = f"{because}, but {blocked[wanted]}"
    return Decision(
        policy_version=policy.version,
        rule=rule,
        reason=because,
        wanted=wanted,
        ladder=open_rungs,
        refused=refused,
        backend=target.backend if target else None,
        forecast=target,
        facts=facts,
    )


def _refuse_impossible(policy: Policy, facts: Facts) -> None:
    names = sorted(b.name for b in facts.backends)
    if facts.backend is not None and names and facts.backend not in names:
        raise InvalidRequest("backend", f"unknown backend {facts.backend!r}", ", ".join(names))
    if facts.forced_route is Rung.SIMULATOR and facts.qubits > policy.simulator_max_qubits:
        raise InvalidRequest(
            "route",
            f"{facts.qubits} qubits are more than the simulator takes",
            f"at most {policy.simulator_max_qubits} qubits, or another route",
        )
    asked = [b for b in facts.backends if facts.backend in (None, b.name)]
    largest = max((b.qubits for b in asked), default=None)
    if facts.forced_route is Rung.HARDWARE and largest is not None and facts.qubits > largest:
        raise InvalidRequest(
            "route",
            f"{facts.qubits} qubits are more than the hardware takes",
            f"at most {largest} qubits, or another route",
        )


def _target(policy: Policy, facts: Facts) -> tuple[Forecast | None, str]:
    """The backend with the shortest expected queue, or why there is none."""
    if not policy.hardware.enabled:
        return None, "hardware is switched off"
    if facts.verb == "optimise" and facts.qubits > policy.hardware.optimise_max_qubits:
        return None, (
            f"{facts.qubits} qubits is too big for the hardware "
            f"(the policy takes {policy.hardware.optimise_max_qubits})"
        )
    if facts.provider_trouble:
        return None, f"the provider cannot be reached: {facts.provider_trouble}"
    asked = [b for b in facts.backends if facts.backend in (None, b.name)]
    reasons: list[str] = []
    fitting: list[Forecast] = []
    for backend in asked:
        expected = forecast(policy, facts, backend)
        trouble = _trouble(facts, backend, expected)
        if trouble:
            reasons.append(f"{backend.name}: {trouble}")
        else:
            fitting.append(expected)
    if fitting:
        # An unknown queue sorts last: it is taken only where nothing better is known.
        return min(fitting, key=lambda f: (f.queue_seconds is None, f.queue_seconds or 0.0)), ""
    return None, "; ".join(reasons) or "no backend is offered"


def _trouble(facts: Facts, backend: BackendFacts, expected: Forecast) -> str:
    if not backend.operational:
        return "not operational"
    if facts.qubits > backend.qubits:
        return f"{facts.qubits} qubits is too big, it has {backend.qubits}"
    if expected.queue_seconds is not None and expected.queue_seconds > facts.queue_budget:
        return (
            f"expected queue {expected.queue_seconds:g} s is over the budget of "
            f"{facts.queue_budget:g} s"
        )
    if expected.quantum_seconds > facts.quantum_seconds:
        return (
            f"expected {expected.quantum_seconds:.1f} quantum seconds, the budget is "
            f"{facts.quantum_seconds:.1f}"
        )
    if facts.money is not None and expected.money > 0:
        if expected.currency != facts.currency:
            return f"priced in {expected.currency}, the budget is in {facts.currency}"
        if expected.money > facts.money:
            return (
                f"expected cost {expected.money} {expected.currency}, the budget is {facts.money}"
            )
    return ""
