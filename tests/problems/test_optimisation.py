"""What single problems promise beyond what holds for all: bounds, penalties, bad cases."""

from __future__ import annotations

import json
from itertools import product
from random import Random
from typing import Any

import dimod
import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsaga.core.errors import InvalidRequest, ResultUnusable
from qsaga.core.jobs import Problem
from qsaga.core.results import Confidence
from qsaga.problems import registry
from qsaga.problems.drawing import named
from qsaga.problems.inequality import extra_names, slack_weights
from qsaga.problems.polish import energies
from qsaga.problems.precision import FLOATS, HARDWARE, spread
from tests.problems.solving import refused, solved
from tests.problems.strategies import everything

# --- slack -------------------------------------------------------------------------------------


@given(st.integers(0, 300))
def test_slack_bits_make_every_number_and_no_other(most: int) -> None:
    weights = slack_weights(most)
    rows = product((0, 1), repeat=len(weights))
    sums = {sum(w * bit for w, bit in zip(weights, row, strict=True)) for row in rows}
    assert sums == set(range(most + 1))
    assert len(weights) == most.bit_length()


def test_extra_variables_never_take_a_name_of_the_input() -> None:
    assert extra_names(["a"], "slack", 2) == ("slack 1", "slack 2")
    names = extra_names(["slack 2", "slack' 1"], "slack", 2)
    assert names == ("slack'' 1", "slack'' 2")
    data = {"items": [["slack 1", 3, 2], ["slack 2", 4, 3]], "capacity": 4}
    assert solved("knapsack", data).solution["chosen"] == ["slack 2"]


# --- partition ---------------------------------------------------------------------------------


def test_partition_of_many_numbers_is_perfect() -> None:
    random = Random(3)
    data = {"items": [[f"p{i}", random.randint(1, 10**4)] for i in range(30)]}
    answer = solved("partition", data, 20)
    assert answer.quality.objective == sum(size for _, size in data["items"]) % 2
    assert answer.quality.confidence is Confidence.PROVEN_OPTIMAL
    assert answer.quality.baseline is not None
    assert answer.quality.baseline > answer.quality.objective


def test_partition_has_a_floor_where_one_item_outweighs_the_rest() -> None:
    answer = solved("partition", {"items": [["a", 10], ["b", 2], ["c", 3.5]]}, 0.05)
    assert (answer.quality.objective, answer.quality.bound) == (4.5, 4.5)
    assert answer.explanation == "a come to 10; b, c come to 5.5: a difference of 4.5."


# --- knapsack ----------------------------------------------------------------------------------


def greatest(items: list[tuple[str, int, int]], capacity: int) -> int:
    best = [0] * (capacity + 1)
    for _, value, weight in items:
        for room in range(capacity, weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + value)
    return best[-1]


def test_knapsack_of_sixty_items_against_dynamic_programming() -> None:
    random = Random(5)
    items = [(f"i{i}", random.randint(1, 100), random.randint(1, 60)) for i in range(60)]
    answer = solved("knapsack", {"items": [list(item) for item in items], "capacity": 400}, 0.3)
    best = greatest(items, 400)
    assert answer.quality.bound is not None and answer.quality.baseline is not None
    assert answer.quality.bound >= best >= answer.quality.objective >= answer.quality.baseline
    assert answer.quality.objective >= 0.98 * best
    assert int(str(answer.solution["weight"])) <= 400


def test_a_capacity_for_everything_costs_no_more_slack_than_everything_weighs() -> None:
    data = {"items": [["a", 1, 3], ["b", 2, 4]], "capacity": 10**12}
    kind, parsed = registry.parse(Problem(name="knapsack", data=data))
    assert kind.size(parsed) == (5, 10)
    assert solved("knapsack", data, 0.05).solution["chosen"] == ["a", "b"]


def test_nothing_fits() -> None:
    answer = solved("knapsack", {"items": [["piano", 9, 200]], "capacity": 0}, 0.05)
    assert (answer.quality.objective, answer.solution["chosen"]) == (0, [])


# --- set cover ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sets", range(1, 10))
def test_an_element_in_many_sets_takes_few_extra_bits(sets: int) -> None:
    rows = [[f"s{i}", 1.0, ["e"]] for i in range(sets)]
    kind, parsed = registry.parse(Problem(name="set_cover", data={"sets": rows}))
    extra = kind.size(parsed)[0] - sets
    assert extra == max(int(np.ceil(np.log2(sets))) - 1, 0)
    model, bits = kind.formulate(parsed), everything(kind, parsed)
    found = energies(model, bits)
    for count in range(sets + 1):
        lowest = found[bits[:, :sets].sum(axis=1) == count].min()
        assert lowest == pytest.approx(count or 1.5)


