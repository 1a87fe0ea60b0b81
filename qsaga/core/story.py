"""What happened to a job, as sentences: each from recorded facts only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from qsaga.core.approval import Ceiling
from qsaga.core.outcome import compared
from qsaga.core.ports import Charge
from qsaga.core.records import JobRecord
from qsaga.core.results import JobResult, LayerTiming, Transition
from qsaga.core.runs import JobAccount, Progress
from qsaga.core.states import JobState, Layer
from qsaga.core.story_answer import answer_sentences
from qsaga.core.story_asking import Known, beginning
from qsaga.core.words import at, duration, joined, money, number, plain, sentence

LAYERS = {
    Layer.ADMIT: "deciding the route",
    Layer.APPROVAL: "waiting for a person",
    Layer.ENCODE: "putting the input into the form to be run",
    Layer.COMPILE: "compiling for the backend",
    Layer.SUBMIT: "handing the job to the provider",
    Layer.QUEUE: "waiting at the provider",
    Layer.EXECUTION: "running at the provider",
    Layer.RETRIEVAL: "fetching the result",
    Layer.SIMULATE: "simulating",
    Layer.SOLVE: "solving",
    Layer.POSTPROCESS: "decoding and checking the answer",
    Layer.DEADLINE: "the whole job",
}
NOW = {
    JobState.RECEIVED: "its route is being decided",
    JobState.AWAITING_APPROVAL: "it waits for a person",
    JobState.ADMITTED: "its input is being put into the form to be run",
    JobState.QUARANTINED: "it is set aside for an operator",
    JobState.POSTPROCESSING: "its answer is being decoded and checked",
}


def account_of(record: JobRecord) -> JobAccount | None:
    """The account of a job by its record; None if the record has no result."""
    result = record.result
    if result is None:
        return None
    return JobAccount(
        result=result,
        charges=record.charges,
        late_results=tuple(compared(late, result) for late in record.late_results),
        closed=not record.open_runs,
    )


def story(told: JobAccount | Progress | JobRecord) -> tuple[str, ...]:
    """The sentences in order.

    Args:
        told: of a job that has ended, of one at work, or what is kept of one that Temporal has
            forgotten.
    """
    match told:
        case JobAccount():
            return tuple(_ended(told))
        case Progress():
            return tuple(_under_way(told))
        case JobRecord():
            account = account_of(told)
            return tuple(_ended(account) if account else _kept(told))


def _ended(account: JobAccount) -> Iterator[str]:
    result = account.result
    known = Known(
        job_id=result.job_id,
        submitter=result.submitter,
        decision=result.decision,
        approval=result.approval,
        transitions=result.transitions,
        attempts=result.attempts,
        lineage=result.lineage,
    )
    yield from beginning(known)
    yield from _waits(result.timings)
    yield from _retried(account.retries)
    yield from _attempts(known)
    yield from answer_sentences(result)
    yield from _beside(result)
    yield from _cost(account, known.held)
    for undone in result.compensations:
        done = "done" if account.closed else undone.state.replace("_", " ")
        yield sentence(f"To undo what was begun: {undone.action} ({undone.target}): {done}")
    for late in account.late_results:
        yield sentence(f"A result came after the answer was given: {late.comparison}")
    yield _end(result)


def _beside(result: JobResult) -> Iterator[str]:
    if (both := result.comparison) is not None:
        verdict = "better" if both.gain > 0 else "worse" if both.gain < 0 else "as good"
        by = f" by {abs(both.gain):g}" if both.gain else ""
        yield (
            f"Hardware ({both.hardware:g}) was {verdict}{by} beside {both.classical_rung.value} "
            f"({both.classical:g}); {plain(both.served.value)} was served"
            + (f", by the rule: {both.rule}." if both.rule else ".")
        )
    if (asked := result.review) is not None:
        yield sentence(f"A person was asked for the answer: {asked.outcome}")


def _under_way(progress: Progress) -> Iterator[str]:
    job, run = progress.job, progress.run
    request = job.approval.request if job.approval else None
    known = Known(
        job_id=job.job_id,
        submitter=request.submitter if request else None,
        decision=job.decision,
        approval=job.approval,
        transitions=job.transitions,
        attempts=job.attempts,
    )
    yield from beginning(known)
    yield from _retried(progress.retries)
    yield from _attempts(known)
    if job.state.final:
        yield f"It has ended: {plain(job.state.value)}."
        return
    now = NOW.get(job.state) or (f"{job.rung.value} works on it" if job.rung else "it is at work")
    yield f"Now {now}."
    if run is not None:
        remote = run.remote
        where = f" ({remote.provider_job_id} on {remote.backend})" if remote else ""
        yield f"Its hardware run stands at {plain(run.state.value)}{where}."
        if run.giving_up:
            yield sentence(f"That run is given up: {run.giving_up}")


def _kept(record: JobRecord) -> Iterator[str]:
    if record.forgotten is not None:
        yield f"Job {record.job_id} was taken up {at(record.opened)}."
        yield f"What it said and answered was deleted on request {at(record.forgotten)}."
    else:
        opened = (Transition(state=JobState.RECEIVED, at=record.opened),)
        yield from beginning(
            Known(
                job_id=record.job_id,
                submitter=record.submitter,
                decision=record.decision,
                approval=record.approval,
                transitions=opened,
                attempts=(),
            )
        )
        yield "No end of it is recorded, and Temporal knows nothing of it any more."
    yield _charged(record.charges)
    if record.open_runs:
        yield f"The account of {joined(record.open_runs)} is still open."


# --- what happened ---------------------------------------------------------------------------


def _waits(timings: Sequence[LayerTiming]) -> Iterator[str]:
    spent: dict[Layer, float] = {}
    for timing in timings:
        spent[timing.layer] = spent.get(timing.layer, 0.0) + timing.seconds
    if spent:
        parts = [f"{duration(seconds)} {LAYERS[layer]}" for layer, seconds in spent.items()]
        yield f"It spent {joined(parts)}."


def _retried(retries: Mapping[str, int] | None) -> Iterator[str]:
    if retries:
        parts = [f"{plain(step)} {number(count, 'time')}" for step, count in retries.items()]
        yield sentence(f"Steps were begun again: {joined(parts)}")


def _attempts(known: Known) -> Iterator[str]:
    words = {
        "answered": "answered",
        "failed": "failed",
        "timed_out": "ran out of time",
        "abandoned": "was left while it worked",
    }
    for attempt in known.attempts:
        text = f"{attempt.rung.value} {words[attempt.outcome]}"
        if attempt.objective is not None:
            text += f" with {attempt.objective:g}"
        yield sentence(text + (f": {attempt.reason}" if attempt.reason else ""))


def _cost(account: JobAccount, held: Ceiling | None) -> Iterator[str]:
    cost = account.cost()
    yield (
        f"It cost {cost.quantum_seconds:g} quantum seconds ({money(cost.money, cost.currency)}) "
        f"and {duration(cost.classical_seconds)} of classical work."
    )
    extra = [charge for charge in account.charges if charge.role == "extra"]
    if extra:
        yield f"That includes {number(len(extra), 'extra remote job')}."
    if not cost.settled:
        yield "That is not final: the account of a hardware run is still open."
    elif held is not None:
        yield _given_back(cost.quantum_seconds, cost.money, cost.currency, held)


def _given_back(seconds: float, paid: Decimal, currency: str, held: Ceiling) -> str:
    if not seconds and not paid:
        return "All that was set aside for hardware was given back."
    parts = []
    if seconds <= held.quantum_seconds:
        parts.append(f"{held.quantum_seconds - seconds:g} quantum seconds")
    if currency == held.currency and paid <= held.money:
        parts.append(money(held.money - paid, currency))
    if not parts:
        return "Nothing of what was set aside for hardware was left to give back."
    return f"Of what was set aside for hardware {joined(parts)} were given back."


def _charged(charges: Sequence[Charge]) -> str:
    if not charges:
        return "No charge of a provider is recorded."
    parts = [
        f"{charge.cost.quantum_seconds:g} quantum seconds "
        f"({money(charge.cost.money, charge.cost.currency)}) for {charge.provider_job_id} "
        f"on {charge.backend}"
        for charge in charges
    ]
    return f"Providers charged {joined(parts)}."


def _end(result: JobResult) -> str:
    when = _took(result.transitions)
    why = result.unanswered.reason if result.unanswered else "no reason is recorded"
    source = result.provenance
    answered = source.source.value if source else "another way"
    wanted = result.decision.wanted.value if result.decision else "another way"
    match result.state:
        case JobState.COMPLETED:
            return f"It ended completed{when}: {answered} answered, as it was to be."
        case JobState.DEGRADED:
            return f"It ended degraded{when}: {wanted} was to answer, {answered} did."
        case JobState.TIMED_OUT:
            return sentence(f"It ran out of time{when}, without an answer: {why}")
        case state:
            return sentence(f"It ended {plain(state.value)}{when}, without an answer: {why}")


def _took(transitions: Sequence[Transition]) -> str:
    if not transitions:
        return ""
    first, last = transitions[0].at, transitions[-1].at
    if (first.tzinfo is None) != (last.tzinfo is None):
        return f" {at(last)}"
    return f" {at(last)}, after {duration((last - first).total_seconds())}"
