"""Numbers of all sizes: no bound is beyond the optimum, and equal is only what is equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from random import Random
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsaga.core.confidence import MOST_LOOSENED
from qsaga.core.jobs import Optimise, Problem
from qsaga.core.results import Confidence, OptimiseAnswer, Quality
from qsaga.problems import registry
from qsaga.problems.assignment import least_assignment
from qsaga.problems.exact import WHOLE, Sums, sums_of, whole_numbers
from qsaga.problems.polish import descend, energies
from qsaga.problems.proofs import exhaustive, with_proof
from qsaga.problems.verify import SAMPLE_SET, dump_model, verify
from tests.problems.strategies import MADE, OPTIMA

QUICK = 12
"""Variables of which every assignment is tried in no time."""

TABLES = ("distances", "flow", "distance")
LAST = ("edges", "quadratic", "features", "redundancy")
SECOND = ("items", "sets")
MAPPED = ("weights", "linear")
EXACT = sorted(set(MADE) - {"portfolio", "job_shop", "graph_colouring"})
"""The problems whose objectives are sums of numbers of the input."""


def changed(data: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The data of a problem with other numbers in place of what its objective adds up."""

    def field(name: str, value: Any) -> Any:
        least = 1 if name == "features" else 2
        if name in TABLES:
            return [[change(number) for number in row] for row in value]
        if name in LAST:
            return [[*row[:-1], change(row[-1])] if len(row) > least else row for row in value]
        if name in SECOND:
            return [[row[0], change(row[1]), *row[2:]] for row in value]
        if name in MAPPED:
            return {key: change(number) for key, number in value.items()}
        return change(value) if name == "offset" else value

    return {name: field(name, value) for name, value in data.items()}


@st.composite
def numbered(draw: st.DrawFn, whole: bool) -> Problem:
    """A small problem with numbers that are large, or not whole."""
    name = draw(st.sampled_from(EXACT))
    random = draw(st.randoms(use_true_random=False))
    factor = draw(st.sampled_from([1, 999_983, 4 * 10**7] if whole else [0.1, 1 / 3, 1e-7, 1e5]))
    known: dict[Any, float] = {0: 0.0}

    def change(number: Any) -> float:
        if number not in known:
            size = abs(number) * factor + (random.randint(0, 9) if whole else random.random())
            known[number] = float(size if number > 0 else -size)
        return known[number]

    return Problem(name=name, data=changed(MADE[name](random), change))


def sizes(data: dict[str, Any]) -> list[float]:
    """Of all numbers that an objective is made of; of a product's those of the products."""
    found: list[float] = []
    changed(data, found.append)
    return [max(one, one * other) for one in map(abs, found) for other in map(abs, found)]


def optimum(problem: Problem) -> Fraction:
    """From the data alone, without rounding."""
    data = changed(problem.data, Fraction)
    if "balance" in data:
        data["balance"] = Fraction(data["balance"])
    return Fraction(OPTIMA[problem.name](data))


def quality_of(problem: Problem, raw: bytes) -> Quality:
    kind, parsed = registry.parse(problem)
    model = dump_model(kind.formulate(parsed))
    answer, _ = verify(Optimise(problem=problem), model, raw, SAMPLE_SET)
    assert isinstance(answer, OptimiseAnswer)
    return answer.quality


