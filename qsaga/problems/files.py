"""Reads problems from files of the formats that published instances come in.

``edges``
    A line for each edge, ``u v`` or ``u v weight``, names without spaces; ``#`` starts a comment.
``gset``
    ``n m``, then m lines ``i j weight``, nodes counted from 1 (G-set, Biq Mac, rudy).
``bqm``
    JSON of dimod's ``BinaryQuadraticModel.to_serializable()``, binary or spin.
``coo``
    ``i j value`` with the diagonal as linear biases; a comment ``# vartype=SPIN`` makes it an
    Ising model (dimod's coo format). Binary without it.
``sparse``
    ``n nnz``, then nnz lines ``i j q``, variables counted from 1: minimise y'Qy for the symmetric
    Q, so each off-diagonal line counts twice (Beasley's bqp instances as Biq Mac has them).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import dimod

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem

Format = Literal["edges", "gset", "bqm", "coo", "sparse"]

FORMATS: tuple[str, ...] = get_args(Format)

_EXTENSIONS: dict[str, Format] = {
    ".edges": "edges",
    ".edgelist": "edges",
    ".gset": "gset",
    ".rud": "gset",
    ".mc": "gset",
    ".json": "bqm",
    ".coo": "coo",
    ".sparse": "sparse",
}

_PROBLEMS: dict[Format, tuple[str, ...]] = {
    "edges": ("maxcut", "independent_set"),
    "gset": ("maxcut", "independent_set"),
    "bqm": ("qubo",),
    "coo": ("qubo",),
    "sparse": ("qubo",),
}

_VARTYPE = re.compile(r"#.*?vartype[:=]\s*([-\w.]+)")

Line = tuple[int, list[str]]
"""Line number, from 1, and the words on the line."""


def read_problem(path: Path, problem_name: str | None = None, format: str | None = None) -> Problem:
    """The problem that a file holds.

    Args:
        path: of the file, at most a few hundred megabytes of UTF-8 text.
        problem_name: what to make of it; a graph is ``maxcut`` unless ``independent_set`` is asked
            for, every other format is a ``qubo``.
        format: one of ``FORMATS``; None tells it from the extension, or else from the content.

    Raises InvalidRequest that names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(path), f"cannot be read: {error}") from error
    if format is not None and format not in FORMATS:
        raise InvalidRequest("format", f"unknown format {format!r}", ", ".join(FORMATS))
    return _Reader(path, text).problem(format or _detect(path, text), problem_name)


def _detect(path: Path, text: str) -> Format:
    if known := _EXTENSIONS.get(path.suffix.lower()):
        return known
    if text.lstrip().startswith("{"):
        return "bqm"
    if _VARTYPE.search(text):
        return "coo"
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    widths = [len(words) for words in lines if words]
    # A header of two numbers over rows of three: an edge list would weigh all edges or none.
    if widths[:1] == [2] and len(widths) > 1 and set(widths[1:]) == {3}:
        first = next(words for words in lines if words)
        if all(word.isdigit() for word in first):
            return "gset"
    return "edges"


