"""What a job takes: the raw call, a bare workflow of as many steps, qsaga, prefect-qiskit."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from qiskit import qasm3
from qiskit_aer.primitives import SamplerV2
from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from benchmarks import machine
from benchmarks.bare import QUEUE, Bare
from benchmarks.prefect_env import Route
from qsaga.client import QsagaClient
from qsaga.core.jobs import JobRequest
from qsaga.core.states import JobState
from qsaga.payloads import data_converter
from qsaga.settings import Settings, TemporalSettings
from tools.processes import alive, end, spawn
from tools.servers import ROOT, resolve
from tools.stage import DYNAMIC_CONFIG, READY, wait_until

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
WARM_UP = 5
"""Rounds that are not counted: they fill caches."""
AT_ONCE = 50
RAW, BARE, QSAGA, PREFECT = "raw Aer call", "bare workflow", "qsaga", "prefect-qiskit"

Call = Callable[[], Awaitable[object]]


def request() -> JobRequest:
    """A job under a new key."""
    return JobRequest.model_validate(
        {
            "key": uuid4().hex,
            "workload": {"kind": "sample", "circuit": {"source": CIRCUIT}, "shots": SHOTS},
            "seed": SEED,
        }
    )


@dataclass
class Bench:
    """Temporal, a worker of qsaga and one of the bare workflow, each a process of its own.

    ``remote`` and ``local`` are the activities of a job on the simulator.
    """

    temporal: Client
    client: QsagaClient
    workers: Mapping[str, int]
    remote: int = 0
    local: int = 0
    ids: dict[str, list[str]] = field(default_factory=lambda: {BARE: [], QSAGA: []})

    async def bare(self) -> None:
        """One bare workflow."""
        workflow_id = f"bare-{uuid4().hex}"
        await self.temporal.execute_workflow(
            Bare.run, args=[self.remote, self.local], id=workflow_id, task_queue=QUEUE
        )
        self.ids[BARE].append(workflow_id)

    async def qsaga(self) -> None:
        """One job; it ends on the simulator."""
        result = await self.client.run(request())
        if result.state is not JobState.DEGRADED:  # hardware is switched off
            raise RuntimeError(f"unexpected end: {result.state}")
        self.ids[QSAGA].append(result.job_id)

    async def history(self, workflow_id: str) -> WorkflowHistory:
        """Of a workflow that has ended."""
        return await self.temporal.get_workflow_handle(workflow_id).fetch_history()

    async def count_steps(self) -> None:
        """Run one job, and give the bare workflow as many activities as it had."""
        await self.qsaga()
        events = (await self.history(self.ids[QSAGA][-1])).events
        self.remote = sum(e.HasField("activity_task_scheduled_event_attributes") for e in events)
        self.local = sum(e.HasField("marker_recorded_event_attributes") for e in events)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Bench]:
    """Servers and workers for as long as the block lasts; logs and data are in ``folder``."""
    settings = Settings(
        data_dir=folder / "data", hardware=False, temporal=TemporalSettings(task_queue="bench")
    )
    extra = [part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli), dev_server_extra_args=extra
    ) as env:
        address = env.client.service_client.config.target_host
        env_of = {name: value for name, value in os.environ.items() if "QSAGA_" not in name}
        env_of |= {
            "QSAGA_DATA_DIR": str(folder / "data"),
            "QSAGA_HARDWARE": "false",
            "QSAGA_TEMPORAL__ADDRESS": address,
            "QSAGA_TEMPORAL__TASK_QUEUE": "bench",
        }
        commands = {
            QSAGA: [sys.executable, str(ROOT / "worker.py")],
            BARE: [sys.executable, "-m", "benchmarks.bare_worker", address],
        }
        logs = {name: folder / f"{name.replace(' ', '-')}.log" for name in commands}
        started = {name: spawn(commands[name], logs[name], env_of) for name in commands}

        def ready(name: str) -> bool:
            alive(started[name], logs[name])
            return READY in logs[name].read_text(errors="replace")

        try:
            for name in started:
                await asyncio.to_thread(wait_until, partial(ready, name), f"{name}: {READY}")
            config = env.client.config()
            config["data_converter"] = data_converter(settings)
            temporal = Client(**config)
            pids = {name: process.pid for name, process in started.items()}
            bench = Bench(temporal, QsagaClient(temporal, settings), pids)
            await bench.count_steps()
            yield bench
        finally:
            for process in started.values():
                await asyncio.to_thread(end, process, machine.TERM)


def raw_call() -> Call:
    """Qiskit Aer's own sampler on a circuit that is read already, in a thread of this process."""
    circuit = qasm3.loads(CIRCUIT)
    # As qsaga does for a circuit as small as this: its threads would wait for each other.
    options = {"backend_options": {"method": "statevector", "max_parallel_threads": 1}}
    sampler = SamplerV2(default_shots=SHOTS, seed=SEED, options=options)

    def run() -> dict[str, int]:
        counts: dict[str, int] = sampler.run([circuit]).result()[0].data["c"].get_counts()
        return counts

    return lambda: asyncio.to_thread(run)


