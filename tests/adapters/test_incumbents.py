"""Incumbents: what a solver's next attempt goes on from."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dimod
import pytest
from temporalio.testing import ActivityEnvironment

from activities.answering import Solve
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
    kept.put("a/b", b"1")
    kept.put("a/b", b"2")
    kept.put("c", b"3")
    assert (kept.get("a/b"), kept.get("c")) == (b"2", b"3")
    kept.drop("a/b")
    kept.drop("a/b")
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
