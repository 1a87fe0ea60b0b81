"""A sample of the crash matrix where Temporal is four services on PostgreSQL, as in production."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.chaos.playing import Played, Playing, draw, to_line
from tests.chaos.points import CLUSTER_VICTIMS, Point
from tests.chaos.scenarios import SCENARIOS

SEED = int(os.environ.get("QSAGA_CHAOS_SEED", "7"))
SERVERS = [victim for victim in CLUSTER_VICTIMS if victim != "worker"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(1500)]


def test_whatever_of_the_cluster_is_killed_nothing_is_lost_doubled_or_left_open(
    tmp_path: Path,
) -> None:
    played = asyncio.run(_sample(tmp_path))
    wrong = [one for one in played if not one.right]
    assert not wrong, "\n".join(map(to_line, wrong))
    struck = [one for one in played if one.struck]
    assert {one.scenario for one in struck} == set(SCENARIOS)
    assert {one.point.victim for one in struck} == set(CLUSTER_VICTIMS)


async def _sample(folder: Path) -> list[Played]:
    played: list[Played] = []
    async with Playing(folder, places=3, arenas=1, cluster=True) as playing:
        survey = await playing.survey(list(SCENARIOS))
        await playing.play(_drawn(survey), played.append)
    return played


def _drawn(survey: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Point]]:
    """Of each scenario a point where a worker is killed, and one for one of the servers in turn."""
    # How often a place is reached depends on how busy the machine is; the first time is sure. So
    # does how long a history is at a workflow task.
    once = {
        name: {place: 1 for place in places if "/history." not in place}
        for name, places in survey.items()
    }
    points = draw(once, SEED, workers=1, servers=1, victims=CLUSTER_VICTIMS)
    turns = {name: SERVERS[(SEED + n) % len(SERVERS)] for n, name in enumerate(survey)}
    return [one for one in points if one[1].victim in ("worker", turns[one[0]])]
