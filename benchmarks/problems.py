"""What annealing reaches on every published instance below data/, and how long it takes.

Each instance goes the way of a job: read, formulate, anneal for some seconds on one core, verify
against the input. Prints a table and writes build/bench/problems.json. A negative gap, a value
better than the best known, would be a mistake here or in data/published.toml, and fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from adapters.annealing import NealSolver, steepest_descent
from qsaga.core.jobs import Optimise, Problem
from qsaga.core.results import OptimiseAnswer
from qsaga.problems import registry
from qsaga.problems.files import read_problem
from qsaga.problems.verify import SAMPLE_SET, dump_model, verify

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
TARGET = ROOT / "build" / "bench" / "problems.json"
SEED = 7
ROUNDING = 1e-9
"""Relative difference of values that count as equal."""


def published() -> list[dict[str, Any]]:
    """The instances that data/published.toml lists."""
    found: list[dict[str, Any]] = tomllib.loads((DATA / "published.toml").read_text())["instance"]
    return found


def problem_of(instance: dict[str, Any]) -> Problem:
    """The problem of an instance. Raises InvalidRequest if its file is damaged."""
    read = read_problem(DATA / instance["file"], instance["problem"])
    return Problem(name=read.name, data={**read.data, **instance.get("set", {})})


def gap(instance: dict[str, Any], value: float) -> float:
    """By how many percent of the best known value a value is worse; 0 if it is equal."""
    kind, best = registry.get(instance["problem"]), float(instance["best"])
    if abs(value - best) <= ROUNDING * abs(best):
        return 0.0
    worse = best - value if kind.sense == "maximise" else value - best
    return 100 * worse / abs(best)


def measure(instance: dict[str, Any], seconds: float, seed: int) -> dict[str, Any]:
    """Solve an instance once."""
    problem = problem_of(instance)
    kind, given = registry.parse(problem)
    began = time.perf_counter()
    model = dump_model(kind.formulate(given))
    formulated = time.perf_counter()
    raw = NealSolver().solve(model, seconds, seed)
    solved = time.perf_counter()
    answer, _ = verify(Optimise(problem=problem), model, raw, SAMPLE_SET, steepest_descent)
    ended = time.perf_counter()
    assert isinstance(answer, OptimiseAnswer)  # noqa: S101 - what an Optimise is answered with
    variables, couplings = kind.size(given)
    quality = answer.quality
    return {
        **instance,
        "variables": variables,
        "couplings": couplings,
        "value": quality.objective,
        "gap_percent": gap(instance, quality.objective),
        "as_sampled": quality.raw_best,
        "greedy": quality.baseline,
        "bound": quality.bound,
        "confidence": quality.confidence.value,
        "seconds": {
            "formulate": round(formulated - began, 3),
            "anneal": round(solved - formulated, 3),
            "verify": round(ended - solved, 3),
            "total": round(ended - began, 3),
        },
    }


def shown(value: float | None) -> str:
    """A value in a table."""
    return "–" if value is None else f"{value:.7g}"


def table_of(rows: list[dict[str, Any]], title: str) -> Table:
    """The rows for people."""
    table = Table(title=title, box=SIMPLE)
    for name in ("problem", "instance"):
        table.add_column(name, overflow="fold")
    for name in ("variables", "value", "best known", "gap %", "greedy", "as sampled", "bound", "s"):
        table.add_column(name, justify="right")
    for row in rows:
        told = ", ".join(f"{key} {value}" for key, value in row.get("set", {}).items())
        table.add_row(
            row["problem"],
            Path(row["file"]).stem + (f" ({told})" if told else ""),
            f"{row['variables']:,}",
            shown(row["value"]),
            shown(row["best"]),
            f"{row['gap_percent']:.2f}",
            shown(row["greedy"]),
            shown(row["as_sampled"]),
            shown(row["bound"]),
            f"{row['seconds']['total']:.1f}",
        )
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of annealing, per instance")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--problem", action="append", help="only these problems")
    asked = parser.parse_args()
    console = Console(width=140)
    rows = []
    for instance in published():
        if asked.problem and instance["problem"] not in asked.problem:
            continue
        with console.status(instance["file"]):
            rows.append(measure(instance, asked.seconds, asked.seed))
    done = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("dimod", "dwave-neal", "numpy")},
        "seed": asked.seed,
        "seconds_of_annealing": asked.seconds,
        "load_average_at_the_end": os.getloadavg()[0],
        "instances": rows,
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(done, indent=2) + "\n")
    versions = ", ".join(f"{name} {number}" for name, number in done["versions"].items())
    console.print(table_of(rows, f"{done['machine']}; {versions}"))
    reached = sum(row["gap_percent"] == 0 for row in rows)
    console.print(
        f"{asked.seconds:g} s of annealing each, seed {asked.seed}; best known value reached on "
        f"{reached} of {len(rows)}; {TARGET}"
    )
    if wrong := [row["file"] for row in rows if row["gap_percent"] < 0]:
        sys.exit(f"better than the best known value: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
