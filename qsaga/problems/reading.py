"""What readers of problem files share: lines, words, and complaints that name file and line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shown
from typing import Any, Self

from qsaga.core.errors import InvalidRequest

Line = tuple[int, list[str]]
"""Line number, from 1, and the words on the line."""

MOST_NAMES = 1_000_000
"""Nodes or variables that a header may announce: each gets a name, whether the file names it or
not, and a header of a few bytes must not fill the memory."""

LARGEST = 1e300
"""Magnitude of a number in a file; sums and doubles of a few of them stay finite."""


def count(word: str) -> int | None:
    """The number that a word of at most nine ASCII digits is; None for any other word."""
    # "²" and "①" are digits to str.isdigit(), and int() refuses them.
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 9 else None


class Source:
    """The text of one file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    @classmethod
    def load(cls, path: Path) -> Self:
        """The file's text, which is UTF-8. Raises InvalidRequest."""
        try:
            # Spreadsheets put a byte order mark in front, which is no part of the first word.
            return cls(path, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InvalidRequest(str(path), f"cannot be read: {reason}") from error

    def json(self) -> Any:
        """What the text holds as JSON. Raises InvalidRequest with the line."""
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            raise self.wrong(error.lineno, f"no JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            # Numbers of thousands of digits and lists in lists in lists: no line is told.
            raise self.wrong(1, f"no JSON that can be read: {error}") from error

    def bad(self, field: str, problem: str, allowed: str = "") -> InvalidRequest:
        """The error for a field of a file that has fields."""
        return InvalidRequest(f"{self.path}: {field}", problem, allowed)

    def wrong(self, line: int, problem: str, allowed: str = "") -> InvalidRequest:
        """The error for a line."""
        return InvalidRequest(f"{self.path}:{line}", problem, allowed)

    def lines(self, comment: str = "#") -> Iterator[Line]:
        """Lines with words, without what follows ``comment``; none is cut if that is empty."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if words := (line.partition(comment)[0] if comment else line).split():
                yield number, words

    def place(self, line: int, word: str, size: int | None = None, first: int = 1) -> int:
        """An index from ``first`` to ``size``. Raises InvalidRequest."""
        allowed = f"a whole number from {first}" + (f" to {size}" if size is not None else "")
        place = count(word)
        if place is None:
            raise self.wrong(line, f"{shown(word)} is no index", allowed)
        if place < first or (size is not None and place > size):
            raise self.wrong(line, f"index {place} is out of range", allowed)
        return place

    def value(self, line: int, word: str) -> float:
        """A finite number, its exponent written with E or as Fortran does with D.

        Raises InvalidRequest.
        """
        try:
            # float() would take 1_0, and digits of any script.
            if "_" in word or not word.isascii():
                raise ValueError
            value = float(word.upper().replace("D", "E"))
        except ValueError:
            raise self.wrong(line, f"{shown(word)} is no number", "a finite number") from None
        if not math.isfinite(value):
            raise self.wrong(line, f"{shown(word)} is not finite", "a finite number")
        if abs(value) > LARGEST:
            raise self.wrong(line, f"{shown(word)} is too large", f"a magnitude up to {LARGEST:g}")
        return value

    def counted(self, what: str) -> tuple[int, list[Line]]:
        """A header ``size count`` and ``count`` rows of three words. Raises InvalidRequest."""
        rows = list(self.lines())
        if not rows:
            raise self.wrong(1, "the file is empty", f"a header: nodes, number of {what}")
        line, header = rows[0]
        size, expected = map(count, header) if len(header) == 2 else (None, None)
        if size is None or expected is None:
            raise self.wrong(line, f"header {shown(' '.join(header))}", f"counts: size, {what}")
        if size > MOST_NAMES:
            raise self.wrong(line, f"size {size} is out of range", f"at most {MOST_NAMES}")
        if len(rows) - 1 != expected:
            raise self.wrong(rows[-1][0], f"{len(rows) - 1} {what}, the header says {expected}")
        for number, words in rows[1:]:
            if len(words) != 3:
                raise self.wrong(number, f"{len(words)} words", "i j value")
        return size, rows[1:]


class Pairs:
    """Pairs of names, each of which may be given once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: dict[frozenset[str], int] = {}

    def add(self, line: int, u: str, v: str) -> None:
        """Note a pair. Raises InvalidRequest if it was there, in either order."""
        first = self._seen.setdefault(frozenset((u, v)), line)
        if first != line:
            raise self._source.wrong(
                line, f"{u} - {v} was already given on line {first}", "each pair once"
            )

    def names(self) -> set[str]:
        """Everything that was named."""
        return {name for pair in self._seen for name in pair}


def never(_source: Source) -> bool:
    """For a format that is told by its extension only."""
    return False


@dataclass(frozen=True)
class FileFormat:
    """A format of files that problems come in.

    Args:
        name: for ``--format``.
        title: what it is, and where it is described.
        problem: what such a file holds unless another problem is asked for.
        read: the data of a request for the named problem. Raises InvalidRequest with the line.
        extensions: that tell it, such as ``.gset``.
        recognises: whether a text looks like it, where the extension tells nothing.
    """

    name: str
    title: str
    problem: str
    read: Callable[[Source, str], dict[str, Any]]
    extensions: tuple[str, ...] = ()
    recognises: Callable[[Source], bool] = never
