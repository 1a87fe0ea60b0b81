"""What a decision, a result and an account look like on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from qsaga.core.approval import ApprovalRecord
from qsaga.core.contract import ArtefactRef
from qsaga.core.facts import Decision
from qsaga.core.lineage import Lineage
from qsaga.core.ports import Charge
from qsaga.core.records import JobRecord
from qsaga.core.results import (
    Answer,
    Comparison,
    Cost,
    EstimateAnswer,
    JobResult,
    OptimiseAnswer,
    SampleAnswer,
)
from qsaga.core.runs import JobAccount, Progress
from qsaga.core.states import JobState
from qsaga.core.words import at, duration, money, stamp

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
    if facts.variables is not None:
        size += f" for {facts.variables} variables"
    pairs.append(("qubits", f"{size}, {facts.shots} shots"))
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
    if result.unanswered is not None:
        layer = f" ({result.unanswered.layer.value})" if result.unanswered.layer else ""
        pairs.append(("no answer", f"{result.unanswered.reason}{layer}"))
    if result.provenance is not None:
        pairs.append(("source", _source(result)))
    if result.decision is not None:
        pairs.append(("route", f"{result.decision.wanted.value}: {result.decision.reason}"))
    pairs.append(("cost", cost(paid or result.cost)))
    return rows(pairs)


def account_view(account: JobAccount) -> Group:
    """A result and everything that belongs to it."""
    result = account.result
    parts: list[RenderableType] = [result_view(result, account.cost()), *_decided(result)]
    if result.attempts:
        parts += [_title("attempts"), _attempts(result)]
    if result.transitions:
        parts += [_title("states"), _transitions(result)]
    if result.timings:
        parts += [_title("seconds for each layer"), _timings(result)]
    if result.compensations:
        done = rows((c.action, _undone(account, c.target, c.state)) for c in result.compensations)
        parts += [_title("compensations"), done]
    if account.charges:
        parts += [_title("charges"), _charges(account.charges)]
    if account.late_results:
        late = rows((item.run_id, item.comparison) for item in account.late_results)
        parts += [_title("late results"), late]
    if result.provenance is not None:
        parts += [_title("provenance"), _provenance(result)]
    if result.lineage is not None:
        parts += [_title("lineage"), _lineage(result.lineage)]
    if not account.closed:
        parts.append(Text("\nThe account of a hardware run is still open.", style="yellow"))
    return Group(*parts)


def progress_view(progress: Progress) -> Group:
    """What is known of a job at work beside the line of its progress."""
    job = progress.job
    parts: list[RenderableType] = []
    if job.decision is not None:
        parts += [decision_view(job.decision), _title("tags"), _tags(job.decision, None)]
    if job.approval is not None:
        parts += [_title("approval"), approval_view(job.approval)]
    return Group(*parts)


def record_view(record: JobRecord) -> Group:
    """What is kept of a job that has no result any more, or never had one."""
    pairs: list[Row] = [
        ("job", record.job_id),
        ("payload", f"sha256 {record.payload_hash}"),
        ("opened", stamp(record.opened)),
        ("closed", stamp(record.closed) if record.closed else "no end is recorded"),
    ]
    if record.forgotten is not None:
        pairs.append(("forgotten", f"on request {at(record.forgotten)}"))
    if record.submitter is not None:
        pairs.append(("submitted by", record.submitter))
    pairs += [("open account", run_id) for run_id in record.open_runs]
    parts: list[RenderableType] = [rows(pairs)]
    if record.decision is not None:
        parts += [_title("decision"), decision_view(record.decision)]
    if record.charges:
        parts += [_title("charges"), _charges(record.charges)]
    return Group(*parts)


def _decided(result: JobResult) -> Iterator[RenderableType]:
    if result.decision is not None:
        yield from (_title("decision"), decision_view(result.decision))
        yield from (_title("tags"), _tags(result.decision, result.lineage))
    for name, record in (("approval", result.approval), ("review", result.review)):
        if record is not None:
            yield from (_title(name), approval_view(record))
    if (both := result.comparison) is not None:
        yield from (_title("hardware and classical"), rows(_beside(both)))


def _beside(both: Comparison) -> list[Row]:
    return [
        ("hardware", f"{both.hardware:g}"),
        (both.classical_rung.value, f"{both.classical:g}"),
        ("gain of hardware", f"{both.gain:+g}"),
        ("served", both.served.value),
    ]


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


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _answer(answer: Answer) -> list[Row]:
    match answer:
        case OptimiseAnswer():
            quality = answer.quality
            known = [f"{quality.confidence.value.replace('_', ' ')}"]
            if quality.baseline is not None:
                known.append(f"greedy {quality.baseline:g}")
            if quality.bound is not None:
                known.append(f"bound {quality.bound:g}")
            if quality.raw_best is not None:
                known.append(f"best as measured {quality.raw_best:g}")
            return [
                ("answer", Text(f"{quality.objective:g}", style="bold")),
                ("", answer.explanation),
                ("quality", ", ".join(known)),
            ]
        case SampleAnswer():
            return [(f"counts {name}", _top(counts)) for name, counts in answer.counts.items()]
        case EstimateAnswer():
            pairs = zip(answer.values, answer.standard_errors, strict=False)
            shown = [f"{value:.5g} ± {error:.2g}" for value, error in pairs]
            more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
            return [("values", ", ".join(shown[:MOST_SHOWN]) + more)]


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


def _attempts(result: JobResult) -> Table:
    return rows(
        (
            attempt.rung.value,
            attempt.outcome.replace("_", " ")
            + (f": {attempt.objective:g}" if attempt.objective is not None else "")
            + (f": {attempt.reason}" if attempt.reason else ""),
        )
        for attempt in result.attempts
    )


def _transitions(result: JobResult) -> Table:
    began = result.transitions[0].at
    return rows(
        (f"{(step.at - began).total_seconds():9.2f} s", step.state.value)
        for step in result.transitions
    )


def _timings(result: JobResult) -> Table:
    return rows(
        (timing.layer.value, f"{timing.seconds:9.3f}" + (f"  {timing.rung}" if timing.rung else ""))
        for timing in result.timings
    )


def _undone(account: JobAccount, run_id: str, state: str) -> str:
    # The result says how things stood when it was served; the run's report how they ended.
    closed = account.closed or any(report.run_id == run_id for report in account.runs)
    return f"{run_id}: {'done' if closed else state.replace('_', ' ')}"


def _charges(charges: Sequence[Charge]) -> Table:
    return rows(
        (
            charge.provider_job_id,
            f"{charge.state.value} on {charge.backend}, {charge.cost.quantum_seconds:g} quantum "
            f"seconds, {money(charge.cost.money, charge.cost.currency)}"
            + (" (an extra job)" if charge.role == "extra" else ""),
        )
        for charge in charges
    )


def _tags(decision: Decision, lineage: Lineage | None) -> Table:
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


def _lineage(lineage: Lineage) -> Table:
    """What went into the answer; what is shown elsewhere already is left out."""
    pairs: list[Row] = []
    shown = {"dataset", "experiment", "template", "environment", "policy_version", "partial"}
    for name in Lineage.model_fields:
        value = getattr(lineage, name)
        if name in shown or not value:
            continue
        if isinstance(value, ArtefactRef):
            value = f"artefact, sha256 {value.sha256[:16]}"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        pairs.append((name.replace("_", " "), str(value)))
    pairs += [
        (f"partial of {rung}", f"artefact, sha256 {ref.sha256[:16]}")
        for rung, ref in lineage.partial.items()
    ]
    return rows(pairs)


def _provenance(result: JobResult) -> Table:
    provenance = result.provenance
    pairs: list[Row] = []
    if provenance is None:
        return rows(pairs)
    if provenance.run_id:
        pairs.append(("run", provenance.run_id))
    if circuit := provenance.circuit:
        pairs.append(
            (
                "circuit",
                (
                    f"{circuit.qubits} qubits, depth {circuit.depth}, {circuit.two_qubit_gates} "
                    f"two-qubit gates, sha256 {circuit.sha256[:16]}"
                ),
            )
        )
        pairs.append(("calibration", circuit.calibration_id or "unknown"))
    if provenance.shots is not None:
        pairs.append(("shots", str(provenance.shots)))
    pairs.append(("seed", str(provenance.seed)))
    pairs += [
        (f"{name} artefact", f"sha256 {ref.sha256[:16]}")
        for name, ref in provenance.artefacts.items()
    ]
    software = ", ".join(f"{name} {version}" for name, version in provenance.software.items())
    pairs.append(("software", software))
    return rows(pairs)
