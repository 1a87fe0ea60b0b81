"""A small sample of what `make chaos` plays at length, and of how it counts."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.matrix import markdown
from tests.chaos.playing import (
    TURNS,
    Played,
    Playing,
    draw,
    from_line,
    points_of,
    rows,
    to_line,
)
from tests.chaos.points import Point
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.verdict import COUNTS

SEED = int(os.environ.get("QSAGA_CHAOS_SEED", "7"))
PLAYED = ("completed", "rejected", "cancelled")
SURVEY = {"completed": {"submit/provider.submit": 1, "follow/provider.status": 9}}
WORKFLOW_TASKS = ("QuantumJob/history.", "HardwareRun/history.")


@pytest.mark.timeout(300)
def test_whoever_is_killed_nothing_is_lost_doubled_or_left_open(tmp_path: Path) -> None:
    played = asyncio.run(_sample(tmp_path))
    wrong = [(one.name, one.counts, one.facts) for one in played if not one.right]
    assert wrong == []
    assert {one.scenario for one in played if one.struck} == set(PLAYED)
    assert {one.point.victim for one in played if one.struck} == {"worker", "emulator", "temporal"}


async def _sample(folder: Path) -> list[Played]:
    played: list[Played] = []
    async with Playing(folder, places=4, arenas=2) as playing:
        survey = await playing.survey(PLAYED)
        for kind in WORKFLOW_TASKS:  # else the kills at events of a history would not be played
            assert any(place.startswith(kind) for place in survey["completed"])
        # How often a place is reached depends on how busy the machine is; the first time is sure.
        once = {name: dict.fromkeys(places, 1) for name, places in survey.items()}
        await playing.play(_few(draw(once, SEED, workers=999, servers=999)), played.append)
    return played


def _few(points: list[tuple[str, Point]]) -> list[tuple[str, Point]]:
    """A worker killed in each scenario and at one event of a history, and each server once."""
    found: dict[str, tuple[str, Point]] = {}
    for name, point in points:
        # At which length a history has its tasks differs: only one point may be missed for that.
        history = "/history." in point.place
        if point.victim == "worker":
            found.setdefault("history" if history else name, (name, point))
        elif not history:
            found.setdefault(point.victim, (name, point))
    return list(found.values())


def test_a_point_is_read_as_it_is_written() -> None:
    point = Point("temporal", "QuantumJob/history.17", 2, "after")
    assert Point.of(str(point)) == point
    one = Played("completed", point, struck=True, counts=dict.fromkeys(COUNTS, 0), seconds=1.5)
    assert from_line(to_line(one)) == one
    for text in ("submit", "disk:before:submit/activity#1", "worker:during:submit/activity#1"):
        with pytest.raises(ValueError, match="is no point"):
            Point.of(text)


def test_every_side_of_every_place_is_a_point_for_each_victim() -> None:
    points = points_of(SURVEY, "completed")
    assert len(points) == len(set(points)) == 3 * 2 * (1 + TURNS)


def test_the_same_seed_draws_the_same_points_for_every_victim() -> None:
    drawn = draw(SURVEY, 3, workers=4, servers=2)
    assert drawn == draw(SURVEY, 3, workers=4, servers=2)
    assert drawn != draw(SURVEY, 4, workers=4, servers=2)
    victims = [point.victim for _, point in drawn]
    assert [victims.count(name) for name in ("worker", "emulator", "temporal")] == [4, 2, 2]


def test_only_points_where_somebody_was_killed_count_and_every_mistake_does() -> None:
    one = Played(
        "completed", points_of(SURVEY, "completed")[0], struck=True, counts=dict.fromkeys(COUNTS, 0)
    )
    missed = replace(one, struck=False)
    lost = replace(one, counts=dict(one.counts) | {"lost": 1, "ledger_difference": 0.5})
    (row,) = rows([one, missed, lost])
    expected: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    assert row == expected | {
        "scenario": "completed",
        "points": 2,
        "lost": 1,
        "ledger_difference": 0.5,
    }


def test_the_table_keeps_what_was_not_played_now() -> None:
    def row(name: str, points: int) -> dict[str, Any]:
        return dict.fromkeys(COUNTS, 0) | {"scenario": name, "points": points}

    first = markdown([row("cancelled", 1), row("traffic of 500 jobs", 2)])
    both = markdown([row("completed", 3), row("cancelled", 4)], first)
    assert [line.split(" | ")[:2] for line in both.splitlines() if line.startswith("| ")] == [
        ["| scenario", "points"],
        ["| ---", "---:"],
        ["| completed", "3"],
        ["| cancelled", "4"],
        ["| traffic of 500 jobs", "2"],
    ]
    assert markdown([], both) == both


def test_every_scenario_asks_for_jobs_of_its_own() -> None:
    keys = [
        request.job_id
        for name, scenario in SCENARIOS.items()
        for request in scenario.requests("machine_0", f"{name}-1")
    ]
    assert len(keys) == len(set(keys)) == sum(scenario.jobs for scenario in SCENARIOS.values())
