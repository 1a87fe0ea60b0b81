"""From a file and options to a job request."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import JobRequest, Optimise
from qsaga.problems import registry
from qsaga.problems.files import read_problem
from qsaga.problems.reading import Source

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"^\s*(?P<value>[-+.\deE]+)\s*(?P<unit>[a-z]*)\s*$")

TIMES = ("deadline", "approval", "queue", "execution", "solve", "simulate")
"""Budgets that an option can set, in seconds or with a unit."""
FIELDS = (
    "key",
    "tenant",
    "route",
    "backend",
    "seed",
    "sensitivity",
    "environment",
    "template",
    "experiment",
    "dataset",
)
"""Fields of the request that an option of the same name sets."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says beside the file; None leaves it to the file or the default."""

    problem: str | None = None
    format: str | None = None
    key: str | None = None
    tenant: str | None = None
    route: str | None = None
    backend: str | None = None
    seed: int | None = None
    shots: int | None = None
    depth: int | None = None
    angles: str | None = None
    deadline: str | None = None
    queue: str | None = None
    execution: str | None = None
    solve: str | None = None
    simulate: str | None = None
    quantum_seconds: float | None = None
    money: str | None = None
    currency: str | None = None
    approval: str | None = None
    sensitivity: str | None = None
    region: list[str] | None = None
    environment: str | None = None
    template: str | None = None
    experiment: str | None = None
    dataset: str | None = None
    by: str | None = None


def request_from(path: Path, options: Options) -> JobRequest:
    """The request that a file and the options amount to.

    A file is a job request (TOML, or JSON with a ``workload``) or a problem in one of the formats
    of ``qsaga.problems.files``. Options win over the file. Without a key the request gets one
    made of the file's name and the request's own hash, so that the same again is the same job.

    Raises InvalidRequest with the path of the field, or the file and its line.
    """
    data = _whole_request(path, options)
    if data is None:
        problem = read_problem(path, options.problem, options.format)
        data = {"workload": {"kind": "optimise", "problem": problem.model_dump(mode="json")}}
    _apply(data, options)
    if "key" in data:
        return registry.request(data)
    unnamed = registry.request({**data, "key": "none"})
    return unnamed.model_copy(update={"key": _key(path, unnamed)})


def document(path: Path) -> Any:
    """What a JSON or TOML file holds. Raises InvalidRequest with the file and its line."""
    source = Source.load(path)
    if path.suffix.lower() != ".toml":
        return source.json()
    try:
        data = tomllib.loads(source.text)
        # A request travels as JSON, which has no dates and times.
        json.dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(str(path), f"no TOML of a request: {error}") from error
    return data


def _whole_request(path: Path, options: Options) -> dict[str, Any] | None:
    """The file as a job request; None if it is a problem file."""
    if options.problem or options.format or path.suffix.lower() not in (".json", ".toml"):
        return None
    data = document(path)
    if isinstance(data, dict) and data.get("type") == "BinaryQuadraticModel":
        return None
    if not isinstance(data, dict) or "workload" not in data:
        raise InvalidRequest(
            f"{path}: workload",
            "the field is missing",
            "a job request with a workload, or a model as dimod writes it",
        )
    return data


def _apply(data: dict[str, Any], options: Options) -> None:
    """Write the options over the fields that they stand for."""
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    given = {name: value for name, value in given.items() if value is not None}
    for name in FIELDS:
        if name in given:
            data[name] = given[name]
    _apply_special(data, given)
    for name in TIMES:
        if name in given:
            _part(data, "budgets")[name] = seconds(given[name], f"budgets.{name}")
    for name in ("quantum_seconds", "money", "currency"):
        if name in given:
            _part(data, "budgets")[name] = given[name]
    workload = _part(data, "workload")
    if "shots" in given:
        workload["shots"] = given["shots"]
    for name in ("depth", "angles"):
        if name in given:
            if workload.get("kind", Optimise.model_fields["kind"].default) != "optimise":
                raise InvalidRequest(f"--{name}", "only an optimise workload has it")
            _part(workload, "algorithm")[name] = given[name]


def _apply_special(data: dict[str, Any], given: dict[str, Any]) -> None:
    if "by" in given:
        data["requested_by"] = given["by"]
    if named := given.get("region"):
        data["regions"] = [part.strip() for one in named for part in one.split(",")]


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.setdefault(name, {})
    # A wrong shape is for the validation to name; what is written here is thrown away with it.
    return part if isinstance(part, dict) else {}


def seconds(text: str, field: str) -> float:
    """A duration in seconds: ``90``, ``90s``, ``1.5m``, ``2h``, ``1d``."""
    found = _DURATION.match(text)
    try:
        if found is None or found["unit"] not in _UNITS:
            raise ValueError
        return float(found["value"]) * _UNITS[found["unit"]]
    except ValueError:
        raise InvalidRequest(
            field, f"{text!r} is no duration", "seconds, or a number with s, m, h or d"
        ) from None


def _key(path: Path, request: JobRequest) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64]
    return "-".join(part for part in (name, request.payload_hash()[:12]) if part)


def split_job(job: str, tenant: str | None = None) -> str:
    """The job id ``tenant/key`` from what a person types: the id, or a key of ``tenant``."""
    return job if "/" in job else f"{tenant or 'default'}/{job}"


def plain(value: Mapping[str, Any]) -> str:
    """JSON for other programs to read."""
    return json.dumps(value, indent=2, ensure_ascii=False)
