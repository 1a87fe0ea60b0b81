"""What the story says of each ending, and that it says something of every result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from qsaga.core.lineage import Lineage
from qsaga.core.outcome import compared
from qsaga.core.ports import Charge, LateResult, RemoteJob, RemoteState
from qsaga.core.records import JobRecord
from qsaga.core.results import (
    Attempt,
    Compensation,
    Confidence,
    Cost,
    EstimateAnswer,
    JobResult,
    JobStatus,
    LayerTiming,
    OptimiseAnswer,
    Provenance,
    Quality,
    SampleAnswer,
    Transition,
    Unanswered,
)
from qsaga.core.runs import JobAccount, Progress, RunStatus
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.story import account_of, story

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


def test_completed_in_full() -> None:
    outcome = result(
        S.ADMITTED,
        S.COMPLETED,
        attempts=(Attempt(rung=H, outcome="answered", objective=12, run_id="qsaga:1"),),
        provenance=Provenance(
            source=H, provider="ibm", backend="ibm_torino", shots=1000, provider_job_ids=("d1",)
        ),
        lineage=Lineage(input_sha256="0", experiment="autumn", dataset="v3"),
    )
    assert told(outcome, charges=(charge(2),)) == (
        (
            "ada asked for the best solution of a problem with 40 variables, 40 qubits and 1000 "
            "shots as job lab/1 at 2026-11-21 08:00:00 UTC."
        ),
        "Its data are confidential and it is a production job.",
        "It belongs to template nightly, experiment autumn and data set v3.",
        "The rule 'the rest' of policy 7 chose hardware: hardware within the budgets.",
        "The job allowed at most 61 s of waiting at the provider and 60 quantum seconds.",
        "Backend ibm_torino had 133 qubits, 2 jobs waiting.",
        "The ways to answer, in order, were hardware and annealing.",
        "Simulator was left out: 40 qubits, the simulator takes 24.",
        "On ibm_torino 3 quantum seconds (4.80 USD) were expected after a wait of 40 s.",
        "At most 60 quantum seconds (96.00 USD) were set aside for hardware.",
        "It spent 1.5 s deciding the route and 61 s waiting at the provider.",
        "Hardware answered with 12.",
        "The answer is 12: 12 of 14 edges are cut.",
        "Its largest value was looked for.",
        "It is better than 11, which a simple greedy construction finds.",
        "No answer can be above 14.",
        "The best sample as it was measured had 10.",
        "Of the samples as measured 50.0% met every constraint.",
        "It came from hardware (ibm, ibm_torino, 1000 shots, remote job d1).",
        "It cost 2 quantum seconds (4.00 USD) and 5 s of classical work.",
        "Of what was set aside for hardware 58 quantum seconds and 92.00 USD were given back.",
        (
            "It ended completed at 2026-11-21 08:00:20 UTC, after 20 s: hardware answered, as it "
            "was to be."
        ),
    )


def test_degraded_before_waiting() -> None:
    sentences = told(result(S.ADMITTED, S.DEGRADED, decision=NO_HARDWARE))
    assert "Hardware was left out: expected queue 900 s is over the budget of 61 s." in sentences
    assert sentences[-1].endswith("after 20 s: hardware was to answer, annealing did.")
    assert not any("set aside" in one or "given back" in one for one in sentences)


def test_degraded_while_waiting() -> None:
    undone = Compensation(
        action="cancel the remote job and settle its account", target="r1", state="in_progress"
    )
    outcome = result(
        S.ADMITTED,
        S.QUEUED,
        S.DEGRADED,
        attempts=BOTH_TRIED,
        compensations=(undone,),
        cost=Cost(settled=False),
    )
    still_open = told(outcome, closed=False)
    assert "Hardware ran out of time: queue took longer than its budget of 61 s." in still_open
    assert "Annealing answered with 12." in still_open
    assert "That is not final: the account of a hardware run is still open." in still_open
    undoing = "To undo what was begun: cancel the remote job and settle its account (r1): "
    assert f"{undoing}in progress." in still_open
    closed = told(outcome)
    assert f"{undoing}done." in closed
    assert "All that was set aside for hardware was given back." in closed


def test_rejected_by_a_person() -> None:
    record = asked(
        "rejected",
        said("ada", "approve", "please", "four eyes: 'ada' submitted the job"),
        said("bob", "reject", "too dear for a test"),
        terms={"four_eyes": True},
    )
    why = Unanswered(reason="rejected by bob: too dear for a test", layer=Layer.APPROVAL)
    sentences = told(result(S.AWAITING_APPROVAL, S.REJECTED, unanswered=why, approval=record))
    begin = sentences.index(
        "The yes of one person was asked of bob at 2026-11-21 08:00:01 UTC, until 2026-11-21 "
        "09:00:01 UTC, by the rule 'dear': it costs more than 1 USD."
    )
    assert sentences[begin + 1 : begin + 6] == (
        "Whoever had asked for the job was not to decide on it.",
        (
            "That ada wanted to approve it at 2026-11-21 08:00:05 UTC (please) did not count: four "
            "eyes: 'ada' submitted the job."
        ),
        "It was rejected by bob at 2026-11-21 08:00:05 UTC: too dear for a test.",
        "So it was rejected.",
        "At most 60 quantum seconds (96.00 USD) were set aside for hardware.",
    )
    assert "All that was set aside for hardware was given back." in sentences
    assert sentences[-1] == (
        "It ended rejected at 2026-11-21 08:00:20 UTC, after 20 s, without an answer: "
        "rejected by bob: too dear for a test."
    )


def test_expired() -> None:
    record = asked(
        "expired",
        said("bob", "approve", "go"),
        terms={"approvals": 2, "escalate_to": ("eve",)},
        reminded=after(600),
        escalated=after(1200),
    )
    why = Unanswered(reason="nobody decided within 3600 s", layer=Layer.APPROVAL)
    sentences = told(result(S.AWAITING_APPROVAL, S.TIMED_OUT, unanswered=why, approval=record))
    for one in (
        "A reminder was sent at 2026-11-21 08:10:00 UTC.",
        "It was escalated to eve at 2026-11-21 08:20:00 UTC.",
        "It was approved by bob at 2026-11-21 08:00:05 UTC: go.",
        "Not enough people decided, and the request lapsed at 2026-11-21 09:00:01 UTC.",
    ):
        assert one in sentences
    assert sentences[-1].startswith("It ran out of time at")
    assert sentences[-1].endswith("without an answer: nobody decided within 3600 s.")


def test_approved_for_less() -> None:
    record = asked("approved", said("bob", "approve", "fine", quantum_seconds=5, money=Decimal(8)))
    sentences = told(result(S.AWAITING_APPROVAL, S.ADMITTED, S.COMPLETED, approval=record))
    assert (
        "It was approved by bob at 2026-11-21 08:00:05 UTC with at most 5 quantum seconds and a "
        "cost of 8: fine."
    ) in sentences
    assert "So it was approved." in sentences


def test_refused_for_its_budget() -> None:
    short = "96 USD wanted, tenant 'lab' has 3 of 100 left this month"
    sentences = told(result(S.REJECTED, unanswered=Unanswered(reason=short, layer=Layer.ADMIT)))
    assert sentences[-1].endswith(f"after 10 s, without an answer: {short}.")
    assert not any("set aside" in one for one in sentences)


def test_cancelled_while_it_waited() -> None:
    gone = result(
        S.AWAITING_APPROVAL,
        S.CANCELLED,
        unanswered=Unanswered(reason="cancelled by the caller"),
        approval=asked("withdrawn"),
        submitter=None,
        decision=None,
        transitions=(),
    )
    sentences = told(gone)
    assert sentences[0] == ("Somebody whose name is not recorded asked for an answer as job lab/1.")
    assert "The request was withdrawn, as the job ended before it was decided." in sentences
    assert sentences[-1] == ("It ended cancelled, without an answer: cancelled by the caller.")


def test_failed() -> None:
    tried = (Attempt(rung=H, outcome="failed", reason="the remote job ended as failed: no"),)
    why = Unanswered(reason="the remote job ended as failed: no", layer=Layer.EXECUTION)
    sentences = told(result(S.ADMITTED, S.FAILED, attempts=tried, unanswered=why))
    assert "Hardware failed: the remote job ended as failed: no." in sentences
    assert sentences[-1].startswith("It ended failed at")


def test_timed_out() -> None:
    why = Unanswered(reason="the deadline has passed", layer=Layer.DEADLINE)
    tried = (Attempt(rung=A, outcome="abandoned", reason="the job was cancelled"),)
    sentences = told(result(S.ADMITTED, S.TIMED_OUT, attempts=tried, unanswered=why))
    assert "Annealing was left while it worked: the job was cancelled." in sentences
    assert sentences[-1].endswith("without an answer: the deadline has passed.")


def test_late_result_and_an_extra_job() -> None:
    outcome = result(S.ADMITTED, S.DEGRADED, attempts=BOTH_TRIED)
    late = compared(LateResult(run_id="r1", result=REF, objective=13), outcome)
    sentences = told(outcome, late_results=(late,), charges=(charge(70), charge(1, "extra")))
    assert (
        "A result came after the answer was given: late hardware 13 is better than 12 served from "
        "annealing."
    ) in sentences
    assert "That includes 1 extra remote job." in sentences
    assert "Nothing of what was set aside for hardware was left to give back." in sentences


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (
            {"confidence": Confidence.PROVEN_OPTIMAL, "bound": 12.0},
            "It is proven to be the best there is: none can be above 12.",
        ),
        (
            {"confidence": Confidence.FEASIBLE},
            (
                "It meets every constraint; a simple greedy construction finds 11, and nothing "
                "better is shown."
            ),
        ),
        (
            {"confidence": Confidence.FEASIBLE, "baseline": None},
            "It meets every constraint; nothing more is known of it.",
        ),
        ({"confidence": Confidence.UNVERIFIED}, "How good it is was not checked."),
        (
            {"confidence": Confidence.FEASIBLE, "feasible": False},
            "It does not meet every constraint.",
        ),
        ({"sense": "minimise"}, "No answer can be below 14."),
    ],
)
def test_how_good_it_is(quality: dict[str, Any], expected: str) -> None:
    assert expected in told(result(S.ADMITTED, S.DEGRADED, answer=answer(**quality)))


def test_samples_and_values() -> None:
    counts = SampleAnswer(counts={"c": {"00": 6, "11": 4}}, shots=10)
    sentences = told(result(S.ADMITTED, S.DEGRADED, answer=counts))
    assert "Of 10 shots, register c most often read 00 (6 times) and 11 (4 times)." in sentences
    values = EstimateAnswer(values=(0.5, 1), standard_errors=(0.01, 0.02))
    sentences = told(result(S.ADMITTED, S.DEGRADED, answer=values))
    assert "The values are 0.5 ± 0.01 and 1 ± 0.02, each with its standard error." in sentences


def test_under_way() -> None:
    record = asked("waiting", terms={"approvals": 2, "approvers": ()})
    job = JobStatus(
        job_id="lab/1",
        payload_hash="f",
        state=S.AWAITING_APPROVAL,
        decision=decision(),
        transitions=(Transition(state=S.RECEIVED, at=BEGAN),),
        approval=record,
    )
    sentences = story(Progress(job=job))
    assert sentences[0].startswith("ada asked for the best solution")
    assert "It still waits for 2 more approvals." in sentences
    assert sentences[-1] == "Now it waits for a person."
    running = job.model_copy(update={"state": S.ENCODED, "rung": H, "run_id": "r1"})
    remote = RemoteJob(provider_job_id="d1", backend="ibm_torino", state=RemoteState.QUEUED)
    run = RunStatus(run_id="r1", state=S.QUEUED, remote=remote, giving_up="the job was cancelled")
    assert story(Progress(job=running, run=run))[-3:] == (
        "Now hardware works on it.",
        "Its hardware run stands at queued (d1 on ibm_torino).",
        "That run is given up: the job was cancelled.",
    )
    ended = running.model_copy(update={"state": S.TIMED_OUT})
    assert story(Progress(job=ended))[-1] == "It has ended: timed out."


def test_from_the_records() -> None:
    outcome = result(S.ADMITTED, S.DEGRADED)
    late = LateResult(run_id="r1", result=REF, objective=13)
    record = JobRecord(
        job_id="lab/1",
        payload_hash="f",
        opened=BEGAN,
        closed=after(20),
        result=outcome,
        charges=(charge(2),),
        late_results=(late,),
    )
    account = account_of(record)
    assert account is not None and account.closed
    assert account.cost().quantum_seconds == 2
    assert account.late_results[0].difference == 1
    assert story(record) == story(account)
    still_open = account_of(record.model_copy(update={"open_runs": ("r1",)}))
    assert still_open is not None and not still_open.closed


def test_records_without_a_result() -> None:
    record = JobRecord(
        job_id="lab/1",
        payload_hash="f",
        opened=BEGAN,
        submitter="ada",
        decision=decision(),
        open_runs=("r1",),
    )
    sentences = story(record)
    assert sentences[0].startswith("ada asked for the best solution")
    assert sentences[-3:] == (
        "No end of it is recorded, and Temporal knows nothing of it any more.",
        "No charge of a provider is recorded.",
        "The account of r1 is still open.",
    )
    assert story(
        JobRecord(
            job_id="lab/1",
            payload_hash="f",
            opened=BEGAN,
            forgotten=after(60),
            charges=(charge(2),),
        )
    ) == (
        "Job lab/1 was taken up at 2026-11-21 08:00:00 UTC.",
        "What it said and answered was deleted on request at 2026-11-21 08:01:00 UTC.",
        "Providers charged 2 quantum seconds (4.00 USD) for d1 on ibm_torino.",
    )


# --- every result there can be -------------------------------------------------------------------

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
            confidence=st.sampled_from(Confidence),
        ),
    ),
    st.builds(
        SampleAnswer,
        counts=st.dictionaries(WORDS, st.dictionaries(WORDS, st.integers(), max_size=6)),
        shots=st.integers(),
    ),
    st.builds(EstimateAnswer, values=tuples(FLOATS, 6), standard_errors=tuples(FLOATS, 6)),
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
