"""Reads problems from files of the formats that published instances come in.

Which formats there are is said by the problems that are installed (``ProblemType.formats``).
"""

from __future__ import annotations

import csv
from pathlib import Path
from reprlib import repr as shown

from pydantic import ValidationError

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem
from qsaga.core.validation import invalid_request
from qsaga.problems import registry
from qsaga.problems.reading import FileFormat, Source

PLAIN = "edges"
"""What a file is taken for that no format recognises."""

STUMBLES = (ArithmeticError, LookupError, RecursionError, ValueError, csv.Error)
"""What a reader, which may be installed by others, raises over a text that it did not expect."""


def formats() -> dict[str, FileFormat]:
    """Every format by its name."""
    found = (one for name in registry.names() for one in registry.get(name).formats)
    return dict(sorted((one.name, one) for one in found))


def holders(format: str) -> tuple[str, ...]:
    """Names of the problems that a file of the format may hold, the usual one first."""
    usual = formats()[format].problem
    names = [
        name
        for name in registry.names()
        if any(one.name == format for one in registry.get(name).formats)
    ]
    return tuple(sorted(names, key=lambda name: (name != usual, name)))


def read_problem(path: Path, problem_name: str | None = None, format: str | None = None) -> Problem:
    """The problem that a file holds.

    Args:
        path: of the file, at most a few hundred megabytes of UTF-8 text.
        problem_name: what to make of it; None is what a file of its format usually holds.
        format: one of ``formats()``; None tells it from the extension, or else from the content.

    Raises InvalidRequest that names the file and the line.
    """
    source = Source.load(path)
    known = formats()
    if format is not None and format not in known:
        raise InvalidRequest("format", f"unknown format {format!r}", ", ".join(known))
    kind = known[format] if format else _detect(source, problem_name, known)
    offered = holders(kind.name)
    if problem_name is not None and problem_name not in offered:
        raise InvalidRequest(
            "problem", f"a file of format {kind.name} holds no {problem_name!r}", ", ".join(offered)
        )
    return _read(source, kind, problem_name or offered[0])


def _read(source: Source, kind: FileFormat, name: str) -> Problem:
    try:
        return Problem(name=name, data=kind.read(source, name))
    except ValidationError as error:
        found = invalid_request(error)
        raise source.bad(found.field, found.problem, found.allowed) from error
    except STUMBLES as error:
        reason = f"{type(error).__name__}, {str(error)[:200]}"
        problem = f"no file of format {kind.name}: {reason}"
        raise InvalidRequest(str(source.path), problem, kind.title) from error


def _recognises(kind: FileFormat, source: Source) -> bool:
    try:
        return kind.recognises(source)
    except STUMBLES:
        return False


def _detect(source: Source, problem: str | None, known: dict[str, FileFormat]) -> FileFormat:
    """By extension, then by content; formats of the problem that is asked for come first."""
    asked = [one for one in known.values() if problem is not None and problem in holders(one.name)]
    extension = source.path.suffix.lower()
    fits = [one for one in known.values() if extension in one.extensions]
    both = [one for one in fits if one in asked]
    # An extension that several formats share tells nothing by itself.
    for group in (both, fits):
        if len(group) == 1:
            return group[0]
    for one in sorted(known.values(), key=lambda one: (one not in asked, one not in fits)):
        if _recognises(one, source):
            return one
    if fits and problem is None:
        line, words = next(source.lines(), (1, []))
        names = ", ".join(one.name for one in fits)
        problem = f"{shown(' '.join(words))} is the header of no format"
        raise source.wrong(line, problem, f"that of {names}, or a problem or format by name")
    # So that the complaint says what the problem that is asked for would have taken.
    return next((one for one in (*both, *asked) if known[PLAIN] not in asked), known[PLAIN])