@pytest.mark.parametrize("whole", [True, False])
def test_no_bound_is_tighter_than_the_optimum(whole: bool) -> None:
    @settings(max_examples=150, deadline=None)
    @given(numbered(whole))
    def holds(problem: Problem) -> None:
        kind, parsed = registry.parse(problem)
        best, bound = optimum(problem), kind.bound(parsed)
        sign = 1 if kind.sense == "maximise" else -1
        if "places" not in problem.data:
            assert bound is not None and sign * (Fraction(bound) - best) >= 0

    holds()


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_called_proven_is_the_optimum(whole: bool) -> None:
    @settings(max_examples=30, deadline=None)
    @given(numbered(whole), st.randoms(use_true_random=False))
    def holds(problem: Problem, random: Random) -> None:
        kind, parsed = registry.parse(problem)
        model = kind.formulate(parsed)
        if model.num_variables > QUICK or "places" in problem.data:
            return
        found, proof = exhaustive(model)
        if random.random() < 0.5:
            found = found.slice(random.randrange(len(found)), None)
        quality = quality_of(problem, with_proof(found, proof, {}))
        if quality.confidence is Confidence.PROVEN_OPTIMAL:
            off = abs(Fraction(quality.objective) - optimum(problem))
            rounding = kind.sums(parsed).of(quality.objective)
            assert rounding <= 1e-12 * (1 + sum(sizes(problem.data)))
            # Whole numbers are equal or they are not.
            share = 0 if not rounding else MOST_LOOSENED * abs(quality.objective)
            assert off <= rounding + share

    holds()


def path(count: int) -> list[list[Any]]:
    return [[f"n{i}", f"n{i + 1}", 1.0] for i in range(count)]


FAR_APART: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("maxcut", {"edges": [["a", "b", 1e11], *path(20)]}, {"b": 1}),
    ("maxcut", {"edges": [["a", "b", 1e11], ["b", "c", 2.0], ["c", "a", 1.0]]}, {"b": 1}),
    ("qubo", {"linear": {"a": -1e11}, "quadratic": [["b", "c", -1.0], ["c", "d", 1.0]]}, {"a": 1}),
    ("qubo", {"linear": {"a": -1e12, "b": -1e-3, "c": 1e-3}}, {"a": 1}),
    ("knapsack", {"items": [["a", 1e11, 5], ["b", 3.0, 4], ["c", 2.0, 3]], "capacity": 10}, {}),
    ("partition", {"items": [["a", 1e10 + 1], ["b", 1e10], ["c", 3.0]]}, {"a": 1}),
    ("set_cover", {"sets": [["A", 1e11, ["x"]], ["B", 2, ["y"]], ["C", 1, ["y"]]]}, {"A": 1}),
]


@pytest.mark.parametrize(("name", "data", "ones"), FAR_APART)
def test_a_large_number_hides_no_small_difference(
    name: str, data: dict[str, Any], ones: dict[str, int]
) -> None:
    """A poor sample: what comes of it is proven only if it is the optimum."""
    problem = Problem(name=name, data=data)
    kind, parsed = registry.parse(problem)
    model = kind.formulate(parsed)
    low = 0 if model.vartype is dimod.BINARY else -1
    row = {str(variable): ones.get(str(variable), low) for variable in model.variables}
    samples = dimod.SampleSet.from_samples_bqm(row, model)
    quality = quality_of(problem, json.dumps(samples.to_serializable()).encode())
    best = best_of(problem)
    assert quality.bound is not None
    assert not kind.better(float(best), quality.bound)
    if quality.confidence is Confidence.PROVEN_OPTIMAL:
        assert quality.objective == best


def best_of(problem: Problem) -> float:
    """Of every assignment's objective; a path's cut is all of it."""
    if len(problem.data.get("edges", ())) > 20:
        return float(sum(weight for _, _, weight in problem.data["edges"]))
    kind, parsed = registry.parse(problem)
    names = kind.variables(parsed)
    bits = ((np.arange(2 ** len(names))[:, None] >> np.arange(len(names))) & 1).astype(np.int8)
    found = kind.objectives(parsed, bits)[kind.feasibles(parsed, bits)]
    return float(found.max() if kind.sense == "maximise" else found.min())


