"""What readers of tables share: CSV with settings in comments, and numbers across lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from reprlib import repr as shown

from qsaga.problems.reading import Source

_SETTING = re.compile(r"^\s*#\s*(?P<name>\w+)\s*:\s*(?P<value>.*?)\s*$")

Cells = tuple[int, tuple[str, ...]]
"""Line number and the texts on the line."""


@dataclass(frozen=True)
class Sheet:
    """A CSV file.

    Args:
        source: where it was read.
        head: names of the columns.
        rows: one text for each column.
        settings: of comment lines ``# name: value``, each with all its lines and values.
    """

    source: Source
    head: Cells
    rows: tuple[Cells, ...]
    settings: dict[str, list[tuple[int, str]]]

    def setting(self, name: str) -> tuple[int, str] | None:
        """Line and value of a setting, if it is there. Raises InvalidRequest if it is twice."""
        # Other comments may look like a setting, and may come more than once.
        lines = self.settings.get(name, [])
        if len(lines) > 1:
            raise self.source.wrong(lines[1][0], f"a second `# {name}: …`", "each setting once")
        return lines[0] if lines else None

    def required(self, name: str, meaning: str) -> tuple[int, str]:
        """Line and value of a setting that must be there. Raises InvalidRequest."""
        if (found := self.setting(name)) is None:
            raise self.source.wrong(
                self.head[0], f"no {name} is set", f"a line `# {name}: …` above, {meaning}"
            )
        return found

    def columns(self, *names: str) -> Iterator[Cells]:
        """The rows, with these columns only. Raises InvalidRequest if one is missing."""
        line, head = self.head
        for name in names:
            if name not in head:
                raise self.source.wrong(
                    line, f"no column {name!r}", f"the columns {', '.join(names)}"
                )
        places = [head.index(name) for name in names]
        return ((number, tuple(row[place] for place in places)) for number, row in self.rows)


def sheet(source: Source) -> Sheet:
    """A CSV file with a header row, separated by commas or semicolons.

    Raises InvalidRequest with the line if a row is longer or shorter than the header, a column
    has no name or the name of another, a quote is not closed, a comment might be a row, or there
    are no rows.
    """
    lines = source.text.splitlines()
    settings: dict[str, list[tuple[int, str]]] = {}
    for number, text in enumerate(lines, start=1):
        if found := _SETTING.match(text):
            settings.setdefault(found["name"], []).append((number, found["value"]))
    # Blanked and not left out, so that the line numbers stay right.
    bare = ["" if line.lstrip().startswith("#") else line for line in lines]
    first = next((line for line in bare if line.strip()), "")
    separator = ";" if ";" in first and "," not in first else ","
    rows = list(_rows(source, bare, separator))
    if len(rows) < 2:
        raise source.wrong(1, "no rows", "a header row and at least one row")
    line, head = rows[0]
    for name in head:
        if not name or head.count(name) > 1:
            raise source.wrong(line, f"a column is called {name!r}", "a name for each, once")
    for number, row in rows[1:]:
        if len(row) != len(head):
            raise source.wrong(
                number, f"{len(row)} values", f"{len(head)}, one for each column of the header"
            )
    _check_comments(source, rows[0], separator)
    return Sheet(source, rows[0], tuple(rows[1:]), settings)


def _rows(source: Source, lines: list[str], separator: str) -> Iterator[Cells]:
    """The rows that are not empty."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        begun = reader.line_num + 1
        try:
            row = tuple(word.strip() for word in next(reader))
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is not closed is noticed at the end of the file only.
            raise source.wrong(
                begun, f"no row of values: {error}", "closed quotes, separated"
            ) from error
        if any(row):
            yield reader.line_num, row


def _check_comments(source: Source, head: Cells, separator: str) -> None:
    """Refuse a comment between the rows that could be one of them."""
    begun, names = head
    for number, line in enumerate(source.text.splitlines()[begun:], start=begun + 1):
        if line.lstrip().startswith("#") and line.count(separator) == len(names) - 1 > 0:
            raise source.wrong(
                number, f"{shown(line)} is a comment or a row", 'for a row quotes, as in "#1"'
            )


def looks_like(source: Source, *names: str) -> bool:
    """Whether it is a CSV file whose header row has these columns and no other."""
    if source.path.suffix.lower() != ".csv":
        return False
    lines = (line for line in source.text.splitlines() if line.strip())
    head = next((line for line in lines if not line.lstrip().startswith("#")), "")
    return {word.strip() for word in re.split("[,;]", head)} == set(names)


def whole(source: Source, line: int, word: str, least: int = 0, most: int = 10**12) -> int:
    """A whole number from ``least`` to ``most``. Raises InvalidRequest."""
    allowed = f"a whole number from {least} to {most:,}"
    value = source.value(line, word)
    if not value.is_integer():
        raise source.wrong(line, f"{word!r} is no whole number", allowed)
    if value < least or value > most:
        raise source.wrong(line, f"{word} is out of range", allowed)
    return int(value)


class Numbers:
    """The numbers of a file one after another, whatever lines they stand on."""

    def __init__(self, source: Source, comment: str = "") -> None:
        self.source = source
        self._words = [(line, word) for line, words in source.lines(comment) for word in words]
        self._at = 0

    @property
    def line(self) -> int:
        """Of the number that was read last."""
        return self._words[max(self._at - 1, 0)][0] if self._words else 1

    def word(self, what: str) -> str:
        """The next word. Raises InvalidRequest at the end of the file."""
        if self._at == len(self._words):
            raise self.source.wrong(self.line, "the file ends too early", what)
        self._at += 1
        return self._words[self._at - 1][1]

    def whole(self, what: str, least: int = 0, most: int = 10**12) -> int:
        """The next number, a whole one. Raises InvalidRequest."""
        word = self.word(what)
        return whole(self.source, self.line, word, least, most)

    def value(self, what: str) -> float:
        """The next number. Raises InvalidRequest."""
        word = self.word(what)
        return self.source.value(self.line, word)

    def place(self, what: str, size: int) -> int:
        """The next number, an index from 1 to ``size``. Raises InvalidRequest."""
        word = self.word(what)
        return self.source.place(self.line, word, size)

    def end(self) -> None:
        """Raises InvalidRequest if anything is left."""
        if self._at < len(self._words):
            line, word = self._words[self._at]
            raise self.source.wrong(line, f"{word!r} is one too many", "the end of the file")
