"""What became of the options of error suppression and mitigation that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field, JsonValue

from qsaga.core.contract import Contract
from qsaga.core.mitigation import Suppression

METHODS = ("measure_mitigation", "zne_mitigation", "pec_mitigation")
"""What counts as mitigation of an estimate; decoupling and twirling only suppress errors."""


class Applied(Contract):
    """What was asked about noise, and what was done.

    Args:
        asked: the options that the remote job was submitted with; empty if none were.
        applied: what the provider says it did, by the names of its options; None if it says
            nothing.
        mitigated: whether the values are mitigated; None where that is not known, or where there
            are counts and no values.
        note: in words, where nothing was done or nothing is said.
    """

    asked: dict[str, JsonValue] = Field(default_factory=dict)
    applied: dict[str, JsonValue] | None = None
    mitigated: bool | None = None
    note: str = ""


def on_hardware(
    asked: Suppression | None, applied: Mapping[str, JsonValue] | None
) -> Applied | None:
    """What is told of a run on hardware; None where nothing was asked and nothing is said."""
    options = asked.model_dump(mode="json") if asked is not None else {}
    if not options and applied is None:
        return None
    if applied is None:
        note = "the provider does not say which of them it applied"
        return Applied(asked=options, note=note)
    done = applied.get("resilience")
    mitigated = any(done.get(name) is True for name in METHODS) if isinstance(done, dict) else None
    note = "" if options else "by the provider's defaults"
    return Applied(asked=options, applied=dict(applied), mitigated=mitigated, note=note)


def not_applied(asked: Suppression, rung: str) -> Applied:
    """What is told where no device answered."""
    return Applied(
        asked=asked.model_dump(mode="json"),
        applied={},
        mitigated=False,
        note=f"not applied: the rung {rung} answered, and no device with noise ran",
    )


def options_text(options: Mapping[str, JsonValue]) -> str:
    """Options in one line: ``resilience.zne.noise_factors 1, 3``."""
    return "; ".join(f"{name} {_text(value)}" for name, value in _flat(options, ""))


def _flat(options: Mapping[str, JsonValue], prefix: str) -> Iterator[tuple[str, JsonValue]]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _text(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
