"""Reader of OR-Library's job shops."""

from __future__ import annotations

from reprlib import repr as shown
from typing import Any

from qsaga.problems.reading import FileFormat, Line, Source, count


def _job_shop(source: Source, _problem: str) -> dict[str, Any]:
    rows = _numeric(source)
    if not rows:
        raise source.wrong(1, "no numbers", "jobs and machines, then a line for each job")
    line, header = rows[0]
    if len(header) != 2:
        raise source.wrong(line, f"{len(header)} numbers", "number of jobs, number of machines")
    jobs, machines = (source.place(line, word) for word in header)
    if len(rows) - 1 != jobs:
        raise source.wrong(
            rows[-1][0], f"{len(rows) - 1} lines of jobs, the header says {jobs}", "one instance"
        )
    return {
        "jobs": [
            {"name": f"job {number}", "steps": _steps(source, row, machines)}
            for number, row in enumerate(rows[1:])
        ]
    }


def _numeric(source: Source) -> list[Line]:
    """Lines that begin with a number; others are headings."""
    return [(line, words) for line, words in source.lines() if count(words[0]) is not None]


def _steps(source: Source, row: Line, machines: int) -> list[list[Any]]:
    line, words = row
    if len(words) != 2 * machines:
        wanted = f"{2 * machines}: a machine and a duration for each of {machines} machines"
        raise source.wrong(line, f"{len(words)} numbers", wanted)
    return [
        [
            f"machine {source.place(line, machine, machines - 1, first=0)}",
            _duration(source, line, duration),
        ]
        for machine, duration in zip(words[::2], words[1::2], strict=True)
    ]


def _duration(source: Source, line: int, word: str) -> int:
    if not (duration := count(word)):
        raise source.wrong(line, f"duration {shown(word)}", "a whole number from 1")
    return duration


def _like_job_shop(source: Source) -> bool:
    rows = _numeric(source)
    if len(rows) < 2 or len(rows[0][1]) != 2:
        return False
    jobs, machines = (count(word) or 0 for word in rows[0][1])
    return len(rows) == jobs + 1 and all(len(words) == 2 * machines for _, words in rows[1:])


JOB_SHOP_FILE = FileFormat(
    "orlib-jobshop",
    "one instance of OR-Library's jobshop1.txt: number of jobs and machines, then for each job a "
    "line of machines (from 0) and durations; other lines are headings",
    "job_shop",
    _job_shop,
    (".jsp", ".jss"),
    _like_job_shop,
)
