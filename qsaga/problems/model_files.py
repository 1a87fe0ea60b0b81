"""Readers of binary quadratic models: dimod's JSON and coo forms, and Beasley's sparse form."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import dimod

from qsaga.problems.reading import FileFormat, Pairs, Source

_VARTYPE = re.compile(r"#.*?vartype[:=]\s*([-\w.]+)")


def _bqm(source: Source, _problem: str) -> dict[str, Any]:
    try:
        data = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise source.wrong(error.lineno, f"no JSON: {error.msg}") from error
    allowed = "JSON of dimod's BinaryQuadraticModel.to_serializable()"
    if not isinstance(data, dict) or data.get("type") != "BinaryQuadraticModel":
        raise source.wrong(1, "no binary quadratic model", allowed)
    if data.get("use_bytes"):
        raise source.wrong(1, "biases as bytes", f"{allowed}, use_bytes=False")
    try:
        model = dimod.BinaryQuadraticModel.from_serializable(data)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise source.wrong(1, f"not a model that dimod reads: {error}", allowed) from error
    names = {label: str(label) for label in model.variables}
    if len(set(names.values())) < len(names):
        raise source.wrong(1, "two variables have the same name as text", "distinct names")
    values = [model.offset, *model.linear.values(), *model.quadratic.values()]
    if not all(math.isfinite(value) for value in values):
        raise source.wrong(1, "a bias is not finite", "finite numbers")
    return {
        "variables": list(names.values()),
        "linear": {names[label]: float(bias) for label, bias in model.linear.items()},
        "quadratic": [
            [names[u], names[v], float(bias)] for (u, v), bias in model.quadratic.items()
        ],
        "offset": float(model.offset),
        "vartype": model.vartype.name,
    }


def _coo(source: Source, _problem: str) -> dict[str, Any]:
    vartype = "BINARY"
    if header := _VARTYPE.search(source.text):
        vartype = header[1].upper()
        line = source.text[: header.start()].count("\n") + 1
        if vartype not in ("BINARY", "SPIN"):
            raise source.wrong(line, f"vartype {header[1]!r}", "BINARY, SPIN")
    linear: dict[str, float] = {}
    quadratic: list[list[Any]] = []
    pairs = Pairs(source)
    for line, words in source.lines():
        if len(words) != 3:
            raise source.wrong(line, f"{len(words)} words", "i j value")
        u, v = (str(source.place(line, word, first=0)) for word in words[:2])
        pairs.add(line, u, v)
        value = source.value(line, words[2])
        if u == v:
            linear[u] = value
        else:
            quadratic.append([u, v, value])
    names = sorted(pairs.names(), key=int)
    if not names:
        raise source.wrong(1, "no entries", "at least one line i j value")
    return {"variables": names, "linear": linear, "quadratic": quadratic, "vartype": vartype}


def _sparse(source: Source, _problem: str) -> dict[str, Any]:
    size, rows = source.counted("entries")
    linear: dict[str, float] = {}
    quadratic: list[list[Any]] = []
    pairs = Pairs(source)
    for line, words in rows:
        u, v = (str(source.place(line, word, size)) for word in words[:2])
        pairs.add(line, u, v)
        value = source.value(line, words[2])
        if u == v:
            linear[u] = value
        else:
            quadratic.append([u, v, 2 * value])
    names = [str(index) for index in range(1, size + 1)]
    return {"variables": names, "linear": linear, "quadratic": quadratic}


def _like_bqm(source: Source) -> bool:
    return source.text.lstrip().startswith("{")


def _like_coo(source: Source) -> bool:
    return _VARTYPE.search(source.text) is not None


BQM = FileFormat(
    "bqm",
    "JSON of dimod's `BinaryQuadraticModel.to_serializable()`, binary or spin",
    "qubo",
    _bqm,
    (".json",),
    _like_bqm,
)
COO = FileFormat(
    "coo",
    "`i j value` with the diagonal as linear biases; a comment `# vartype=SPIN` makes it an "
    "Ising model (dimod's coo format), binary without it",
    "qubo",
    _coo,
    (".coo",),
    _like_coo,
)
SPARSE = FileFormat(
    "sparse",
    "`n nnz`, then nnz lines `i j q`, variables counted from 1: minimise y'Qy for the symmetric "
    "Q, so each off-diagonal line counts twice (Beasley's bqp instances as Biq Mac has them)",
    "qubo",
    _sparse,
    (".sparse",),
)
