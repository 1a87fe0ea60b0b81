"""Everything that is known of a job that has ended, or of which only the record is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qsaga.cli.views import (
    Row,
    approval_view,
    decision_view,
    result_view,
    retries_view,
    rows,
    tags,
    title,
)
from qsaga.core.applied import options_text
from qsaga.core.contract import ArtefactRef
from qsaga.core.lineage import Lineage
from qsaga.core.ports import Charge
from qsaga.core.records import JobRecord
from qsaga.core.reduction import Reduced
from qsaga.core.results import Comparison, Contender, JobResult, Provenance, applied_of
from qsaga.core.runs import JobAccount
from qsaga.core.words import at, money, plain, stamp


def account_view(account: JobAccount) -> Group:
    """A result and everything that belongs to it."""
    result = account.result
    parts: list[RenderableType] = [result_view(result, account.cost()), *_decided(result)]
    if result.attempts:
        parts += [title("attempts"), _attempts(result)]
    if result.transitions:
        parts += [title("states"), _transitions(result)]
    if result.timings:
        parts += [title("seconds for each layer"), _timings(result)]
    if account.retries:
        parts += retries_view(account.retries)
    if result.compensations:
        done = rows((c.action, _undone(account, c.target, c.state)) for c in result.compensations)
        parts += [title("compensations"), done]
    if account.charges:
        parts += [title("charges"), _charges(account.charges)]
    if account.late_results:
        late = rows((item.run_id, item.comparison) for item in account.late_results)
        parts += [title("late results"), late]
    if result.provenance is not None:
        parts += [title("provenance"), _provenance(result)]
    if result.lineage is not None:
        parts += [title("lineage"), _lineage(result.lineage)]
    if not account.closed:
        parts.append(Text("\nThe account of a hardware run is still open.", style="yellow"))
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
        parts += [title("decision"), decision_view(record.decision)]
    if record.charges:
        parts += [title("charges"), _charges(record.charges)]
    return Group(*parts)


def _decided(result: JobResult) -> Iterator[RenderableType]:
    if result.decision is not None:
        yield from (title("decision"), decision_view(result.decision))
        yield from (title("tags"), tags(result.decision, result.lineage))
    for name, record in (("approval", result.approval), ("review", result.review)):
        if record is not None:
            yield from (title(name), approval_view(record))
    if (both := result.comparison) is not None:
        yield from (title("hardware and classical"), rows(_beside(both)))


def _beside(both: Comparison) -> list[Row]:
    sides = [("hardware", f"{both.hardware:g}"), (both.classical_rung.value, f"{both.classical:g}")]
    if both.contenders:
        sides = [(each.rung.value, _side(each)) for each in both.contenders]
    return [
        *sides,
        ("gain of hardware", f"{both.gain:+g}"),
        ("served", both.served.value + (f": {both.rule}" if both.rule else "")),
    ]


def _side(each: Contender) -> str:
    by = each.backend or each.provider
    return f"{each.objective:g} by {by}, {plain(each.confidence.value)}"


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
        elif isinstance(value, Reduced):
            value = f"{value.text()} ({value.version}, {value.library})"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        pairs.append((name.replace("_", " "), str(value)))
    pairs += [
        (f"partial of {rung}", f"artefact, sha256 {ref.sha256[:16]}")
        for rung, ref in lineage.partial.items()
    ]
    return rows(pairs)


def _about_noise(provenance: Provenance) -> list[Row]:
    """What was asked about the noise of a device, and what was done."""
    said = applied_of(provenance)
    if said is None:
        return []
    words = {True: "mitigated", False: "not mitigated", None: "not known"}
    done = words[said.mitigated] + (f" ({said.note})" if said.note else "")
    pairs: list[Row] = [("mitigation", done)]
    if said.asked:
        pairs.append(("asked", options_text(said.asked)))
    if said.applied:
        pairs.append(("applied", options_text(said.applied)))
    return pairs


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
        if template := circuit.bound_from:
            came = "from the cache" if template.from_cache else "compiled for this job"
            text = f"template {template.key[:16]} {came}, {template.angles} angles put in"
            pairs.append(("bound", text))
    if provenance.shots is not None:
        pairs.append(("shots", str(provenance.shots)))
    pairs.append(("seed", str(provenance.seed)))
    pairs += _about_noise(provenance)
    pairs += [
        (f"{name} artefact", f"sha256 {ref.sha256[:16]}")
        for name, ref in provenance.artefacts.items()
    ]
    software = ", ".join(f"{name} {version}" for name, version in provenance.software.items())
    pairs.append(("software", software))
    return rows(pairs)
