"""What the story says of each ending."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from qsaga.core.lineage import Lineage
from qsaga.core.outcome import compared
from qsaga.core.ports import LateResult, RemoteJob, RemoteState
from qsaga.core.records import JobRecord
from qsaga.core.results import (
    Attempt,
    Compensation,
    Confidence,
    Cost,
    Distance,
    EstimateAnswer,
    JobStatus,
    Provenance,
    SampleAnswer,
    Transition,
    Unanswered,
)
from qsaga.core.runs import Progress, RunStatus
from qsaga.core.states import Layer
from qsaga.core.story import account_of, story
from tests.core.story_parts import (
    BEGAN,
    BOTH_TRIED,
    NO_HARDWARE,
    REF,
    A,
    H,
    S,
    after,
    answer,
    asked,
    charge,
    decision,
    result,
    said,
    told,
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
    far = Distance(creg="c", hellinger=0.1, total_variation=0.12, chance=0.05, against="x")
    noisy = counts.model_copy(update={"distance": far})
    assert (
        "They are 0.12 in total variation from what the circuit shows without noise; by chance "
        "alone it would be about 0.05."
    ) in told(result(S.ADMITTED, S.DEGRADED, answer=noisy))
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
