"""The rungs of a ladder beside hardware: their terms in the policy, and when one is closed."""

from __future__ import annotations

from typing import Protocol

from qsaga.core.approval import ApprovalTerms, Person
from qsaga.core.contract import Seconds, StrictContract
from qsaga.core.facts import VERBS, BackendFacts, Facts, Forecast, GateTerms
from qsaga.core.reduction import settled, size_text
from qsaga.core.states import CIRCUIT_RUNGS, HARDWARE_RUNGS, OPTIMISE_RUNGS, Rung


class ManualReview(StrictContract):
    """Who is asked for an answer where nothing else has one.

    Args:
        approvers: who may answer; empty is every approver of the tenant.
        escalate_to: who else may, once the question is escalated.
        expires: seconds until it lapses.
        remind: seconds after which the approvers are reminded; None is never.
        escalate: seconds after which ``escalate_to`` is asked too; None is never.
    """

    approvers: tuple[Person, ...] = ()
    escalate_to: tuple[Person, ...] = ()
    expires: Seconds = 24 * 3600.0
    remind: Seconds | None = None
    escalate: Seconds | None = None

    def terms(self) -> ApprovalTerms:
        """What is asked."""
        return ApprovalTerms(
            rule="manual review",
            because="no other rung has answered; a person is asked for the answer",
            **self.model_dump(),
        )


class RungTerms(Protocol):
    """The part of a policy that closes rungs."""

    @property
    def simulator_max_qubits(self) -> int: ...
    @property
    def exact_max_variables(self) -> int: ...
    @property
    def cached_max_age(self) -> float | None: ...


def closed_rungs(terms: RungTerms, facts: Facts) -> dict[Rung, str]:
    """Why rungs other than hardware cannot answer this job; those that can are left out."""
    closed: dict[Rung, str] = {}
    if facts.qubits > terms.simulator_max_qubits:
        closed[Rung.SIMULATOR] = (
            f"{size_text(facts)}, the simulator takes {terms.simulator_max_qubits}"
        )
    nothing_left = settled(facts)
    if nothing_left:
        closed |= dict.fromkeys(CIRCUIT_RUNGS, nothing_left)
    for rung in OPTIMISE_RUNGS:
        if facts.verb != "optimise":
            closed[rung] = f"{rung.value} cannot answer {facts.verb}"
    most = terms.exact_max_variables
    if facts.variables is not None and facts.variables > most and not nothing_left:
        closed[Rung.EXACT] = (
            f"{facts.variables} variables, exact takes {most} (exact_max_variables)"
        )
    if why := _no_cached(terms.cached_max_age, facts.cached_age):
        closed[Rung.CACHED] = why
    if not facts.learned:
        closed[Rung.LEARNED] = "no estimator is installed"
    return closed


def _no_cached(most: float | None, age: float | None) -> str:
    if most is None:
        return "the policy serves no earlier answers (cached_max_age)"
    if age is None:
        return "there is no earlier answer to the same input"
    if age > most:
        return f"the newest answer to the same input is {age:.0f} s old, the policy takes {most:g}"
    return ""


def gate_of(terms: GateTerms | None, facts: Facts, ladder: tuple[Rung, ...]) -> GateTerms | None:
    """What this job's circuit has to show before hardware runs it; None is nothing."""
    if terms is None or not HARDWARE_RUNGS.intersection(ladder):
        return None
    return terms if facts.verb in (terms.verbs or VERBS) else None


def misfit(facts: Facts, backend: BackendFacts, expected: Forecast, region: str | None) -> str:
    """Why a backend cannot take a job; empty if it can. ``region`` is where the backend is."""
    if not backend.operational:
        return "not operational"
    if facts.regions and region not in facts.regions:
        return f"region {region or 'unknown'}, the job allows {', '.join(facts.regions)}"
    if facts.qubits > backend.qubits:
        return f"{size_text(facts)} is too big, it has {backend.qubits}"
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
    if expected.ceiling is not None and expected.ceiling.quantum_seconds < 1:
        return "the budgets pay for less than one whole second, the least that can be asked for"
    return ""
