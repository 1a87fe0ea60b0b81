"""Raw replies of the API about jobs, in the words of the port.

The client's own job object is passed over where it guesses: it raises on a state that it does
not know, polls for ever on one, and answers a missing result with None.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from qiskit.primitives import BitArray, PrimitiveResult
from qiskit_ibm_runtime.json import RuntimeDecoder

from qsaga.core.errors import ResultUnusable, TransientProviderError
from qsaga.core.ports import CircuitResult, RemoteJob, RemoteState

REASON_RAN_TOO_LONG = 1305
PAGE = 100
_STATES = {
    "queued": RemoteState.QUEUED,
    "running": RemoteState.RUNNING,
    "completed": RemoteState.COMPLETED,
    "failed": RemoteState.FAILED,
    "cancelled": RemoteState.CANCELLED,
}


def remote_job(raw: Any, metrics: Any = None) -> RemoteJob:
    """A job from its reply, with the times and the charge of its metrics if they are given.

    Raises:
        TransientProviderError: the reply describes no job.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
        raise TransientProviderError("IBM Quantum: the description of a job cannot be read")
    described = raw.get("state")
    described = described if isinstance(described, dict) else {"status": raw.get("status")}
    said = str(described.get("status"))
    state = _STATES.get(said.lower(), RemoteState.UNKNOWN)
    reason = str(described.get("reason") or "")
    code = described.get("reason_code")
    if state is RemoteState.UNKNOWN:
        reason = f"unknown status {said!r}" + (f": {reason}" if reason else "")
    elif state is RemoteState.CANCELLED and code == REASON_RAN_TOO_LONG:
        # Nobody cancelled it: it was stopped for running longer than it was allowed to.
        state = RemoteState.FAILED
    if code is not None and state.ended:
        reason = f"{reason} (reason code {code})".strip()
    metrics = metrics if isinstance(metrics, dict) else {}
    times = metrics.get("timestamps")
    times = times if isinstance(times, dict) else {}
    return RemoteJob(
        provider_job_id=raw["id"],
        backend=str(raw.get("backend") or ""),
        state=state,
        reason=reason,
        created=_moment(raw.get("created") or times.get("created")),
        running=_moment(times.get("running")),
        finished=_moment(times.get("finished")),
        quantum_seconds=_charge(metrics.get("usage")),
    )


def _moment(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _charge(usage: Any) -> float | None:
    """Quantum seconds; None while the account of the job is still open."""
    if not isinstance(usage, dict) or usage.get("status", "pending") == "pending":
        return None
    for field in ("qpu_charge_time_seconds", "quantum_seconds"):
        value = usage.get(field)
        if isinstance(value, int | float) and value >= 0:
            return float(value)
    return None


def all_jobs(client: Any, tag: str) -> Iterator[dict[str, Any]]:
    """Every listed job with the tag, page by page, oldest first.

    Ends at a page that brings nothing new, whatever the count says: with a wrong count the
    client's own listing asks for ever. A job whose tags are told and lack ours is left out, so
    that a listing that ignores the filter cannot make us adopt another's job.
    """
    seen: set[str] = set()
    asked = 0
    while True:
        reply = client.jobs_get(limit=PAGE, skip=asked, job_tags=[tag], descending=False)
        page = reply.get("jobs") if isinstance(reply, dict) else None
        if not isinstance(page, list) or not all(isinstance(job, dict) for job in page):
            raise TransientProviderError("IBM Quantum: the list of jobs cannot be read")
        fresh = [job for job in page if job.get("id") not in seen]
        if not fresh:
            return
        seen.update(str(job.get("id")) for job in fresh)
        asked += len(page)
        for job in fresh:
            tags = job.get("tags")
            if tags is None or tag in tags:
                yield job
        count = reply.get("count")
        if len(page) < PAGE and not (isinstance(count, int) and count > asked):
            return


def circuit_result(raw: str | None, program: str) -> CircuitResult:
    """The result of a completed job.

    Args:
        raw: body of the reply; empty when the service has none any more.
        program: ``sampler`` or ``estimator``.

    Raises:
        ResultUnusable: gone, malformed, or not of the program's shape.
    """
    if not raw:
        raise ResultUnusable("the provider has no result of this job (any more)")
    try:
        decoded = json.loads(raw, cls=RuntimeDecoder)
    except Exception as error:  # whatever the text leads the decoder to
        raise ResultUnusable(f"malformed result: {type(error).__name__}: {error}") from error
    if not isinstance(decoded, PrimitiveResult) or len(decoded) != 1:
        shape = type(decoded).__name__
        raise ResultUnusable(f"the result is a {shape}, not a primitive result of one circuit")
    try:
        return _estimates(decoded[0]) if program == "estimator" else _counts(decoded[0])
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise ResultUnusable(f"the result has another shape than expected: {error}") from error


def _counts(pub: Any) -> CircuitResult:
    registers = {name: array for name, array in pub.data.items() if isinstance(array, BitArray)}
    if not registers or len(registers) != len(pub.data):
        raise ValueError(f"fields {sorted(pub.data)} are not all registers")
    counts = {
        name: {str(bits): int(times) for bits, times in array.get_counts().items()}
        for name, array in registers.items()
    }
    totals = {sum(register.values()) for register in counts.values()}
    if len(totals) != 1 or totals == {0}:
        raise ValueError(f"registers have {sorted(totals)} shots")
    return CircuitResult(verb="sample", shots=totals.pop(), counts=counts)


def _estimates(pub: Any) -> CircuitResult:
    values = tuple(float(v) for v in pub.data.evs.reshape(-1))
    errors = tuple(float(v) for v in pub.data.stds.reshape(-1))
    if not values or len(values) != len(errors):
        raise ValueError(f"{len(values)} values with {len(errors)} standard errors")
    shots = pub.metadata.get("shots") if isinstance(pub.metadata, dict) else None
    return CircuitResult(
        verb="estimate",
        shots=shots if isinstance(shots, int) else 0,
        values=values,
        standard_errors=errors,
    )
