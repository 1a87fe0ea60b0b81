"""Raw replies of the API about jobs, in the words of the port.

The client's own job object is passed over where it guesses: it raises on a state that it does
not know, polls for ever on one, and answers a missing result with None.
"""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import JsonValue, ValidationError
from qiskit.primitives import BitArray, PrimitiveResult
from qiskit_ibm_runtime.json import RuntimeDecoder

from adapters.ibm._schema import Job, JobUsage, Metrics, read
from adapters.ibm._table import TABLE, Kind
from qsaga.core.errors import ResultUnusable
from qsaga.core.ports import CircuitResult, Outlook, RemoteJob, RemoteState

REASON_RAN_TOO_LONG = 1305
_ABOUT_NOISE = ("dynamical_decoupling", "twirling", "resilience", "ignored")
_LARGE = ("layer_noise_model",)
_STATES = {
    "queued": RemoteState.QUEUED,
    "running": RemoteState.RUNNING,
    "completed": RemoteState.COMPLETED,
    "failed": RemoteState.FAILED,
    "cancelled": RemoteState.CANCELLED,
}


def one_job(client: Any, job_id: str) -> Job:
    """A job, by one request. Raises SchemaDrift."""
    return read(Job, client.job_get(job_id), "GET /jobs/{id}")


def metrics_of(client: Any, job_id: str) -> Metrics:
    """The metrics of a job, by one request. Raises SchemaDrift."""
    return read(Metrics, client.job_metadata(job_id), "GET /jobs/{id}/metrics")


def remote_job(raw: Job, metrics: Metrics | None = None) -> RemoteJob:
    """A job from its reply, with the times and the charge of its metrics if they are given."""
    state = _STATES.get(raw.state.status.lower(), RemoteState.UNKNOWN)
    reason, code = raw.state.reason, raw.state.reason_code
    if state is RemoteState.UNKNOWN:
        said = f"{TABLE[Kind.UNKNOWN_STATUS].meaning} {raw.state.status!r}"
        reason = f"{said}: {reason}" if reason else said
    elif state is RemoteState.CANCELLED and code == REASON_RAN_TOO_LONG:
        # Nobody cancelled it: it was stopped for running longer than it was allowed to.
        state = RemoteState.FAILED
    if code is not None and state.ended:
        reason = f"{reason} (reason code {code})".strip()
    times = metrics.timestamps if metrics else None
    return RemoteJob(
        provider_job_id=raw.id,
        backend=raw.backend or "",
        state=state,
        reason=reason,
        created=raw.created or (times.created if times else None),
        running=times.running if times else None,
        finished=times.finished if times else None,
        quantum_seconds=_charge(metrics.usage) if metrics else None,
        tags=tuple(raw.tags or ()),
    )


def _charge(usage: JobUsage) -> float | None:
    """Quantum seconds; None while the account of the job is still open."""
    if usage.status == "pending":
        return None
    said = (usage.qpu_charge_time_seconds, usage.quantum_seconds)
    return next((value for value in said if value is not None and value >= 0), None)


def outlook(metrics: Metrics) -> Outlook:
    """When a job may start. The service tells a place in the queue, from 1, to some plans only."""
    position = metrics.position_in_queue
    return Outlook(
        position=position if position is not None and position > 0 else None,
        starts=metrics.estimated_start_time,
    )


def circuit_result(raw: str | None, program: str) -> CircuitResult:
    """The result of a completed job.

    Args:
        raw: body of the reply; empty when the service has none any more.
        program: ``sampler`` or ``estimator``.

    Raises:
        ResultUnusable: gone, malformed, or not of the program's shape.
    """
    if not raw:
        raise _unusable(Kind.RESULT_GONE, "the provider has no result of this job (any more)")
    try:
        decoded = json.loads(raw, cls=RuntimeDecoder)
    except Exception as error:  # whatever the text leads the decoder to
        raise _unusable(Kind.RESULT_MALFORMED, f"{type(error).__name__}: {error}") from error
    if not isinstance(decoded, PrimitiveResult) or len(decoded) != 1:
        shape = type(decoded).__name__
        raise _unusable(Kind.RESULT_SHAPE, f"a {shape}, not a primitive result of one circuit")
    try:
        result = _estimates(decoded[0]) if program == "estimator" else _counts(decoded[0])
        return result.model_copy(update={"applied": _applied(decoded.metadata)})
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise _unusable(Kind.RESULT_SHAPE, str(error)) from error


def _applied(metadata: Any) -> dict[str, JsonValue] | None:
    """What the service says that it did about noise; None if it says nothing of it."""
    said = metadata if isinstance(metadata, dict) else {}
    found = {name: _plain(said[name]) for name in _ABOUT_NOISE if said.get(name)}
    return found or None


def _plain(value: Any) -> JsonValue:
    """As JSON has it, whatever the decoder made of it: a result is not lost for its metadata."""
    if hasattr(value, "tolist"):  # an array or a number of NumPy
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items() if name not in _LARGE}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _unusable(kind: Kind, detail: str) -> ResultUnusable:
    return ResultUnusable(f"{TABLE[kind].meaning}: {detail}")


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
