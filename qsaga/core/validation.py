"""From what pydantic found wrong to an InvalidRequest that names the field's path."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Estimate, JobRequest

# pydantic puts the tag of a discriminated union into the location; no such field exists.
_TAGS = {"workload": frozenset({"optimise", "sample", "estimate"})}

_ALLOWED_SUFFIX = re.compile(r"^(?P<problem>.*\S)\s*\(allowed: (?P<allowed>.*)\)$", re.DOTALL)

Model = TypeVar("Model", bound=BaseModel)

_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def invalid_request(
    error: ValidationError,
    prefix: str = "",
    columns: Mapping[str, tuple[str, ...]] | None = None,
) -> InvalidRequest:
    """The first thing that pydantic found wrong, as an InvalidRequest.

    A validator may raise a ``PydanticCustomError`` whose context has ``at``, a further part of
    the path, and ``allowed``. A message that ends with "(allowed: …)" is split there.

    Args:
        error: as pydantic raised it.
        prefix: path of what was validated, in front of each location.
        columns: for a list of rows, names of a row's places: ``{"edges": ("u", "v", "weight")}``
            makes ``edges.3.2`` into ``edges.3.weight``.
    """
    details = error.errors(include_url=False)
    first = details[0]
    problem, allowed = _words(first)
    if len(details) > 1:
        problem += f" (and {len(details) - 1} more errors)"
    parts = _location(first, columns or {})
    path = ".".join(part for part in (prefix, *parts) if part)
    return InvalidRequest(path or "request", problem, allowed)


def parse_request(data: Mapping[str, Any]) -> JobRequest:
    """A job request from plain data. Raises InvalidRequest with the path of the field.

    The problem's own input is checked later, by ``qsaga.problems.registry.parse``.
    """
    try:
        return JobRequest.model_validate(data)
    except ValidationError as error:
        raise invalid_request(error) from error


def parse_json(model: type[Model], data: Mapping[str, Any]) -> Model:
    """Validate plain JSON data by the rules of JSON (a list may become a tuple, 1 a float)."""
    return model.model_validate_json(json.dumps(data))


def check_observables(workload: Estimate, qubits: int) -> None:
    """Raise InvalidRequest unless every Pauli label is as long as the circuit is wide."""
    for index, observable in enumerate(workload.observables):
        for label in observable:
            if len(label) != qubits:
                raise InvalidRequest(
                    f"workload.observables.{index}.{label}",
                    f"the label has {len(label)} letters, the circuit has {qubits} qubits",
                    "one letter for each qubit, qubit 0 rightmost",
                )


def _location(details: ErrorDetails, columns: Mapping[str, tuple[str, ...]]) -> list[str]:
    parts: list[str] = []
    where = details["loc"]
    if "problem" in where and where[where.index("problem") + 1 :][:1] == ("data",):
        # Below data pydantic puts the JSON type of each value behind its key: leave those out.
        start = where.index("problem") + 2
        where = where[:start] + where[start::2]
    for part in where:
        if part in _TAGS.get(parts[-1] if parts else "", ()):
            continue
        names = columns.get(parts[-2], ()) if len(parts) > 1 and parts[-1].isdigit() else ()
        if isinstance(part, int) and part < len(names):
            parts.append(names[part])
        elif part != "[key]":
            parts.append(str(part))
    at = details.get("ctx", {}).get("at")
    return [*parts, str(at)] if at is not None else parts


def _words(details: ErrorDetails) -> tuple[str, str]:
    problem = details["msg"].removeprefix("Value error, ")
    context = details.get("ctx", {})
    if split := _ALLOWED_SUFFIX.match(problem):
        return split["problem"], split["allowed"]
    if "allowed" in context:
        return problem, str(context["allowed"])
    if details["type"] == "missing":
        return "the field is missing", ""
    if details["type"] == "extra_forbidden":
        return "there is no such field", ""
    if details["type"] in ("literal_error", "enum"):
        return f"{_short(details['input'])} is not known", str(context["expected"])
    if details["type"] == "union_tag_invalid":
        name = str(context["discriminator"]).strip("'")
        return f"{name} {context['tag']!r} is not known", str(context["expected_tags"])
    if details["type"] == "string_pattern_mismatch":
        return f"{_short(details['input'])} does not fit", f"text matching {context['pattern']}"
    if details["type"] in ("too_short", "too_long"):
        allowed = " and ".join(
            f"{words} {context[key]}"
            for key, words in (("min_length", "at least"), ("max_length", "at most"))
            if key in context
        )
        return f"{context['actual_length']} items", allowed
    limits = [f"{words} {context[key]}" for key, words in _LIMITS.items() if key in context]
    if limits:
        return f"{_short(details['input'])} is out of range", ", ".join(limits)
    if details["type"] == "finite_number":
        return "not a finite number", "any finite number"
    return problem, ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
