"""Small random problems of every kind, their optima from the data alone, every assignment.

Who adds a problem adds it to ``MADE`` and ``OPTIMA``; the tests then hold for it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, product
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from qsaga.core.jobs import Problem
from qsaga.problems.base import Bits, ProblemInput, ProblemType
from tests.problems import planning

Data = dict[str, Any]


# --- instances ---------------------------------------------------------------------------------


def some_nodes(random: Random, least: int, most: int) -> list[str]:
    return [f"n{i}" for i in range(random.randint(least, most))]


def some_pairs(random: Random, names: list[str], least: int = 1) -> list[tuple[str, str]]:
    pairs = list(combinations(names, 2))
    return random.sample(pairs, random.randint(min(least, len(pairs)), len(pairs)))


def weight(random: Random) -> float:
    return float(random.randint(-5, 5))


def maxcut(random: Random) -> Data:
    nodes = some_nodes(random, 2, 7)
    edges = [[*pair, weight(random)] for pair in some_pairs(random, nodes)]
    return {"nodes": nodes, "edges": edges}


def independent_set(random: Random) -> Data:
    nodes = some_nodes(random, 2, 7)
    heavy = {node: random.randint(1, 4) for node in nodes if random.random() < 0.5}
    edges = [list(pair) for pair in some_pairs(random, nodes)]
    return {"nodes": nodes, "edges": edges, "weights": heavy}


def qubo(random: Random) -> Data:
    nodes = some_nodes(random, 2, 7)
    return {
        "variables": nodes,
        "linear": {node: weight(random) for node in nodes},
        "quadratic": [[*pair, weight(random)] for pair in some_pairs(random, nodes)],
        "offset": weight(random),
        "vartype": random.choice(["BINARY", "SPIN"]),
    }


def partition(random: Random) -> Data:
    return {"items": [[name, random.randint(1, 40)] for name in some_nodes(random, 2, 8)]}


def knapsack(random: Random) -> Data:
    names = some_nodes(random, 1, 5)
    items = [[name, random.randint(1, 9), random.randint(1, 7)] for name in names]
    return {"items": items, "capacity": random.randint(0, 15)}


def set_cover(random: Random) -> Data:
    elements = [f"e{i}" for i in range(random.randint(1, 3))]
    names = some_nodes(random, 2, 5)
    sets = [
        [name, random.randint(1, 9), random.sample(elements, random.randint(1, len(elements)))]
        for name in names
    ]
    return {"elements": elements, "sets": [*sets, ["all", random.randint(5, 20), elements]]}


def graph_colouring(random: Random) -> Data:
    nodes = some_nodes(random, 1, 5)
    edges = [list(pair) for pair in some_pairs(random, nodes, least=0)]
    return {"nodes": nodes, "edges": edges} | random.choice([{}, {"colours": len(nodes)}])


def feature_selection(random: Random) -> Data:
    names = some_nodes(random, 1, 6)
    shared = some_pairs(random, names, least=0)
    return {
        "features": [[name, random.randint(0, 9)] for name in names],
        "redundancy": [[*pair, random.randint(0, 9)] for pair in shared],
        "choose": random.randint(1, len(names)),
        "exactly": random.random() < 0.5,
        "balance": random.choice([0.0, 0.25, 0.5, 1.0]),
    }


MADE: dict[str, Callable[[Random], Data]] = {
    "maxcut": maxcut,
    "independent_set": independent_set,
    "qubo": qubo,
    "partition": partition,
    "knapsack": knapsack,
    "set_cover": set_cover,
    "graph_colouring": graph_colouring,
    "feature_selection": feature_selection,
    **planning.MADE,
}
"""Data of a request, by the name of the problem. At most some ten variables, always feasible."""


# --- optima, from the data and nothing else ----------------------------------------------------


def subsets(names: Iterable[Any]) -> Iterable[tuple[Any, ...]]:
    listed = list(names)
    return (chosen for size in range(len(listed) + 1) for chosen in combinations(listed, size))


def best_cut(data: Data) -> float:
    return max(
        sum(w for u, v, w in data["edges"] if (u in side) != (v in side))
        for side in subsets(data["nodes"])
    )


def heaviest_set(data: Data) -> float:
    return max(
        sum(data["weights"].get(node, 1) for node in chosen)
        for chosen in subsets(data["nodes"])
        if not any(u in chosen and v in chosen for u, v in data["edges"])
    )


def lowest_energy(data: Data) -> float:
    values = (0, 1) if data["vartype"] == "BINARY" else (-1, 1)
    names = data["variables"]
    rows = (dict(zip(names, row, strict=True)) for row in product(values, repeat=len(names)))
    return min(
        sum(bias * x[name] for name, bias in data["linear"].items())
        + sum(bias * x[u] * x[v] for u, v, bias in data["quadratic"])
        + data["offset"]
        for x in rows
    )


def least_difference(data: Data) -> float:
    sizes = [size for _, size in data["items"]]
    return min(abs(sum(sizes) - 2 * sum(some)) for some in subsets(sizes))


def greatest_value(data: Data) -> float:
    return max(
        sum(value for _, value, _ in chosen)
        for chosen in subsets(data["items"])
        if sum(weight for _, _, weight in chosen) <= data["capacity"]
    )


def cheapest_cover(data: Data) -> float:
    return min(
        sum(cost for _, cost, _ in chosen)
        for chosen in subsets(data["sets"])
        if {element for *_, covers in chosen for element in covers} == set(data["elements"])
    )


def chromatic_number(data: Data) -> float:
    nodes = data["nodes"]
    return min(
        len(set(row))
        for row in product(range(len(nodes)), repeat=len(nodes))
        if all(row[nodes.index(u)] != row[nodes.index(v)] for u, v in data["edges"])
    )


def best_features(data: Data) -> float:
    alpha = data["balance"]
    sizes = [data["choose"]] if data["exactly"] else range(data["choose"] + 1)
    relevance = dict(data["features"])
    return max(
        alpha * sum(relevance[name] for name in chosen)
        - (1 - alpha) * sum(r for u, v, r in data["redundancy"] if u in chosen and v in chosen)
        for size in sizes
        for chosen in combinations(relevance, size)
    )


OPTIMA: dict[str, Callable[[Data], float]] = {
    "maxcut": best_cut,
    "independent_set": heaviest_set,
    "qubo": lowest_energy,
    "partition": least_difference,
    "knapsack": greatest_value,
    "set_cover": cheapest_cover,
    "graph_colouring": chromatic_number,
    "feature_selection": best_features,
    **planning.OPTIMA,
}
"""The best objective there is for data of ``MADE``, found without any code of the problem."""


# --- what tests use ----------------------------------------------------------------------------


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """A small random problem of any kind."""
    name = draw(st.sampled_from(sorted(MADE)))
    return Problem(name=name, data=MADE[name](draw(st.randoms(use_true_random=False))))


def everything(kind: ProblemType[Any, Any], given: ProblemInput) -> Bits:
    """Every assignment of the variables."""
    size = len(kind.variables(given))
    return ((np.arange(2**size)[:, None] >> np.arange(size)) & 1).astype(np.int8)


def decoded(kind: ProblemType[Any, Any], given: ProblemInput, row: Any) -> Any:
    return kind.decode(given, dict(zip(kind.variables(given), row.tolist(), strict=True)))
