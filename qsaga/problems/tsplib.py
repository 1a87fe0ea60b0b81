"""Readers of cities: TSPLIB, and places as comma-separated values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from qsaga.problems.distances import METRICS
from qsaga.problems.reading import MOST_NAMES, FileFormat, Source
from qsaga.problems.sheets import looks_like, sheet

SECTION = re.compile(r"^\s*([A-Z_]+_SECTION)\b", re.MULTILINE)
COORDINATES = tuple(name for name in METRICS if name.isupper())

Columns = Callable[[int, int], range]
"""The columns that a format lists of a row, given the row and the size."""

TABLES: dict[str, Columns] = {
    "FULL_MATRIX": lambda _row, size: range(size),
    "UPPER_ROW": lambda row, size: range(row + 1, size),
    "LOWER_ROW": lambda row, _size: range(row),
    "UPPER_DIAG_ROW": range,
    "LOWER_DIAG_ROW": lambda row, _size: range(row + 1),
}
KINDS = ("TSP", "ATSP")
SECTIONS = ("NODE_COORD_SECTION", "EDGE_WEIGHT_SECTION", "DISPLAY_DATA_SECTION")
"""Those that say nothing beyond the distances; others constrain the tour, or are of no TSP."""
Entry = tuple[int, str]
"""Line number and text."""


class _File:
    """Header fields and sections of a TSPLIB file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.fields: dict[str, Entry] = {}
        self.sections: dict[str, list[tuple[int, list[str]]]] = {}
        self.last = 1
        open_section: list[tuple[int, list[str]]] | None = None
        for line, words in source.lines(comment=""):
            self.last = line
            if words == ["EOF"]:
                return
            if (name := words[0].rstrip(":")).endswith("_SECTION"):
                if name not in SECTIONS:
                    raise source.wrong(line, f"{name} is not read", ", ".join(SECTIONS))
                open_section = self.sections.setdefault(name, [])
            elif words[0][0].isalpha():
                open_section = None
                key, colon, value = " ".join(words).partition(":")
                if not colon:
                    raise source.wrong(line, f"{words[0]!r} is no field", "FIELD : value")
                self.fields[key.strip()] = (line, value.strip())
            elif open_section is None:
                raise source.wrong(line, f"{words[0]!r} outside a section", "FIELD : value")
            else:
                open_section.append((line, words))

    def field(self, name: str, allowed: tuple[str, ...] = ()) -> str:
        """The value of a field. Raises InvalidRequest if it is missing or not allowed."""
        words = ", ".join(allowed)
        if name not in self.fields:
            raise self.source.wrong(self.last, f"no {name} in the file", words or f"{name} : value")
        line, value = self.fields[name]
        if allowed and value not in allowed:
            raise self.source.wrong(line, f"{name} {value!r} is not read", words)
        return value

    def size(self) -> int:
        """The number of cities."""
        value = self.field("DIMENSION")
        return self.source.place(self.fields["DIMENSION"][0], value, MOST_NAMES, first=3)

    def points(self, section: str, size: int) -> list[list[Any]]:
        """``[name, x, y]`` for each line of a section."""
        entries = self.sections.get(section, [])
        if len(entries) != size:
            line = entries[-1][0] if entries else self.last
            raise self.source.wrong(line, f"{len(entries)} lines in {section}", f"{size} lines")
        places: list[list[Any]] = []
        for line, words in entries:
            if len(words) != 3:
                raise self.source.wrong(line, f"{len(words)} words", "name x y")
            places.append([words[0], *(self.source.value(line, word) for word in words[1:])])
        return places

    def displayed(self, size: int) -> list[list[Any]]:
        """The points of the picture in the order of the table's rows, whose numbers they bear."""
        points = self.points("DISPLAY_DATA_SECTION", size)
        found: dict[int, list[Any]] = {}
        for (line, words), point in zip(self.sections["DISPLAY_DATA_SECTION"], points, strict=True):
            node = self.source.place(line, words[0], size)
            if node in found:
                raise self.source.wrong(line, f"a second point of {node}", "each node once")
            found[node] = point
        return [found[node] for node in sorted(found)]

    def table(self, size: int) -> list[list[float]]:
        """The distances that EDGE_WEIGHT_SECTION lists."""
        shape = self.field("EDGE_WEIGHT_FORMAT", tuple(TABLES))
        rows = [(row, TABLES[shape](row, size)) for row in range(size)]
        expected = sum(len(columns) for _, columns in rows)
        entries = self.sections.get("EDGE_WEIGHT_SECTION", [])
        listed = [(line, word) for line, words in entries for word in words]
        # Before a table is made: its size is what the header says.
        if len(listed) != expected:
            line = listed[-1][0] if listed else self.last
            raise self.source.wrong(
                line, f"{len(listed)} distances", f"{expected} for {size} cities and {shape}"
            )
        found = [[0.0] * size for _ in range(size)]
        cells = ((row, column) for row, columns in rows for column in columns)
        for (row, column), (line, word) in zip(cells, listed, strict=True):
            length = self.source.value(line, word)
            if length < 0:
                raise self.source.wrong(line, f"distance {word}", "0 or more")
            found[row][column] = length
            if shape != "FULL_MATRIX":
                found[column][row] = length
        return found


def _tsplib(source: Source, _problem: str) -> dict[str, Any]:
    file = _File(source)
    if "TYPE" in file.fields:
        file.field("TYPE", KINDS)
    kind = file.field("EDGE_WEIGHT_TYPE", (*COORDINATES, "EXPLICIT"))
    size = file.size()
    if kind != "EXPLICIT":
        return {"metric": kind, "places": file.points("NODE_COORD_SECTION", size)}
    found: dict[str, Any] = {"distances": file.table(size)}
    if "DISPLAY_DATA_SECTION" in file.sections:
        return {**found, "places": file.displayed(size)}
    return {**found, "cities": [str(place) for place in range(1, size + 1)]}


def _like_tsplib(source: Source) -> bool:
    return "EDGE_WEIGHT_TYPE" in source.text and SECTION.search(source.text) is not None


def _places(source: Source, _problem: str) -> dict[str, Any]:
    cells = sheet(source).columns("city", "x", "y")
    return {
        "places": [
            [name, source.value(line, x), source.value(line, y)] for line, (name, x, y) in cells
        ]
    }


TSPLIB = FileFormat(
    "tsplib",
    "TSPLIB 95: " + ", ".join(COORDINATES) + ", or EXPLICIT with " + ", ".join(TABLES) + "; a file "
    "with other sections, such as fixed edges, is refused",
    "tsp",
    _tsplib,
    (".tsp", ".atsp"),
    _like_tsplib,
)
PLACES_CSV = FileFormat(
    "places-csv",
    "CSV with the columns city, x and y; distances are straight lines",
    "tsp",
    _places,
    (".csv",),
    lambda source: looks_like(source, "city", "x", "y"),
)
