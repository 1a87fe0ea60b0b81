"""The problems that are installed, found by the entry point group ``qsaga.problems``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import JobRequest, Problem
from qsaga.core.validation import invalid_request, parse_json, parse_request
from qsaga.problems.base import ProblemInput, ProblemType

GROUP = "qsaga.problems"

PREPROCESSING = "problem-input/1"
"""What ``parse`` is; rises whenever the same data gives another input."""


@cache
def _installed() -> dict[str, ProblemType[Any, Any]]:
    return {point.name: point.load() for point in entry_points(group=GROUP)}


def names() -> tuple[str, ...]:
    """Names of all installed problems, sorted."""
    return tuple(sorted(_installed()))


def get(name: str, field: str = "workload.problem.name") -> ProblemType[Any, Any]:
    """The problem of that name. Raises InvalidRequest, with ``field`` as path, if unknown."""
    try:
        return _installed()[name]
    except KeyError:
        raise InvalidRequest(field, f"unknown problem {name!r}", ", ".join(names())) from None


def parse(
    problem: Problem, prefix: str = "workload.problem"
) -> tuple[ProblemType[Any, Any], ProblemInput]:
    """The problem and its validated input.

    Raises InvalidRequest with the path of the field below ``prefix``, for example
    ``workload.problem.data.edges.3.weight``.
    """
    return _parse(problem.name, problem.data, prefix)


def request(data: Mapping[str, Any]) -> JobRequest:
    """A job request from plain data, its problem's own input checked as well.

    Raises InvalidRequest with the path of the field.
    """
    workload = data.get("workload")
    problem = workload.get("problem") if isinstance(workload, Mapping) else None
    if isinstance(problem, Mapping):
        name, given = problem.get("name"), problem.get("data")
        # First, because only the problem knows what the places of its rows are called.
        if isinstance(name, str) and isinstance(given, Mapping):
            _parse(name, given, "workload.problem")
    return parse_request(data)


def _parse(
    name: str, data: Mapping[str, Any], prefix: str
) -> tuple[ProblemType[Any, Any], ProblemInput]:
    kind = get(name, f"{prefix}.name")
    try:
        given: ProblemInput = parse_json(kind.model, data)
    except ValidationError as error:
        raise invalid_request(error, f"{prefix}.data", kind.columns) from error
    if reason := kind.infeasible(given):
        raise InvalidRequest(f"{prefix}.data", f"no solution exists: {reason}", "one that has any")
    return kind, given
