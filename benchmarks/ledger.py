"""Reservations per second, and how long one takes, from many processes on a ledger that is full.

Each client is a process of its own. In the closed loop it books without pause; in the open loop
its bookings are due at fixed times whatever the ledger does, and latency is counted from when
one was due, so that waiting for the one before is not hidden. A booking holds all four units.
Prints a table and writes build/bench-ledger.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from adapters.sql import SqlLedger, migrate, open_engine
from benchmarks.ledger_rows import fill
from qsaga.core.ledger import Amounts, Budget, Hold, Tenant
from tools.servers import ROOT

SEED = 7
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOLD = Amounts(
    quantum_seconds=Decimal(4), money=Decimal("6.40"), classical_seconds=Decimal(1), jobs=Decimal(1)
)
USED = Amounts(quantum_seconds=Decimal("3.2"), money=Decimal("5.12"), classical_seconds=Decimal(1))
TARGETS = {"sqlite": 100, "postgresql": 300}
"""Bookings per second of the open loop."""
PATIENCE = 30.0
"""Seconds to wait for other programs before a trial."""


@dataclass(frozen=True)
class Trial:
    """What one client does.

    Args:
        url: of the database.
        tenant: that it books for.
        pairs: settle each reservation as well; both together are one booking, a pair.
        seconds: for which it does so.
        every: seconds from one booking to the next; None is the closed loop.
        offset: seconds after the start that its first one is due.
    """

    url: str
    tenant: str
    pairs: bool
    seconds: float
    every: float | None
    offset: float


def client(trial: Trial) -> list[tuple[float, float]]:
    """When each booking ended, and how long it took; in seconds since the start."""
    return asyncio.run(_book(trial))


async def _book(trial: Trial) -> list[tuple[float, float]]:
    engine = open_engine(trial.url)
    ledger = SqlLedger(engine)
    try:
        for _ in range(8):  # connections, prepared statements
            await _one(ledger, trial)
        await asyncio.to_thread(_STATE["barrier"].wait, 120)
        start = time.perf_counter()
        done: list[tuple[float, float]] = []
        while True:
            now = time.perf_counter() - start
            due = now if trial.every is None else trial.offset + len(done) * trial.every
            # Far behind, the rest of what was due would only take long.
            if due >= trial.seconds or now >= 2 * trial.seconds:
                return done
            if due > now:
                await asyncio.sleep(due - now)
            await _one(ledger, trial)
            ended = time.perf_counter() - start
            done.append((ended, ended - due))
    finally:
        await engine.dispose()


async def _one(ledger: SqlLedger, trial: Trial) -> None:
    job = f"{trial.tenant}/{uuid4().hex}"
    short = await ledger.reserve(trial.tenant, job, (Hold(key=job, amounts=HOLD),), AT)
    if short:
        raise RuntimeError(short[0].text(trial.tenant))
    if trial.pairs:
        await ledger.settle(job, USED, AT, tenant=trial.tenant, job_id=job)


_STATE: dict[str, Barrier] = {}


def _join(barrier: Barrier) -> None:
    _STATE["barrier"] = barrier


def trial(
    url: str, tenants: int, *, clients: int, pairs: bool, seconds: float, rate: float | None
) -> dict[str, Any]:
    """Let the clients book, and sum up."""
    others = _wait_for_quiet()
    context = multiprocessing.get_context("spawn")
    dice = random.Random(SEED)  # noqa: S311
    trials = [
        Trial(
            url,
            f"t{number % tenants}",
            pairs,
            seconds,
            None if rate is None else clients / rate,
            0.0 if rate is None else dice.uniform(0, clients / rate),
        )
        for number in range(clients)
    ]
    with ProcessPoolExecutor(
        clients, context, initializer=_join, initargs=(context.Barrier(clients),)
    ) as pool:
        done = [booking for found in pool.map(client, trials) for booking in found]
    cuts = statistics.quantiles([took for _, took in done], n=100)
    return {
        "tenants": tenants,
        "work": "pair" if pairs else "reserve",
        "loop": "closed" if rate is None else f"open, {rate:g}/s",
        "cores_taken_by_others": others,
        "bookings": len(done),
        "per_second": round(len(done) / max(ended for ended, _ in done), 1),
        **{f"p{cut}_ms": round(1000 * cuts[cut - 1], 1) for cut in (50, 95, 99)},
    }


def _wait_for_quiet() -> float | None:
    """Wait a little until other programs leave the cores to us.

    Returns:
        How many cores they keep busy when the trial begins; None where it cannot be seen.
    """
    file = Path("/proc/stat")
    if not file.exists():
        return None

    def busy() -> int:
        user, nice, system, _idle, _wait, *rest = map(int, file.read_text().split()[1:9])
        return user + nice + system + sum(rest)

    ends = time.monotonic() + PATIENCE
    while True:
        before = busy()
        time.sleep(1)
        taken = round((busy() - before) / os.sysconf("SC_CLK_TCK"), 1)
        if taken < 0.2 or time.monotonic() > ends:
            return taken


@contextmanager
def database(backend: str, folder: Path) -> Iterator[str]:
    """An empty one, on disk."""
    if backend == "sqlite":
        yield f"sqlite:///{folder}/ledger.sqlite3"
        return
    from pgserver import get_server  # type: ignore[attr-defined]

    with get_server(folder / "pg", cleanup_mode="delete") as server:
        yield make_url(server.get_uri()).render_as_string(hide_password=False)


async def prepare(url: str, rows: int) -> int:
    """Make the tables and eight tenants, and fill the ledger. Returns the number of its rows."""
    engine = open_engine(url)
    try:
        await migrate(engine)
        ledger = SqlLedger(engine)
        plenty = Budget(limit=Decimal(10**9))
        for number in range(8):
            terms = Tenant(
                name=f"t{number}",
                quantum_seconds=plenty,
                money=plenty,
                classical_seconds=plenty,
                jobs=1_000_000,
            )
            await ledger.put_tenant(terms, AT)
        return await fill(engine, rows, AT - timedelta(hours=1))
    finally:
        await engine.dispose()


async def audit(url: str) -> float:
    """Check the books. Returns the seconds that it took."""
    engine = open_engine(url)
    try:
        began = time.perf_counter()
        books = await SqlLedger(engine).books()
        if not books.closed:
            raise RuntimeError(f"the books do not close: {books}")
        return round(time.perf_counter() - began, 1)
    finally:
        await engine.dispose()


def measure(backend: str, url: str, *, rows: int, clients: int, seconds: float) -> dict[str, Any]:
    """All trials on one database."""
    began = time.perf_counter()
    existing = asyncio.run(prepare(url, rows))
    filled = round(time.perf_counter() - began, 1)
    asyncio.run(audit(url))
    trials = [
        trial(url, tenants, clients=clients, pairs=pairs, seconds=seconds, rate=rate)
        for rate in (None, TARGETS[backend])
        for tenants in (1, 8)
        for pairs in (False, True)
    ]
    return {
        "rows_before": existing,
        "filled_seconds": filled,
        "trials": trials,
        "books_closed_after_seconds": asyncio.run(audit(url)),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--database", choices=tuple(TARGETS), action="append")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for backend in asked.database or TARGETS:
        with tempfile.TemporaryDirectory() as folder, database(backend, Path(folder)) as url:
            found[backend] = measure(
                backend, url, rows=asked.rows, clients=asked.clients, seconds=asked.seconds
            )
    packages = ("sqlalchemy", "aiosqlite", "psycopg", "pgserver")
    done = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {name: version(name) for name in packages} | {"sqlite": sqlite3.sqlite_version},
        "seed": SEED,
        "clients": asked.clients,
        "seconds_of_a_trial": asked.seconds,
        "hold": {name: str(value) for name, value in HOLD.model_dump().items()},
        "databases": found,
    }
    target = ROOT / "build" / "bench-ledger.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(done, indent=2) + "\n")
    table = Table(
        *("database", "tenants", "work", "loop", "per s", "p50 ms", "p95", "p99", "others"),
        title=f"{done['machine']}; {asked.rows:,} rows before; pair: reserve and settle",
        box=SIMPLE,
    )
    for backend, measured in found.items():
        for row in measured["trials"]:
            names = ("tenants", "work", "loop", "per_second", "p50_ms", "p95_ms", "p99_ms")
            cells = [str(row[name]) for name in (*names, "cores_taken_by_others")]
            table.add_row(backend, *cells)
    console = Console(width=100)
    console.print(table)
    console.print(f"others: cores that other programs kept busy just before; {target}")


if __name__ == "__main__":
    main()
