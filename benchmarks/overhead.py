"""What qsaga adds to a job: time, throughput, events, billed actions, memory while jobs wait.

Beside it, in turns on the same machine: the raw call of Aer, a bare Temporal workflow with as many
activities, prefect-qiskit on Aer. Prints tables and the aims, with a profile of where the time
goes, and writes build/bench/overhead.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine, overhead_history, overhead_jobs, overhead_profile, waiting
from benchmarks.overhead_aims import aims
from benchmarks.overhead_tables import show
from benchmarks.prefect_env import PINS, aer_route
from tools.servers import ROOT

PACKAGES = ("qsaga", "temporalio", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "pydantic")
SEED = overhead_jobs.SEED
JOB = {"qasm3": overhead_jobs.CIRCUIT, "shots": overhead_jobs.SHOTS, "seed": SEED}


async def of_jobs(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Time of a job, jobs per second, and the profile of both."""
    prefect = aer_route(JOB, folder) if given.prefect else nullcontext()
    async with overhead_jobs.running(folder) as bench:
        with prefect as route:
            print(f"time of a job, {given.rounds} rounds", flush=True)
            times = await overhead_jobs.per_job(bench, route, given.rounds)
            by_step = await overhead_profile.by_step(bench, given.rounds)
            print(f"{overhead_jobs.AT_ONCE} at once, {given.jobs} jobs a round", flush=True)
            # Idle meanwhile, prefect-qiskit's server takes a percent or two of a core.
            rates = await overhead_jobs.at_once(bench, given.jobs, given.turns)
            if route is not None:
                rates |= await overhead_jobs.prefect_at_once(route, given.turns)
        calls = await overhead_profile.by_call(bench.temporal, folder / "profile", given.rounds)
    return {
        "activities": {"remote": bench.remote, "local": bench.local},
        "per_job": {name: overhead_jobs.spread(found) for name, found in times.items()},
        "at_once": rates,
        "profile": {"steps": by_step, "calls": calls},
    }


async def of_histories(folder: Path) -> list[dict[str, Any]]:
    """Events, bytes and billed actions of each case."""
    found = []
    for number, case in enumerate(overhead_history.CASES):
        print(f"history: {case.name}", flush=True)
        found.append(await overhead_history.measure(case, folder / str(number), SEED))
    return found


async def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Everything, one after the other."""
    parts: dict[str, Any] = {}
    for name in ("jobs", "histories", "waiting"):
        (folder / name).mkdir()
    parts |= await of_jobs(folder / "jobs", given)
    parts["histories"] = await of_histories(folder / "histories")
    if given.waiting:
        parts["waiting"] = await waiting.measure(folder / "waiting", given.waiting, SEED)
    return parts


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="jobs one by one (at least 2)")
    parser.add_argument("--jobs", type=int, default=200, help="jobs of a round, 50 at once")
    parser.add_argument("--turns", type=int, default=3, help="rounds with 50 at once")
    parser.add_argument(
        "--waiting",
        type=int,
        nargs="*",
        default=[0, 1000, 10_000],
        help="numbers of waiting jobs; none leaves this part out",
    )
    parser.add_argument(
        "--no-prefect", dest="prefect", action="store_false", help="leave prefect-qiskit out"
    )
    return parser.parse_args(given)


def main() -> None:
    """Measure, print, write."""
    given = arguments()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), given))
    done = {
        **machine.describe(PACKAGES),
        "prefect_qiskit": PINS if given.prefect else None,
        "seed": SEED,
        "rounds": {"one_by_one": given.rounds, "at_once": given.turns, "jobs": given.jobs},
        **found,
    }
    done["aims"] = aims(done)
    target = ROOT / "build" / "bench" / "overhead.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(done, indent=2) + "\n")
    show(done, Console(width=120))
    print(target)


if __name__ == "__main__":
    main()
