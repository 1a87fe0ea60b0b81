"""Reader of QAPLIB's ``.dat`` files."""

from __future__ import annotations

from typing import Any

from qsaga.problems.reading import FileFormat, Source, count


def _qaplib(source: Source, _problem: str) -> dict[str, Any]:
    listed = [(line, word) for line, words in source.lines(comment="") for word in words]
    if not listed:
        raise source.wrong(1, "the file is empty", "n, then two tables of n × n numbers")
    line, first = listed[0]
    size = source.place(line, first, first=2)
    if len(listed) != 1 + 2 * size * size:
        raise source.wrong(
            listed[-1][0],
            f"{len(listed) - 1} numbers behind the size",
            f"{2 * size * size}: two tables of {size} × {size}",
        )
    numbers = [_amount(source, line, word) for line, word in listed[1:]]
    rows = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return {
        "facilities": [f"facility {index}" for index in range(1, size + 1)],
        "locations": [f"location {index}" for index in range(1, size + 1)],
        "flow": rows[:size],
        "distance": rows[size:],
    }


def _amount(source: Source, line: int, word: str) -> float:
    value = source.value(line, word)
    if value < 0:
        raise source.wrong(line, f"{word} is negative", "0 or more")
    return value


def _like_qaplib(source: Source) -> bool:
    first = next((words for _, words in source.lines(comment="")), [])
    # A line of its own for the size, and numbers enough for two tables.
    size = count(first[0]) if len(first) == 1 else None
    return size is not None and size > 1 and len(source.text.split()) == 1 + 2 * size * size


QAPLIB = FileFormat(
    "qaplib",
    "n, then two tables of n × n numbers, flow first (QAPLIB)",
    "quadratic_assignment",
    _qaplib,
    (".dat",),
    _like_qaplib,
)
