"""Tours: published instances, roads that are missing, and what is refused."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem
from qsaga.core.results import Confidence
from qsaga.problems import registry, tours
from qsaga.problems.assignment import least_assignment
from qsaga.problems.distances import METRICS
from qsaga.problems.files import read_problem
from qsaga.problems.tsp import Stops, TspInput
from tests.problems.planning import shortest_tour, tsp, tsp_with_gaps
from tests.problems.solving import DATA, refused, solved

KIND = registry.get("tsp")


@pytest.mark.parametrize("seed", range(10))
def test_optimum_of_seven_cities(seed: int) -> None:
    data = tsp(Random(seed), 7)
    assert solved("tsp", data).quality.objective == pytest.approx(shortest_tour(data))


@pytest.mark.parametrize("seed", range(10))
def test_optimum_where_roads_are_missing(seed: int) -> None:
    data = tsp_with_gaps(Random(seed), 7)
    assert solved("tsp", data).quality.objective == pytest.approx(shortest_tour(data))


@pytest.mark.parametrize(
    ("file", "best", "proven"),
    [
        ("burma14.tsp", 3323, True),
        ("ulysses16.tsp", 6859, True),
        ("gr17.tsp", 2085, True),
        ("gr21.tsp", 2707, True),
        ("br17.atsp", 39, False),
    ],
)
def test_published_instances(file: str, best: float, proven: bool) -> None:
    quality = solved("tsp", read_problem(DATA / "tsp" / file).data, seconds=0.5).quality
    assert quality.objective == best
    assert quality.confidence == (
        Confidence.PROVEN_OPTIMAL if proven else Confidence.BETTER_THAN_BASELINE
    )


def test_size_before_building() -> None:
    _, given = registry.parse(read_problem(DATA / "tsp" / "bayg29.tsp"))
    model = KIND.formulate(given)
    assert KIND.size(given) == (784, 41580) == (model.num_variables, model.num_interactions)


def test_local_search_leaves_nothing_to_gain() -> None:
    random = np.random.default_rng(1)
    for symmetric in (True, False):
        table = random.integers(1, 99, (9, 9)).astype(float)
        table = (table + table.T) / 2 if symmetric else table
        start = [0, *(int(city) for city in random.permutation(range(1, 9)))]
        tour = tours.improved(table, start)
        found = tours.length(table, tour)
        assert found <= tours.length(table, start)
        for i in range(9):
            for j in range(i + 1, 10):
                moved = [*tour[:i], *tour[i + 1 : j], tour[i], *tour[j:]]
                turned = [*tour[:i], *reversed(tour[i:j]), *tour[j:]]
                for other in (moved, turned) if symmetric else (moved,):
                    assert tours.length(table, other) >= found - 1e-9


def test_least_assignment_against_scipy() -> None:
    from scipy.optimize import linear_sum_assignment

    random = np.random.default_rng(2)
    for size in range(1, 9):
        costs = random.integers(-20, 20, (size, size))
        assert least_assignment(costs.tolist()) == costs[linear_sum_assignment(costs)].sum()


def test_repair_keeps_the_first_and_inserts_the_rest() -> None:
    line = [[name, float(place), 0.0] for place, name in enumerate("abcde")]
    _, given = registry.parse(Problem(name="tsp", data={"places": line}))
    broken: Stops = (("b", "c"), ("b",), (), ("e",))
    repaired = KIND.repair(given, broken)
    assert KIND.feasible(given, repaired)
    assert KIND.objective(given, repaired) == 8
    assert [stop[0] for stop in repaired if stop[0] in "be"] == ["b", "e"]


def test_repair_falls_back_on_the_greedy_tour_where_roads_are_missing() -> None:
    far = None
    table = [
        [0, 2, far, 8, far],
        [1, 0, far, far, far],
        [far, 8, 0, 1, far],
        [far, 3, far, 0, 3],
        [1, 3, 7, 7, 0],
    ]
    _, given = registry.parse(Problem(name="tsp", data={"cities": [*"abcde"], "distances": table}))
    bits = (1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1)
    sample = dict(zip(KIND.variables(given), bits, strict=True))
    repaired = KIND.repair(given, KIND.decode(given, sample))
    assert KIND.feasible(given, repaired)
    assert KIND.objective(given, repaired) == 27


def test_distances_as_tsplib_defines_them() -> None:
    assert METRICS["EUC_2D"]((0, 0), (1, 1)) == 1
    assert METRICS["CEIL_2D"]((0, 0), (1, 1)) == 2
    # Pseudo-Euclidean is rounded up: the root of 2/10 is 0.447.
    assert METRICS["ATT"]((0, 0), (1, 1)) == 1
    assert METRICS["ATT"]((0, 0), (10, 0)) == 4
    assert METRICS["GEO"]((16.47, 96.10), (16.47, 94.44)) == 153
    # The definition rounds up everything: two cities in one place are a kilometre apart.
    assert METRICS["GEO"]((38.24, 20.42), (38.24, 20.42)) == 1
    assert METRICS["euclidean"]((0, 0), (3, 4)) == 5


def test_picture() -> None:
    from matplotlib.figure import Figure

    for data in (
        KIND.example,
        {"cities": [*"abc"], "distances": [[0, 1, 2], [1, 0, 3], [2, 3, 0]]},
    ):
        _, given = registry.parse(Problem(name="tsp", data=dict(data)))
        axes = Figure().add_subplot()
        KIND.draw(given, KIND.solution_json(given, KIND.baseline(given)), axes)
        assert len(axes.lines[0].get_xdata()) == len(given.names) + 1
        assert {text.get_text() for text in axes.texts} == set(given.names)


ABC = {"cities": ["a", "b", "c"]}
PLACES = [["a", 0, 0], ["b", 1, 0], ["c", 0, 1]]


@pytest.mark.parametrize(
    ("data", "path", "problem", "allowed"),
    [
        ({}, "cities", "places or by names", "either"),
        ({**ABC, "places": PLACES}, "cities", "places or by names", "either"),
        (ABC, "distances", "no distances", "a table"),
        ({**ABC, "distances": [[0, 1, 2]]}, "distances", "1 rows for 3", "a row"),
        ({**ABC, "distances": [[0, 1, 2], [1, 0], [2, 3, 0]]}, "distances.1", "2 numbers", ""),
        ({**ABC, "distances": [[0, -1, 2], [1, 0, 3], [2, 3, 0]]}, "distances.0.1", "-1", "0"),
        ({"cities": ["a", "b", "a"], "distances": []}, "cities.2", "already given", "once"),
        ({"cities": ["a", "b"], "distances": [[0, 1], [1, 0]]}, "cities", "2 cities", "3"),
        ({"cities": ["a", "b@2", "c"], "distances": []}, "cities.1", "does not fit", ""),
        ({"places": [*PLACES, ["a", 2, 2]]}, "places.3", "already given", "once"),
        ({"places": [["a", 0], *PLACES[1:]]}, "places.0.y", "missing", ""),
        ({"places": PLACES, "metric": "MAN_2D"}, "metric", "not known", "EUC_2D"),
        (
            {"places": [[f"c{i}", i, 0] for i in range(129)]},
            "places",
            "129 items",
            "at most 128",
        ),
    ],
)
def test_bad_input(data: dict[str, Any], path: str, problem: str, allowed: str) -> None:
    refused("tsp", data, path, problem, allowed)


FAR = None


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ([[0, 1, 2, 3], [1, 0, 4, FAR], [2, 4, 0, FAR], [3, FAR, FAR, 0]], "'d' lead to one city"),
        ([[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [FAR, FAR, FAR, 0]], "leads from 'd'"),
        ([[0, 1, 2, FAR], [1, 0, 4, FAR], [2, 4, 0, FAR], [3, 3, 3, 0]], "leads to 'd'"),
    ],
)
def test_disconnected_city_is_proved_infeasible(table: list[list[Any]], why: str) -> None:
    refused(
        "tsp", {"cities": [*"abcd"], "distances": table}, "", f"no solution exists: .*{why}", ""
    )


def test_two_islands_are_proved_infeasible() -> None:
    size = range(6)
    table = [[1 if i // 3 == j // 3 else None for j in size] for i in size]
    data = {"cities": [*"abcdef"], "distances": table}
    refused("tsp", data, "", "there is no way from 'a' for 'd'", "")


def test_gaps_that_prove_nothing_never_give_a_silent_wrong_answer() -> None:
    # Two triangles that share a city: connected, two roads everywhere, but no round trip.
    near = {frozenset(pair) for pair in ("ab", "bc", "ca", "cd", "de", "ec")}
    names = "abcde"
    table = [[1 if frozenset((u, v)) in near else None for v in names] for u in names]
    data = {"cities": [*names], "distances": table}
    _, given = registry.parse(Problem(name="tsp", data=data))
    assert isinstance(given, TspInput)
    assert KIND.baseline(given) is None
    with pytest.raises(Exception, match="no feasible answer found"):
        solved("tsp", data)


HEAD = "NAME: x\nTYPE: TSP\nDIMENSION: 3\n"
TABLE = (
    HEAD + "EDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: UPPER_ROW\nEDGE_WEIGHT_SECTION\n1 2 3\n"
)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (HEAD + "EDGE_WEIGHT_TYPE: XRAY1\nNODE_COORD_SECTION\n1 0 0\n", 4, "'XRAY1' is not read"),
        ("TYPE: CVRP\nDIMENSION: 3\nEDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n", 1, "CVRP"),
        (HEAD + "EDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n1 0 0\n2 1 1\nEOF\n", 7, "2 lines"),
        (HEAD + "EDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n1 0\n2 1 1\n3 1 1\n", 6, "2 words"),
        (HEAD + "EDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n1 0 x\n2 1 1\n3 1 1\n", 6, "'x' is no"),
        (HEAD + "EDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_SECTION\n1 2 3\n", 6, "no EDGE_WEIGHT_FO"),
        (
            HEAD + "EDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: UPPER_COL\n"
            "EDGE_WEIGHT_SECTION\n1 2 3\n",
            5,
            "'UPPER_COL' is not read",
        ),
        (
            HEAD + "EDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: UPPER_ROW\n"
            "EDGE_WEIGHT_SECTION\n1 2\n",
            7,
            "2 distances",
        ),
        (
            HEAD + "EDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: UPPER_ROW\n"
            "EDGE_WEIGHT_SECTION\n1 2\n-3\n",
            8,
            "distance -3",
        ),
        ("DIMENSION: two\nEDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n", 1, "'two' is no index"),
        ("EDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n1 0 0\n", 3, "no DIMENSION"),
        ("NAME x\nEDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n", 1, "is no field"),
        ("1 2 3\nEDGE_WEIGHT_TYPE: GEO\nNODE_COORD_SECTION\n", 1, "outside a section"),
        (f"{TABLE}FIXED_EDGES_SECTION\n1 2\n-1\nEOF\n", 8, "FIXED_EDGES_SECTION is not read"),
        (f"{TABLE}FIXED_EDGES_SECTION:\n1 2\n-1\nEOF\n", 8, "FIXED_EDGES_SECTION is not read"),
        (f"{TABLE[18:]}DEMAND_SECTION\n1 0\nEOF\n", 6, "DEMAND_SECTION is not read"),
        (f"{TABLE}DISPLAY_DATA_SECTION\n1 0 0\n2 5 5\n1 6 6\n", 11, "a second point of 1"),
        (f"{TABLE}DISPLAY_DATA_SECTION\n1 0 0\n2 5 5\nUlm 6 6\n", 11, "'Ulm' is no field"),
        (f"{TABLE}DISPLAY_DATA_SECTION\n1 0 0\n2 5 5\n4 6 6\n", 11, "index 4 is out of range"),
    ],
)
def test_malformed_tsplib(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "bad.tsp"
    path.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        read_problem(path)
    assert caught.value.field == f"{path}:{line}"
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ("FULL_MATRIX", "0 1 2 1 0 3 2 3 0"),
        ("UPPER_ROW", "1 2\n3"),
        ("LOWER_ROW", "1\n2 3"),
        ("UPPER_DIAG_ROW", "0 1 2\n0 3\n0"),
        ("LOWER_DIAG_ROW", "0 1 0\n2 3 0"),
    ],
)
def test_explicit_tables(tmp_path: Path, shape: str, numbers: str) -> None:
    path = tmp_path / "three.txt"
    path.write_text(
        f"{HEAD}EDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: {shape}\n"
        f"EDGE_WEIGHT_SECTION\n{numbers}\nDISPLAY_DATA_SECTION\n1 0 0\n3 6 6\n2 5 5\nEOF\n"
    )
    found = read_problem(path).data
    assert found["distances"] == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
    assert found["places"] == [["1", 0, 0], ["2", 5, 5], ["3", 6, 6]]


def test_places_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "towns.csv"
    path.write_text("city,x,y\nUlm,0,0\nBonn,3,4\nKiel,0,8\n")
    problem = read_problem(path)
    assert problem.name == "tsp"
    assert solved("tsp", problem.data).quality.objective == 18
    path.write_text("city,x,y\nUlm,0,east\n")
    with pytest.raises(InvalidRequest, match=r"towns\.csv:2: 'east' is no number"):
        read_problem(path)