async def per_job(bench: Bench, route: Route | None, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round by system, one after the other in turns."""
    calls: dict[str, Call] = {RAW: raw_call(), BARE: bench.bare, QSAGA: bench.qsaga}
    found: dict[str, list[float]] = {name: [] for name in [*calls, *([PREFECT] if route else [])]}
    for turn in range(WARM_UP + rounds):
        taken = {name: await _milliseconds(call) for name, call in calls.items()}
        if route is not None and (seconds := await ask(route, "job", 1)) is not None:
            taken[PREFECT] = 1000 * seconds
        if turn >= WARM_UP:
            for name, value in taken.items():
                found[name].append(value)
    return found


async def _milliseconds(call: Call) -> float:
    began = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - began)


async def ask(route: Route, how: str, jobs: int) -> float | None:
    """Seconds that prefect-qiskit took for so many jobs; None, and why, if one failed."""
    said = await asyncio.to_thread(route.run, f"{how} {jobs}")
    if said["delivered"]:
        return float(said["seconds"])
    print(f"{PREFECT} failed at {how} {jobs}: {said['error'][:200]}", flush=True)
    return None


async def at_once(bench: Bench, jobs: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Jobs per second with 50 under way, in turns, and the CPU time that a job took where."""
    calls = {BARE: bench.bare, QSAGA: bench.qsaga}
    rates: dict[str, list[float]] = {name: [] for name in calls}
    used: dict[str, list[dict[str, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            pids = {"server": machine.child("temporal"), "worker": bench.workers[name]}
            pids["client"] = os.getpid()
            before = {part: machine.cpu_seconds(pid) for part, pid in pids.items()}
            rates[name].append(await _rate(call, jobs))
            used[name].append(
                {
                    part: 1000 * (machine.cpu_seconds(pid) - before[part]) / jobs
                    for part, pid in pids.items()
                }
            )
    return {
        name: {
            "per_second": round(statistics.median(rates[name]), 2),
            "rounds": [round(rate, 2) for rate in rates[name]],
            "cpu_ms_per_job": {
                part: round(statistics.median(one[part] for one in used[name]), 1)
                for part in used[name][0]
            },
        }
        for name in calls
    }


async def _rate(call: Call, jobs: int) -> float:
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(jobs)))
    return jobs / (time.perf_counter() - began)


async def prefect_at_once(route: Route, rounds: int) -> dict[str, dict[str, Any]]:
    """Jobs per second of prefect-qiskit: 50 in one flow, and 50 flows at once; 0 if one failed."""
    ways = {"flow": f"{PREFECT}, in one flow", "flows": f"{PREFECT}, as flows"}
    found: dict[str, list[float]] = {how: [] for how in ways}
    for _ in range(rounds):
        for how, rates in found.items():
            seconds = await ask(route, how, AT_ONCE)
            rates.append(AT_ONCE / seconds if seconds else 0.0)
    return {
        name: {
            "per_second": round(statistics.median(found[how]), 2),
            "rounds": [round(rate, 2) for rate in found[how]],
            "failed_rounds": found[how].count(0.0),
        }
        for how, name in ways.items()
    }


def spread(times: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
    }
