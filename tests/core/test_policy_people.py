"""What the policy asks of people, and what it keeps in the house."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from qsaga.core.admission import Admission
from qsaga.core.approval import ApprovalRecord
from qsaga.core.approval_rule import ApprovalRule
from qsaga.core.asking import refusal_text, review_request
from qsaga.core.errors import InvalidRequest, PolicyRefused
from qsaga.core.facts import BackendFacts, Facts
from qsaga.core.jobs import JobRequest, Sensitivity
from qsaga.core.policy import Policy, decide
from qsaga.core.states import Rung
from qsaga.policies import load_policy

TORINO = BackendFacts(
    name="ibm_torino", provider="ibm", qubits=133, operational=True, queue_length=1,
    region="us-east",
)  # fmt: skip


def facts(**changes: object) -> Facts:
    """A problem that the default policy sends to hardware: 3.024 s, 4.84 USD expected."""
    base: dict[str, object] = {
        "verb": "optimise",
        "variables": 40,
        "qubits": 40,
        "shots": 1024,
        "backends": (TORINO,),
        "queue_budget": 3600.0,
        "quantum_seconds": 60.0,
    }
    return Facts.model_validate(base | changes)


def policy(*rules: dict[str, object], **hardware: object) -> Policy:
    """The default policy with approval rules and other terms of hardware."""
    plain = load_policy()
    return plain.model_copy(
        update={
            "approvals": tuple(ApprovalRule.model_validate(rule) for rule in rules),
            "hardware": plain.hardware.model_copy(update=hardware),
        }
    )


@pytest.mark.parametrize(
    ("condition", "changes", "asks"),
    [
        ({"always": True}, {}, True),
        ({"money_above": "4.83"}, {}, True),
        ({"money_above": "4.84"}, {}, False),
        ({"money_above": "4.83"}, {"backends": ()}, False),
        ({"money_above": "1", "currency": "EUR"}, {}, True),
        ({"quantum_seconds_above": 3.0}, {}, True),
        ({"quantum_seconds_above": 3.1}, {}, False),
        ({"sensitivity_at_least": "confidential"}, {"sensitivity": "confidential"}, True),
        ({"sensitivity_at_least": "confidential"}, {"sensitivity": "internal"}, False),
        ({"environment": "production"}, {"environment": "test"}, False),
        ({"first_run_of_template": True}, {"template": "nightly"}, True),
        ({"first_run_of_template": True}, {"template": "nightly", "template_runs": 1}, False),
        ({"first_run_of_template": True}, {}, False),
        ({"hardware_only": True}, {}, True),
        ({"hardware_only": True}, {"variables": 10, "qubits": 10, "backends": ()}, False),
        ({"always": True, "tenants": ["acme"]}, {"tenant": "other"}, False),
        ({"always": True}, {"approved": True}, False),
    ],
)
def test_when_a_person_is_asked(
    condition: dict[str, object], changes: dict[str, object], asks: bool
) -> None:
    rule = {"name": "r", "because": "a reason", **condition}
    decision = decide(policy(rule), facts(**changes))
    assert (decision.approval is not None) is asks
    if decision.approval is not None:
        assert decision.approval.rule == "r"
        assert decision.approval.because == "a reason"


def test_nobody_is_asked_for_a_fallback_that_costs_money() -> None:
    rule = {"name": "dear", "because": "it is dear", "money_above": 1}
    decision = decide(policy(rule), facts(variables=20, qubits=20))
    assert decision.approval is None
    assert decision.ladder == (Rung.ANNEALING, Rung.SIMULATOR)
    assert decision.refused[0].reason == "as a fallback it would need approval: it is dear"


def test_the_first_rule_that_applies_asks() -> None:
    rules = (
        {"name": "a", "because": "a", "money_above": 1000},
        {"name": "b", "because": "b", "always": True, "four_eyes": True, "approvals": 2},
        {"name": "c", "because": "c", "always": True},
    )
    terms = decide(policy(*rules), facts()).approval
    assert terms is not None
    assert (terms.rule, terms.four_eyes, terms.approvals) == ("b", True, 2)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "give always = true, or conditions"),
        ({"always": True, "money_above": 1}, "give always = true, or conditions"),
        ({"always": True, "escalate": 60}, "escalate needs escalate_to"),
        ({"money_above": -1}, "money_above"),
        ({"always": True, "approvals": 0}, "approvals"),
        ({"always": True, "expires": 0}, "expires"),
    ],
)
def test_a_rule_that_makes_no_sense(rule: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ApprovalRule.model_validate({"name": "r", "because": "x"} | rule)


@pytest.mark.parametrize(
    ("changes", "terms", "reason"),
    [
        ({"sensitivity": "restricted"}, {}, "sensitivity 'restricted' may not leave"),
        (
            {"sensitivity": "internal"},
            {"max_sensitivity": Sensitivity.PUBLIC},
            "sensitivity 'internal' may not leave",
        ),
        ({"regions": ("eu-de",)}, {}, "region us-east, the job allows eu-de"),
        ({"environment": "test"}, {"environments": ("production",)}, "keeps jobs of environment"),
        ({"withheld": "no budget"}, {}, "no budget"),
        ({"money": Decimal("1.59")}, {}, "expected cost"),
        (
            {"quantum_seconds": 0.5},
            {"quantum_seconds_overhead": 0.0, "quantum_seconds_per_1000_shots": 0.0},
            "less than one whole second",
        ),
    ],
)
def test_what_stays_in_the_house(
    changes: dict[str, object], terms: dict[str, object], reason: str
) -> None:
    decision = decide(policy(**terms), facts(**changes))
    assert Rung.HARDWARE not in decision.ladder
    assert decision.backend is None
    assert reason in next(r.reason for r in decision.refused if r.rung is Rung.HARDWARE)


def test_a_circuit_that_may_not_leave_and_nothing_else_can_answer_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="may not leave"):
        decide(policy(), facts(verb="sample", variables=None, qubits=60, sensitivity="restricted"))


def test_regions_of_backends_that_do_not_say() -> None:
    silent = TORINO.model_copy(update={"region": None})
    given = facts(regions=("eu-de",), backends=(silent,))
    assert Rung.HARDWARE not in decide(policy(), given).ladder
    known = policy(regions={"ibm_torino": "eu-de"})
    assert decide(known, given).backend == "ibm_torino"


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"budgets.currency: no price is in 'XYZ'"):
        decide(policy(), facts(money=Decimal(5), currency="XYZ"))


@pytest.mark.parametrize(
    ("changes", "seconds", "money"),
    [
        ({}, 60, "96.00"),
        ({"execution_limit": 20}, 20, "32.00"),
        ({"money": Decimal(10)}, 6, "9.60"),
        ({"quantum_seconds": 7.9}, 7, "11.20"),
    ],
)
def test_the_most_a_job_may_cost(changes: dict[str, object], seconds: int, money: str) -> None:
    decision = decide(policy(), facts(**changes))
    assert decision.max_seconds == seconds
    assert decision.forecast is not None and decision.forecast.ceiling is not None
    assert decision.forecast.ceiling.money == Decimal(money)


def test_rules_know_tags() -> None:
    plain = load_policy()
    rule = plain.rules[-1].model_copy(
        update={"name": "tests stay here", "environment": "test", "route": Rung.ANNEALING}
    )
    tagged = plain.model_copy(update={"rules": (rule, *plain.rules)})
    assert decide(tagged, facts(environment="test")).rule == "tests stay here"
    assert decide(tagged, facts()).rule != "tests stay here"


def test_tags_that_say_nothing_leave_the_payload_hash_alone() -> None:
    """Keys of jobs that began before the tags existed must find their jobs again."""
    request = JobRequest.model_validate(
        {
            "key": "k",
            "workload": {
                "kind": "optimise",
                "problem": {"name": "maxcut", "data": {"edges": [["a", "b"]]}},
            },
        }
    )
    first = "7a3bc1daf4906cc3607d138e22c8471c09013fbbac87c3cd2eda1bfbbfa336be"
    assert request.payload_hash() == first
    for change in (
        {"sensitivity": "public"},
        {"environment": "test"},
        {"template": "t"},
        {"regions": ("eu-de",)},
        {"experiment": "e"},
        {"dataset": "d"},
    ):
        other = JobRequest.model_validate(request.model_dump() | change)
        assert other.payload_hash() != first
    named = JobRequest.model_validate(request.model_dump() | {"requested_by": "alice"})
    assert named.payload_hash() == first


def test_a_question_for_which_no_time_is_left_lapses_at_once() -> None:
    request = JobRequest.model_validate(
        {
            "key": "k",
            "workload": {
                "kind": "optimise",
                "problem": {"name": "maxcut", "data": {"edges": [["a", "b"]]}},
                "algorithm": {"depth": 1},
            },
        }
    )
    rules = policy()
    admission = Admission(decision=decide(rules, facts()), deployment="test")
    asked = datetime(2026, 3, 1, tzinfo=UTC)
    question = review_request(request, admission, rules.review.terms(), asked, -8.2, "")
    assert question.expires == asked
    record = ApprovalRecord(request=question, outcome="expired")
    assert refusal_text(record).startswith("nobody decided within 0 s: ")
