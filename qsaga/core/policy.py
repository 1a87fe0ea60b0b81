"""Where a job goes: a policy and facts in, a decision out.

``decide`` is pure. The worker calls it when it admits a job, ``qsaga plan`` calls it without
running anything, and a backtest may call it on facts of long ago.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from qsaga.core.approval import Ceiling
from qsaga.core.approval_rule import ApprovalRule
from qsaga.core.contract import Seconds, StrictContract
from qsaga.core.errors import InvalidRequest, PolicyRefused
from qsaga.core.facts import (
    VERBS,
    BackendFacts,
    Decision,
    Environment,
    Facts,
    Forecast,
    GateTerms,
    HedgeTerms,
    Refusal,
    Verb,
    as_sensitive,
)
from qsaga.core.jobs import Sensitivity
from qsaga.core.ladder import ManualReview, closed_rungs, gate_of, misfit
from qsaga.core.ledger import Currency
from qsaga.core.reduction import settled, size_text
from qsaga.core.states import HARDWARE_RUNGS, OPTIMISE_RUNGS, Rung


class Price(StrictContract):
    """What a quantum second costs, in ``currency``."""

    per_quantum_second: Annotated[Decimal, Field(ge=0)]
    currency: Currency = "USD"


class PriceList(StrictContract):
    """Prices of backends, kept apart from the policy.

    Args:
        version: of the list.
        backends: by backend name; ``default`` for the others.
    """

    version: str
    backends: dict[str, Price]


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
        max_sensitivity: jobs above it never go to hardware: not even their circuit leaves.
        environments: jobs of other environments never go to hardware.
        regions: of backends whose provider does not say, by name.
    """

    enabled: bool = True
    seconds_per_queued_job: Annotated[float, Field(gt=0)] | None = None
    quantum_seconds_overhead: Annotated[float, Field(ge=0)] = 2.0
    quantum_seconds_per_1000_shots: Annotated[float, Field(ge=0)] = 1.0
    optimise_max_qubits: Annotated[int, Field(ge=1)] = 127
    prices: dict[str, Price] = Field(default_factory=dict)
    max_sensitivity: Sensitivity = Sensitivity.CONFIDENTIAL
    environments: tuple[Environment, ...] = ("test", "production")
    regions: dict[str, str] = Field(default_factory=dict)

    def price(self, backend: str) -> Price:
        """The price of a backend: its own, else ``default``, else zero."""
        free = Price(per_quantum_second=Decimal(0))
        return self.prices.get(backend) or self.prices.get("default") or free


class Rule(StrictContract):
    """One line of the policy: if every condition that is given holds, the job goes to ``route``.

    Args:
        name: what the rule is called in decisions.
        verbs: workloads it is about; empty for all.
        variables_at_least: optimise problems of this many variables or more; of a model that
            was reduced, those that are left count.
        variables_at_most: optimise problems of this many variables or fewer; the same.
        sensitivity_at_least: jobs with data this sensitive or more.
        environment: jobs of this environment.
        tenants: jobs of these tenants; empty for all.
        templates: jobs of these templates; empty for all.
        route: the rung to try first.
        because: the reason in words.
    """

    name: str
    verbs: tuple[Verb, ...] = ()
    variables_at_least: int | None = None
    variables_at_most: int | None = None
    sensitivity_at_least: Sensitivity | None = None
    environment: Environment | None = None
    tenants: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    route: Rung
    because: str

    def applies(self, facts: Facts) -> bool:
        """Whether the rule is about these facts."""
        size = facts.size
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
            and as_sensitive(facts, self.sensitivity_at_least)
            and self.environment in (None, facts.environment)
            and (not self.tenants or facts.tenant in self.tenants)
            and (not self.templates or facts.template in self.templates)
        )


