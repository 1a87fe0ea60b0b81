"""The same faults of the quantum cloud for qsaga and for prefect-qiskit.

Both run the same circuit on one emulated machine, one after the other, with the same fault before
each. What became of it is read from the emulator, which knows of every job that it ever accepted.
Prints a table and writes build/bench-faults.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.prefect_env import PINS, Route, route
from ibm_quantum_emulator.process import ControlClient
from qsaga.client import QsagaClient
from qsaga.core.jobs import JobRequest
from qsaga.core.results import JobResult
from qsaga.core.states import JobState
from tools.servers import ROOT
from tools.stage import Stage, wait_until

BACKEND = "ibm_torino"
CIRCUIT = """OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[0];
cx q[0], q[1];
c = measure q;
"""
SHOTS, SEED = 1024, 7
CALL_TIMEOUT, STALL = 30.0, 35.0
"""Seconds that both wait for a reply (neither's default is changed), and that one is held back."""
RETRY_DELAY = 1
"""Seconds, in place of the 300 of prefect-qiskit's default: the only setting that is changed."""
SETTLED_LIMIT = 120.0


@dataclass(frozen=True)
class Case:
    """What goes wrong."""

    name: str
    rule: dict[str, Any] | None


CASES = (
    Case("nothing", None),
    Case("one status poll answered 503", {"on": "job", "do": "answer", "status": 503, "count": 1}),
    Case(
        "one result fetch answered 503", {"on": "result", "do": "answer", "status": 503, "count": 1}
    ),
    Case("two status polls time out", {"on": "job", "do": "stall", "seconds": STALL, "count": 2}),
    Case(
        "reply to the submission lost", {"on": "submit", "do": "drop", "when": "after", "count": 1}
    ),
    Case(
        "accepted, but answered 504, twice",
        {"on": "submit", "do": "answer", "when": "after", "status": 504, "count": 2},
    ),
)


async def by_qsaga(client: QsagaClient) -> dict[str, Any]:
    """One job: ``delivered``, ``seconds`` and, where it was not, ``error``."""
    request = JobRequest.model_validate(
        {
            "key": uuid4().hex,
            "workload": {"kind": "sample", "circuit": {"source": CIRCUIT}, "shots": SHOTS},
            "route": "hardware",
            "backend": BACKEND,
            "seed": SEED,
        }
    )
    began = time.perf_counter()
    result = await client.run(request)
    taken = time.perf_counter() - began
    await _accounts_closed(client, result)
    by_hardware = result.state is JobState.COMPLETED
    why = "" if by_hardware else f"{result.state.value}: {result.unanswered or result.attempts}"
    return {"delivered": by_hardware, "seconds": taken, "error": why}


async def _accounts_closed(client: QsagaClient, result: JobResult) -> None:
    for attempt in result.attempts:
        if attempt.run_id:
            await client.temporal.get_workflow_handle(attempt.run_id).result()


async def measured(
    control: ControlClient, case: Case, job: Callable[[], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Run the job under the fault, and count what the emulator knows of it."""
    known = {row["id"] for row in control.jobs()}
    control.set_plan(*([case.rule] if case.rule else []), seed=SEED)
    told = await job()
    await asyncio.to_thread(
        wait_until,
        lambda: control.summary()["pending"] == 0,
        "all remote jobs have ended",
        SETTLED_LIMIT,
        0.2,
    )
    fired = [rule["fired"] for rule in control.faults()["faults"]]
    jobs = [row for row in control.jobs() if row["id"] not in known]
    return {
        "case": case.name,
        "faults_fired": sum(fired),
        "jobs": len(jobs),
        "run": sum(row["running"] is not None for row in jobs),
        "cancelled": sum(row["state"] == "Cancelled" for row in jobs),
        "charged_seconds": sum(row["charged_seconds"] for row in jobs),
        "delivered": told["delivered"],
        "seconds": round(told["seconds"], 2),
        "error": told["error"],
    }


async def measure(folder: Path) -> list[dict[str, Any]]:
    """All cases for both."""
    stage = Stage(folder, ui=False, emulator={"backend": [BACKEND], "noise": "none", "seed": SEED})
    await asyncio.to_thread(stage.start)
    try:
        control = stage.emulator.control
        patience = {"QSAGA_IBM__CALL_TIMEOUT": str(CALL_TIMEOUT)}
        await asyncio.to_thread(lambda: stage.start_worker(**patience))
        client = await QsagaClient.connect(stage.settings())
        asked = {"qasm3": CIRCUIT, "shots": SHOTS, "seed": SEED, "retry_delay": RETRY_DELAY}
        with route(stage.emulator.url, stage.emulator.crn, BACKEND, asked, folder) as other:
            return await _side_by_side(control, client, other)
    finally:
        await asyncio.to_thread(stage.stop)


async def _side_by_side(
    control: ControlClient, client: QsagaClient, other: Route
) -> list[dict[str, Any]]:
    async def by_prefect() -> dict[str, Any]:
        return await asyncio.to_thread(other.run)

    async def by_us() -> dict[str, Any]:
        return await by_qsaga(client)

    rows = []
    # The first of each fills caches and is not told.
    for case in (CASES[0], *CASES):
        for system, job in (("qsaga", by_us), ("prefect-qiskit", by_prefect)):
            rows.append({"system": system} | await measured(control, case, job))
    return rows[2:]


def table(rows: list[dict[str, Any]]) -> Table:
    """For a terminal."""
    shown = Table(
        *("fault", "system", "jobs", "run", "cancelled", "charged s", "answer", "seconds"),
        box=SIMPLE,
    )
    for row in rows:
        cells = [row[name] for name in ("jobs", "run", "cancelled", "charged_seconds")]
        answer = "yes" if row["delivered"] else "no"
        shown.add_row(row["case"], row["system"], *map(str, cells), answer, f"{row['seconds']:.1f}")
    return shown


def main() -> None:
    """Measure, print, write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder)))
    done = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {
            "qsaga": {n: version(n) for n in ("qsaga", "temporalio", "qiskit-ibm-runtime")},
            "prefect-qiskit": PINS,
        },
        "seed": SEED,
        "shots": SHOTS,
        "call_timeout_seconds": CALL_TIMEOUT,
        "stall_seconds": STALL,
        "prefect_qiskit_settings": {"max_retry": 5, "retry_delay": RETRY_DELAY, "timeout": None},
        "rows": rows,
    }
    target = ROOT / "build" / "bench-faults.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(done, indent=2) + "\n")
    console = Console(width=110)
    console.print(f"{done['machine']}; versions {done['versions']}; seed {SEED}")
    console.print(table(rows))
    console.print(
        "jobs: created at the provider by one job of the caller; charged: quantum seconds of all "
        f"of them; prefect-qiskit: its defaults, but retry_delay {RETRY_DELAY} s (300); {target}"
    )


if __name__ == "__main__":
    main()
