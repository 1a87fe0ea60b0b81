"""Round trips: construction, local search and bounds on a table of distances.

A tour is the order of the indices 0 … n - 1, beginning with 0. Missing roads are for the caller
to replace by a distance that no tour is worth.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from qsaga.problems.assignment import least_assignment
from qsaga.problems.base import Floats
from qsaga.problems.exact import rounded_down, whole_numbers

Tour = list[int]

LONGEST_SEGMENT = 3
"""Or-opt moves up to so many neighbouring stops together (Or 1976)."""

ROUNDS = 300
"""Of the ascent to the one-tree bound."""


def length(distances: Floats, tour: Tour) -> float:
    """Of the round trip."""
    return float(sum(distances[u, v] for u, v in zip(tour, [*tour[1:], tour[0]], strict=True)))


def nearest_neighbour(distances: Floats, start: int) -> Tour:
    """From ``start`` always on to the nearest city that is left; turned to begin with 0."""
    tour, left = [start], set(range(len(distances))) - {start}
    while left:
        here = distances[tour[-1]]
        tour.append(min(left, key=lambda city: (here[city], city)))
        left.discard(tour[-1])
    return turned(tour)


def insert(distances: Floats, tour: Tour, cities: list[int]) -> Tour:
    """Put each of the cities, in order, where it makes the tour longest by least."""
    for city in cities:
        ends = [*tour[1:], tour[0]]
        more = [
            distances[u, city] + distances[city, v] - distances[u, v]
            for u, v in zip(tour, ends, strict=True)
        ]
        tour = [*tour[: (place := more.index(min(more)) + 1)], city, *tour[place:]]
    return tour


def improved(distances: Floats, tour: Tour) -> Tour:
    """A local optimum of 2-opt and Or-opt; of Or-opt alone if distances depend on the direction.

    2-opt turns a part of the tour round (Croes 1958, doi:10.1287/opre.6.6.791). Nothing is random.
    """
    symmetric = bool(np.array_equal(distances, distances.T))
    table: list[list[float]] = distances.tolist()
    # Rounding of the few terms of a step must not make two steps undo each other.
    least = 2.0**-48 * float(np.max(distances))
    while True:
        better = _two_opt(table, tour, least) if symmetric else None
        better = better or _or_opt(table, tour, least, symmetric)
        if better is None:
            return turned(tour)
        tour = better


def turned(tour: Tour) -> Tour:
    """The same round trip, begun at 0."""
    start = tour.index(0)
    return [*tour[start:], *tour[:start]]


def _two_opt(table: list[list[float]], tour: Tour, least: float) -> Tour | None:
    """The first exchange of two roads that shortens the tour."""
    size = len(tour)
    for i in range(size - 1):
        u, v = tour[i], tour[i + 1]
        from_u, from_v, here = table[u], table[v], table[u][v]
        for j in range(i + 2, size if i else size - 1):
            w, x = tour[j], tour[(j + 1) % size]
            if here + table[w][x] - from_u[w] - from_v[x] > least:
                return [*tour[: i + 1], *reversed(tour[i + 1 : j + 1]), *tour[j + 1 :]]
    return None


def _or_opt(table: list[list[float]], tour: Tour, least: float, symmetric: bool) -> Tour | None:
    """The first move of a few neighbouring stops elsewhere that shortens the tour."""
    size = len(tour)
    for count in range(1, min(LONGEST_SEGMENT, size - 2) + 1):
        for start in range(size):
            order = [*tour[start:], *tour[:start]]
            segment, rest = order[:count], order[count:]
            first, last = segment[0], segment[-1]
            saved = table[rest[-1]][first] + table[last][rest[0]] - table[rest[-1]][rest[0]]
            for place in range(len(rest) - 1):
                u, v = rest[place], rest[place + 1]
                if saved - (table[u][first] + table[last][v] - table[u][v]) > least:
                    return [*rest[: place + 1], *segment, *rest[place + 1 :]]
                if symmetric and saved - (table[u][last] + table[first][v] - table[u][v]) > least:
                    return [*rest[: place + 1], *reversed(segment), *rest[place + 1 :]]
    return None


def lower_bound(distances: Floats, upper: float) -> float:
    """What no tour is shorter than.

    For distances that are the same both ways the one-tree bound (Held and Karp 1971,
    doi:10.1007/BF01584070), else the cheapest way to leave and enter each city once. Computed in
    whole numbers at the end, so that rounding never lifts it above a tour.

    Args:
        distances: between any two cities, finite, shape (n, n).
        upper: the length of some tour, for the size of the steps.
    """
    if np.array_equal(distances, distances.T):
        found = _whole_one_tree(distances, _prices(distances, upper))
    else:
        numbers, scale = whole_numbers(distances.ravel().tolist())
        size, loop = len(distances), sum(numbers) + 1
        rows = [numbers[size * city :][:size] for city in range(size)]
        for city, row in enumerate(rows):
            row[city] = loop
        found = Fraction(least_assignment(rows), scale)
    # Between whole distances no tour has a part.
    if np.all(distances == np.round(distances)):
        found = Fraction(math.ceil(found))
    return rounded_down(found)


def _whole_one_tree(distances: Floats, prices: Floats) -> Fraction:
    """The bound of a one-tree: its length with prices less twice their sum.

    True whatever the prices, so they are cut to so many binary places as the numbers of 64 bits
    have room for; so are the distances, down.
    """
    largest = float(np.max(distances) + 2 * np.max(np.abs(prices)))
    scale = 2.0 ** min(61 - math.frexp(largest)[1], 1000)
    cut, whole = np.rint(prices * scale).astype(np.int64), np.floor(distances * scale)
    total, _ = _one_tree(whole.astype(np.int64) + cut[:, None] + cut[None, :])
    return Fraction(total - 2 * sum(cut.tolist())) / Fraction(scale)


def _prices(distances: Floats, upper: float) -> Floats:
    """Of the best one-tree of a subgradient ascent: cities it meets too often become dearer."""
    prices = np.zeros(len(distances))
    best, scale, since = -np.inf, 2.0, 0
    found = prices
    for _ in range(ROUNDS):
        value, degrees = _one_tree(distances + prices[:, None] + prices[None, :])
        value -= 2 * float(prices.sum())
        since = 0 if value > best else since + 1
        if value > best:
            best, found = value, prices
        wanted = degrees - 2.0
        if not wanted.any():
            return found
        if since >= 10:
            scale, since = scale / 2, 0
        step = scale * max(upper - value, 1e-6 * abs(upper)) / float(wanted @ wanted)
        prices = prices + step * wanted
    return found


def _one_tree(distances: npt.NDArray[Any]) -> tuple[Any, Floats]:
    """Shortest spanning tree of all but city 0, and the two shortest roads of city 0.

    Returns its length and how many of its roads each city has.
    """
    size = len(distances)
    degrees = np.zeros(size)
    total = 0
    for city in np.argsort(distances[0, 1:], kind="stable")[:2] + 1:
        total += distances[0, city].item()
        degrees[[0, city]] += 1
    near, parent = distances[1].copy(), np.ones(size, dtype=np.intp)
    outside = np.ones(size, dtype=np.bool_)
    outside[:2] = False
    for _ in range(size - 2):
        left = np.flatnonzero(outside)
        city = int(left[np.argmin(near[left])])
        total += near[city].item()
        degrees[[city, parent[city]]] += 1
        outside[city] = False
        nearer = outside & (distances[city] < near)
        near[nearer], parent[nearer] = distances[city][nearer], city
    return total, degrees