def test_set_cover_of_a_hundred_elements() -> None:
    random = Random(2)
    elements = [f"e{i}" for i in range(100)]
    sets = [[f"s{i}", random.randint(1, 20), random.sample(elements, 12)] for i in range(60)]
    answer = solved("set_cover", {"sets": sets}, 1.0)
    assert answer.quality.bound is not None and answer.quality.baseline is not None
    assert answer.quality.bound <= answer.quality.objective <= answer.quality.baseline
    chosen = named(answer.solution["chosen"])
    covered = {element for name, _, covers in sets if name in chosen for element in covers}
    assert covered == {element for _, _, covers in sets for element in covers}


# --- graph colouring ---------------------------------------------------------------------------


def edges_of(graph: Any) -> list[list[str]]:
    return [[f"v{u}", f"v{v}"] for u, v in graph.edges]


@pytest.mark.parametrize(("order", "colours"), [(3, 3), (4, 4), (5, 5)])
def test_mycielski_graphs_have_no_triangle_and_many_colours(order: int, colours: int) -> None:
    answer = solved("graph_colouring", {"edges": edges_of(nx.mycielski_graph(order))}, 0.3)
    assert answer.quality.objective == colours
    assert answer.quality.bound == 2


def test_colour_names_are_used() -> None:
    data = {"edges": [["a", "b"]], "colour_names": ["red", "blue", "green"]}
    groups = solved("graph_colouring", data, 0.05).solution["groups"]
    assert groups in ({"red": ["a"], "blue": ["b"]}, {"red": ["b"], "blue": ["a"]})


def test_a_clique_proves_that_no_colouring_exists() -> None:
    data = {"edges": edges_of(nx.complete_graph(4)), "colours": 3}
    with pytest.raises(InvalidRequest, match="v0, v1, v2, v3 all exclude each other and need 4"):
        registry.parse(Problem(name="graph_colouring", data=data))


def test_what_is_not_proved_ends_without_an_answer() -> None:
    data = {"edges": edges_of(nx.mycielski_graph(4)), "colours": 3}
    with pytest.raises(ResultUnusable, match="no feasible answer found"):
        solved("graph_colouring", data, 0.1)


def test_a_colouring_is_improved_by_hand() -> None:
    ring = edges_of(nx.cycle_graph(6))
    kind, parsed = registry.parse(Problem(name="graph_colouring", data={"edges": ring}))
    poor = {f"v{i}": colour for i, colour in enumerate((0, 1, 2, 0, 1, 2))}
    assert kind.objective(parsed, kind.improve(parsed, poor)) == 2


# --- feature selection -------------------------------------------------------------------------


def test_a_copy_of_a_feature_is_not_chosen() -> None:
    data = {
        "features": [["age", 0.9], ["birth year", 0.9], ["income", 0.4]],
        "redundancy": [["age", "birth year", 1.0], ["age", "income", 0.1]],
        "choose": 2,
    }
    chosen = solved("feature_selection", data, 0.05).solution["chosen"]
    assert chosen == ["birth year", "income"]
    free = data | {"choose": 3, "exactly": False}
    assert solved("feature_selection", free, 0.05).solution["chosen"] == ["birth year", "income"]


# --- infeasible and bad input ------------------------------------------------------------------


def test_an_element_without_a_set_is_a_proof() -> None:
    data = {"elements": ["n", "s"], "sets": [["A", 1, ["n"]]]}
    with pytest.raises(InvalidRequest) as caught:
        registry.parse(Problem(name="set_cover", data=data))
    assert caught.value.problem == "no solution exists: no set covers s"


