"""Reads and checks the body of POST /jobs without importing any quantum software."""

from __future__ import annotations

import base64
import io
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ApiError, BadRequest, NotFound
from .resilience import repeats
from .snapshot import Snapshot

PROGRAMS = ("sampler", "estimator", "executor")
MAX_TAGS = 8
MAX_TAG_LENGTH = 86
_MAX_PUBS = 1000
_MAX_EXECUTIONS = 10_000_000
_DEFAULT_SHOTS = 4096
_SAMPLER_SHOTS, _ESTIMATOR_PRECISION = 2, 3


@dataclass
class Submission:
    """A submission that has passed all checks.

    Attributes:
        params: The program's parameters, JSON text.
        executions: Estimated number of single shots.
        max_seconds: Maximum execution time asked for, in quantum seconds.
        in_active_session: Whether its session has already got through the queue.
    """

    program: str
    backend: str
    params: str
    executions: int
    tags: list[str]
    session_id: str | None = None
    private: bool = False
    max_seconds: float | None = None
    calibration_id: str | None = None
    in_active_session: bool = False


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request body.

    Raises:
        BadRequest: It is not one.
    """
    try:
        document = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}", 1206) from error
    if not isinstance(document, dict):
        raise BadRequest("The body is not a JSON object.", 1206)
    return document


def checked_tags(tags: Any) -> list[str]:
    """Return tags without duplicates.

    Raises:
        BadRequest: Not a list of strings, more than 8, or one longer than 86 characters.
    """
    if tags is None:
        return []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadRequest("tags: a list of strings is expected.")
    unique = list(dict.fromkeys(tags))
    if len(unique) > MAX_TAGS:
        raise BadRequest(f"tags: at most {MAX_TAGS} are allowed, there are {len(unique)}.")
    for tag in unique:
        if not 0 < len(tag) <= MAX_TAG_LENGTH:
            raise BadRequest(f"tags: {tag[:20]!r} must have 1 to {MAX_TAG_LENGTH} characters.")
    return unique


def read_submission(document: dict[str, Any], snapshots: dict[str, Snapshot]) -> Submission:
    """Check the body of POST /jobs.

    Raises:
        ApiError: 400 or 404 with the field at fault.
    """
    program = document.get("program_id")
    if program not in PROGRAMS:
        raise NotFound(f"program_id: {program!r} is not one of {', '.join(PROGRAMS)}.", 1223)
    backend = document.get("backend")
    if backend not in snapshots:
        raise NotFound(f"backend: {backend!r} does not exist.", 1216)
    params = document.get("params")
    if not isinstance(params, dict):
        raise BadRequest("params: an object is expected.")
    seconds = document.get("cost")
    if seconds is not None and (not _is_number(seconds) or seconds <= 0):
        raise BadRequest("cost: a positive number of seconds is expected.")
    limit = snapshots[backend].max_shots
    try:
        executions = _executor(params, limit) if program == "executor" else _pubs(params, limit)
    except ApiError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, zlib.error) as error:
        raise BadRequest(f"params: not what {program!r} expects: {error!r}", 1518) from error
    if executions > _MAX_EXECUTIONS:
        raise BadRequest(
            f"The job asks for {executions} executions; the limit is {_MAX_EXECUTIONS}.", 8054
        )
    return Submission(
        program=program,
        backend=backend,
        params=json.dumps(params, separators=(",", ":")),
        executions=executions,
        tags=checked_tags(document.get("tags")),
        session_id=document.get("session_id"),
        private=bool(document.get("private")),
        max_seconds=float(seconds) if seconds else None,
        calibration_id=document.get("calibration_id"),
    )


def _pubs(params: dict[str, Any], max_shots: int) -> int:
    pubs = params.get("pubs")
    if not isinstance(pubs, list) or not pubs:
        raise BadRequest("params.pubs: a list with at least one PUB is expected.", 1518)
    if len(pubs) > _MAX_PUBS:
        raise BadRequest(f"params.pubs: at most {_MAX_PUBS} PUBs, there are {len(pubs)}.", 8055)
    options = params.get("options") or {}
    total = 0
    for place, pub in enumerate(pubs):
        parts = pub if isinstance(pub, list) else [pub]
        where = f"params.pubs[{place}]"
        if len(parts) > _ESTIMATOR_PRECISION or _observables_at(parts):
            total += _estimator_pub(parts, options, where) * repeats(params)
            continue
        shots = parts[_SAMPLER_SHOTS] if len(parts) > _SAMPLER_SHOTS else None
        shots = options.get("default_shots", _DEFAULT_SHOTS) if shots is None else shots
        _check_shots(shots, max_shots, where)
        values = parts[1] if len(parts) > 1 else None
        total += shots * _size(values)
    return total


def _observables_at(parts: list[Any]) -> bool:
    # An estimator PUB has observables second, a sampler PUB an encoded array.
    return len(parts) > 1 and (
        isinstance(parts[1], list | str)
        or (isinstance(parts[1], dict) and parts[1].get("__type__") != "ndarray")
    )


def _estimator_pub(parts: list[Any], options: dict[str, Any], where: str) -> int:
    precision = parts[_ESTIMATOR_PRECISION] if len(parts) > _ESTIMATOR_PRECISION else None
    if precision is None:
        precision = options.get("default_precision") or 1 / math.sqrt(_DEFAULT_SHOTS)
    if not _is_number(precision) or not precision > 0:
        raise BadRequest(f"{where}: precision must be positive, it is {precision!r}.", 1518)
    values = parts[2] if len(parts) > 2 else None
    observables = parts[1] if isinstance(parts[1], list) else [parts[1]]
    return math.ceil(1 / precision**2) * max(_size(values), len(observables))


def _executor(params: dict[str, Any], max_shots: int) -> int:
    program = params["quantum_program"]
    shots = program["shots"]
    _check_shots(shots, max_shots, "params.quantum_program")
    items = program["items"]
    if not isinstance(items, list) or not items:
        raise BadRequest("params.quantum_program.items: at least one item is expected.", 1518)
    total = 0
    for item in items:
        shape = item.get("shape") or item.get("circuit_arguments", {}).get("shape", [])[:-1]
        total += shots * math.prod(int(length) for length in shape)
    return total


def _check_shots(shots: Any, max_shots: int, where: str) -> None:
    if isinstance(shots, bool) or not isinstance(shots, int) or not 1 <= shots <= max_shots:
        raise BadRequest(f"{where}: shots must be 1 to {max_shots}, they are {shots!r}.", 1518)


def _size(values: Any) -> int:
    """Count the parameter sets in an encoded array of shape (..., parameters)."""
    if not isinstance(values, dict) or values.get("__type__") != "ndarray":
        return 1
    raw = values["__value__"]
    if not isinstance(raw, str):
        return 1
    data = io.BytesIO(zlib.decompress(base64.standard_b64decode(raw)))
    return math.prod(np.load(data, allow_pickle=False).shape[:-1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
