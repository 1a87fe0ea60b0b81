"""A person's yes: what is asked, what may be answered, and when an answer counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from qsaga.core.contract import Contract, Seconds, StrictContract
from qsaga.core.supplied import SuppliedAnswer

DECIDE = "decide"
"""Update and signal by which an approver decides."""

Person = Annotated[str, StringConstraints(pattern=r"^[^\s/][^\n\r]{0,127}$")]
"""A name, a mail address or the subject of a token; 1 to 128 characters."""


class ApprovalTerms(Contract):
    """What the policy asks of a person before a job may go on.

    Args:
        rule: name of the approval rule that fired.
        because: why, with the facts that mattered.
        approvals: how many different people must say yes.
        four_eyes: the submitter may not be one of them.
        approvers: who may decide; empty is every approver of the tenant.
        escalate_to: who else may decide once the request is escalated.
        expires: seconds until the request lapses.
        remind: seconds after which the approvers are reminded; None is never.
        escalate: seconds after which ``escalate_to`` is asked too; None is never.
    """

    rule: str
    because: str
    approvals: Annotated[int, Field(ge=1, le=5)] = 1
    four_eyes: bool = False
    approvers: tuple[Person, ...] = ()
    escalate_to: tuple[Person, ...] = ()
    expires: Seconds = 24 * 3600.0
    remind: Seconds | None = None
    escalate: Seconds | None = None


class Ceiling(Contract):
    """What a job may cost at most on hardware."""

    quantum_seconds: float
    money: Decimal
    currency: str


class Alternative(Contract):
    """Another way of answering the job, and what it would cost."""

    rung: str
    text: str
    money: Decimal = Decimal(0)
    currency: str = "USD"


class ApprovalRequest(Contract):
    """All that a person needs to decide.

    ``asked`` and ``expires`` are the workflow's times; ``plan`` says in words what would happen;
    ``expected_money`` is the forecast, ``ceiling`` the most that can be charged. ``answers`` says
    that the answer itself is asked for: it must be ``given`` with the decision, or the one that
    ``plan`` shows may be accepted as well.
    """

    job_id: str
    tenant: str
    submitter: str | None
    terms: ApprovalTerms
    asked: datetime
    expires: datetime
    plan: str
    expected_money: Decimal | None = None
    expected_quantum_seconds: float | None = None
    expected_queue_seconds: float | None = None
    ceiling: Ceiling | None = None
    alternatives: tuple[Alternative, ...] = ()
    sensitivity: str = ""
    environment: str = ""
    left: str = ""
    answers: Literal["", "given", "given or accepted"] = ""


class Verdict(StrEnum):
    """What an approver says."""

    APPROVE = "approve"
    REJECT = "reject"


class ApprovalDecision(StrictContract):
    """An approver's word on a job.

    Args:
        verdict: approve or reject.
        by: who says so; where identity is on it must be the subject of the token.
        why: the reason, for the record.
        quantum_seconds: approve with this budget in place of the job's, if lower.
        money: approve with this budget in place of the job's, if lower; in the job's currency.
        answer: where a person is asked for the answer itself.
    """

    verdict: Verdict
    by: Person
    why: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    quantum_seconds: Annotated[float, Field(ge=0, le=1e6)] | None = None
    money: Annotated[Decimal, Field(ge=0, le=10**9, allow_inf_nan=False)] | None = None
    answer: SuppliedAnswer | None = None

    @model_validator(mode="after")
    def _a_rejection_has_no_budget(self) -> Self:
        if self.verdict is Verdict.REJECT and (
            self.quantum_seconds is not None or self.money is not None or self.answer is not None
        ):
            raise ValueError("a rejection takes no budget and no answer (allowed: verdict approve)")
        return self

    @property
    def lowers(self) -> bool:
        """Whether it comes with a budget of its own."""
        return self.quantum_seconds is not None or self.money is not None


class Decided(Contract):
    """A decision as it was recorded: who (as verified), when, and whether it counted.

    ``refused`` is why it did not count; empty if it did.
    """

    decision: ApprovalDecision
    by: str
    at: datetime
    refused: str = ""


class ApprovalRecord(Contract):
    """What became of a request for approval."""

    request: ApprovalRequest
    outcome: Literal["waiting", "approved", "rejected", "expired", "withdrawn"] = "waiting"
    decided: tuple[Decided, ...] = ()
    reminded: datetime | None = None
    escalated: datetime | None = None

    @property
    def counted(self) -> tuple[Decided, ...]:
        """The decisions that counted, in order."""
        return tuple(d for d in self.decided if not d.refused)

    @property
    def approvals(self) -> int:
        """How many people have said yes."""
        return sum(d.decision.verdict is Verdict.APPROVE for d in self.counted)


def judge(record: ApprovalRecord | None, decision: ApprovalDecision, by: str, at: datetime) -> str:
    """Why a decision does not count; empty if it does.

    Args:
        record: of the job; None if no approval was ever asked for.
        decision: the word of an approver.
        by: who he is, verified where identity is on.
        at: the workflow's time.
    """
    if record is None:
        return "no approval is asked for this job"
    if record.outcome != "waiting":
        return _too_late(record)
    request, terms = record.request, record.request.terms
    if at >= request.expires:
        return f"too late: the request lapsed at {request.expires:%Y-%m-%d %H:%M:%S} UTC"
    if decision.by != by:
        return f"by: {decision.by!r} is not the caller, {by!r}"
    if terms.four_eyes and by == request.submitter:
        return f"four eyes: {by!r} submitted the job and may not decide on it"
    if terms.four_eyes and request.submitter is None:
        return "four eyes: nobody is known as submitter of the job (allowed: requested_by)"
    allowed = terms.approvers + (terms.escalate_to if record.escalated else ())
    if terms.approvers and by not in allowed:
        return f"by: {by!r} is not asked (allowed: {', '.join(allowed)})"
    if decision.verdict is Verdict.APPROVE and any(
        d.by == by and d.decision.verdict is Verdict.APPROVE for d in record.counted
    ):
        return f"already approved by {by!r}; another person must approve as well"
    if decision.answer is not None and not request.answers:
        return "answer: no answer is asked for, a yes or no is"
    if decision.verdict is Verdict.APPROVE and request.answers == "given" and not decision.answer:
        return "answer: missing (allowed: an assignment, counts, or values with standard errors)"
    return _not_lower(request, decision)


def _too_late(record: ApprovalRecord) -> str:
    last = record.counted[-1] if record.counted else None
    if record.outcome in ("approved", "rejected") and last is not None:
        return f"already {record.outcome} by {last.by} at {last.at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"too late: the request has {record.outcome}"
        if record.outcome == "expired"
        else (f"too late: the request was {record.outcome}")
    )


def _not_lower(request: ApprovalRequest, decision: ApprovalDecision) -> str:
    ceiling = request.ceiling
    if not decision.lowers:
        return ""
    if ceiling is None:
        return "money, quantum_seconds: the job costs nothing that could be lowered"
    if decision.money is not None and decision.money > ceiling.money:
        return f"money: {decision.money} is above what was asked (allowed: up to {ceiling.money})"
    if decision.quantum_seconds is not None and decision.quantum_seconds > ceiling.quantum_seconds:
        return (
            f"quantum_seconds: {decision.quantum_seconds:g} is above what was asked "
            f"(allowed: up to {ceiling.quantum_seconds:g})"
        )
    return ""


def after(record: ApprovalRecord, decided: Decided) -> ApprovalRecord:
    """The record with one more decision, and its outcome if that decided it."""
    changed = record.model_copy(update={"decided": (*record.decided, decided)})
    if decided.refused:
        return changed
    if decided.decision.verdict is Verdict.REJECT:
        return changed.model_copy(update={"outcome": "rejected"})
    if changed.approvals >= record.request.terms.approvals:
        return changed.model_copy(update={"outcome": "approved"})
    return changed


def approved_ceiling(record: ApprovalRecord) -> Ceiling | None:
    """The lowest budget that the approvers gave; None where there was nothing to limit."""
    ceiling = record.request.ceiling
    if ceiling is None:
        return None
    seconds, money = [ceiling.quantum_seconds], [ceiling.money]
    for decided in record.counted:
        if decided.decision.quantum_seconds is not None:
            seconds.append(decided.decision.quantum_seconds)
        if decided.decision.money is not None:
            money.append(decided.decision.money)
    return Ceiling(quantum_seconds=min(seconds), money=min(money), currency=ceiling.currency)


def next_wake(record: ApprovalRecord) -> datetime:
    """When the request must be looked at again: reminder, escalation or expiry."""
    request, terms = record.request, record.request.terms
    moments = [request.expires]
    if terms.remind is not None and record.reminded is None:
        moments.append(request.asked + timedelta(seconds=terms.remind))
    if terms.escalate is not None and record.escalated is None:
        moments.append(request.asked + timedelta(seconds=terms.escalate))
    return min(moments)
