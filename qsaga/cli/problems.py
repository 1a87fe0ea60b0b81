"""The commands about problems: which there are, what they take, how large they get."""

from __future__ import annotations

import inspect
import json as text_json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from dimod import BinaryQuadraticModel
from pydantic import JsonValue, TypeAdapter
from rich.console import Group
from rich.text import Text

from qsaga.cli.console import AsJson, out
from qsaga.cli.requests import Options, plain, request_from
from qsaga.cli.views import Row, print_to, rows
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Optimise, Problem
from qsaga.core.reduction import Reduced
from qsaga.problems import registry
from qsaga.problems.base import ProblemInput, ProblemType
from qsaga.problems.precision import spread
from qsaga.problems.reduction import MOST_TERMS, reduce_model

app = typer.Typer(help="Problems that can be solved by name: list them, show one, size a file.")

MOST_COUPLINGS = 1_000_000
"""Up to so many a model is built in about a second to look at its coefficients."""

_LIMITS = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
_FIELD = re.compile(r"^    (?P<name>\w+): (?P<text>.*)$")

Name = Annotated[str, typer.Argument(help="Of a problem, as `qsaga problems` lists it.")]


@app.callback(invoke_without_command=True)
def problems(context: typer.Context, *, json: AsJson = False) -> None:
    """List the problems that can be solved by name."""
    if context.invoked_subcommand is not None:
        return
    kinds = [registry.get(name) for name in registry.names()]
    if json:
        print(plain({kind.name: _summary(kind) for kind in kinds}))
        return
    print_to(out(), rows((kind.name, _line(kind)) for kind in kinds))


@app.command()
def show(name: Name, *, json: AsJson = False) -> None:
    """Show a problem: input, formulation and penalties, reference, file formats, an example."""
    kind = registry.get(name, "name")
    if json:
        schema = TypeAdapter(kind.model).json_schema()
        more = {"formulation_text": _words(kind), "schema": schema, "example": _example(kind)}
        print(plain(_summary(kind) | more))
        return
    print_to(out(), Group(rows(_told(kind)), Text(""), Text(plain(_example(kind)))))


@app.command()
def example(name: Name) -> None:
    """Print a small job request of a problem, for `qsaga run`."""
    print(plain(_example(registry.get(name, "name"))))


@app.command()
def size(
    file: Annotated[Path, typer.Argument(help="A job request, or a problem file.")],
    *,
    problem: Annotated[str | None, typer.Option("--problem", help="What the file holds.")] = None,
    format: Annotated[str | None, typer.Option("--format", help="Of the file.")] = None,
    json: AsJson = False,
) -> None:
    """Say how large the model of a file gets, and whether its coefficients are far apart."""
    workload = request_from(file, Options(problem=problem, format=format)).workload
    if not isinstance(workload, Optimise):
        raise InvalidRequest("workload.kind", "a circuit has no model", "optimise")
    kind, given = registry.parse(workload.problem)
    told = _size(kind, given)
    model = kind.formulate(given) if told["couplings"] <= MOST_COUPLINGS else None
    warnings = _warnings(model)
    left = _reduced(model, told["couplings"]) if workload.algorithm.reduce else "not asked for"
    if json:
        after = None if isinstance(left, str) else left.model_dump(mode="json")
        print(plain({"problem": kind.name} | told | {"reduced": after, "warnings": warnings}))
        return
    pairs: list[Row] = [("problem", kind.name), *((what, str(n)) for what, n in told.items())]
    pairs.append(("reduced", left if isinstance(left, str) else left.text()))
    print_to(out(), rows([*pairs, *(("warning", text) for text in warnings)]))


def _size(kind: ProblemType[Any, Any], given: ProblemInput) -> dict[str, int]:
    variables, couplings = kind.size(given)
    # QAOA takes a qubit for each variable.
    return {"variables": variables, "couplings": couplings, "qubits": variables}


def _reduced(model: BinaryQuadraticModel | None, couplings: int) -> Reduced | str:
    """What the reduction leaves, or why that is not known."""
    if model is None or couplings > MOST_TERMS:
        return f"not looked at: more than {MOST_TERMS} couplings"
    try:
        found = reduce_model(model)
    except ImportError:
        return "not known without qsaga[reduction]"
    return "not looked at" if found is None else found.size


