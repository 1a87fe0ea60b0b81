"""A picture of every problem's solution."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem
from qsaga.problems import registry
from qsaga.problems.drawing import picture
from tests.problems.strategies import MADE


def solved(name: str, data: dict[str, object]) -> tuple[Problem, dict[str, object]]:
    problem = Problem.model_validate({"name": name, "data": data})
    kind, given = registry.parse(problem)
    return problem, kind.solution_json(given, kind.baseline(given))


@pytest.mark.parametrize("name", registry.names())
def test_every_problem_is_drawn(name: str, tmp_path: Path) -> None:
    blank = tmp_path / "blank.svg"
    problem, solution = solved(name, dict(registry.get(name).example))
    picture(problem, solution, tmp_path / "example.svg")
    drawn = (tmp_path / "example.svg").read_text()
    assert drawn.count("<path") > 5
    picture(problem, solution, blank)
    assert blank.read_text() == drawn, "another file each time"
    for seed in range(3):
        problem, solution = solved(name, MADE[name](Random(seed)))
        picture(problem, solution, tmp_path / f"{seed}.png")
        assert (tmp_path / f"{seed}.png").read_bytes().startswith(b"\x89PNG")


def test_a_dollar_in_a_name_is_no_formula(tmp_path: Path) -> None:
    problem, solution = solved("maxcut", {"edges": [["$a^", "b$_{"], ["b$_{", "c\\frac"]]})
    picture(problem, solution, tmp_path / "cut.svg")
    problem, solution = solved("knapsack", {"items": [["$x^", 1, 1]], "capacity": 1})
    picture(problem, solution, tmp_path / "knapsack.svg")


def test_a_large_graph_is_drawn_without_names(tmp_path: Path) -> None:
    edges = [[f"v{i}", f"v{(i + 1) % 600}"] for i in range(600)]
    problem, solution = solved("maxcut", {"edges": edges})
    picture(problem, solution, tmp_path / "ring.png")
    assert (tmp_path / "ring.png").stat().st_size > 10_000


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, solution = solved("maxcut", {"edges": [["a", "b"]]})
    with pytest.raises(InvalidRequest, match=r"'a\.gif' is no kind of picture \(allowed: \.svg"):
        picture(problem, solution, tmp_path / "a.gif")
    with pytest.raises(InvalidRequest, match="cannot be written: No such file"):
        picture(problem, solution, tmp_path / "nowhere" / "a.svg")
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(InvalidRequest, match=r"networkx is not installed.*qsaga\[plots\]"):
        picture(problem, solution, tmp_path / "a.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InvalidRequest, match=r"matplotlib is not installed.*qsaga\[plots\]"):
        picture(problem, solution, tmp_path / "a.svg")
