"""What an approver is shown, and how the outcome reads, as pure functions."""

from __future__ import annotations

from datetime import datetime, timedelta

from qsaga.core.admission import Admission
from qsaga.core.approval import Alternative, ApprovalRecord, ApprovalRequest, ApprovalTerms
from qsaga.core.facts import Decision, Facts
from qsaga.core.jobs import JobRequest
from qsaga.core.states import CLASSICAL_LAYER, HARDWARE_RUNGS, Rung


def approval_request(
    request: JobRequest, admission: Admission, terms: ApprovalTerms, asked: datetime, seconds: float
) -> ApprovalRequest:
    """The question to a person.

    Args:
        request: the job's.
        admission: with the decision that asks.
        terms: what the policy asks.
        asked: the workflow's time.
        seconds: the most that the job can wait; the policy's own limit if that is less.
    """
    decision = admission.decision
    expected = decision.forecast if Rung.HARDWARE in decision.ladder else None
    return ApprovalRequest(
        job_id=request.job_id,
        tenant=request.tenant,
        submitter=admission.submitter,
        terms=terms,
        asked=asked,
        expires=asked + timedelta(seconds=min(seconds, terms.expires)),
        plan=_plan(decision),
        expected_money=expected.money if expected else None,
        expected_quantum_seconds=expected.quantum_seconds if expected else None,
        expected_queue_seconds=expected.queue_seconds if expected else None,
        ceiling=expected.ceiling if expected else None,
        alternatives=_alternatives(request, decision),
        sensitivity=request.sensitivity.value,
        environment=request.environment,
        left=admission.left,
    )


def _what(facts: Facts) -> str:
    has_model = facts.variables is not None
    size = f"{facts.variables} variables" if has_model else f"{facts.qubits} qubits"
    what = f"{facts.verb} of {size}"
    if facts.evaluations > 1:
        return f"loop of up to {facts.evaluations} evaluations, each an {what}"
    return what


def _plan(decision: Decision) -> str:
    facts = decision.facts
    where = ", then ".join(
        f"{rung.value} ({decision.backend})" if rung is Rung.HARDWARE else rung.value
        for rung in decision.ladder
    )
    return f"{_what(facts)}, {facts.shots} shots: {where}; {decision.reason}"


def _alternatives(request: JobRequest, decision: Decision) -> tuple[Alternative, ...]:
    """The other rungs: a reject of the hardware leaves these, by another job or on expiry."""
    currency = request.budgets.currency
    open_rungs = tuple(
        Alternative(
            rung=rung.value,
            text=_text(request, rung),
            currency=currency,
        )
        for rung in decision.ladder
        if rung not in HARDWARE_RUNGS
    )
    closed = tuple(
        Alternative(rung=refusal.rung.value, text=f"not possible: {refusal.reason}")
        for refusal in decision.refused
    )
    return open_rungs + closed


def _text(request: JobRequest, rung: Rung) -> str:
    if rung in CLASSICAL_LAYER:
        return f"up to {request.budgets.seconds(CLASSICAL_LAYER[rung]):g} s of classical work"
    return "an earlier answer" if rung is Rung.CACHED else "a person's answer"


def review_request(
    request: JobRequest,
    admission: Admission,
    terms: ApprovalTerms,
    asked: datetime,
    seconds: float,
    known: str,
) -> ApprovalRequest:
    """The question for the answer itself; ``known`` is one that may be accepted, in words."""
    facts = admission.decision.facts
    return ApprovalRequest(
        job_id=request.job_id,
        tenant=request.tenant,
        submitter=admission.submitter,
        terms=terms,
        asked=asked,
        expires=asked + timedelta(seconds=max(0.0, min(seconds, terms.expires))),
        plan=f"{_what(facts)}: " + (f"{known} may be accepted" if known else "no answer"),
        sensitivity=request.sensitivity.value,
        environment=request.environment,
        answers="given or accepted" if known else "given",
    )


def refusal_text(record: ApprovalRecord) -> str:
    """Why a job may not go on, with who said so."""
    if record.outcome == "rejected":
        last = record.counted[-1]
        return f"rejected by {last.by}: {last.decision.why}"
    asked = record.request
    waited = (asked.expires - asked.asked).total_seconds()
    return f"nobody decided within {waited:g} s: {asked.terms.because}"