def _warnings(model: BinaryQuadraticModel | None) -> list[str]:
    if model is None:
        return [f"coefficients not looked at: more than {MOST_COUPLINGS} couplings"]
    return list(spread(model).warnings())


# --- one problem in words ----------------------------------------------------------------------


def _line(kind: ProblemType[Any, Any]) -> str:
    formats = ", ".join(one.name for one in kind.formats)
    return f"{kind.title} ({kind.sense}" + (f"; {formats})" if formats else ")")


def _summary(kind: ProblemType[Any, Any]) -> dict[str, JsonValue]:
    return {
        "name": kind.name,
        "title": kind.title,
        "sense": kind.sense,
        "formulation": kind.formulation,
        "reference": kind.reference,
        "formats": {one.name: one.title for one in kind.formats},
    }


def _example(kind: ProblemType[Any, Any]) -> dict[str, Any]:
    problem = {"name": kind.name, "data": dict(kind.example)}
    name = kind.name.replace("_", "-")
    return {"key": f"{name}-example", "workload": {"kind": "optimise", "problem": problem}}


def _words(kind: ProblemType[Any, Any]) -> str:
    return inspect.getdoc(type(kind)) or ""


def _told(kind: ProblemType[Any, Any]) -> Iterator[Row]:
    yield "problem", Text(kind.name, style="bold")
    yield "", f"{kind.title} ({kind.sense})"
    schema = TypeAdapter(kind.model).json_schema()
    described = field_notes(kind.model)
    for name, field in schema["properties"].items():
        needed = "" if name in schema.get("required", ()) else ", may be left out"
        shape = _shape(field, schema.get("$defs", {}), kind.columns.get(name, ()))
        yield f"input {name}", f"{shape}{needed}: {described.get(name, '')}"
    yield "formulation", f"{kind.formulation}, {kind.decoding}"
    for paragraph in _words(kind).split("\n\n"):
        yield "", " ".join(paragraph.split())
    yield "reference", kind.reference or "-"
    for one in kind.formats:
        extensions = f" ({', '.join(one.extensions)})" if one.extensions else ""
        yield f"file {one.name}", f"{one.title}{extensions}"
    _, given = registry.parse(Problem(name=kind.name, data=dict(kind.example)))
    sizes = (f"{count} {what}" for what, count in _size(kind, given).items())
    yield "example", ", ".join(sizes)


def field_notes(model: type[ProblemInput]) -> dict[str, str]:
    """What the docstring of an input model says of each field."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(model) or "").partition("Args:\n")[2].splitlines():
        if start := _FIELD.match(line):
            name = start["name"]
            found[name] = start["text"]
        elif name and line.startswith("        "):
            found[name] += f" {line.strip()}"
        else:
            name = ""
    return {name: text.replace("``", "") for name, text in found.items()}


def _shape(field: Mapping[str, Any], known: Mapping[str, Any], places: tuple[str, ...]) -> str:
    """A JSON Schema in a few words; ``places`` are the names of a row's places."""
    if "$ref" in field:
        return _shape(known[field["$ref"].rpartition("/")[2]], known, places)
    if "anyOf" in field:
        return " or ".join(_shape(one, known, places) for one in field["anyOf"])
    if "enum" in field or "const" in field:
        values = field.get("enum") or [field["const"]]
        return " or ".join(text_json.dumps(value) for value in values)
    limits = "".join(f" {words} {field[key]:g}" for key, words in _LIMITS.items() if key in field)
    if "prefixItems" in field:
        parts = [_shape(one, known, ()) for one in field["prefixItems"]]
        names = [*places, *("" for _ in parts[len(places) :])]
        told = (f"{name} {part}".strip() for name, part in zip(names, parts, strict=False))
        return f"[{', '.join(told)}]"
    kind = field.get("type", "anything")
    if kind == "array":
        least = f", at least {field['minItems']}" if "minItems" in field else ""
        return f"list of {_shape(field.get('items', {}), known, places)}{least}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {_shape(field['additionalProperties'], known, ())} by name"
    return f"{kind}{limits}"
