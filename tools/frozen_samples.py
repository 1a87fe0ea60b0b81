"""Documents of a contract: the least that it takes, and one with every optional field set."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from qsaga.core.contract import Contract

LEAVES: tuple[Any, ...] = (
    True, False, 3, 2.5, 0.5, 1, 0, "a-name", "7.25", "tenant/key", "2026-11-21T08:00:00Z",
    "EUR", "ZX", "01", "ab" * 32, "eA==", 4.5,
)  # fmt: skip
"""The first that a type takes, and that is not the default, stands for it."""

OMIT = object()
LADDERS = {verb: ["hardware", "simulator"] for verb in ("optimise", "sample", "estimate")}
_RULE = {"name": "a-name", "route": "hardware", "because": "a-name"}
LEAST: dict[str, dict[str, Any]] = {
    "ApprovalRule": {"always": True},
    "DynamicalDecoupling": {"enable": True},
    "Mitigation": {"resilience_level": 2},
    "Pec": {"max_overhead": 2.5},
    "Policy": {"ladders": LADDERS, "rules": []},
    "Resilience": {"zne_mitigation": True},
    "Resolution": {"verdict": "never_accepted"},
    "SuppliedAnswer": {"values": [0.5], "standard_errors": [0.25]},
    "Suppression": {"dynamical_decoupling": {"enable": True}},
    "Twirling": {"enable_gates": True},
    "Zne": {"amplifier": "pea"},
}
"""Where the validators of a contract want more than its required fields, or it says nothing
without."""
_ONE_ANSWER = {
    "assignment": {"assignment": {"a": 1}, "counts": OMIT, "values": OMIT, "standard_errors": OMIT},
    "counts": {"assignment": OMIT, "values": OMIT, "standard_errors": OMIT},
    "values": {"assignment": OMIT, "counts": OMIT, "values": [0.5], "standard_errors": [0.25]},
}
_SAMPLE = {"kind": "sample", "circuit": {"source": "a-name"}}
MOST: dict[str, tuple[dict[str, Any], ...]] = {
    "ApprovalDecision": ({"verdict": "approve"},),
    "ApprovalRule": ({"always": OMIT},),
    "Budgets": ({"deadline": 86000.0},),
    "Circuit": ({"source": "eA=="},),
    "Policy": ({"ladders": LADDERS, "rules": [_RULE]},),
    "Qaoa": ({"depth": 1, "angles": "given", "gammas": [0.5], "betas": [0.25]},),
    "SuppliedAnswer": tuple(_ONE_ANSWER.values()),
    "JobRequest": (
        {"route": "hardware", "expect_peak": OMIT},
        {"route": "hardware", "workload": _SAMPLE},
    ),
    "JobInput": (
        {"route": "hardware", "expect_peak": OMIT},
        {"route": "hardware", "workload": _SAMPLE},
    ),
    "LoopInput": ({"route": "hardware"},),
    "LoopRequest": ({"route": "hardware"},),
    "Resolution": (
        {"verdict": "jobs", "charges": OMIT},
        {"verdict": "charged", "jobs": OMIT},
    ),
    "Resilience": (
        {"pec_mitigation": OMIT, "pec": OMIT},
        {"zne_mitigation": OMIT, "zne": OMIT},
    ),
    "Rule": ({"route": "hardware", "verbs": ["sample"]},),
}
"""Where the validators of a contract do not take everything at once: changes, one document each."""


def minimal(kind: type[Contract]) -> dict[str, Any]:
    """Its required fields, and what tells it from others."""
    needed = {
        name: value(field)
        for name, field in kind.model_fields.items()
        if field.is_required() or name == "kind"
    }
    return _checked(kind, needed | LEAST.get(kind.__name__, {}))


def full(kind: type[Contract]) -> list[dict[str, Any]]:
    """Every field, the optional ones at another value than their default."""
    every = {name: value(field) for name, field in kind.model_fields.items()}
    changed = [every | change for change in MOST.get(kind.__name__, ({},))]
    return [
        _checked(kind, {name: said for name, said in document.items() if said is not OMIT})
        for document in changed
    ]


def _checked(kind: type[Contract], document: dict[str, Any]) -> dict[str, Any]:
    try:
        kind.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise SystemExit(
            f"no example of {kind.__name__} is known; say in LEAST or MOST of "
            f"tools/frozen_samples.py what its validators want: {error}"
        ) from error
    return document


def value(field: FieldInfo) -> Any:
    """A value of a field, as JSON; another one than its default where there is another."""
    default = ...
    if not field.is_required():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Contract | tuple | dict) and not default:
            default = ...
    hint = field.rebuild_annotation()
    taken = list(_taken(hint))
    return next((said for said, loaded in taken if loaded != default), taken[0][0])


def candidates(hint: Any) -> Iterator[Any]:
    """Values that a type may take."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        yield from candidates(parts[0])
    elif origin is typing.Literal:
        yield from reversed(parts)
    elif origin in (typing.Union, types.UnionType):
        for part in parts:
            if part is not type(None):
                yield from candidates(part)
    elif origin in (tuple, list, frozenset, set):
        some = [said for said, _ in islice(_taken(parts[0]), 2)] if parts else []
        yield some[:1]
        yield some
    elif hint is type(None):
        yield None
    elif origin is dict:
        yield {_first(parts[0]): _first(parts[1])}
    elif isinstance(hint, type) and issubclass(hint, Contract):
        yield minimal(hint)
        yield from full(hint)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from (member.value for member in reversed(hint))
    else:
        yield from LEAVES


def _first(hint: Any) -> Any:
    return next(_taken(hint))[0]


def _taken(hint: Any) -> Iterator[tuple[Any, Any]]:
    """Candidates that are accepted as they are: as JSON, and as what they become."""
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    found = False
    for candidate in candidates(hint):
        try:
            loaded = adapter.validate_json(json.dumps(candidate))
        except ValidationError:
            continue
        dumped = adapter.dump_python(loaded, mode="json")
        if isinstance(candidate, dict | list) or (type(dumped), dumped) == (
            type(candidate),
            candidate,
        ):
            found = True
            yield candidate, loaded
    if not found:
        raise SystemExit(f"no value of {hint} is known to tools/frozen_samples.py")
