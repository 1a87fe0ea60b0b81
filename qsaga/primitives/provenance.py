"""Where an answer came from and what it cost, as plain values for a result's metadata."""

from __future__ import annotations

from typing import Any

from qsaga.core.results import JobResult


def told(result: JobResult) -> dict[str, Any]:
    """What the metadata say of one job. Money is text, so that no digit is lost."""
    source, answer = result.provenance, result.answer
    return {
        "job_id": result.job_id,
        "state": result.state.value,
        "source": source.source.value if source else None,
        "provider": source.provider if source else None,
        "backend": source.backend if source else None,
        "remote_jobs": list(source.provider_job_ids) if source else [],
        "shots": getattr(answer, "shots", None) or (source.shots if source else None),
        "confidence": answer.confidence.value if answer and answer.kind != "optimise" else None,
        "mitigation": source.detail.get("mitigation") if source else None,
        "money": str(result.cost.money),
        "currency": result.cost.currency,
        "quantum_seconds": result.cost.quantum_seconds,
        "settled": result.cost.settled,
        "attempts": [
            {"rung": one.rung.value, "outcome": one.outcome, "reason": one.reason}
            for one in result.attempts
        ],
    }
