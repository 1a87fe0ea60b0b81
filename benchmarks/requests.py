"""Requests to the provider: by runs that wait for hours, and by jobs that need not wait.

Hours of waiting pass on Temporal's time-skipping server, whose clock the emulator follows, so that
they are counted and not extrapolated. How soon the end of a job is noticed is measured there and,
in real time, on the dev server. Prints a table and writes build/bench-requests.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.runs import FOLLOW
from qsaga.core.timing import LONGEST_POLL
from tests.support.clock_bridge import ClockBridge
from tests.support.stack import Stack, bell, running_stack
from tools.servers import ROOT, resolve
from tools.stage import DYNAMIC_CONFIG

SEED = 7
LEVELS = (1, 100, 1000)
HOURS = 2
AHEAD, SECONDS_EACH = 480, 60.0
"""The queue in which all wait: eight hours of it."""
SOON_AHEAD, SOON_SECONDS = 5, 60.0
"""The queue on the dev server: five minutes, so that the watcher looks at least twice a minute."""
BUDGETS = {"queue": 80_000, "execution": 3600, "deadline": 86_400}
AT_ONCE = 20
"""Jobs between their start and their waiting at the same time: no more than a machine of two cores
takes in without being late."""
LOOKED_AT = 20
"""Runs whose history is looked at, and that end at once while the others wait on."""
BACKEND = "ibm_torino"


@asynccontextmanager
async def skipping(folder: Path) -> AsyncIterator[Stack]:
    """qsaga where hours pass in a second."""
    bridge = ClockBridge()
    try:
        async with await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(resolve().test_server)
        ) as env:
            address = env.client.service_client.config.target_host
            await asyncio.to_thread(bridge.follow, address)
            with EmulatorProcess(noise="none", seed=SEED, clock_url=bridge.url) as emulator:
                emulator.control.set_queue(AHEAD, SECONDS_EACH, slots=LOOKED_AT)
                async with running_stack(env, emulator, folder) as stack:
                    yield stack
    finally:
        bridge.close()


@asynccontextmanager
async def real_time(folder: Path) -> AsyncIterator[Stack]:
    """qsaga on the dev server."""
    extra = [part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli), dev_server_extra_args=extra
    ) as env:
        with EmulatorProcess(noise="none", seed=SEED) as emulator:
            async with running_stack(env, emulator, folder) as stack:
                yield stack


def asked(stack: Stack) -> Counter[str]:
    """Requests so far, by what was asked; those to the identity service and the catalogue too."""
    counts = stack.emulator.control.requests()
    return Counter({name: n for name, n in counts.items() if "/control" not in name})


async def waiting(stack: Stack, runs: int) -> None:
    """Start so many jobs, and see each hand over its waiting to the watcher."""
    started = wait = 0
    while wait < runs:
        for _ in range(min(AT_ONCE - (started - wait), runs - started)):
            await stack.client.start(bell(seed=SEED, budgets=BUDGETS))
            started += 1
        await asyncio.sleep(0.3)
        wait = len(await stack.parts.submissions.watched())


async def pass_hours(stack: Stack, hours: float) -> float:
    """Let virtual time run. Returns the hours that passed."""
    control = stack.emulator.control
    began = now = control.now()
    async with stack.skipping_time():
        while now < began + 3600 * hours:
            await asyncio.sleep(0.05)
            now = await asyncio.to_thread(control.now)
    return (control.now() - began) / 3600


async def events(stack: Stack, run_ids: Sequence[str]) -> int:
    """The longest history of some runs that wait."""
    found = [
        await stack.temporal.get_workflow_handle(run_id).fetch_history()
        for run_id in run_ids[:LOOKED_AT]
    ]
    return max(len(history.events) for history in found)


async def slots(stack: Stack, run_ids: Sequence[str]) -> int:
    """How many activities of these runs are with a worker."""
    held = 0
    for run_id in run_ids:
        handle = stack.temporal.get_workflow_handle(run_id)
        pending = (await handle.describe()).raw_description.pending_activities
        held += sum(
            one.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED for one in pending
        )
    return held


async def noticed(stack: Stack, ended: Mapping[str, float]) -> list[float]:
    """Seconds from the end of each run's remote job until the run had looked and knew."""
    late = []
    for run_id, job_ended in ended.items():
        history = await stack.temporal.get_workflow_handle(run_id).fetch_history()
        follows, at = set(), 0.0
        for event in history.events:
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name == FOLLOW:
                follows.add(event.event_id)
            if event.activity_task_completed_event_attributes.scheduled_event_id in follows:
                at = event.event_time.ToMicroseconds() / 1e6
        late.append(at - job_ended)
    return late


def longest_look(stack: Stack, since: float, until: float) -> float:
    """The longest time between two looks of the watcher."""
    log = stack.emulator.control.request_log(endpoint="list", limit=10_000)
    times = [row["at"] for row in log if since <= row["at"] <= until]
    return max((b - a for a, b in pairwise(times)), default=0.0)


