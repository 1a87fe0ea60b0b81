"""Layouts: published instances, the local search, and what is refused."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem
from qsaga.problems import registry
from qsaga.problems.files import read_problem
from qsaga.problems.quadratic_assignment import _savings
from tests.problems.planning import cheapest_layout, quadratic_assignment
from tests.problems.solving import DATA, refused, solved

KIND = registry.get("quadratic_assignment")


@pytest.mark.parametrize("seed", range(10))
def test_optimum_of_up_to_six_facilities(seed: int) -> None:
    data = quadratic_assignment(Random(seed), 6)
    found = solved("quadratic_assignment", data).quality.objective
    assert found == pytest.approx(cheapest_layout(data))


@pytest.mark.parametrize(
    ("file", "best", "bound"),
    [
        # Gilmore and Lawler's bounds are those that QAPLIB lists.
        ("nug12.dat", 578, 493),
        ("chr12a.dat", 9552, 7245),
        ("had12.dat", 1652, 1536),
        ("scr12.dat", 31410, 27858),
        ("tai12a.dat", 224416, 195918),
    ],
)
def test_published_instances(file: str, best: float, bound: float) -> None:
    problem = read_problem(DATA / "quadratic_assignment" / file)
    quality = solved("quadratic_assignment", problem.data, seconds=0.5).quality
    assert (quality.objective, quality.bound) == (best, bound)


def test_what_an_exchange_saves() -> None:
    random = np.random.default_rng(3)
    flow, distance = (random.integers(0, 9, (6, 6)).astype(float) for _ in range(2))
    places = random.permutation(6)
    saved = _savings(flow, distance[np.ix_(places, places)])
    for one in range(6):
        for other in range(6):
            after = places.copy()
            after[[one, other]] = after[[other, one]]
            before, now = (
                np.sum(flow * distance[np.ix_(order, order)]) for order in (places, after)
            )
            assert saved[one, other] == pytest.approx(before - now)


def test_repair_keeps_what_it_can() -> None:
    _, given = registry.parse(Problem(name="quadratic_assignment", data=dict(KIND.example)))
    assert KIND.repair(given, ((2,), (2, 0), ())) == ((2,), (0,), (1,))
    assert KIND.feasible(given, KIND.repair(given, ((), (), ())))


def test_picture() -> None:
    from matplotlib.figure import Figure

    _, given = registry.parse(Problem(name="quadratic_assignment", data=dict(KIND.example)))
    axes = Figure().add_subplot()
    solution = ((2,), (0,), (1,))
    KIND.draw(given, KIND.solution_json(given, solution), axes)
    shown = axes.images[0].get_array()
    assert shown.sum() == KIND.objective(given, solution)
    assert axes.get_yticklabels()[0].get_text() == "x-ray at ground floor"


NAMES = {"facilities": ["f", "g"], "locations": ["k", "l"]}
ONE = [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("data", "path", "problem", "allowed"),
    [
        ({**NAMES, "flow": ONE}, "distance", "missing", ""),
        ({**NAMES, "flow": ONE, "distance": [[0, 1]]}, "distance", "1 rows for 2", "a row"),
        ({**NAMES, "flow": [[0, 1], [1]], "distance": ONE}, "flow.1", "1 numbers", ""),
        ({**NAMES, "flow": [[0, -1], [1, 0]], "distance": ONE}, "flow.0.1", "-1", "at least 0"),
        (
            {**NAMES, "locations": ["k", "l", "m"], "flow": ONE, "distance": ONE},
            "locations",
            "3 locations for 2 facilities",
            "as many",
        ),
        (
            {**NAMES, "facilities": ["f", "f"], "flow": ONE, "distance": ONE},
            "facilities.1",
            "already given",
            "once",
        ),
        (
            {**NAMES, "locations": ["k@", "l"], "flow": ONE, "distance": ONE},
            "locations.0",
            "fit",
            "",
        ),
    ],
)
def test_bad_input(data: dict[str, Any], path: str, problem: str, allowed: str) -> None:
    refused("quadratic_assignment", data, path, problem, allowed)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "empty"),
        ("two\n", 1, "'two' is no index"),
        ("2\n0 1\n1 0\n0 1\n1\n", 5, "7 numbers"),
        ("2\n0 1\n1 0\n0 1\n1 x\n", 5, "'x' is no number"),
        ("2\n0 1\n-1 0\n0 1\n1 0\n", 3, "-1 is negative"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "bad.dat"
    path.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        read_problem(path, "quadratic_assignment")
    assert caught.value.field == f"{path}:{line}"
    assert problem in caught.value.problem
