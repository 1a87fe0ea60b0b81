"""Plays many points: workers killed side by side, servers killed each in an arena of its own."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.arena import Arena
from tests.chaos.nursery import Nursery
from tests.chaos.points import SIDES, VICTIMS, Point, Victim
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.scene import Scene
from tests.chaos.verdict import COUNTS, Outcome

TURNS = 3
"""Of a place that is reached again and again, the first so many times are played."""
TRIES = 2
"""How often a point is tried that is not always reached: in what order threads run differs."""

Survey = Mapping[str, Mapping[str, int]]
"""Of each scenario the places, and how often each was reached."""


@dataclass(frozen=True)
class Played:
    """A point of a scenario and what came of it."""

    scenario: str
    point: Point
    struck: bool
    counts: Mapping[str, float]
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """For ``--only``."""
        return f"{self.scenario}:{self.point}"

    @property
    def right(self) -> bool:
        """Nothing is wrong."""
        return not any(self.counts.values())


def points_of(survey: Survey, scenario: str, victims: Sequence[Victim] = VICTIMS) -> list[Point]:
    """Every point of a scenario, in a fixed order."""
    return [
        Point(victim, place, turn, side)
        for victim in victims
        for place, turns in sorted(survey[scenario].items())
        for turn in range(1, min(turns, TURNS) + 1)
        for side in SIDES
    ]


def draw(
    survey: Survey,
    seed: int,
    workers: int,
    servers: int,
    victims: Sequence[Victim] = VICTIMS,
) -> list[tuple[str, Point]]:
    """A sample.

    Args:
        survey: what there is.
        seed: decides.
        workers: points of each scenario at which a worker is killed.
        servers: and at which each other victim is.
        victims: who is killed.
    """
    dice = random.Random(seed)
    drawn: list[tuple[str, Point]] = []
    for name in survey:
        for victim in victims:
            there = points_of(survey, name, [victim])
            size = min(workers if victim == "worker" else servers, len(there))
            drawn += [(name, point) for point in dice.sample(there, size)]
    dice.shuffle(drawn)
    return drawn


class Playing:
    """Servers and places. Use as an asynchronous context manager.

    Args:
        folder: gets logs and data; those of scenes in which all was right are deleted.
        places: scenes in which workers are killed that go on at the same time.
        arenas: pairs of servers that are killed; none if no point asks for it.
        cluster: whether Temporal is a cluster on PostgreSQL; otherwise it is the dev server.
    """

    def __init__(self, folder: Path, places: int, arenas: int, *, cluster: bool = False) -> None:
        self._folder, self._nursery = folder, Nursery()
        self._shared = Arena(folder / "workers", places, cluster=cluster)
        self._own = [
            Arena(folder / f"servers-{number}", 1, cluster=cluster) for number in range(arenas)
        ]
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Playing:
        """Start all servers."""
        async with AsyncExitStack() as opening:
            async with asyncio.TaskGroup() as starting:
                for arena in (self._shared, *self._own):
                    starting.create_task(opening.enter_async_context(arena))
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_of: object) -> None:
        """Stop them."""
        await self._open.aclose()

    async def survey(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Play scenarios in calm and note their places. Raises RuntimeError if one goes wrong."""
        found: dict[str, dict[str, int]] = {}

        async def look(arena: Arena, place: int, name: str) -> None:
            outcome = await self._scene(arena, place, name, None)
            if not outcome.right:
                raise RuntimeError(f"{name} goes wrong in calm: {outcome.counts} {outcome.facts}")
            found[name] = dict(outcome.places)

        await _spread([(self._shared, p) for p in range(self._shared.places)], names, look)
        return {name: found[name] for name in names}

    async def play(
        self,
        points: Sequence[tuple[str, Point]],
        done: Callable[[Played], None],
        until: float = float("inf"),
    ) -> None:
        """Play all points; none is begun when ``until``, of ``time.monotonic``, has passed."""

        async def one(arena: Arena, place: int, what: tuple[str, Point]) -> None:
            name, point = what
            if time.monotonic() > until:
                return
            outcome = await self._scene(arena, place, name, point)
            for _ in range(TRIES - 1):
                if outcome.right and not outcome.struck:
                    outcome = await self._scene(arena, place, name, point)
            done(
                Played(name, point, outcome.struck, outcome.counts, outcome.facts, outcome.seconds)
            )

        shared = [(self._shared, place) for place in range(self._shared.places)]
        own = [(arena, 0) for arena in self._own]
        await asyncio.gather(
            _spread(shared, [what for what in points if what[1].victim == "worker"], one),
            _spread(own, [what for what in points if what[1].victim != "worker"], one),
        )

    async def _scene(self, arena: Arena, place: int, name: str, point: Point | None) -> Outcome:
        scene = Scene(self._nursery, arena, place, name, SCENARIOS[name], point)
        outcome = await scene.play()
        if outcome.right:
            await asyncio.to_thread(shutil.rmtree, scene.folder)
        return outcome


async def _spread(
    seats: Sequence[tuple[Arena, int]], work: Sequence[Any], do: Callable[..., Any]
) -> None:
    """Do all of the work, one thing at a time at each seat."""
    if work and not seats:
        raise ValueError("no arena to kill servers in")
    left = list(reversed(work))

    async def sit(arena: Arena, place: int) -> None:
        while left:
            await do(arena, place, left.pop())

    async with asyncio.TaskGroup() as seated:
        for arena, place in seats:
            seated.create_task(sit(arena, place))


def rows(played: Sequence[Played]) -> list[dict[str, Any]]:
    """One for each scenario: the points where somebody was killed, and the sums of the counts."""
    table = []
    for name in [name for name in SCENARIOS if any(one.scenario == name for one in played)]:
        ours = [one for one in played if one.scenario == name]
        sums: Counter[str] = Counter()
        for one in ours:
            sums.update(one.counts)
        table.append(
            {"scenario": name, "points": sum(one.struck for one in ours)}
            | {count: _whole(sums[count]) for count in COUNTS}
        )
    return table


def _whole(value: float) -> float:
    return int(value) if value == int(value) else round(value, 6)


def to_line(one: Played) -> str:
    """For a file of lines."""
    kept: dict[str, Any] = {
        "scenario": one.scenario,
        "point": str(one.point),
        "struck": one.struck,
        "seconds": one.seconds,
        "counts": dict(one.counts),
    }
    return json.dumps(kept if one.right else kept | {"facts": dict(one.facts)}, default=str)


def from_line(line: str) -> Played:
    """From such a line."""
    kept = json.loads(line)
    return Played(
        kept["scenario"],
        Point.of(kept["point"]),
        kept["struck"],
        kept["counts"],
        kept.get("facts", {}),
        kept["seconds"],
    )
