"""The part of a job's story that comes before the work: asking, routing, agreeing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qsaga.core.approval import ApprovalRecord, Ceiling, Decided, Verdict
from qsaga.core.facts import Decision, Facts
from qsaga.core.lineage import Lineage
from qsaga.core.results import Attempt, Transition
from qsaga.core.states import JobState, Rung
from qsaga.core.words import at, duration, joined, money, number, sentence, stamp

VERBS = {
    "optimise": "the best solution of a problem",
    "sample": "the outcomes of a circuit",
    "estimate": "expectation values on the state of a circuit",
}
HELD = {JobState.AWAITING_APPROVAL, JobState.ADMITTED}
"""States that a job enters once the most that it may use is set aside."""


@dataclass(frozen=True)
class Known:
    """What a job under way and one that has ended have in common."""

    job_id: str
    submitter: str | None
    decision: Decision | None
    approval: ApprovalRecord | None
    transitions: Sequence[Transition]
    attempts: Sequence[Attempt]
    lineage: Lineage | None = None

    @property
    def held(self) -> Ceiling | None:
        """The most that hardware could be charged; None if nothing was set aside for it."""
        decision = self.decision
        if decision is None or decision.forecast is None or Rung.HARDWARE not in decision.ladder:
            return None
        admitted = any(step.state in HELD for step in self.transitions)
        return decision.forecast.ceiling if admitted else None


def beginning(known: Known) -> Iterator[str]:
    """Who asked for what, where it was to go and why, and who was asked to agree."""
    decision = known.decision
    who = known.submitter or "Somebody whose name is not recorded"
    when = f" {at(known.transitions[0].at)}" if known.transitions else ""
    what = VERBS[decision.facts.verb] if decision else "an answer"
    if decision:
        what += f" with {_size(decision.facts)}"
    yield f"{who} asked for {what} as job {known.job_id}{when}."
    if decision is not None:
        yield from _tags(decision.facts, known.lineage)
        yield from _route(decision)
    if known.approval is not None:
        yield from _approval(known.approval)
    if known.held is not None:
        yield f"At most {_ceiling(known.held)} were set aside for hardware."


def _size(facts: Facts) -> str:
    left = " after reduction" if facts.smaller else ""
    size = f"{number(facts.qubits, 'qubit')}{left} and {number(facts.shots, 'shot')}"
    return size if facts.variables is None else f"{number(facts.variables, 'variable')}, {size}"


def _tags(facts: Facts, lineage: Lineage | None) -> Iterator[str]:
    yield f"Its data are {facts.sensitivity.value} and it is a {facts.environment} job."
    named = [
        f"{name} {value}"
        for name, value in (
            ("template", facts.template),
            ("experiment", lineage.experiment if lineage else None),
            ("data set", lineage.dataset if lineage else None),
        )
        if value
    ]
    if named:
        yield f"It belongs to {joined(named)}."


def _route(decision: Decision) -> Iterator[str]:
    facts = decision.facts
    yield sentence(
        f"The rule {decision.rule!r} of policy {decision.policy_version} chose "
        f"{decision.wanted.value}: {decision.reason}"
    )
    limits = [
        f"{duration(facts.queue_budget)} of waiting at the provider",
        f"{facts.quantum_seconds:g} quantum seconds",
    ]
    if facts.money is not None:
        limits.append(money(facts.money, facts.currency))
    yield f"The job allowed at most {joined(limits)}."
    for backend in facts.backends:
        length = backend.queue_length
        queue = "an unknown number of jobs" if length is None else number(length, "job")
        text = f"Backend {backend.name} had {number(backend.qubits, 'qubit')}, {queue} waiting"
        yield text + ("." if backend.operational else ", and was not operational.")
    if facts.provider_trouble:
        yield sentence(f"The provider could not be asked: {facts.provider_trouble}")
    yield f"The ways to answer, in order, were {joined([r.value for r in decision.ladder])}."
    for refusal in decision.refused:
        yield sentence(f"{refusal.rung.value} was left out: {refusal.reason}")
    expected = decision.forecast
    if expected is not None and Rung.HARDWARE in decision.ladder:
        seconds = expected.queue_seconds
        wait = "an unknown wait" if seconds is None else f"a wait of {duration(seconds)}"
        yield (
            f"On {expected.backend} {expected.quantum_seconds:g} quantum seconds "
            f"({money(expected.money, expected.currency)}) were expected after {wait}."
        )


def _approval(record: ApprovalRecord) -> Iterator[str]:
    request, terms = record.request, record.request.terms
    people = joined(terms.approvers) if terms.approvers else "any approver of the tenant"
    many = f"{terms.approvals} people" if terms.approvals > 1 else "one person"
    yield sentence(
        f"The yes of {many} was asked of {people} {at(request.asked)}, until "
        f"{stamp(request.expires)}, by the rule {terms.rule!r}: {terms.because}"
    )
    if terms.four_eyes:
        yield "Whoever had asked for the job was not to decide on it."
    if record.reminded is not None:
        yield f"A reminder was sent {at(record.reminded)}."
    if record.escalated is not None:
        yield f"It was escalated to {joined(terms.escalate_to)} {at(record.escalated)}."
    for decided in record.decided:
        yield _decided(decided)
    match record.outcome:
        case "waiting":
            missing = max(terms.approvals - record.approvals, 0)
            yield f"It still waits for {number(missing, 'approval', 'more')}."
        case "approved":
            yield "So it was approved."
        case "rejected":
            yield "So it was rejected."
        case "expired":
            yield f"Not enough people decided, and the request lapsed {at(request.expires)}."
        case "withdrawn":
            yield "The request was withdrawn, as the job ended before it was decided."


def _decided(decided: Decided) -> str:
    decision = decided.decision
    approves = decision.verdict is Verdict.APPROVE
    if decided.refused:
        wish = "approve" if approves else "reject"
        return sentence(
            f"That {decided.by} wanted to {wish} it {at(decided.at)} ({decision.why}) did not "
            f"count: {decided.refused}"
        )
    lowered = []
    if decision.quantum_seconds is not None:
        lowered.append(f"{decision.quantum_seconds:g} quantum seconds")
    if decision.money is not None:
        lowered.append(f"a cost of {decision.money:f}")
    limit = f" with at most {joined(lowered)}" if lowered else ""
    word = "approved" if approves else "rejected"
    return sentence(f"It was {word} by {decided.by} {at(decided.at)}{limit}: {decision.why}")


def _ceiling(ceiling: Ceiling) -> str:
    return f"{ceiling.quantum_seconds:g} quantum seconds ({money(ceiling.money, ceiling.currency)})"