class _Reader:
    """One file being read; every complaint names the file and the line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def problem(self, format: str, name: str | None) -> Problem:
        kind: Format = next(known for known in _PROBLEMS if known == format)
        offered = _PROBLEMS[kind]
        if name is not None and name not in offered:
            raise InvalidRequest(
                "problem", f"a file of format {kind} holds no {name!r}", ", ".join(offered)
            )
        name = name or offered[0]
        match kind:
            case "edges":
                data = self._graph(name, [], list(self._lines()))
            case "gset":
                nodes, rows = self._counted("edges")
                data = self._graph(name, nodes, rows, places=True)
            case "bqm":
                data = self._bqm()
            case "coo":
                data = self._coo()
            case _:  # sparse
                nodes, rows = self._counted("entries")
                data = self._sparse(nodes, rows)
        return Problem(name=name, data=data)

    def wrong(self, line: int, problem: str, allowed: str = "") -> InvalidRequest:
        return InvalidRequest(f"{self._path}:{line}", problem, allowed)

    def _lines(self) -> Iterator[Line]:
        for number, line in enumerate(self._text.splitlines(), start=1):
            if words := line.partition("#")[0].split():
                yield number, words

    def _graph(
        self, name: str, nodes: list[str], rows: list[Line], places: bool = False
    ) -> dict[str, Any]:
        edges: list[list[Any]] = []
        seen: dict[frozenset[str], int] = {}
        for line, words in rows:
            if len(words) not in (2, 3):
                raise self.wrong(line, f"{len(words)} words", "u v, or u v weight")
            if places:
                words[:2] = (str(self._place(line, word, len(nodes))) for word in words[:2])
            u, v = words[:2]
            self._pair(line, u, v, seen)
            if u == v:
                raise self.wrong(line, f"the edge joins {u!r} to itself", "two different nodes")
            weight = [self._value(line, words[2])] if len(words) == 3 else []
            if name == "independent_set":
                if weight not in ([], [1.0]):
                    raise self.wrong(
                        line, f"edge weight {weight[0]:g}", "no edge weights in an independent set"
                    )
                weight = []
            edges.append([u, v, *weight])
        if not edges:
            raise self.wrong(1, "no edges", "at least one edge")
        return {"nodes": [*nodes], "edges": edges} if nodes else {"edges": edges}

    def _counted(self, what: str) -> tuple[list[str], list[Line]]:
        rows = list(self._lines())
        if not rows:
            raise self.wrong(1, "the file is empty", f"a header: nodes, number of {what}")
        line, header = rows[0]
        if len(header) != 2 or not all(word.isdigit() for word in header):
            raise self.wrong(line, f"header {' '.join(header)!r}", f"two counts: size, {what}")
        size, count = int(header[0]), int(header[1])
        if len(rows) - 1 != count:
            last = rows[-1][0]
            raise self.wrong(last, f"{len(rows) - 1} {what}, the header says {count}")
        for number, words in rows[1:]:
            if len(words) != 3:
                raise self.wrong(number, f"{len(words)} words", "i j value")
        return [str(index) for index in range(1, size + 1)], rows[1:]

    def _sparse(self, nodes: list[str], rows: list[Line]) -> dict[str, Any]:
        linear: dict[str, float] = {}
        quadratic: list[list[Any]] = []
        seen: dict[frozenset[str], int] = {}
        for line, words in rows:
            u, v = (str(self._place(line, word, len(nodes))) for word in words[:2])
            self._pair(line, u, v, seen)
            value = self._value(line, words[2])
            if u == v:
                linear[u] = value
            else:
                quadratic.append([u, v, 2 * value])
        return {"variables": [*nodes], "linear": linear, "quadratic": quadratic}

    def _coo(self) -> dict[str, Any]:
        vartype = "BINARY"
        if header := _VARTYPE.search(self._text):
            vartype = header[1].upper()
            line = self._text[: header.start()].count("\n") + 1
            if vartype not in ("BINARY", "SPIN"):
                raise self.wrong(line, f"vartype {header[1]!r}", "BINARY, SPIN")
        linear: dict[str, float] = {}
        quadratic: list[list[Any]] = []
        seen: dict[frozenset[str], int] = {}
        for line, words in self._lines():
            if len(words) != 3:
                raise self.wrong(line, f"{len(words)} words", "i j value")
            u, v = (str(self._place(line, word, None)) for word in words[:2])
            self._pair(line, u, v, seen)
            value = self._value(line, words[2])
            if u == v:
                linear[u] = value
            else:
                quadratic.append([u, v, value])
        names = sorted({name for pair in seen for name in pair}, key=int)
        if not names:
            raise self.wrong(1, "no entries", "at least one line i j value")
        return {"variables": names, "linear": linear, "quadratic": quadratic, "vartype": vartype}

    def _bqm(self) -> dict[str, Any]:
        try:
            data = json.loads(self._text)
        except json.JSONDecodeError as error:
            raise self.wrong(error.lineno, f"no JSON: {error.msg}") from error
        allowed = "JSON of dimod's BinaryQuadraticModel.to_serializable()"
        if not isinstance(data, dict) or data.get("type") != "BinaryQuadraticModel":
            raise self.wrong(1, "no binary quadratic model", allowed)
        if data.get("use_bytes"):
            raise self.wrong(1, "biases as bytes", f"{allowed}, use_bytes=False")
        try:
            model = dimod.BinaryQuadraticModel.from_serializable(data)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise self.wrong(1, f"not a model that dimod reads: {error}", allowed) from error
        names = {label: str(label) for label in model.variables}
        if len(set(names.values())) < len(names):
            raise self.wrong(1, "two variables have the same name as text", "distinct names")
        values = [model.offset, *model.linear.values(), *model.quadratic.values()]
        if not all(math.isfinite(value) for value in values):
            raise self.wrong(1, "a bias is not finite", "finite numbers")
        return {
            "variables": list(names.values()),
            "linear": {names[label]: float(bias) for label, bias in model.linear.items()},
            "quadratic": [
                [names[u], names[v], float(bias)] for (u, v), bias in model.quadratic.items()
            ],
            "offset": float(model.offset),
            "vartype": model.vartype.name,
        }

    def _pair(self, line: int, u: str, v: str, seen: dict[frozenset[str], int]) -> None:
        first = seen.setdefault(frozenset((u, v)), line)
        if first != line:
            raise self.wrong(line, f"{u} - {v} was already given on line {first}", "each pair once")

    def _place(self, line: int, word: str, size: int | None) -> int:
        lowest, highest = (0, "") if size is None else (1, f" to {size}")
        allowed = f"a whole number from {lowest}{highest}"
        if not (word.isascii() and word.isdigit() and len(word) <= 9):
            raise self.wrong(line, f"{word!r} is no index", allowed)
        place = int(word)
        if place < lowest or (size is not None and place > size):
            raise self.wrong(line, f"index {place} is out of range", allowed)
        return place

    def _value(self, line: int, word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            raise self.wrong(line, f"{word!r} is no number", "a finite number") from None
        if not math.isfinite(value):
            raise self.wrong(line, f"{word!r} is not finite", "a finite number")
        return value
