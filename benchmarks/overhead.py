"""What qsaga adds to a job: beside the raw call of the simulator, and beside a bare workflow.

All three run in turn in one process against one dev server, so that the machine's mood is the
same for each. Prints a table and writes build/bench/overhead.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import worker as composition
from adapters.aer import AerSimulator
from adapters.circuits import QiskitCircuitReader
from benchmarks.bare import Bare, nothing
from qsaga.client import QsagaClient
from qsaga.connection import register_search_attributes
from qsaga.core.jobs import JobRequest
from qsaga.core.ports import RunSpec
from qsaga.core.states import JobState
from qsaga.payloads import data_converter
from qsaga.settings import Settings, TemporalSettings
from tools.servers import ROOT, resolve

CIRCUIT = """OPENQASM 3.0;
include "stdgates.inc";
qubit[4] q;
bit[4] c;
h q[0];
cx q[0], q[1];
cx q[1], q[2];
cx q[2], q[3];
c = measure q;
"""
SHOTS, SEED = 1024, 7
DISPATCH = "history.transferProcessorMaxPollRPS=1000"


async def measure(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of each round, by kind."""
    settings = Settings(
        data_dir=folder, hardware=False, temporal=TemporalSettings(task_queue="bench")
    )
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli),
        dev_server_extra_args=["--dynamic-config-value", DISPATCH],
    ) as env:
        config = env.client.config()
        config["data_converter"] = data_converter(settings)
        temporal = Client(**config)
        await register_search_attributes(temporal)
        parts = await composition.build(settings)
        bare = Worker(temporal, task_queue="bare", workflows=[Bare], activities=[nothing])
        async with composition.worker(temporal, settings, parts), bare:
            kinds = _kinds(temporal, QsagaClient(temporal, settings))
            found: dict[str, list[float]] = {name: [] for name in kinds}
            for turn in range(rounds + 3):
                for name, call in kinds.items():
                    began = time.perf_counter()
                    await call()
                    if turn >= 3:  # the first rounds fill caches
                        found[name].append(1000 * (time.perf_counter() - began))
            return found


def _kinds(temporal: Client, client: QsagaClient) -> dict[str, Callable[[], Awaitable[object]]]:
    simulator = AerSimulator()
    qpy, _ = QiskitCircuitReader().read("qasm3", CIRCUIT, "sample")
    spec = RunSpec(verb="sample", shots=SHOTS)

    async def raw() -> object:
        return await simulator.run(qpy, spec, SEED)

    async def bare() -> object:
        return await temporal.execute_workflow(
            Bare.run, "x", id=f"bare-{uuid4().hex}", task_queue="bare"
        )

    async def job() -> object:
        request = JobRequest.model_validate(
            {
                "key": uuid4().hex,
                "workload": {"kind": "sample", "circuit": {"source": CIRCUIT}, "shots": SHOTS},
                "seed": SEED,
            }
        )
        result = await client.run(request)
        if result.state is not JobState.DEGRADED:  # hardware is switched off
            raise RuntimeError(f"unexpected end: {result.state}")
        return result

    return {"raw simulator call": raw, "bare workflow, 4 + 1 activities": bare, "qsaga job": job}


def report(found: dict[str, list[float]], rounds: int) -> dict[str, object]:
    """Medians, 95th percentiles and ratios."""
    rows = {
        name: {
            "median_ms": round(statistics.median(times), 2),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
        }
        for name, times in found.items()
    }
    raw, bare, job = (row["median_ms"] for row in rows.values())
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {n: version(n) for n in ("temporalio", "qiskit", "qiskit-aer", "pydantic")},
        "seed": SEED,
        "rounds": rounds,
        "rows": rows,
        "added_to_raw_call_ms": round(job - raw, 2),
        "ratio_to_bare_workflow": round(job / bare, 2),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(rounds, Path(folder)))
    done = report(found, rounds)
    target = ROOT / "build" / "bench" / "overhead.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(done, indent=2) + "\n")
    table = Table("", "median ms", "95 % ms", title=str(done["machine"]))
    for name, times in found.items():
        table.add_row(
            name,
            f"{statistics.median(times):.1f}",
            f"{statistics.quantiles(times, n=20)[-1]:.1f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"qsaga adds {done['added_to_raw_call_ms']} ms to the raw call and takes "
        f"{done['ratio_to_bare_workflow']} × the bare workflow; {target}"
    )


if __name__ == "__main__":
    main()
