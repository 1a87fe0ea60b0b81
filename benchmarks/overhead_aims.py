"""What the overhead is meant to be at most, against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.overhead_jobs import BARE, PREFECT, QSAGA, RAW

TIMES_BARE, SHARE_OF_BARE, TIMES_PREFECT, EVENTS, GROWTH = 1.5, 0.7, 3.0, 60, 1.5
FEW, MANY = 1000, 10_000
"""Waiting jobs between which memory may grow by ``GROWTH``."""


def aims(done: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each aim that was measured: ``aim`` in words, ``wanted``, ``value``, ``met``."""
    time = {name: row["median_ms"] for name, row in done["per_job"].items()}
    rate = {name: row["per_second"] for name, row in done["at_once"].items()}
    found = [
        _most(
            "time added to a job, in times of what the bare workflow takes",
            TIMES_BARE,
            (time[QSAGA] - time[RAW]) / time[BARE],
        ),
        _least(
            "jobs per second at 50 at once, as a share of bare workflows",
            SHARE_OF_BARE,
            rate[QSAGA] / rate[BARE],
        ),
    ]
    if PREFECT in time:
        found.append(
            _least("times faster than prefect-qiskit", TIMES_PREFECT, time[PREFECT] / time[QSAGA])
        )
    found += [
        _most(f"events of job and run, {one['case']}", EVENTS, one["events"]["total"])
        for one in done["histories"]
        if "run" in one["events"]
    ]
    memory = {row["waiting"]: row["worker_mib"] for row in done.get("waiting", ())}
    if memory.keys() >= {FEW, MANY}:
        found.append(
            _most(
                "memory of a worker with 10,000 waiting jobs, in times of that with 1,000",
                GROWTH,
                memory[MANY] / memory[FEW],
            )
        )
    if memory:
        held = max(row["slots_held"] for row in done["waiting"])
        found.append(_most("activity slots held by waiting jobs", 0, held))
    return found


def _most(aim: str, wanted: float, value: float) -> dict[str, Any]:
    return {
        "aim": aim,
        "wanted": f"at most {wanted:g}",
        "value": round(value, 2),
        "met": value <= wanted,
    }


def _least(aim: str, wanted: float, value: float) -> dict[str, Any]:
    return {
        "aim": aim,
        "wanted": f"at least {wanted:g}",
        "value": round(value, 2),
        "met": value >= wanted,
    }
