"""When an approver's word counts, as a table; what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import ValidationError

from qsaga.core.approval import (
    ApprovalDecision,
    ApprovalRecord,
    ApprovalRequest,
    ApprovalTerms,
    Ceiling,
    Decided,
    after,
    approved_ceiling,
    judge,
    next_wake,
)

ASKED = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def record(**terms: object) -> ApprovalRecord:
    """A request of alice's that lapses after two hours, 10 USD and 5 s at most."""
    given = {"rule": "dear", "because": "it is dear", **terms}
    return ApprovalRecord(
        request=ApprovalRequest(
            job_id="acme/one",
            tenant="acme",
            submitter="alice",
            terms=ApprovalTerms.model_validate(given),
            asked=ASKED,
            expires=ASKED + 2 * HOUR,
            plan="hardware",
            ceiling=Ceiling(quantum_seconds=5, money=Decimal(10), currency="USD"),
        )
    )


def yes(by: str = "bob", **more: object) -> ApprovalDecision:
    return ApprovalDecision.model_validate({"verdict": "approve", "by": by, "why": "y", **more})


def no(by: str = "bob") -> ApprovalDecision:
    return ApprovalDecision.model_validate({"verdict": "reject", "by": by, "why": "n"})


def weighed(kept: ApprovalRecord, decision: ApprovalDecision, minutes: int = 5) -> ApprovalRecord:
    """The record after a decision, weighed as the workflow does."""
    at = ASKED + timedelta(minutes=minutes)
    why = judge(kept, decision, decision.by, at)
    return after(kept, Decided(decision=decision, by=decision.by, at=at, refused=why))


def test_one_yes_is_enough_and_one_no_too() -> None:
    assert weighed(record(), yes()).outcome == "approved"
    assert weighed(record(), no()).outcome == "rejected"


def test_two_people_must_say_yes_where_two_are_asked() -> None:
    once = weighed(record(approvals=2), yes("bob"))
    assert once.outcome == "waiting"
    again = weighed(once, yes("bob"))
    assert again.outcome == "waiting"
    assert "already approved by 'bob'" in again.decided[-1].refused
    assert weighed(again, yes("carol")).outcome == "approved"
    assert weighed(once, no("bob")).outcome == "rejected"  # who said yes may change his mind


@pytest.mark.parametrize(
    ("terms", "decision", "reason"),
    [
        ({"four_eyes": True}, yes("alice"), "four eyes: 'alice' submitted the job"),
        ({"four_eyes": True}, no("alice"), "four eyes: 'alice' submitted the job"),
        ({"approvers": ("bob",)}, yes("eve"), "'eve' is not asked (allowed: bob)"),
        ({}, yes(money=Decimal(11)), "money: 11 is above what was asked (allowed: up to 10)"),
        ({}, yes(quantum_seconds=6.0), "quantum_seconds: 6 is above what was asked"),
    ],
)
def test_a_word_that_does_not_count(
    terms: dict[str, object], decision: ApprovalDecision, reason: str
) -> None:
    kept = weighed(record(**terms), decision)
    assert kept.outcome == "waiting"
    assert reason in kept.decided[-1].refused


def test_somebody_elses_name_does_not_count() -> None:
    assert "is not the caller" in judge(record(), yes("bob"), "mallory", ASKED)


def test_four_eyes_need_to_know_the_submitter() -> None:
    kept = record(four_eyes=True)
    request = kept.request.model_copy(update={"submitter": None})
    nobody = kept.model_copy(update={"request": request})
    assert "nobody is known as submitter" in judge(nobody, yes(), "bob", ASKED)


def test_too_late() -> None:
    assert "lapsed at 2026-11-02 11:00:00" in judge(record(), yes(), "bob", ASKED + 2 * HOUR)
    approved = weighed(record(), yes("bob"))
    assert "already approved by bob at 2026-11-02" in judge(approved, no("carol"), "carol", ASKED)
    rejected = weighed(record(), no("bob"))
    assert "already rejected by bob" in judge(rejected, yes("carol"), "carol", ASKED)
    for outcome in ("expired", "withdrawn"):
        ended = record().model_copy(update={"outcome": outcome})
        assert outcome in judge(ended, yes(), "bob", ASKED)
    assert judge(None, yes(), "bob", ASKED) == "no approval is asked for this job"


def test_escalation_lets_others_decide() -> None:
    kept = record(approvers=("bob",), escalate_to=("dora",), escalate=600)
    assert "'dora' is not asked" in judge(kept, yes("dora"), "dora", ASKED)
    escalated = kept.model_copy(update={"escalated": ASKED + timedelta(minutes=10)})
    assert judge(escalated, yes("dora"), "dora", ASKED) == ""


def test_the_lowest_budget_holds() -> None:
    kept = record(approvals=2)
    kept = weighed(kept, yes("bob", money=Decimal(8)))
    kept = weighed(kept, yes("carol", money=Decimal(9), quantum_seconds=4.0))
    ceiling = approved_ceiling(kept)
    assert ceiling == Ceiling(quantum_seconds=4, money=Decimal(8), currency="USD")


def test_when_to_look_again() -> None:
    kept = record(remind=600, escalate=1800, escalate_to=("dora",))
    assert next_wake(kept) == ASKED + timedelta(minutes=10)
    reminded = kept.model_copy(update={"reminded": ASKED})
    assert next_wake(reminded) == ASKED + timedelta(minutes=30)
    escalated = reminded.model_copy(update={"escalated": ASKED})
    assert next_wake(escalated) == ASKED + 2 * HOUR


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"money": -1}, "money"),
        ({"quantum_seconds": -0.1}, "quantum_seconds"),
        ({"verdict": "maybe"}, "verdict"),
        ({"why": ""}, "why"),
        ({"by": ""}, "by"),
        ({"verdict": "reject", "money": 1}, "a rejection takes no budget"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_no_decision(changes: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        ApprovalDecision.model_validate(
            {"verdict": "approve", "by": "bob", "why": "fine"} | changes
        )
