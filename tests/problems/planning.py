"""Small random tours, portfolios, schedules and layouts, and their optima from the data alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from math import dist, inf
from random import Random
from typing import Any

import numpy as np

Data = dict[str, Any]


# --- instances ---------------------------------------------------------------------------------


def tsp(random: Random, most: int = 4) -> Data:
    size = random.randint(3, most)
    names = [f"c{i}" for i in range(size)]
    if random.random() < 0.3:
        return {"places": [[n, random.randint(0, 9), random.randint(0, 9)] for n in names]}
    table = [[random.randint(0, 20) for _ in names] for _ in names]
    if random.random() < 0.5:
        table = [[table[min(i, j)][max(i, j)] for j in range(size)] for i in range(size)]
    return {"cities": names, "distances": table}


def tsp_with_gaps(random: Random, most: int) -> Data:
    """Not every road is there, but those of one round trip are."""
    size = random.randint(4, most)
    trip = random.sample(range(size), size)
    kept = {frozenset(pair) for pair in zip(trip, [*trip[1:], trip[0]], strict=True)}
    table: list[list[int | None]] = [[0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            there = frozenset((i, j)) in kept or random.random() < 0.4
            table[i][j] = table[j][i] = random.randint(1, 20) if there else None
    return {"cities": [f"c{i}" for i in range(size)], "distances": table}


def portfolio(random: Random, most: int = 4) -> Data:
    size = random.randint(2, most)
    choose = random.randint(1, size)
    factors = [[random.randint(-3, 3) for _ in range(size + 1)] for _ in range(size)]
    covariance = [[sum(a * b for a, b in zip(u, v, strict=True)) for u in factors] for v in factors]
    data: Data = {
        "assets": [[f"a{i}", random.randint(-4, 9)] for i in range(size)],
        "covariance": covariance,
        "choose": choose,
        "risk_aversion": random.choice([0.0, 0.25, 0.5, 1.0]),
    }
    # So that there are 12 variables at most.
    units = choose + random.randint(0, 12 // size)
    if size * (1 + (units - choose).bit_length()) <= 12 and random.random() < 0.7:
        data["units"] = units
        if random.random() < 0.5:
            data["most"] = random.randint(-(-units // choose), units)
    return data


def job_shop(random: Random, most: int = 2) -> Data:
    """At most some twelve variables for two jobs of two steps."""
    machines = [f"m{i}" for i in range(most)]
    jobs = [
        {
            "name": f"j{i}",
            "steps": [
                [machine, random.randint(1, most)]
                for machine in random.sample(machines, random.randint(1, most))
            ],
        }
        for i in range(most)
    ]
    return {"jobs": jobs, "time_step": 1} | random.choice([{}, {"horizon": 40}])


def quadratic_assignment(random: Random, most: int = 3) -> Data:
    size = random.randint(2, most)

    def table() -> list[list[int]]:
        return [
            [random.choice([0, random.randint(1, 9)]) for _ in range(size)] for _ in range(size)
        ]

    return {
        "facilities": [f"f{i}" for i in range(size)],
        "locations": [f"l{i}" for i in range(size)],
        "flow": table(),
        "distance": table(),
    }


MADE: dict[str, Callable[[Random], Data]] = {
    "tsp": tsp,
    "portfolio": portfolio,
    "job_shop": job_shop,
    "quadratic_assignment": quadratic_assignment,
}


# --- optima, from the data and nothing else ----------------------------------------------------


def shortest_tour(data: Data) -> float:
    points = [place[1:] for place in data.get("places", [])]
    table = data.get("distances") or [[dist(u, v) for v in points] for u in points]
    legs = (
        [table[u][v] for u, v in zip((0, *rest), (*rest, 0), strict=True)]
        for rest in permutations(range(1, len(table)))
    )
    return min(inf if None in lengths else sum(lengths) for lengths in legs)


def best_portfolio(data: Data) -> float:
    choose, risk = data["choose"], data["risk_aversion"]
    units = data.get("units", choose)
    expected = np.array([asset[1] for asset in data["assets"]])
    counts = range(min(data.get("most", units), units - choose + 1) + 1)
    weights = (
        np.array(row) / units
        for row in product(counts, repeat=len(expected))
        if sum(row) == units and sum(count > 0 for count in row) == choose
    )
    covariance = np.array(data["covariance"])
    return min(float(risk * (w @ covariance @ w) - (1 - risk) * (w @ expected)) for w in weights)


def shortest_makespan(data: Data) -> float:
    """By every order in which the steps of all jobs can be begun."""
    jobs = [job["steps"] for job in data["jobs"]]

    def rest(place: list[int], ready: list[int], free: dict[str, int]) -> int:
        ends = [max(ready)]
        for job, steps in enumerate(jobs):
            if place[job] == len(steps):
                continue
            machine, duration = steps[place[job]]
            end = max(ready[job], free.get(machine, 0)) + duration
            after = [*ready[:job], end, *ready[job + 1 :]]
            further = [*place[:job], place[job] + 1, *place[job + 1 :]]
            ends.append(rest(further, after, {**free, machine: end}))
        return min(ends[1:], default=ends[0])

    return rest([0] * len(jobs), [0] * len(jobs), {})


def cheapest_layout(data: Data) -> float:
    flow, distance = np.array(data["flow"]), np.array(data["distance"])
    orders = permutations(range(len(flow)))
    return min(float(np.sum(flow * distance[np.ix_(order, order)])) for order in orders)


OPTIMA: dict[str, Callable[[Data], float]] = {
    "tsp": shortest_tour,
    "portfolio": best_portfolio,
    "job_shop": shortest_makespan,
    "quadratic_assignment": cheapest_layout,
}
