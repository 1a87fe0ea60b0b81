"""What a decision, a result and an account look like on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from qsaga.core.approval import ApprovalRecord
from qsaga.core.confidence import downgrade
from qsaga.core.facts import Decision
from qsaga.core.lineage import Lineage
from qsaga.core.results import (
    Answer,
    Cost,
    EstimateAnswer,
    JobResult,
    OptimiseAnswer,
    Quality,
    SampleAnswer,
)
from qsaga.core.runs import Progress
from qsaga.core.states import JobState
from qsaga.core.words import at, duration, money, plain, stamp

PIPE_WIDTH = 1000
MOST_SHOWN = 8
"""Bit strings or values shown of an answer; --json has all of them."""

STATE_STYLE = {
    JobState.COMPLETED: "bold green",
    JobState.DEGRADED: "bold yellow",
    JobState.FAILED: "bold red",
    JobState.TIMED_OUT: "bold red",
    JobState.REJECTED: "bold red",
    JobState.CANCELLED: "bold magenta",
}

Row = tuple[str, RenderableType]


def rows(pairs: Iterable[Row]) -> Table:
    """Two columns: what, and what it is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        # What people wrote is no markup.
        table.add_row(name, Text(value) if isinstance(value, str) else value)
    return table


def print_to(console: Console, shown: RenderableType) -> None:
    """Print; one line never breaks a word that a person may want to copy."""
    if console.is_terminal:
        console.print(shown)
        return
    # A pipe has no width: a table is laid out on one that never folds, without padding to it.
    text = StringIO()
    Console(file=text, width=PIPE_WIDTH, color_system=None).print(shown)
    console.file.writelines(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def decision_view(decision: Decision) -> Table:
    """Route, rule, reason, what was refused, and what hardware would take."""
    facts = decision.facts
    pairs: list[Row] = [
        ("route", Text(" → ".join(rung.value for rung in decision.ladder), style="bold")),
        ("rule", f"{decision.rule} (policy {decision.policy_version})"),
        ("reason", decision.reason),
    ]
    pairs += [("refused", f"{no.rung.value}: {no.reason}") for no in decision.refused]
    size = f"{facts.qubits}"
    if facts.smaller:
        size += " after reduction"
    if facts.variables is not None:
        size += f" for {facts.variables} variables"
    pairs.append(("qubits", f"{size}, {facts.shots} shots"))
    pairs += [("warning", text) for text in facts.warnings]
    if decision.shortage:
        pairs.append(("budget", Text(f"would be refused: {decision.shortage}", style="red")))
    if (asked := decision.approval) is not None:
        pairs.append(("approval", f"asked by rule {asked.rule!r}: {asked.because}"))
    expected = decision.forecast
    if expected is None:
        pairs.append(("hardware", "not possible now, so nothing is expected of it"))
        return rows(pairs)
    queue = "unknown" if expected.queue_seconds is None else duration(expected.queue_seconds)
    pairs += [
        ("backend", expected.backend),
        ("queue", f"{queue} expected, {duration(facts.queue_budget)} allowed"),
        (
            "cost",
            (
                f"{expected.quantum_seconds:.1f} quantum seconds expected, "
                f"{money(expected.money, expected.currency)}, if hardware runs it"
            ),
        ),
    ]
    if (most := expected.ceiling) is not None:
        text = f"{most.quantum_seconds:g} quantum seconds, {money(most.money, most.currency)}"
        pairs.append(("at most", text))
    return rows(pairs)


def result_view(result: JobResult, paid: Cost | None = None) -> RenderableType:
    """State, answer and where it came from; ``paid`` is known once every account is closed."""
    state = Text(result.state.value, style=STATE_STYLE.get(result.state, ""))
    pairs: list[Row] = [("job", result.job_id), ("state", state)]
    if result.submitter is not None:
        pairs.append(("submitted by", result.submitter))
    if result.answer is not None:
        pairs += _answer(result.answer)
    if less := downgrade(result):
        pairs.append(("degraded", less))
    if result.unanswered is not None:
        layer = f" ({result.unanswered.layer.value})" if result.unanswered.layer else ""
        pairs.append(("no answer", f"{result.unanswered.reason}{layer}"))
    if result.provenance is not None:
        pairs.append(("source", _source(result)))
    if result.decision is not None:
        pairs.append(("route", f"{result.decision.wanted.value}: {result.decision.reason}"))
        pairs += [("warning", text) for text in result.decision.facts.warnings]
    pairs.append(("cost", cost(paid or result.cost)))
    return rows(pairs)


def progress_view(progress: Progress) -> Group:
    """What is known of a job at work beside the line of its progress."""
    job = progress.job
    parts: list[RenderableType] = []
    if job.decision is not None:
        parts += [decision_view(job.decision), title("tags"), tags(job.decision, None)]
    if job.approval is not None:
        parts += [title("approval"), approval_view(job.approval)]
    if progress.retries:
        parts += retries_view(progress.retries)
    return Group(*parts)


def retries_view(retries: Mapping[str, int]) -> tuple[RenderableType, ...]:
    """How often each step was begun again."""
    counted = ((step.replace("_", " "), str(count)) for step, count in retries.items())
    return title("steps begun again"), rows(counted)


def approval_view(record: ApprovalRecord) -> Table:
    """What was asked, who said what, and what came of it."""
    request, terms = record.request, record.request.terms
    pairs: list[Row] = [
        ("outcome", record.outcome),
        ("asked", f"{stamp(request.asked)}, until {stamp(request.expires)}"),
        ("rule", f"{terms.rule}: {terms.because}"),
        ("approvals", f"{record.approvals} of {terms.approvals}"),
    ]
    pairs += [
        (
            one.decision.verdict.value,
            f"{one.by} {at(one.at)}: {one.decision.why}"
            + (f" (did not count: {one.refused})" if one.refused else ""),
        )
        for one in record.decided
    ]
    return rows(pairs)


def progress_line(progress: Progress, began: datetime | None) -> str:
    """One line that says where a job stands, with the seconds since ``began`` if that is given."""
    job, run = progress.job, progress.run
    words = [job.state.value]
    if job.rung is not None and not job.state.final:
        words.append(f"on {job.rung.value}")
    if job.approval is not None and job.state is JobState.AWAITING_APPROVAL:
        words.append(f"· {_waits_for(job.approval)}")
    if run is not None and not job.state.final:
        words.append(f"· run {run.state.value}")
        if run.remote is not None:
            words.append(f"· {run.remote.provider_job_id} on {run.remote.backend}")
        if run.giving_up:
            words.append(f"· given up: {run.giving_up}")
    if job.attempts and job.attempts[-1].reason:
        words.append(f"· {job.attempts[-1].rung.value}: {job.attempts[-1].reason}")
    if began is None:
        return " ".join(words)
    # The two clocks may differ a little; a job that began in the future would look odd.
    passed = max(0.0, (datetime.now(UTC) - began).total_seconds())
    return f"{passed:7.1f} s  " + " ".join(words)


def _waits_for(record: ApprovalRecord) -> str:
    request, terms = record.request, record.request.terms
    who = (*terms.approvers, *(terms.escalate_to if record.escalated else ()))
    return (
        f"{record.approvals} of {terms.approvals} approvals by "
        f"{', '.join(who) or 'any approver'} until {stamp(request.expires)}: "
        f"{terms.because}"
    )


def cost(value: Cost) -> str:
    """What was charged."""
    words = (
        f"{value.quantum_seconds:g} quantum seconds, {money(value.money, value.currency)}, "
        f"{value.classical_seconds:.1f} s of classical solving"
    )
    return words if value.settled else f"{words} (not final: an account is open)"


def title(text: str) -> Text:
    """Of a part of what is shown."""
    return Text(f"\n{text}", style="bold")


def _answer(answer: Answer) -> list[Row]:
    match answer:
        case OptimiseAnswer():
            return [
                ("answer", Text(f"{answer.quality.objective:g}", style="bold")),
                ("", answer.explanation),
                ("quality", ", ".join(_known(answer.quality))),
            ]
        case SampleAnswer():
            counted = [(f"counts {name}", _top(counts)) for name, counts in answer.counts.items()]
            width = "" if answer.half_width is None else f", frequencies ± {answer.half_width:.2g}"
            far = answer.distance
            off = f", {far.total_variation:.2g} from no noise (TV)" if far else ""
            return [*counted, ("quality", plain(answer.confidence.value) + width + off)]
        case EstimateAnswer():
            pairs = zip(answer.values, answer.standard_errors, strict=False)
            shown = [f"{value:.5g} ± {error:.2g}" for value, error in pairs]
            more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
            return [
                ("values", ", ".join(shown[:MOST_SHOWN]) + more),
                ("quality", plain(answer.confidence.value)),
            ]


def _known(quality: Quality) -> Iterator[str]:
    yield plain(quality.confidence.value)
    if quality.baseline is not None:
        yield f"greedy {quality.baseline:g}"
    if quality.bound is not None:
        by = f" ({quality.bound_by})" if quality.bound_by else ""
        gap = f", gap {quality.gap + 0.0:g}" if quality.gap is not None else ""  # -0 is 0
        yield f"bound {quality.bound:g}{by}{gap}"
    if quality.raw_best is not None:
        yield f"best as measured {quality.raw_best:g}"


def _top(counts: dict[str, int]) -> str:
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(order) - MOST_SHOWN} more" if len(order) > MOST_SHOWN else ""
    return ", ".join(f"{bits}: {count}" for bits, count in order[:MOST_SHOWN]) + more


def _source(result: JobResult) -> str:
    provenance = result.provenance
    if provenance is None:
        return ""
    words = [provenance.source.value, f"({provenance.provider}"]
    words[-1] += f", {provenance.backend})" if provenance.backend else ")"
    if provenance.provider_job_ids:
        words.append("remote job " + ", ".join(provenance.provider_job_ids))
    return " ".join(words)


def tags(decision: Decision, lineage: Lineage | None) -> Table:
    """What the request says of its data and its purpose."""
    facts = decision.facts
    pairs: list[Row] = [
        ("sensitivity", facts.sensitivity.value),
        ("environment", facts.environment),
    ]
    named = (
        ("regions", ", ".join(facts.regions)),
        ("template", facts.template),
        ("experiment", lineage.experiment if lineage else None),
        ("dataset", lineage.dataset if lineage else None),
    )
    return rows([*pairs, *((name, value) for name, value in named if value)])