def test_a_descent_leaves_nothing_beside_a_large_bias() -> None:
    random = Random(3)
    for vartype in ("SPIN", "BINARY"):
        model = dimod.BinaryQuadraticModel(vartype)
        model.add_linear("big", -1e11)
        for i in range(12):
            model.add_linear(i, random.choice([-1.25, 0.1, 3.0]))
            model.add_quadratic(i, (i + 1) % 12, random.choice([-1.0, 1.0, 0.3]))
        bits = np.array([[random.randrange(2) for _ in range(13)] for _ in range(8)], np.int8)
        polished = descend(model, bits)
        before = energies(model, polished)
        for column in range(13):
            flipped = polished.copy()
            flipped[:, column] ^= 1
            # Near 1e11 the doubles are 1.5e-5 apart.
            assert np.all(energies(model, flipped) >= before - 1e-4)


def test_bounds_that_doubles_overshot() -> None:
    items = [["a", 500_000_000_000.0, 500_000_000], ["b", 107_529_259_000.0, 107_529_259]]
    kind, parsed = registry.parse(
        Problem(name="knapsack", data={"items": items, "capacity": 107_529_259})
    )
    assert kind.bound(parsed) == 107_529_259_000
    whole = [[0.0, 999_999_937.0], [998_244_353.0, 0.0]]
    data = {"facilities": ["f", "g"], "locations": ["k", "l"], "flow": whole, "distance": whole}
    kind, parsed = registry.parse(Problem(name="quadratic_assignment", data=data))
    one, other = 999_999_937, 998_244_353
    bound = kind.bound(parsed)
    assert bound is not None and Fraction(bound) <= min(one**2 + other**2, 2 * one * other)


def test_a_table_that_is_nearly_symmetric_is_one_table_to_all() -> None:
    """What the two halves may differ by is part of no proof: bounds come from the model."""
    assets = [["a", 0.5], ["b", 0.25]]
    for table in ([[1.0, 0.5 + 9e-10], [0.5, 1.0]], [[1.0, 0.5], [0.5 + 9e-10, 1.0]]):
        data = {"assets": assets, "covariance": table, "choose": 2}
        kind, parsed = registry.parse(Problem(name="portfolio", data=data))
        energy = float(energies(kind.formulate(parsed), np.ones((1, 2), np.int8))[0])
        worth = kind.objective(parsed, kind.baseline(parsed))
        assert energy == pytest.approx(worth, rel=1e-14, abs=1e-14)


@given(st.integers(1, 5), st.sampled_from([9, 2**40, 2**70, 2**200]), st.randoms())
def test_the_least_assignment_of_numbers_of_any_size(size: int, most: int, random: Random) -> None:
    costs = [[random.randint(-most, most) for _ in range(size)] for _ in range(size)]
    orders = permutations(range(size))
    least = min(sum(row[k] for row, k in zip(costs, order, strict=True)) for order in orders)
    found = least_assignment(costs)
    assert found <= least
    assert found == least or most > 2**70


def test_which_sums_are_exact() -> None:
    assert sums_of([1.0, 2.0**52]) == sums_of([]) == WHOLE
    assert sums_of([0.25, 3.0]) == Sums(step=0.25)
    for terms in ([2.0**53, 1.0], [0.1, 0.2]):
        assert sums_of(terms).off > 0
    assert 0 < sums_of([0.1, 0.2]).of(0.3) < 1e-15 < sums_of([0.1, 1e12]).of(0.3) < 1e-3
    assert (Sums(step=0.25).above(3.3), Sums(step=0.25).below(-3.3)) == (3.25, -3.25)
    assert Sums(off=0.1).above(3.3) == Sums().below(3.3) == 3.3
    assert whole_numbers([0.75, -2.0]) == ([3, -8], 4)


def test_what_takes_no_part_in_a_sum_of_one_sign_adds_no_rounding() -> None:
    sums = sums_of([2.0**53, 7.0], one_sign=True)
    assert sums.of(7.0) == 0 < sums.of(2.0**53 + 8)
    assert 0 < sums_of([0.1, 1e12], one_sign=True).of(0.3) < 1e-15
