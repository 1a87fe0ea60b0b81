"""The measured overhead for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.overhead_jobs import BARE, QSAGA, RAW


def show(done: Mapping[str, Any], console: Console) -> None:
    """All tables, the profile, and the aims at last."""
    console.print(f"{done['machine']}; versions {done['versions']}; seed {done['seed']}")
    steps = done["activities"]
    console.print(
        f"a job on the simulator has {steps['remote']} activities and {steps['local']} local ones; "
        "the bare workflow has as many"
    )
    tables = [_per_job(done), _at_once(done), _histories(done), _actions(done)]
    if "waiting" in done:
        tables.append(_waiting(done))
    tables += [_steps(done), _calls(done), _aims(done)]
    for table in tables:
        console.print(table)
    console.print(_bounds(done))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=SIMPLE, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _per_job(done: Mapping[str, Any]) -> Table:
    table = _table("one job after the other", "", "median ms", "95 % ms", "added ms", "added 95 %")
    raw = done["per_job"][RAW]
    for name, row in done["per_job"].items():
        added = [f"{row[part] - raw[part]:.1f}" for part in ("median_ms", "p95_ms")]
        cells = ["", ""] if name == RAW else added
        table.add_row(name, f"{row['median_ms']:.1f}", f"{row['p95_ms']:.1f}", *cells)
    return table


def _at_once(done: Mapping[str, Any]) -> Table:
    parts = ("server", "worker", "client")
    table = _table("50 at once", "", "jobs per second", *(f"{part} CPU ms" for part in parts))
    for name, row in done["at_once"].items():
        used = row.get("cpu_ms_per_job", {})
        table.add_row(name, f"{row['per_second']:.1f}", *(str(used.get(one, "")) for one in parts))
    return table


def _histories(done: Mapping[str, Any]) -> Table:
    table = _table("history of one job", "", "server", "waited s", "events", "of them run", "bytes")
    for one in done["histories"]:
        table.add_row(
            one["case"],
            one["server"],
            f"{one['waited_s']:,.0f}",
            str(one["events"]["total"]),
            str(one["events"].get("run", "")),
            f"{one['bytes']['total']:,}",
        )
    return table


def _actions(done: Mapping[str, Any]) -> Table:
    cases = done["histories"]
    table = _table("billed by hosted Temporal", "", *(one["case"] for one in cases))
    names = dict.fromkeys(name for one in cases for name in one["actions"] if name != "total")
    for name in (*names, "total"):
        table.add_row(name, *(str(one["actions"].get(name, 0)) for one in cases))
    return table


def _waiting(done: Mapping[str, Any]) -> Table:
    table = _table(
        "a worker while jobs wait", "waiting jobs", "resident MiB", "slots held", "started in s"
    )
    for row in done["waiting"]:
        table.add_row(
            f"{row['waiting']:,}",
            f"{row['worker_mib']:,.0f}",
            str(row["slots_held"]),
            f"{row['started_in_s']:,.0f}",
        )
    return table


def _steps(done: Mapping[str, Any]) -> Table:
    columns = ("bare_to_ms", "bare_in_ms", "qsaga_to_ms", "qsaga_in_ms")
    table = _table(
        "where the time of a job goes: until a worker has it, and in the worker (medians)",
        "step",
        *("bare: to", "bare: in", "qsaga: to", "qsaga: in", "more"),
    )
    for row in done["profile"]["steps"]:
        more = row["qsaga_to_ms"] + row["qsaga_in_ms"] - row["bare_to_ms"] - row["bare_in_ms"]
        table.add_row(row["step"], *(f"{row[one]:.1f}" for one in columns), f"{more:+.1f}")
    return table


def _calls(done: Mapping[str, Any]) -> Table:
    table = _table("of it in the database and with files, for a job", "call", "times", "ms")
    for row in done["profile"]["calls"]:
        table.add_row(row["call"], f"{row['times']:g}", f"{row['ms']:.2f}")
    return table


def _aims(done: Mapping[str, Any]) -> Table:
    table = _table("aims", "", "wanted", "measured", "")
    for one in done["aims"]:
        verdict = "met" if one["met"] else "[bold red]short of it[/]"
        table.add_row(one["aim"], one["wanted"], f"{one['value']:g}", verdict)
    return table


def _bounds(done: Mapping[str, Any]) -> str:
    """The same time in three parts, and what bounds throughput."""
    time, steps = done["per_job"], done["profile"]["steps"]
    tasks = sum(
        row["qsaga_in_ms"] - row["bare_in_ms"]
        for row in steps
        if row["step"].startswith("workflow task")
    )
    activities = sum(
        row["qsaga_in_ms"] - row["bare_in_ms"]
        for row in steps
        if not row["step"].startswith("workflow task")
    )
    calls = sum(row["ms"] for row in done["profile"]["calls"])
    used = {name: done["at_once"][name]["cpu_ms_per_job"] for name in (BARE, QSAGA)}
    floor = time[BARE]["median_ms"]
    return (
        f"of {time[QSAGA]['median_ms']:.1f} ms, {floor:.1f} are the floor: server and SDK; "
        f"beyond it, {activities:.1f} ms are in activities and {tasks:.1f} ms in workflow tasks "
        f"(the closing record in the last), of which {calls:.1f} ms in database and files. "
        f"50 at once are bound by CPU: a job takes {sum(used[QSAGA].values()):.0f} ms of it, a "
        f"bare workflow {sum(used[BARE].values()):.0f} ms."
    )
