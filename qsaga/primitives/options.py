"""Options of a vendor's primitive, as far as a job request has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from qsaga.core.errors import InvalidRequest
from qsaga.core.mitigation import Suppression
from qsaga.core.validation import invalid_request

Kind = TypeVar("Kind", bound=Suppression)
INSTEAD = {
    "default_shots": "the argument default_shots, or shots of run",
    "default_precision": "the argument default_precision, or precision of run",
    "max_execution_time": "budgets={'execution': seconds}",
    "seed_estimator": "the argument seed",
    "environment": "the arguments of the primitive",
}
"""What says the same here."""


def options_of(kind: type[Kind], given: Any) -> Kind | None:
    """Options of error suppression and mitigation.

    Args:
        kind: what the primitive takes.
        given: of that kind, a mapping, or an options object of qiskit-ibm-runtime; None is nothing.

    Raises InvalidRequest for an option that no job can have.
    """
    if given is None or isinstance(given, kind):
        return given
    said = _said(given)
    for name, instead in INSTEAD.items():
        if name in said:
            raise InvalidRequest(f"options.{name}", "it is no option here", instead)
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise invalid_request(error, "options") from error


def _said(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    if not is_dataclass(given) or isinstance(given, type):
        raise InvalidRequest(
            "options", f"a {type(given).__name__}", "a mapping, or options of qiskit-ibm-runtime"
        )
    plain = _set(asdict(type(given)()))
    return {name: value for name, value in _set(asdict(given)).items() if value != plain.get(name)}


def _set(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not set; the client has a value of its own for that."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        kept = _set(value) if isinstance(value, Mapping) else value
        if type(kept).__name__ != "UnsetType" and kept != {}:
            found[name] = kept
    return found
