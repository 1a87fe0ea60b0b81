"""Knapsack: the most valuable items that fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue, field_validator

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType, listing, number
from qsaga.problems.exact import Sums, rounded_up, sums_of, whole_numbers
from qsaga.problems.graphs import NodeName, check_names
from qsaga.problems.inequality import MARGIN, extra_names, slack_weights
from qsaga.problems.knapsack_files import CSV, MKNAP, PISINGER

MOST_FORCED = 100
"""Up to so many items pairs are exchanged and each is forced; beyond, it would not be quick."""

MOST_SWAPS = 100
"""In one improvement: a solution from which more lead on is not worth the time."""

Amount = Annotated[int, Field(ge=1, le=10**9)]


class Item(NamedTuple):
    """``[name, value, weight]``."""

    name: NodeName
    value: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
    weight: Amount


class KnapsackInput(ProblemInput):
    """Items and what they may weigh together.

    Args:
        items: ``[name, value, weight]``, each name once; values above 0.
        capacity: at most so much weight. Weights and capacity are whole numbers, so measure in
            the smallest unit that matters, such as grams; the coarser the unit the fewer qubits.
    """

    items: Annotated[tuple[Item, ...], Field(min_length=1)]
    capacity: Annotated[int, Field(ge=0, le=10**12)]

    @field_validator("items")
    @classmethod
    def _names_once(cls, items: tuple[Item, ...]) -> tuple[Item, ...]:
        check_names([item.name for item in items])
        return items


class Knapsack(ProblemType[KnapsackInput, tuple[str, ...]]):
    """Knapsack. The model is minus the value of the chosen items plus P·(weight + slack −
    capacity)², where the slack takes every whole number from 0 to the capacity in bits of weight
    1, 2, 4, … and a rest (Lucas 2014, arXiv:1302.5843, sections 2.4 and 5.2). What all items weigh
    stands in for a capacity above that.

    Penalty: P = 1.5 times the greatest value. Let the items be too heavy by d. Without one of
    them they are lighter by at least 1, so after at most d removals they fit, d values are lost
    at most, and the penalty falls by P·d², which is at least P·d. Any P above the greatest value
    will do.

    A solution is the chosen items, in the order of the input.
    """

    name = "knapsack"
    formulation = "knapsack-slack/1"
    decoding = "knapsack-repair/2"
    title = "The most valuable items within a weight limit (0/1 knapsack)"
    sense = "maximise"
    columns = {"items": ("name", "value", "weight")}
    reference = "Lucas 2014, arXiv:1302.5843, section 5.2"
    example = {
        "items": [["tent", 10.0, 4], ["stove", 7.0, 2], ["lamp", 3.0, 1], ["chair", 4.0, 3]],
        "capacity": 6,
    }
    formats = (CSV, MKNAP, PISINGER)
    model = KnapsackInput

    def variables(self, given: KnapsackInput) -> tuple[str, ...]:
        names = tuple(item.name for item in given.items)
        return names + extra_names(names, "slack", len(_slack(given)))

    def size(self, given: KnapsackInput) -> tuple[int, int]:
        count = len(given.items) + len(_slack(given))
        return count, count * (count - 1) // 2

    def formulate(self, given: KnapsackInput) -> dimod.BinaryQuadraticModel:
        names = self.variables(given)
        model = dimod.BinaryQuadraticModel(dimod.BINARY)
        for name in names:
            model.add_variable(name)
        for item in given.items:
            model.add_linear(item.name, -item.value)
        weights = [*(item.weight for item in given.items), *_slack(given)]
        penalty = MARGIN * max(item.value for item in given.items)
        model.add_linear_equality_constraint(
            list(zip(names, weights, strict=True)), penalty, -_limit(given)
        )
        return model

    def decode(self, given: KnapsackInput, sample: Mapping[str, int]) -> tuple[str, ...]:
        return tuple(item.name for item in given.items if sample[item.name] == 1)

    def objective(self, given: KnapsackInput, solution: tuple[str, ...]) -> float:
        chosen = set(solution)
        return float(sum(item.value for item in given.items if item.name in chosen))

    def feasible(self, given: KnapsackInput, solution: tuple[str, ...]) -> bool:
        chosen, known = set(solution), {item.name for item in given.items}
        return chosen <= known and _weight(given, chosen) <= given.capacity

    def objectives(self, given: KnapsackInput, bits: Bits) -> Floats:
        values, _ = _columns(given)
        return np.asarray(bits[:, : len(values)] @ values, dtype=np.float64)

    def feasibles(self, given: KnapsackInput, bits: Bits) -> Bools:
        _, weights = _columns(given)
        return np.asarray(bits[:, : len(weights)] @ weights <= given.capacity, dtype=np.bool_)

    def repair(self, given: KnapsackInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Drop what has least value for its weight until the rest fits, then add what fits."""
        chosen = set(solution)
        weight = _weight(given, chosen)
        for item in reversed(_by_ratio(given)):
            if weight <= given.capacity:
                break
            if item.name in chosen:
                chosen.discard(item.name)
                weight -= item.weight
        return self._fill(given, chosen)

    def improve(self, given: KnapsackInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Drop the worst 1, 2, 4, … items and fill up greedily; exchange items, up to two for up
        to two if they are few; then force each in or out and fill up. Always the best of its
        kind, until nothing is better.

        Since all are dropped in the end, nothing below the greedy choice comes out.
        """
        order = [item.name for item in _by_ratio(given) if item.name in set(solution)]
        kept = {0, *(len(order) - (1 << k) for k in range(len(order).bit_length()))}
        tries = [self._fill(given, set(order[:count])) for count in sorted(kept)]
        best = max([solution, *tries], key=lambda one: self.objective(given, one))
        found = self._swapped(given, best)
        while len(given.items) <= MOST_FORCED:
            worth = self.objective(given, found)
            tries = [self._forced(given, found, item) for item in given.items]
            best = max(tries, key=lambda chosen: self.objective(given, chosen))
            if self.objective(given, best) <= worth:
                break
            found = best
        return found

    def _forced(
        self, given: KnapsackInput, solution: tuple[str, ...], item: Item
    ) -> tuple[str, ...]:
        """With an item that was out, or without one that was in; the rest as greedy as can be."""
        chosen = set(solution) ^ {item.name}
        if item.name not in chosen:
            return self._fill(given, chosen, without=item.name)
        weight = _weight(given, chosen)
        for other in reversed(_by_ratio(given)):
            if weight > given.capacity and other.name in chosen and other is not item:
                chosen.discard(other.name)
                weight -= other.weight
        return self._fill(given, chosen) if weight <= given.capacity else solution

    def _swapped(self, given: KnapsackInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        chosen = set(solution)
        inside = np.array([item.name in chosen for item in given.items])
        values, weights = _columns(given)
        # Nothing, which stands in where less than two items change, is worth and weighs nothing.
        values, weights = np.append(values, 0.0), np.append(weights, 0)
        # Rounding must not make two exchanges undo each other.
        least = 0.0 if not self.sums(given).off else 1e-12 * float(values.sum())
        for _ in range(MOST_SWAPS):
            free = given.capacity - int(weights[:-1][inside].sum())
            ins, outs = _handfuls(~inside), _handfuls(inside)
            gains = values[ins].sum(axis=1)[:, None] - values[outs].sum(axis=1)
            heavier = weights[ins].sum(axis=1)[:, None] - weights[outs].sum(axis=1)
            gains[heavier > free] = -np.inf
            row, column = np.unravel_index(int(gains.argmax()), gains.shape)
            if gains[row, column] <= least:
                break
            changed = np.append(inside, False)
            changed[[*ins[row], *outs[column]]] ^= True
            inside = changed[:-1]
        pairs = zip(given.items, inside.tolist(), strict=True)
        return tuple(item.name for item, one in pairs if one)

    def baseline(self, given: KnapsackInput) -> tuple[str, ...]:
        """Most value for its weight first, as long as it fits."""
        return self._fill(given, set())

    def bound(self, given: KnapsackInput) -> float:
        """The greedy choice with a part of the first item that does not fit (Dantzig 1957).

        Computed from its dual, which bounds from above whatever a unit of weight is said to be
        worth, so it is none the tighter for an order of items that rounding got wrong.
        """
        values, scale = whole_numbers([item.value for item in given.items])
        value = {item.name: worth for item, worth in zip(given.items, values, strict=True)}
        free = given.capacity
        worth, weight = 0, 1
        for item in _by_ratio(given):
            free -= item.weight
            if free < 0:
                worth, weight = value[item.name], item.weight
                break
        gains = (value[item.name] * weight - worth * item.weight for item in given.items)
        total = worth * given.capacity + sum(max(gain, 0) for gain in gains)
        found = Fraction(total, weight * scale)
        return float(math.floor(found)) if scale == 1 else rounded_up(found)

    def sums(self, given: KnapsackInput) -> Sums:
        return sums_of((item.value for item in given.items), one_sign=True)

    def explain(self, given: KnapsackInput, solution: tuple[str, ...]) -> str:
        return (
            f"{len(solution)} of {len(given.items)} items, worth "
            f"{number(self.objective(given, solution))}, weigh {_weight(given, solution)} of "
            f"{given.capacity}: {listing(solution)}."
        )

    def solution_json(
        self, given: KnapsackInput, solution: tuple[str, ...]
    ) -> dict[str, JsonValue]:
        return {"chosen": list(solution), "weight": _weight(given, solution)}

    def draw(self, given: KnapsackInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """The value for its weight of each item, best first; what is left behind is pale."""
        chosen = set(drawing.named(solution["chosen"]))
        order = _by_ratio(given)
        drawing.bars(
            axes,
            [item.name for item in order],
            [item.value / item.weight for item in order],
            [item.name in chosen for item in order],
        )
        axes.set_ylabel("value for each unit of weight")
        drawing.title(axes, f"weight {_weight(given, chosen)} of {given.capacity}")

    def _fill(
        self, given: KnapsackInput, chosen: set[str], without: str | None = None
    ) -> tuple[str, ...]:
        free = given.capacity - _weight(given, chosen)
        for item in _by_ratio(given):
            if item.name not in chosen and item.name != without and item.weight <= free:
                chosen.add(item.name)
                free -= item.weight
        return tuple(item.name for item in given.items if item.name in chosen)


def _handfuls(there: Bools) -> npt.NDArray[np.intp]:
    """No item, one and, if there are not too many, two; the place behind the last is no item."""
    places = np.append(np.flatnonzero(there), len(there))
    if len(there) > MOST_FORCED:
        return np.stack([places, np.full_like(places, len(there))], axis=1)
    first, second = np.triu_indices(len(places), 1)
    nothing = [[len(there), len(there)]]
    return np.concatenate([nothing, np.stack([places[first], places[second]], axis=1)])


def _limit(given: KnapsackInput) -> int:
    return min(given.capacity, sum(item.weight for item in given.items))


def _slack(given: KnapsackInput) -> tuple[int, ...]:
    return slack_weights(_limit(given))


def _weight(given: KnapsackInput, chosen: Iterable[str]) -> int:
    names = set(chosen)
    return sum(item.weight for item in given.items if item.name in names)


@lru_cache(maxsize=4)
def _by_ratio(given: KnapsackInput) -> tuple[Item, ...]:
    return tuple(sorted(given.items, key=lambda item: -item.value / item.weight))


def _columns(given: KnapsackInput) -> tuple[Floats, npt.NDArray[np.int64]]:
    values = np.array([item.value for item in given.items], dtype=np.float64)
    return values, np.array([item.weight for item in given.items], dtype=np.int64)


KNAPSACK = Knapsack()
"""What the entry point names."""
