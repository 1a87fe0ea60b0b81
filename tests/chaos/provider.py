"""Five hundred submissions while everything goes wrong at the provider, and workers die.

Real processes: Temporal, the emulated cloud, two workers. Fault plans, jobs and the moments at
which workers are killed are drawn from a seed and written to build/chaos-provider/plans. What
became of every submission is counted from the emulator, Temporal and the database, see
``tests.chaos.counting.count``. Prints a table, writes build/chaos-provider.json, and fails where an
aim is not met. Unless told which, both kinds of client are played: its own repetitions of a POST
switched off, for four fifths of the submissions, and left on, for the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.chaos.campaign import run
from tests.chaos.counting import count, missed
from tests.chaos.plans import CALL_TIMEOUT, LISTING_GRACE, RATE, draw
from tools.servers import ROOT

BUILD = ROOT / "build"
PACKAGES = ("qsaga", "ibm-quantum-emulator", "temporalio", "qiskit-ibm-runtime", "qiskit")
SHOWN = (
    "submissions",
    "refused",
    "accepted",
    "charged_per_key_max",
    "double_runs",
    "double_runs_not_5xx",
    "lost",
    "undecided",
    "extras_cancelled",
    "orphans",
    "unbooked_charges",
    "ledger_difference",
    "held",
    "worker_kills",
    "seconds",
)


def play(asked: argparse.Namespace, submissions: int, *, retries: bool) -> dict[str, Any]:
    """One kind of client."""
    name = "with-client-retries" if retries else "without-client-retries"
    folder = BUILD / "chaos-provider" / name
    shutil.rmtree(folder, ignore_errors=True)
    rounds = draw(asked.seed, submissions, asked.round, asked.faults, asked.workers)
    plans = BUILD / "chaos-provider" / "plans" / name
    shutil.rmtree(plans, ignore_errors=True)
    print(f"{name}: {submissions} submissions, seed {asked.seed}, plans in {plans}", flush=True)
    truth, told = asyncio.run(
        run(folder, plans, rounds, retries=retries, seed=asked.seed, size=asked.workers)
    )
    found = count(truth)
    return (
        found.counts
        | told
        | {
            "seed": asked.seed,
            "client_retries": retries,
            "missed": missed(found.counts, found.detail, retries=retries),
            "detail": found.detail,
        }
    )


def table(rows: list[dict[str, Any]]) -> Table:
    """For a terminal."""
    names = ["on" if row["client_retries"] else "off" for row in rows]
    shown = Table("client retries", *names, box=SIMPLE)
    for name in SHOWN:
        shown.add_row(name, *(str(row[name]) for row in rows))
    for kind in sorted({kind for row in rows for kind in row["faults_fired"]}):
        shown.add_row(f"  {kind}", *(str(row["faults_fired"].get(kind, 0)) for row in rows))
    return shown


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=500, help="in all")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--round", type=int, default=25, help="submissions under one plan")
    parser.add_argument("--faults", type=int, default=6, help="rules in a plan")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--client-retries",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="only with, or only without, the client's own repetitions of a POST",
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Play, count, print, write."""
    asked = parsed()
    if asked.client_retries is None:
        fewer = asked.submissions // 5
        modes = [(asked.submissions - fewer, False), (fewer, True)]
    else:
        modes = [(asked.submissions, asked.client_retries)]
    rows = [play(asked, number, retries=retries) for number, retries in modes]
    done = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {name: version(name) for name in PACKAGES},
        "settings": {
            "call_timeout_seconds": CALL_TIMEOUT,
            "listing_grace_seconds": LISTING_GRACE,
            "clock_rate": RATE,
            "workers": asked.workers,
            "submissions_in_a_round": asked.round,
            "faults_in_a_plan": asked.faults,
        },
        "runs": rows,
    }
    target = BUILD / "chaos-provider.json"
    target.write_text(json.dumps(done, indent=2) + "\n")
    console = Console(width=100)
    console.print(f"{done['machine']}; seed {asked.seed}; indented: how often each fault fired")
    console.print(table(rows))
    wrong = False
    for row in rows:
        for tag, double in row["detail"].get("double_runs", {}).items():
            console.print(f"double run of {double['job_id']} ({tag}): {double['faults']}")
        for line in row["missed"]:
            wrong = True
            console.print(f"client retries {row['client_retries']}: aim missed: {line}")
    console.print(f"{Path(target)}; logs and plans in {BUILD / 'chaos-provider'}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