async def some_end(stack: Stack) -> dict[str, Any]:
    """The first in the queue run at once, and no others: when do their runs notice?"""
    control = stack.emulator.control
    before = await _waiting_runs(stack)
    began = control.now()
    control.set_queue(0)
    control.change_backend(BACKEND, paused=True)
    async with stack.skipping_time():
        while control.now() < began + 10 or _running(control.jobs()):  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.1)
        ended = {
            tag: float(job["finished"])
            for job in control.jobs()
            if job["state"] == "Completed"
            for tag in job["tags"]
            if tag in before
        }
        while ended.keys() & await _waiting_runs(stack):  # noqa: ASYNC110 - in a database
            await asyncio.sleep(0.1)
    late = await noticed(stack, ended)
    return {
        "ended": len(ended),
        "noticed_after_s": {
            "median": round(statistics.median(late), 1),
            "most": round(max(late), 1),
        },
        "longest_between_looks_s": round(
            longest_look(stack, began - 3 * LONGEST_POLL, began + LONGEST_POLL), 1
        ),
    }


def _running(jobs: Sequence[Mapping[str, Any]]) -> bool:
    return any(job["state"] == "Running" for job in jobs)


async def _waiting_runs(stack: Stack) -> set[str]:
    return {run.run_id for run in await stack.parts.submissions.watched()}


async def for_hours(folder: Path, runs: int) -> dict[str, Any]:
    """Requests of so many runs that wait for hours."""
    began = time.perf_counter()
    async with skipping(folder) as stack:
        await waiting(stack, runs)
        before = asked(stack)
        run_ids = sorted(await _waiting_runs(stack))
        hours = await pass_hours(stack, HOURS)
        during = asked(stack) - before
        length = await events(stack, run_ids)
        end = await some_end(stack)
        return {
            "runs": runs,
            "hours": round(hours, 3),
            "requests": dict(during),
            "per_run_and_hour": round(during.total() / runs / hours, 2),
            "to_submit_per_job": round(before.total() / runs, 2),
            "history_events": length,
            **end,
            "real_seconds": round(time.perf_counter() - began, 1),
        }


async def soon(folder: Path, runs: int) -> dict[str, Any]:
    """How soon the end is noticed in real time, on the dev server."""
    async with real_time(folder) as stack:
        stack.emulator.control.set_queue(SOON_AHEAD, SOON_SECONDS, slots=LOOKED_AT)
        await waiting(stack, runs)
        run_ids = sorted(await _waiting_runs(stack))
        return {
            "runs": runs,
            "slots_held": await slots(stack, run_ids),
            "history_events": await events(stack, run_ids),
            **await some_end(stack),
        }


async def quick(folder: Path, jobs: int) -> dict[str, Any]:
    """Requests of a complete job that finds no queue, one job after the other."""
    async with real_time(folder) as stack:
        # Signs in and reads the backend.
        await stack.settled(await stack.run(bell(seed=SEED)))
        first = asked(stack)
        for _ in range(jobs):
            await stack.settled(await stack.run(bell(seed=SEED)))
        during = asked(stack) - first
    return {
        "jobs": jobs,
        "first_job": first.total(),
        "requests": dict(during),
        "per_job": round(during.total() / jobs, 2),
    }


def table(done: dict[str, Any]) -> Table:
    """For a terminal."""
    shown = Table(
        *("server", "runs", "requests per run-hour", "to submit one", "slots held", "events"),
        *("noticed after s", "most", "between looks s"),
        box=SIMPLE,
    )
    rows = [("time-skipping", row) for row in done["waiting"]]
    for server, row in [*rows, ("dev server", done["soon"])]:
        late = row["noticed_after_s"]
        names = ("runs", "per_run_and_hour", "to_submit_per_job", "slots_held", "history_events")
        cells = [*(row.get(name, "") for name in names), late["median"], late["most"]]
        shown.add_row(server, *map(str, cells), str(row["longest_between_looks_s"]))
    return shown


async def measure(levels: Sequence[int], hours_runs: int, jobs: int) -> dict[str, Any]:
    """Everything, each on servers of its own."""
    rows = []
    for runs in levels:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(await for_hours(Path(folder), runs))
            print(f"{runs} runs: {rows[-1]}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        in_time = await soon(Path(folder), hours_runs)
    with tempfile.TemporaryDirectory() as folder:
        return {"waiting": rows, "soon": in_time, "quick": await quick(Path(folder), jobs)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=LEVELS)
    parser.add_argument("--soon", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=10)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    done = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {n: version(n) for n in ("qsaga", "temporalio", "qiskit-ibm-runtime")},
        "seed": SEED,
        "queue_seconds": AHEAD * SECONDS_EACH,
        **asyncio.run(measure(given.runs, given.soon, given.jobs)),
    }
    target = ROOT / "build" / "bench-requests.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(done, indent=2) + "\n")
    console = Console(width=120)
    console.print(f"{done['machine']}; versions {done['versions']}; seed {SEED}")
    console.print(table(done))
    fast = done["quick"]
    console.print(
        f"a complete job without a queue: {fast['per_job']} requests "
        f"({fast['first_job']} for the first of a worker); {target}"
    )


if __name__ == "__main__":
    main()
