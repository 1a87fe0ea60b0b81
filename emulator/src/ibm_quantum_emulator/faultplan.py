"""The document that says what goes wrong, when and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from . import documents
from .documents import Place
from .faultrules import AnyRule, Rule

_RULES = {
    get_args(kind.model_fields["do"].annotation)[0]: kind for kind in get_args(get_args(AnyRule)[0])
}


class Plan(BaseModel):
    """A fault plan: rules in the order in which they are asked.

    Attributes:
        version: Of this format.
        seed: Of the probabilities.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: Literal[1]
    seed: int = 0
    faults: list[AnyRule] = []

    @model_validator(mode="after")
    def _named(self) -> Plan:
        for place, rule in enumerate(self.faults):
            if not rule.name:
                # Written once here, so that a rule keeps its name when others go.
                self.faults[place] = rule.model_copy(update={"name": f"rule-{place + 1}"})
        names = [rule.name for rule in self.faults]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"faults: names must differ; used twice: {', '.join(twice)}")
        return self

    def document(self) -> dict[str, Any]:
        """Return the plan as a JSON document that reads back as the same plan."""
        rows = [rule.model_dump(by_alias=True, exclude_defaults=True) for rule in self.faults]
        return {"version": self.version, "seed": self.seed, "faults": rows}


def read_plan(path: Path) -> Plan:
    """Read a plan from a TOML or JSON file; raises as :func:`~.documents.load` does."""
    return documents.load(path, Plan, _allowed)


def parse_plan(document: Any) -> Plan:
    """Check a plan that was parsed; raises as :func:`~.documents.validated` does."""
    return documents.validated(document, Plan, _allowed)


def described(rule: Rule) -> str:
    """Return a rule as one line of text, as it was understood."""
    own = rule.model_dump(by_alias=True, exclude_defaults=True)
    shown = {key: own.pop(key) for key in ("name", "do", "on") if key in own}
    parts = [f"{shown['name']}: {shown['do']} on {', '.join(_named(rule))}"]
    parts += [f"{key} {value!r}" for key, value in own.items() if key != "count"]
    parts.append("always" if rule.times is None else f"at most {rule.times} times")
    return "; ".join(parts)


def _named(rule: Rule) -> list[str]:
    whole = tuple(rule.endpoints) == tuple(rule.allowed) and len(rule.allowed) > 2
    return ["*"] if whole else list(rule.endpoints)


def _allowed(place: Place, table: Any) -> list[str]:
    model: type[BaseModel] = Plan if not place else _RULES[table["do"]]
    return sorted(field.alias or name for name, field in model.model_fields.items())
