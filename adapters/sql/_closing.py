"""From the documents of a job to its columns and rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Table

from adapters.sql._tables import (
    approvals,
    attempts,
    job_artefacts,
    lineage,
    timings,
    transitions,
)
from qsaga.core.contract import ArtefactRef, canonical_json
from qsaga.core.facts import Decision
from qsaga.core.records import JobOpening
from qsaga.core.results import JobResult, OptimiseAnswer

_LINEAGE_DOCUMENTS = ("transpiler", "calibration", "partial", "machine")
_CIRCUIT = (
    "backend",
    "calibration_id",
    "qubits",
    "depth",
    "two_qubit_gates",
    "seed_transpiler",
    "optimization_level",
    "sha256",
)


def opening_values(opening: JobOpening) -> dict[str, Any]:
    """The columns of ``jobs`` that are known when a row is opened; None where it is not."""
    tenant, _, key = opening.job_id.partition("/")
    request = opening.request
    values: dict[str, Any] = {
        "job_id": opening.job_id,
        "tenant": tenant,
        "key": key,
        "payload_hash": opening.payload_hash,
        "opened": opening.at,
        "submitter": opening.submitter,
        "guarded": opening.guarded,
    }
    if request is not None:
        values |= {
            "request": request.model_dump_json(),
            "verb": request.workload.kind,
            "sensitivity": request.sensitivity.value,
            "environment": request.environment,
            "template": request.template,
            "experiment": request.experiment,
            "dataset": request.dataset,
            "currency": request.budgets.currency,
        }
    return values | _decision_values(opening.decision)


def closing_values(result: JobResult, opened: datetime, closed: datetime) -> dict[str, Any]:
    """The columns of ``jobs`` that are known when it is closed, without its cost."""
    answer, provenance, unanswered = result.answer, result.provenance, result.unanswered
    values: dict[str, Any] = {
        "tenant": result.tenant,
        "key": result.key,
        "state": result.state.value,
        "closed": closed,
        "seconds": (closed - opened).total_seconds(),
        "result": result.model_dump_json(),
        "approval": None if result.approval is None else result.approval.model_dump_json(),
    }
    if result.submitter is not None:
        values["submitter"] = result.submitter
    if answer is not None:
        graded = answer.quality if isinstance(answer, OptimiseAnswer) else answer
        values |= {"verb": answer.kind, "confidence": graded.confidence.value}
    if isinstance(answer, OptimiseAnswer):
        values["objective"] = answer.quality.objective
    if provenance is not None:
        values |= {
            "source": provenance.source.value,
            "provider": provenance.provider,
            "backend": provenance.backend,
        }
    if unanswered is not None:
        values |= {
            "reason": unanswered.reason,
            "layer": None if unanswered.layer is None else unanswered.layer.value,
        }
    return values | _decision_values(result.decision)


def closing_rows(result: JobResult) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """The rows that hang on a closed job, by table."""
    yield transitions, _numbered(result, (t.model_dump() for t in result.transitions))
    yield attempts, _numbered(result, (a.model_dump() for a in result.attempts))
    yield timings, _numbered(result, (t.model_dump() for t in result.timings))
    decided = () if result.approval is None else result.approval.decided
    yield (
        approvals,
        _numbered(
            result,
            (
                {
                    "verdict": each.decision.verdict.value,
                    "decided_by": each.by,
                    "at": each.at,
                    "why": each.decision.why,
                    "quantum_seconds": each.decision.quantum_seconds,
                    "money": each.decision.money,
                    "refused": each.refused,
                }
                for each in decided
            ),
        ),
    )
    yield lineage, _lineage(result)


def artefacts_of(result: JobResult) -> tuple[ArtefactRef, ...]:
    """What the result itself refers to."""
    found: list[ArtefactRef] = []
    if result.provenance is not None:
        found += result.provenance.artefacts.values()
    if result.lineage is not None:
        found += result.lineage.partial.values()
        if result.lineage.calibration is not None:
            found.append(result.lineage.calibration)
    return tuple(found)


def artefact_values(job_id: str, ref: ArtefactRef) -> dict[str, Any]:
    """The columns of ``job_artefacts``."""
    return {job_artefacts.c.job_id.name: job_id, **ref.model_dump()}


def _decision_values(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        return {}
    return {
        "decision": decision.model_dump_json(),
        "policy_version": decision.policy_version,
        "rule": decision.rule,
        "wanted": decision.wanted.value,
    }


def _numbered(result: JobResult, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"job_id": result.job_id, "position": position, **row} for position, row in enumerate(rows)
    ]


def _lineage(result: JobResult) -> list[dict[str, Any]]:
    told, provenance = result.lineage, result.provenance
    if told is None and provenance is None:
        return []
    row: dict[str, Any] = {"job_id": result.job_id}
    if told is not None:
        row |= told.model_dump(mode="json")
        row |= {
            name: None if row[name] is None else canonical_json(row[name])
            for name in _LINEAGE_DOCUMENTS
        }
    if provenance is not None:
        row |= {"seed": provenance.seed, "software": canonical_json(provenance.software)}
        circuit = provenance.circuit
        if circuit is not None:
            row |= {f"circuit_{name}": getattr(circuit, name) for name in _CIRCUIT}
            row["circuit_layout"] = canonical_json(circuit.layout)
    return [row]