class Policy(StrictContract):
    """A versioned routing policy, as read from its file.

    Args:
        version: named in every decision.
        hardware: what is assumed of hardware.
        simulator_max_qubits: larger circuits are not simulated.
        exact_max_variables: larger models are not given to the rung ``exact``. Up to 20 variables
            it tries every assignment, beyond that it searches with CP-SAT.
        cached_max_age: how old an answer to the same input the rung ``cached`` may serve, in
            seconds; None serves none.
        hedge: classical work beside the hardware for optimise jobs whose ladder has annealing;
            None is none.
        gate: what a circuit has to show on a simulator before hardware may run it; None is nothing.
        top_ups: how many more hardware runs, within the job's budgets, may buy the shots or the
            precision that an answer lacks.
        review: who is asked on the rung ``manual``.
        ladders: for each verb the rungs that may answer it, best first. The rung that a rule
            chooses is tried first, then the others in this order.
        rules: the first that applies chooses.
        approvals: the first that applies asks for a person's yes.
    """

    version: str
    hardware: HardwareTerms = HardwareTerms()
    simulator_max_qubits: Annotated[int, Field(ge=1, le=32)] = 24
    exact_max_variables: Annotated[int, Field(ge=1, le=10_000)] = 200
    cached_max_age: Seconds | None = None
    hedge: HedgeTerms | None = None
    gate: GateTerms | None = None
    top_ups: Annotated[int, Field(ge=0, le=5)] = 0
    review: ManualReview = ManualReview()
    ladders: dict[Verb, Annotated[tuple[Rung, ...], Field(min_length=1)]]
    rules: tuple[Rule, ...]
    approvals: tuple[ApprovalRule, ...] = ()

    @model_validator(mode="after")
    def _every_verb_has_a_ladder(self) -> Self:
        for verb in VERBS:
            if verb not in self.ladders:
                raise ValueError(f"ladders.{verb}: missing (allowed: a list of rungs)")
            self._check_ladder(verb)
        for rule in self.rules:
            for verb in rule.verbs or tuple(self.ladders):
                if rule.route not in self.ladders[verb]:
                    raise ValueError(
                        f"rules.{rule.name}: route {rule.route} is not on the ladder of {verb}"
                    )
        return self

    def _check_ladder(self, verb: Verb) -> None:
        ladder = self.ladders[verb]
        for rung in ladder:
            if verb != "optimise" and rung in OPTIMISE_RUNGS:
                raise ValueError(f"ladders.{verb}: {rung.value} cannot answer this workload")
            if ladder.count(rung) > 1:
                raise ValueError(f"ladders.{verb}: {rung.value} is there twice")
        if Rung.OTHER_BACKEND in ladder[: self._first_hardware(verb)]:
            raise ValueError(f"ladders.{verb}: other_backend has to come after hardware")

    def _first_hardware(self, verb: Verb) -> int | None:
        ladder = self.ladders[verb]
        return ladder.index(Rung.HARDWARE) if Rung.HARDWARE in ladder else None


def forecast(policy: Policy, facts: Facts, backend: BackendFacts) -> Forecast:
    """Queue, quantum seconds and money that a run on this backend is expected to take."""
    terms = policy.hardware
    pace = terms.seconds_per_queued_job
    known = pace is not None and backend.queue_length is not None
    price = terms.price(backend.name)
    shots = facts.shots if facts.executions is None else facts.executions
    quantum = terms.quantum_seconds_overhead + terms.quantum_seconds_per_1000_shots * shots / 1000
    limit = _execution_limit(facts, price)
    if facts.evaluations > 1:
        # A loop ends where its budget does.
        quantum = min(quantum * facts.evaluations, float(limit))
    return Forecast(
        backend=backend.name,
        queue_seconds=(pace or 0.0) * (backend.queue_length or 0) if known else None,
        quantum_seconds=quantum,
        money=price.per_quantum_second * Decimal(str(round(quantum, 6))),
        currency=price.currency,
        ceiling=Ceiling(
            quantum_seconds=limit,
            money=price.per_quantum_second * limit,
            currency=price.currency,
        ),
    )


def _execution_limit(facts: Facts, price: Price) -> int:
    """Whole seconds that the budgets pay for."""
    limit = facts.quantum_seconds
    if facts.execution_limit is not None:
        limit = min(limit, facts.execution_limit)
    if facts.money is not None and price.per_quantum_second > 0:
        limit = min(limit, float(facts.money / price.per_quantum_second))
    return int(limit)


