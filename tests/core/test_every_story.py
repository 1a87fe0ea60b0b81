"""Every result that the contracts allow has a story."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qsaga.core.approval import (
    ApprovalDecision,
    ApprovalRecord,
    ApprovalRequest,
    ApprovalTerms,
    Ceiling,
    Decided,
    Verdict,
)
from qsaga.core.facts import BackendFacts, Decision, Facts, Forecast, Refusal
from qsaga.core.lineage import Lineage
from qsaga.core.results import (
    Attempt,
    Compensation,
    Confidence,
    Cost,
    Distance,
    EstimateAnswer,
    JobResult,
    LayerTiming,
    OptimiseAnswer,
    Provenance,
    Quality,
    SampleAnswer,
    Transition,
    Unanswered,
)
from qsaga.core.runs import JobAccount
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.story import story

WORDS = st.text(max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
MONEY = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=0, max_value=10**9)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.sampled_from([None, UTC]))  # noqa: DTZ001 - naive ones are what is tried
RUNGS, LAYERS, STATES = st.sampled_from(Rung), st.sampled_from(Layer), st.sampled_from(JobState)
CEILINGS = st.builds(Ceiling, quantum_seconds=FLOATS, money=MONEY, currency=WORDS)


def tuples(each: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(each, max_size=most).map(tuple)


DECISIONS = st.builds(
    Decision,
    policy_version=WORDS,
    rule=WORDS,
    reason=WORDS,
    wanted=RUNGS,
    ladder=tuples(RUNGS),
    refused=tuples(st.builds(Refusal, rung=RUNGS, reason=WORDS)),
    forecast=st.none()
    | st.builds(
        Forecast,
        backend=WORDS,
        queue_seconds=st.none() | FLOATS,
        quantum_seconds=FLOATS,
        money=MONEY,
        currency=WORDS,
        ceiling=st.none() | CEILINGS,
    ),
    facts=st.builds(
        Facts,
        verb=st.sampled_from(["optimise", "sample", "estimate"]),
        variables=st.none() | st.integers(),
        qubits=st.integers(),
        shots=st.integers(),
        queue_budget=FLOATS,
        quantum_seconds=FLOATS,
        money=st.none() | MONEY,
        provider_trouble=WORDS,
        backends=tuples(
            st.builds(
                BackendFacts,
                name=WORDS,
                provider=WORDS,
                qubits=st.integers(),
                operational=st.booleans(),
                queue_length=st.none() | st.integers(),
            )
        ),
    ),
)
PEOPLE = st.sampled_from(["ada", "bob", "eve"])
APPROVALS = st.builds(
    ApprovalRecord,
    request=st.builds(
        ApprovalRequest,
        job_id=WORDS,
        tenant=WORDS,
        submitter=st.none() | WORDS,
        terms=st.builds(
            ApprovalTerms,
            rule=WORDS,
            because=WORDS,
            approvals=st.integers(1, 5),
            four_eyes=st.booleans(),
            approvers=tuples(PEOPLE),
            escalate_to=tuples(PEOPLE),
        ),
        asked=TIMES,
        expires=TIMES,
        plan=WORDS,
        ceiling=st.none() | CEILINGS,
    ),
    outcome=st.sampled_from(["waiting", "approved", "rejected", "expired", "withdrawn"]),
    decided=tuples(
        st.builds(
            Decided,
            decision=st.builds(
                ApprovalDecision,
                verdict=st.just(Verdict.APPROVE),
                by=PEOPLE,
                why=st.just("so"),
                money=st.none() | MONEY,
            )
            | st.builds(
                ApprovalDecision,
                verdict=st.just(Verdict.REJECT),
                by=PEOPLE,
                why=st.just("no"),
                money=st.none(),
                quantum_seconds=st.none(),
            ),
            by=WORDS,
            at=TIMES,
            refused=WORDS,
        )
    ),
    reminded=st.none() | TIMES,
    escalated=st.none() | TIMES,
)
ANSWERS = st.one_of(
    st.none(),
    st.builds(
        OptimiseAnswer,
        solution=st.just({}),
        explanation=WORDS,
        quality=st.builds(
            Quality,
            feasible=st.booleans(),
            objective=FLOATS,
            sense=st.sampled_from(["maximise", "minimise"]),
            raw_best=st.none() | FLOATS,
            feasible_share=st.none() | st.floats(0, 1),
            baseline=st.none() | FLOATS,
            bound=st.none() | FLOATS,
            bound_by=st.none() | WORDS,
            gap=st.none() | FLOATS,
            confidence=st.sampled_from(Confidence),
        ),
    ),
    st.builds(
        SampleAnswer,
        counts=st.dictionaries(WORDS, st.dictionaries(WORDS, st.integers(), max_size=6)),
        shots=st.integers(),
        half_width=st.none() | FLOATS,
        distance=st.none()
        | st.builds(
            Distance,
            creg=WORDS,
            hellinger=FLOATS,
            total_variation=FLOATS,
            chance=FLOATS,
            against=WORDS,
        ),
        confidence=st.sampled_from([Confidence.SAMPLED, Confidence.UNVERIFIED]),
    ),
    st.builds(
        EstimateAnswer,
        values=tuples(FLOATS, 6),
        standard_errors=tuples(FLOATS, 6),
        confidence=st.sampled_from([Confidence.INTERVAL, Confidence.UNVERIFIED]),
    ),
)
COSTS = st.builds(
    Cost,
    quantum_seconds=FLOATS,
    money=MONEY,
    currency=WORDS,
    classical_seconds=FLOATS,
    settled=st.booleans(),
)
RESULTS = st.builds(
    JobResult,
    job_id=WORDS,
    tenant=WORDS,
    key=WORDS,
    payload_hash=WORDS,
    state=STATES,
    answer=ANSWERS,
    unanswered=st.none() | st.builds(Unanswered, reason=WORDS, layer=st.none() | LAYERS),
    provenance=st.none()
    | st.builds(
        Provenance,
        source=RUNGS,
        provider=WORDS,
        backend=st.none() | WORDS,
        shots=st.none() | st.integers(),
        provider_job_ids=tuples(WORDS),
        circuit=st.none(),
        detail=st.just({}),
    ),
    decision=st.none() | DECISIONS,
    attempts=tuples(
        st.builds(
            Attempt,
            rung=RUNGS,
            outcome=st.sampled_from(["answered", "failed", "timed_out", "abandoned"]),
            reason=WORDS,
            objective=st.none() | FLOATS,
        )
    ),
    compensations=tuples(
        st.builds(
            Compensation,
            action=WORDS,
            target=WORDS,
            state=st.sampled_from(["done", "in_progress", "not_needed"]),
        )
    ),
    transitions=tuples(st.builds(Transition, state=STATES, at=TIMES)),
    timings=tuples(st.builds(LayerTiming, layer=LAYERS, seconds=FLOATS, rung=st.none() | RUNGS)),
    cost=COSTS,
    submitter=st.none() | WORDS,
    approval=st.none() | APPROVALS,
    lineage=st.none() | st.builds(Lineage, input_sha256=WORDS, experiment=st.none() | WORDS),
)


@settings(max_examples=200, deadline=None)
@given(RESULTS, st.booleans())
def test_every_result_has_a_story(outcome: JobResult, closed: bool) -> None:
    sentences = story(JobAccount(result=outcome, closed=closed))
    assert len(sentences) >= 3
    assert all(one.endswith((".", "!", "?")) and one.strip() for one in sentences)
