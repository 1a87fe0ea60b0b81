"""Incumbents: what a solver's next attempt goes on from."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import dimod
import pytest
from temporalio.testing import ActivityEnvironment

from activities.answering import Solve
from activities.exact import Exact
from adapters.annealing import NealSolver
from adapters.artefacts import FolderArtefacts
from adapters.incumbents import FolderIncumbents
from qsaga.core.steps import SolveInput


def model() -> tuple[dimod.BinaryQuadraticModel, bytes]:
    bqm = dimod.generators.gnp_random_bqm(60, 0.2, "SPIN", random_state=7)
    with bqm.to_file() as file:
        return bqm, file.read()


def lowest(samples: bytes) -> float:
    return float(dimod.SampleSet.from_serializable(json.loads(samples)).first.energy)


def test_one_file_for_each_key(tmp_path: Path) -> None:
    kept = FolderIncumbents(tmp_path / "incumbents")
    assert kept.get("a/b") is None
    assert kept.begin("a/b") is None
    assert kept.get("a/b") is None
    kept.put("a/b", b"1")
    kept.put("a/b", b"2")
    kept.begin("c")
    kept.put("c", b"3")
    assert (kept.begin("a/b"), kept.get("c")) == (b"2", b"3")
    kept.drop("a/b")
    kept.drop("a/b")
    kept.put("a/b", b"4")
    assert kept.get("a/b") is None
    assert sum(path.is_file() for path in (tmp_path / "incumbents").rglob("*")) == 1


def test_a_solver_goes_on_from_where_another_was() -> None:
    bqm, data = model()
    good = NealSolver().solve(data, 0.5, 1)
    again = NealSolver().solve(data, 0.01, 2, start=good)
    assert lowest(again) <= lowest(good)
    binary = bqm.change_vartype("BINARY", inplace=False)
    with binary.to_file() as file:
        other = NealSolver().solve(file.read(), 0.01, 2, start=good)
    assert lowest(other) <= lowest(good) + 1e-9


def test_what_became_better_is_told_and_a_stop_is_heeded() -> None:
    _, data = model()
    told: list[float] = []
    NealSolver().solve(data, 1.2, 1, better=lambda samples: told.append(lowest(samples)))
    assert told == sorted(told, reverse=True)
    stopped = NealSolver().solve(data, 60.0, 1, should_stop=lambda: True)
    assert dimod.SampleSet.from_serializable(json.loads(stopped)).info["seconds"] < 5


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_later_attempt_uses_what_is_left_of_the_time(tmp_path: Path, attempt: int) -> None:
    _, data = model()
    artefacts = FolderArtefacts(tmp_path / "artefacts")
    kept = FolderIncumbents(tmp_path / "incumbents")
    good = NealSolver().solve(data, 0.5, 1)
    kept.begin("job")
    kept.put("job", good)
    env = ActivityEnvironment()
    usual = env.default_info()
    scheduled = usual.started_time - timedelta(seconds=10)
    env.info = replace(usual, attempt=attempt, scheduled_time=scheduled)
    solve = Solve(artefacts, NealSolver(), kept, 20.0)
    given = SolveInput(model=artefacts.put(data, "x"), seconds=0.6, seed=3, key="job")
    raw = await env.run(solve.solve, given)
    assert lowest(artefacts.get(raw.result)) <= lowest(good)
    assert (raw.cost.classical_seconds < 0.5) is (attempt == 2)


class Unending:
    """Finds something better each time it is let, until it is told to stop."""

    name = "unending"

    def __init__(self) -> None:
        self.turn, self.told, self.ended = Event(), Event(), Event()

    def solve(
        self,
        bqm: bytes,
        seconds: float,
        seed: int,
        *,
        better: Callable[[bytes], None],
        should_stop: Callable[[], bool],
        **_: Any,
    ) -> bytes:
        latest = time.monotonic() + 25.0
        try:
            while not should_stop() and time.monotonic() < latest:
                if self.turn.wait(0.05):
                    better(b"better")
                    self.turn.clear()
                    self.told.set()
            better(b"too late")
            return b"found"
        finally:
            self.ended.set()

    async def tell(self) -> None:
        """Have it say that it has found something."""
        self.told.clear()
        self.turn.set()
        assert await asyncio.to_thread(self.told.wait, 20.0)


@pytest.mark.parametrize("kind", [Solve, Exact])
async def test_a_cancelled_solver_ends_soon_and_keeps_nothing(
    tmp_path: Path, kind: type[Solve] | type[Exact], monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts = FolderArtefacts(tmp_path / "artefacts")
    kept = FolderIncumbents(tmp_path / "incumbents")
    solver: Any = Unending()
    step = kind(artefacts, solver, kept)
    done = Event()
    name = f"_{kind.__name__.lower()}"
    inner = getattr(step, name)

    def telling(*given: Any) -> Any:
        try:
            return inner(*given)
        finally:
            done.set()

    monkeypatch.setattr(step, name, telling)
    given = SolveInput(model=artefacts.put(model()[1], "x"), seconds=3600, seed=1, key="job")
    env = ActivityEnvironment()
    running = asyncio.ensure_future(env.run(getattr(step, kind.__name__.lower()), given))
    await solver.tell()
    assert kept.get("job") == b"better"
    kept.drop("job")
    # The worker hears of it seconds after the job has been closed.
    await solver.tell()
    assert kept.get("job") is None
    kept.begin("job")  # by another attempt
    env.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(done.wait, 20.0)
    assert solver.ended.is_set()
    assert kept.get("job") is None


async def test_a_solver_may_ask_from_threads_of_its_own(tmp_path: Path) -> None:
    artefacts, kept = FolderArtefacts(tmp_path / "a"), FolderIncumbents(tmp_path / "i")
    step = Solve(artefacts, NealSolver(cores=2), kept)
    given = SolveInput(model=artefacts.put(model()[1], "x"), seconds=0.2, seed=1, key="job")
    assert (await ActivityEnvironment().run(step.solve, given)).provider == NealSolver.name