ITEMS = [["a", 2, 1], ["b", 3, 2]]
REFUSED: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("partition", {"items": [["a", 1]]}, "items", "1 items", "at least 2"),
    ("partition", {"items": [["a", 1], ["a", 2]]}, "items.1", "already given", "each name once"),
    ("partition", {"items": [["a", 1], ["b", -2]]}, "items.1.size", "-2", "above 0"),
    ("partition", {"items": [["a", 1], ["b", float("nan")]]}, "items.1.size", "finite", ""),
    ("partition", {"items": [["a", 1], ["", 2]]}, "items.1.name", "at least 1 character", ""),
    ("knapsack", {"items": ITEMS, "capacity": -1}, "capacity", "-1 is out of range", "at least 0"),
    ("knapsack", {"items": ITEMS}, "capacity", "missing", ""),
    ("knapsack", {"items": [], "capacity": 1}, "items", "0 items", "at least 1"),
    ("knapsack", {"items": [*ITEMS, ["b", 1, 1]], "capacity": 1}, "items.2", "already", "once"),
    ("knapsack", {"items": [["a", 2, 1.5]], "capacity": 1}, "items.0.weight", "integer", ""),
    ("knapsack", {"items": [["a", 2, -1]], "capacity": 1}, "items.0.weight", "-1", "at least 1"),
    ("knapsack", {"items": [["a", -2, 1]], "capacity": 1}, "items.0.value", "-2", "above 0"),
    ("set_cover", {"sets": [["A", 1, []]]}, "sets.0.covers", "0 items", "at least 1"),
    ("set_cover", {"sets": [["A", 0, ["x"]]]}, "sets.0.cost", "0 is out of range", "above 0"),
    ("set_cover", {"sets": [["A", 1, ["x", "x"]]]}, "sets.0.covers.1", "already", "once"),
    (
        "set_cover",
        {"elements": ["x"], "sets": [["A", 1, ["y"]]]},
        "sets.0.covers.0",
        "'y' is no element",
        "one of elements",
    ),
    ("set_cover", {"sets": [["A", 1, ["x"]], ["A", 2, ["x"]]]}, "sets.1", "already", "once"),
    ("graph_colouring", {}, "nodes", "empty", "at least one"),
    ("graph_colouring", {"nodes": ["a"], "colours": 0}, "colours", "0 is out", "at least 1"),
    ("graph_colouring", {"edges": [["a", "a"]]}, "edges.0", "itself", "two different"),
    (
        "graph_colouring",
        {"nodes": ["a"], "colours": 2, "colour_names": ["red"]},
        "colour_names",
        "2 colours, but 1 names",
        "a name for each",
    ),
    ("graph_colouring", {"nodes": ["a"], "colour_names": ["r", "r"]}, "colour_names.1", "a", ""),
    ("feature_selection", {"features": [["a", 1]], "choose": 2}, "choose", "2 of 1", "at most 1"),
    ("feature_selection", {"features": [["a", 1]], "choose": 0}, "choose", "0 is out", "least 1"),
    ("feature_selection", {"features": [["a", -1]], "choose": 1}, "features.0.relevance", "-1", ""),
    (
        "feature_selection",
        {"features": [["a", 1]], "choose": 1, "balance": 1.5},
        "balance",
        "1.5 is out of range",
        "at most 1",
    ),
    (
        "feature_selection",
        {"features": [["a", 1], ["b", 1]], "redundancy": [["a", "c", 1]], "choose": 1},
        "redundancy.0",
        "'c' is not in the list",
        "",
    ),
    (
        "feature_selection",
        {"features": [["a", 1], ["b", 1]], "redundancy": [["a", "a", 1]], "choose": 1},
        "redundancy.0",
        "paired with itself",
        "two different",
    ),
]


@pytest.mark.parametrize(("name", "data", "path", "problem", "allowed"), REFUSED)
def test_bad_input_is_refused(
    name: str, data: dict[str, Any], path: str, problem: str, allowed: str
) -> None:
    refused(name, data, path, problem, allowed)


# --- coefficients far apart --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("biases", "ratio", "warnings"),
    [
        ([1.0, -50.0], 50.0, 0),
        ([1.0, HARDWARE, 0.0], HARDWARE, 0),
        ([0.5, 100.0], 200.0, 1),
        ([1e-8, 1e9], 1e17, 2),
        ([0.0], 1.0, 0),
    ],
)
def test_the_ratio_of_coefficients(biases: list[float], ratio: float, warnings: int) -> None:
    model = dimod.BinaryQuadraticModel(dict(enumerate(biases)), {}, "BINARY")
    found = spread(model)
    assert found.ratio == pytest.approx(ratio)
    assert len(found.warnings()) == warnings
    for text in found.warnings():
        assert f"{ratio:.3g}" in text


def test_couplings_count_as_well() -> None:
    model = dimod.BinaryQuadraticModel({"a": 1.0}, {("a", "b"): -2 * FLOATS}, "SPIN")
    assert spread(model).ratio == 2 * FLOATS
    hardware, floats = spread(model).warnings()
    assert "hardware" in hardware and "floating point" in floats


def test_solutions_are_plain_json() -> None:
    answer = solved("graph_colouring", {"nodes": ["a", "b"], "edges": []}, 0.05)
    assert json.loads(json.dumps(answer.solution)) == {"groups": {"1": ["a", "b"]}}
