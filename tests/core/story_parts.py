"""Hand-made results of jobs, for their stories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from qsaga.core.approval import (
    Alternative,
    ApprovalDecision,
    ApprovalRecord,
    ApprovalRequest,
    ApprovalTerms,
    Ceiling,
    Decided,
    Verdict,
)
from qsaga.core.contract import ArtefactRef
from qsaga.core.facts import BackendFacts, Decision, Facts, Forecast, Refusal
from qsaga.core.jobs import Sensitivity
from qsaga.core.ports import Charge, RemoteState
from qsaga.core.results import (
    Attempt,
    Confidence,
    Cost,
    JobResult,
    LayerTiming,
    OptimiseAnswer,
    Provenance,
    Quality,
    Transition,
)
from qsaga.core.runs import JobAccount
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.story import story

BEGAN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
S, H, A = JobState, Rung.HARDWARE, Rung.ANNEALING
CEILING = Ceiling(quantum_seconds=60, money=Decimal(96), currency="USD")
REF = ArtefactRef(sha256="0" * 64, size=1, media="x")
BOTH_TRIED = (
    Attempt(
        rung=H,
        outcome="timed_out",
        reason="queue took longer than its budget of 61 s",
        layer=Layer.QUEUE,
        run_id="qsaga:1",
    ),
    Attempt(rung=A, outcome="answered", objective=12),
)


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def decision(**changes: Any) -> Decision:
    expected = Forecast(
        backend="ibm_torino",
        queue_seconds=40,
        quantum_seconds=3,
        money=Decimal("4.80"),
        currency="USD",
        ceiling=CEILING,
    )
    facts = Facts(
        verb="optimise",
        variables=40,
        qubits=40,
        shots=1000,
        queue_budget=61,
        quantum_seconds=60,
        backends=(
            BackendFacts(
                name="ibm_torino", provider="ibm", qubits=133, operational=True, queue_length=2
            ),
        ),
        template="nightly",
        sensitivity=Sensitivity.CONFIDENTIAL,
    )
    base = Decision(
        policy_version="7",
        rule="the rest",
        reason="hardware within the budgets",
        wanted=H,
        ladder=(H, A),
        refused=(Refusal(rung=Rung.SIMULATOR, reason="40 qubits, the simulator takes 24"),),
        backend="ibm_torino",
        forecast=expected,
        facts=facts,
    )
    return base.model_copy(update=changes)


NO_HARDWARE = decision(
    ladder=(A,),
    forecast=None,
    reason="hardware within the budgets, but expected queue 900 s is over the budget of 61 s",
    refused=(Refusal(rung=H, reason="expected queue 900 s is over the budget of 61 s"),),
)


def answer(**changes: Any) -> OptimiseAnswer:
    quality = Quality(
        feasible=True,
        objective=12,
        sense="maximise",
        raw_best=10,
        feasible_share=0.5,
        baseline=11,
        bound=14,
        confidence=Confidence.BETTER_THAN_BASELINE,
    )
    return OptimiseAnswer(
        solution={},
        explanation="12 of 14 edges are cut",
        quality=quality.model_copy(update=changes),
    )


def result(*states: JobState, **changes: Any) -> JobResult:
    ended = states[-1]
    base: dict[str, Any] = {
        "job_id": "lab/1",
        "tenant": "lab",
        "key": "1",
        "payload_hash": "f",
        "state": ended,
        "submitter": "ada",
        "decision": decision(),
        "transitions": tuple(
            Transition(state=state, at=after(10 * index))
            for index, state in enumerate((S.RECEIVED, *states))
        ),
        "timings": (
            LayerTiming(layer=Layer.ADMIT, seconds=0.5),
            LayerTiming(layer=Layer.QUEUE, seconds=61, rung=H),
            LayerTiming(layer=Layer.ADMIT, seconds=1),
        ),
    }
    if ended in (S.COMPLETED, S.DEGRADED):
        base["answer"] = answer()
        base["provenance"] = Provenance(source=A, provider="neal")
        base["cost"] = Cost(classical_seconds=5)
    return JobResult.model_validate(base | changes)


def asked(
    outcome: str, *decided: Decided, terms: dict[str, Any] | None = None, **changes: Any
) -> ApprovalRecord:
    request = ApprovalRequest(
        job_id="lab/1",
        tenant="lab",
        submitter="ada",
        terms=ApprovalTerms(
            **{"rule": "dear", "because": "it costs more than 1 USD", "approvers": ("bob",)}
            | (terms or {})
        ),
        asked=after(1),
        expires=after(3601),
        plan="p",
        ceiling=CEILING,
        alternatives=(Alternative(rung="annealing", text="5 s"),),
    )
    return ApprovalRecord.model_validate(
        {"request": request, "outcome": outcome, "decided": decided} | changes
    )


def said(by: str, verdict: str, why: str, refused: str = "", **limits: Any) -> Decided:
    word = ApprovalDecision(verdict=Verdict(verdict), by=by, why=why, **limits)
    return Decided(decision=word, by=by, at=after(5), refused=refused)


def told(outcome: JobResult, **account: Any) -> tuple[str, ...]:
    sentences = story(JobAccount.model_validate({"closed": True} | account | {"result": outcome}))
    for one in sentences:
        assert (
            one.endswith((".", "!", "?"))
            and "\n" not in one
            and "_" not in one.replace("ibm_torino", "")
        )
    return sentences


def charge(seconds: float, role: str = "run") -> Charge:
    cost = Cost(quantum_seconds=seconds, money=Decimal(str(seconds)) * 2)
    return Charge.model_validate(
        {
            "provider": "ibm",
            "provider_job_id": "d1",
            "backend": "ibm_torino",
            "state": RemoteState.COMPLETED,
            "role": role,
            "cost": cost,
        }
    )
