"""Somebody is killed with -9 at each point of each scenario, then everything at once.

First each scenario is played in calm, and the places that its worker reaches are noted. Then it is
played again for each point: the worker, the emulator or the Temporal server is killed before or
after that place, and another takes over. What became of it is counted from the emulator, Temporal
and the database. Writes build/chaos.json; fails where a count is not 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.chaos.playing import (
    Played,
    Playing,
    Survey,
    draw,
    from_line,
    points_of,
    rows,
    to_line,
)
from tests.chaos.points import CLUSTER_VICTIMS, VICTIMS, Point, Victim
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.traffic import traffic
from tests.chaos.verdict import COUNTS
from tests.support.simulators import shared_simulators
from tools.servers import ROOT

BUILD = ROOT / "build"
FOLDER = BUILD / "chaos"
RESULT = BUILD / "chaos.json"
CLUSTER_RESULT = BUILD / "chaos-cluster.json"
TABLE = ROOT / "docs" / "chaos-table.md"


class Report:
    """Prints and keeps what was played."""

    def __init__(self, file: Path, total: int, switch: str) -> None:
        self.played: list[Played] = []
        self._file, self._total, self._switch = file, total, switch
        self._began = time.monotonic()

    def __call__(self, one: Played) -> None:
        """Note one point."""
        self.played.append(one)
        with self._file.open("a") as lines:
            lines.write(to_line(one) + "\n")
        seconds = time.monotonic() - self._began
        where = f"{seconds:6.0f} s {len(self.played):5} of {self._total}"
        if not one.right:
            wrong = {name: count for name, count in one.counts.items() if count}
            print(f"{where}  WRONG {one.name}: {wrong}\n{json.dumps(one.facts, default=str)}")
            print(f"  repeat: {_repeat(one, self._switch)}", flush=True)
        elif len(self.played) % 20 == 0:
            print(where, flush=True)


def _repeat(one: Played, switch: str) -> str:
    return f"make chaos ARGS='{switch}--only \"{one.name}\"'"


def _switch(asked: argparse.Namespace) -> str:
    return "--cluster " if asked.cluster else ""


def _victims(asked: argparse.Namespace) -> Sequence[Victim]:
    return CLUSTER_VICTIMS if asked.cluster else VICTIMS


async def run(asked: argparse.Namespace, folder: Path) -> list[Played]:
    """Survey, draw, play."""
    lines = folder / ("all.jsonl" if asked.all else "sample.jsonl")
    known: list[Played] = []
    if asked.all and not asked.fresh and lines.exists():
        known = [from_line(line) for line in lines.read_text().splitlines()]
        known = [one for one in known if one.right]
        lines.write_text("".join(to_line(one) + "\n" for one in known))
        known = [one for one in known if one.scenario in asked.scenarios]
    else:
        lines.unlink(missing_ok=True)
    async with Playing(
        folder / "stage", asked.places, asked.arenas, cluster=asked.cluster
    ) as playing:
        points = await _points(asked, folder, playing, {one.name for one in known})
        print(f"{len(points)} points to play, {len(known)} known from before", flush=True)
        report = Report(lines, len(points), _switch(asked))
        until = time.monotonic() + asked.minutes * 60 if asked.minutes else float("inf")
        await playing.play(points, report, until)
    left, missed = len(points) - len(report.played), sum(not one.struck for one in report.played)
    print(f"{len(report.played)} played, {left} left out for time, {missed} not reached")
    return known + report.played


async def _points(
    asked: argparse.Namespace, folder: Path, playing: Playing, known: set[str]
) -> list[tuple[str, Point]]:
    if asked.only:
        scenario, _, text = asked.only.partition(":")
        return [(scenario, Point.of(text))]
    survey = await _survey(asked, folder, playing)
    if asked.all:
        every = [(name, point) for name in survey for point in points_of(survey, name)]
        return [(name, point) for name, point in every if f"{name}:{point}" not in known]
    return draw(survey, asked.seed, asked.workers, asked.servers, _victims(asked))


async def _survey(asked: argparse.Namespace, folder: Path, playing: Playing) -> Survey:
    """What was surveyed once stays, so that all points mean the same until all are played."""
    file = folder / "survey.json"
    survey: dict[str, dict[str, int]] = {}
    if asked.all and not asked.fresh and file.exists():
        survey = json.loads(file.read_text())
    survey |= await playing.survey([name for name in asked.scenarios if name not in survey])
    file.write_text(json.dumps(survey, indent=1) + "\n")
    return {name: survey[name] for name in asked.scenarios}


def shown(table: Sequence[dict[str, Any]]) -> Table:
    """For a terminal."""
    names = ("scenario", "points", *COUNTS)
    made = Table(*(name.replace("_", " ") for name in names), box=SIMPLE)
    for row in table:
        made.add_row(*(str(row[name]) for name in names))
    return made


def markdown(table: Sequence[dict[str, Any]], before: str = "") -> str:
    """For docs; what was not played now stays as it stands in the text from before."""
    names = ("scenario", "points", *COUNTS)
    stood = [line for line in before.splitlines() if line.startswith("| ")]
    lines_of = {line.split()[1]: line for line in stood}
    lines_of |= {row["scenario"].split()[0]: _line(row[name] for name in names) for row in table}
    lines = [
        "# Crash matrix: every point",
        "",
        "Made by `make chaos-full`; what the columns mean is in [chaos.md](chaos.md).",
        "",
        _line(name.replace("_", " ") for name in names),
        "| --- |" + " ---: |" * (len(names) - 1),
        *(lines_of[name] for name in (*SCENARIOS, "traffic") if name in lines_of),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--all", action="store_true", help="every point; goes on where it stopped")
    parser.add_argument("--fresh", action="store_true", help="with --all: from the beginning")
    parser.add_argument("--only", default="", metavar="SCENARIO:POINT", help="one point")
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument(
        "--cluster", action="store_true", help="Temporal as services on PostgreSQL; no traffic"
    )
    parser.add_argument("--workers", type=int, default=24, help="points a scenario, worker killed")
    parser.add_argument("--servers", type=int, default=8, help="the same for each server")
    parser.add_argument("--minutes", type=float, default=0.0, help="then no point is begun; 0: all")
    parser.add_argument("--jobs", type=int, default=500, help="of traffic after the points")
    parser.add_argument("--places", type=int, default=6, help="scenes at the same time")
    parser.add_argument("--arenas", type=int, default=2, help="pairs of servers that are killed")
    asked = parser.parse_args(arguments)
    scenario, _, point = asked.only.partition(":")
    if asked.only and scenario not in SCENARIOS:
        parser.error(f"--only {asked.only}: no such scenario ({', '.join(SCENARIOS)})")
    if asked.only and point.partition(":")[0] not in _victims(asked):
        parser.error(f"--only {asked.only}: no such victim ({', '.join(_victims(asked))})")
    if asked.cluster and asked.all:
        parser.error("--cluster plays a sample, not --all")
    return asked


def main() -> int:
    """Play, count, print, write."""
    asked = parsed()
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(FOLDER / "stage", ignore_errors=True)
    with shared_simulators():
        played = asyncio.run(run(asked, FOLDER))
        table = rows(played)
        wrong = [one for one in played if not one.right]
        if asked.jobs and not asked.only and not asked.cluster:
            table.append(traffic(FOLDER / "traffic", asked.jobs, asked.seed))
    result = CLUSTER_RESULT if asked.cluster else RESULT
    if not asked.only:
        result.write_text(json.dumps(table, indent=2) + "\n")
        if asked.all:
            TABLE.write_text(markdown(table, TABLE.read_text() if TABLE.exists() else ""))
    Console(width=160).print(shown(table))
    for one in wrong:
        print(f"wrong: {one.name}; repeat: {_repeat(one, _switch(asked))}")
    print(f"{result}; logs in {FOLDER}")
    return int(any(row[name] for row in table for name in COUNTS))


if __name__ == "__main__":
    sys.exit(main())
