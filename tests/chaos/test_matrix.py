"""A small sample of what `make chaos` plays at length, and of how it counts."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
from tests.chaos.scene import COUNTS

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
    async with Playing(folder, places=4, arenas=1) as playing:
        survey = await playing.survey(PLAYED)
        for kind in WORKFLOW_TASKS:  # else the kills at events of a history would not be played
            assert any(place.startswith(kind) for place in survey["completed"])
        # How often a place is reached depends on how busy the machine is; the first time is sure.
        # Then a settlement may also go to an activity whose worker is missed only after minutes.
        once = {
            name: {place: 1 for place in places if not place.startswith("settle/")}
            for name, places in survey.items()
        }
        points = draw(once, SEED, workers=2, servers=4, slow=0)
        workers = [one for one in points if one[1].victim == "worker"]
        servers = {
            point.victim: (name, point)
            for name, point in points
            if point.victim != "worker" and "/history." not in point.place
        }
        await playing.play([*workers, *servers.values()], played.append)
    return played


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


def test_of_what_takes_minutes_only_so_much_is_drawn_and_begun_first() -> None:
    survey = {"cancelled": {"settle/activity": 3, "submit/activity": 1}}
    drawn = [point for _, point in draw(survey, 1, workers=3, servers=0)]
    assert [point.place for point in drawn] == ["settle/activity"] + 2 * ["submit/activity"]
    without = draw(survey, 1, workers=99, servers=0, slow=0)
    assert {point.place for _, point in without} == {"submit/activity"}


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


def test_every_scenario_asks_for_jobs_of_its_own() -> None:
    keys = [
        request.job_id
        for name, scenario in SCENARIOS.items()
        for request in scenario.requests("machine_0", f"{name}-1")
    ]
    assert len(keys) == len(set(keys)) == len(SCENARIOS) + 9