def decide(policy: Policy, facts: Facts) -> Decision:
    """Choose the route of a job.

    Raises:
        InvalidRequest: the caller forces a route or backend that can never take the job.
        PolicyRefused: no rung of the ladder can answer the job; the message names each.
    """
    if not facts.judged:
        # Once approved it was possible: that a backend or a price went since is no fault of his.
        _refuse_impossible(policy, facts)
    known = settled(facts)
    if facts.forced_route is not None:
        wanted, rule = facts.forced_route, "forced by the request"
        because = f"the request asks for {wanted.value}"
    elif known:
        wanted, rule, because = Rung.EXACT, "settled by reduction", known
    else:
        chosen = next((rule for rule in policy.rules if rule.applies(facts)), None)
        ladder = policy.ladders[facts.verb]
        wanted = chosen.route if chosen else ladder[0]
        rule = chosen.name if chosen else "first of the ladder"
        because = chosen.because if chosen else "no rule applies"
    # Whatever the ladder has: what is decided already is proven in no time.
    proof = (Rung.EXACT,) if known else ()
    order = tuple(dict.fromkeys((wanted, *proof, *policy.ladders[facts.verb])))
    fitting, refusals = _fitting(policy, facts)
    target = fitting[0] if fitting else None
    blocked = closed_rungs(policy, facts)
    if target is None:
        blocked[Rung.HARDWARE] = refusals
    if len(fitting) < 2:
        blocked[Rung.OTHER_BACKEND] = refusals or "no second backend fits"
    asks: ApprovalRule | None = None
    if not facts.judged:
        first = next((rung for rung in order if rung not in blocked), None)
        asks = _asks(policy, facts, target if first is Rung.HARDWARE else None)
        behind = _asks(policy, facts, target)
        if behind is not None and behind is not asks:
            # Nobody is asked for money that most likely is not spent, and who is asked for
            # something else does not say yes to it.
            why = f"as a fallback it would need approval: {behind.because}"
            blocked |= dict.fromkeys(HARDWARE_RUNGS, why)
            target = None
    open_rungs = tuple(rung for rung in order if rung not in blocked)
    refused = tuple(Refusal(rung=rung, reason=blocked[rung]) for rung in order if rung in blocked)
    if not open_rungs:
        raise PolicyRefused(
            "no way to answer this job: "
            + "; ".join(f"{refusal.rung.value}: {refusal.reason}" for refusal in refused)
        )
    hedged = target is not None and facts.verb == "optimise" and Rung.ANNEALING in open_rungs
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
        approval=asks.terms() if asks else None,
        on_expiry=asks.on_expiry if asks else "end",
        alternates=fitting[1:] if Rung.OTHER_BACKEND in open_rungs else (),
        hedge=policy.hedge if hedged else None,
        gate=gate_of(policy.gate, facts, open_rungs),
        top_ups=policy.top_ups,
        review=policy.review.terms() if Rung.MANUAL in open_rungs else None,
        cached_max_age=policy.cached_max_age,
    )


def _asks(policy: Policy, facts: Facts, expected: Forecast | None) -> ApprovalRule | None:
    return next((rule for rule in policy.approvals if rule.applies(facts, expected)), None)


def _refuse_impossible(policy: Policy, facts: Facts) -> None:
    priced = {price.currency for price in policy.hardware.prices.values()}
    if facts.money is not None and priced and facts.currency not in priced:
        raise InvalidRequest(
            "budgets.currency", f"no price is in {facts.currency!r}", ", ".join(sorted(priced))
        )
    names = sorted(b.name for b in facts.backends)
    if facts.backend is not None and names and facts.backend not in names:
        raise InvalidRequest("backend", f"unknown backend {facts.backend!r}", ", ".join(names))
    if facts.forced_route is Rung.SIMULATOR and facts.qubits > policy.simulator_max_qubits:
        raise InvalidRequest(
            "route",
            f"{size_text(facts)} are more than the simulator takes",
            f"at most {policy.simulator_max_qubits} qubits, or another route",
        )
    asked = [b for b in facts.backends if facts.backend in (None, b.name)]
    largest = max((b.qubits for b in asked), default=None)
    if facts.forced_route is Rung.HARDWARE and largest is not None and facts.qubits > largest:
        raise InvalidRequest(
            "route",
            f"{size_text(facts)} are more than the hardware takes",
            f"at most {largest} qubits, or another route",
        )


def _fitting(policy: Policy, facts: Facts) -> tuple[tuple[Forecast, ...], str]:
    """What may take the job, shortest expected queue first, or why nothing may."""
    if not policy.hardware.enabled:
        return (), "hardware is switched off"
    terms = policy.hardware
    if facts.withheld:
        return (), facts.withheld
    if facts.sensitivity.level > terms.max_sensitivity.level:
        return (), (
            f"data of sensitivity {facts.sensitivity.value!r} may not leave "
            f"(the policy lets out up to {terms.max_sensitivity.value!r})"
        )
    if facts.environment not in terms.environments:
        return (), f"the policy keeps jobs of environment {facts.environment!r} off the hardware"
    if nothing_left := settled(facts):
        return (), nothing_left
    if facts.verb == "optimise" and facts.qubits > policy.hardware.optimise_max_qubits:
        return (), (
            f"{size_text(facts)} is too big for the hardware "
            f"(the policy takes {policy.hardware.optimise_max_qubits})"
        )
    if facts.provider_trouble:
        return (), f"the provider cannot be reached: {facts.provider_trouble}"
    asked = [b for b in facts.backends if facts.backend in (None, b.name)]
    reasons: list[str] = []
    fitting: list[Forecast] = []
    for backend in asked:
        expected = forecast(policy, facts, backend)
        region = backend.region or terms.regions.get(backend.name)
        trouble = misfit(facts, backend, expected, region)
        if trouble:
            reasons.append(f"{backend.name}: {trouble}")
        else:
            fitting.append(expected)
    if fitting:
        # An unknown queue sorts last: it is taken only where nothing better is known.
        order = sorted(fitting, key=lambda f: (f.queue_seconds is None, f.queue_seconds or 0.0))
        return tuple(order), ""
    return (), "; ".join(reasons) or "no backend is offered"
