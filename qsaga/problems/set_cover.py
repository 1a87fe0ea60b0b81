"""Set cover: the cheapest choice of sets that has every element in at least one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, NamedTuple, Self

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType, listing, number
from qsaga.problems.exact import Sums, rounded_down, sums_of, whole_numbers
from qsaga.problems.graphs import NodeName, check_names, in_order
from qsaga.problems.inequality import MARGIN, extra_names
from qsaga.problems.reading import FileFormat, Source, count
from qsaga.problems.sheets import Numbers


class Choice(NamedTuple):
    """``[name, cost, [elements]]``."""

    name: NodeName
    cost: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
    covers: Annotated[tuple[NodeName, ...], Field(min_length=1)]


class SetCoverInput(ProblemInput):
    """What must be covered, and by what it can be.

    Args:
        elements: names of all that must be covered; left out, all that any set covers.
        sets: ``[name, cost, [elements]]``, each name once; costs above 0.
    """

    elements: tuple[NodeName, ...] = ()
    sets: Annotated[tuple[Choice, ...], Field(min_length=1)]

    @field_validator("elements")
    @classmethod
    def _elements_once(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        check_names(elements)
        return elements

    @field_validator("sets")
    @classmethod
    def _names_once(cls, sets: tuple[Choice, ...]) -> tuple[Choice, ...]:
        check_names([one.name for one in sets])
        return sets

    @model_validator(mode="after")
    def _known_elements(self) -> Self:
        known = frozenset(self.elements)
        for index, one in enumerate(self.sets):
            for place, element in enumerate(one.covers):
                twice = element in one.covers[:place]
                if twice or (known and element not in known):
                    raise PydanticCustomError(
                        "unknown_name",
                        "{name} was already given" if twice else "{name} is no element",
                        {
                            "name": repr(element),
                            "at": f"sets.{index}.covers.{place}",
                            "allowed": "each element once" if twice else "one of elements",
                        },
                    )
        return self


def _scp(source: Source, _problem: str) -> dict[str, Any]:
    numbers = Numbers(source)
    rows = numbers.whole("the number of elements", 1)
    count = numbers.whole("the number of sets", 1)
    costs = [numbers.value("the costs of the sets") for _ in range(count)]
    covers: list[list[str]] = [[] for _ in range(count)]
    for row in range(1, rows + 1):
        for _ in range(numbers.whole(f"how many sets cover element {row}", 1)):
            covers[numbers.place(f"the sets that cover element {row}", count) - 1].append(str(row))
    numbers.end()
    sets = [
        [str(place), cost, covered]
        for place, (cost, covered) in enumerate(zip(costs, covers, strict=True), start=1)
        if covered
    ]
    return {"elements": [str(row) for row in range(1, rows + 1)], "sets": sets}


def _like_scp(source: Source) -> bool:
    """Whether the counts in the file lead from its beginning exactly to its end."""
    words = source.text.split()
    numbers = [number for word in words if (number := count(word)) is not None]
    if len(words) < 5 or len(numbers) < len(words):
        return False
    at = 2 + numbers[1]
    for _ in range(numbers[0]):
        if at >= len(numbers):
            return False
        at += 1 + numbers[at]
    return at == len(numbers)


SCP = FileFormat(
    "scp",
    "`elements sets`, the cost of each set, then for each element how many sets cover it and "
    "which, counted from 1 (OR-Library's scp files)",
    "set_cover",
    _scp,
    (".scp",),
    _like_scp,
)


class SetCover(ProblemType[SetCoverInput, tuple[str, ...]]):
    """Set cover. The model is the cost of the chosen sets plus a penalty for each element that no
    chosen set covers. Without slack for "at least one": an element in d sets is uncovered where
    all d are left out, a product of d factors, and it takes ⌈log₂ d⌉ − 1 extra bits y to write
    that product as ½·t·(t − 1) with t = 2^⌈log₂ d⌉ − (chosen among the d) − 2y₁ − 4y₂ − …
    (Boros, Crama and Rodríguez-Heck 2020). The lowest value over the extra bits is 1 if the
    element is uncovered and else 0; the coefficients stay small.

    Penalty: for each element 1.5 times the cost of the cheapest set with it. To add that set
    costs less than the penalty, so every choice that leaves an element out can be bettered.

    A solution is the chosen sets, in the order of the input.
    """

    name = "set_cover"
    formulation = "set-cover-product/1"
    decoding = "set-cover-repair/2"
    title = "The cheapest sets that together cover every element"
    sense = "minimise"
    columns = {"sets": ("name", "cost", "covers")}
    reference = (
        "Boros, Crama, Rodríguez-Heck 2020, Compact quadratizations for pseudo-Boolean "
        "functions, J. Comb. Optim. 39, 687-707"
    )
    example = {
        "elements": ["north", "east", "south", "west"],
        "sets": [
            ["mast A", 3.0, ["north", "east"]],
            ["mast B", 2.0, ["east", "south"]],
            ["mast C", 3.0, ["south", "west"]],
            ["mast D", 4.0, ["north", "west", "south"]],
        ],
    }
    formats = (SCP,)
    model = SetCoverInput

    def infeasible(self, given: SetCoverInput) -> str:
        bare = [element for element, sets in _covering(given).items() if not sets]
        return f"no set covers {listing(bare)}" if bare else ""

    def variables(self, given: SetCoverInput) -> tuple[str, ...]:
        names = tuple(one.name for one in given.sets)
        extra = sum(_extra_bits(len(sets)) for sets in _covering(given).values())
        return names + extra_names(names, "extra", extra)

    def size(self, given: SetCoverInput) -> tuple[int, int]:
        coupled: set[tuple[int, int]] = set()
        extra = inner = 0
        for sets in _covering(given).values():
            coupled.update((a, b) for place, b in enumerate(sets) for a in sets[:place])
            bits = _extra_bits(len(sets))
            extra += bits
            inner += bits * len(sets) + bits * (bits - 1) // 2
        return len(given.sets) + extra, len(coupled) + inner

    def formulate(self, given: SetCoverInput) -> dimod.BinaryQuadraticModel:
        names = self.variables(given)
        model = dimod.BinaryQuadraticModel(dimod.BINARY)
        for name in names:
            model.add_variable(name)
        for one in given.sets:
            model.add_linear(one.name, one.cost)
        start = len(given.sets)
        for sets in _covering(given).values():
            bits = _extra_bits(len(sets))
            extra = names[start : start + bits]
            start += bits
            penalty = MARGIN * min(given.sets[place].cost for place in sets)
            _add_uncovered(model, [given.sets[place].name for place in sets], extra, penalty)
        return model

    def decode(self, given: SetCoverInput, sample: Mapping[str, int]) -> tuple[str, ...]:
        return tuple(one.name for one in given.sets if sample[one.name] == 1)

    def objective(self, given: SetCoverInput, solution: tuple[str, ...]) -> float:
        chosen = set(solution)
        return float(sum(one.cost for one in given.sets if one.name in chosen))

    def feasible(self, given: SetCoverInput, solution: tuple[str, ...]) -> bool:
        masks = _masks(given)
        return set(solution) <= set(masks) and not _missing(masks, solution)

    def objectives(self, given: SetCoverInput, bits: Bits) -> Floats:
        costs = np.array([one.cost for one in given.sets], dtype=np.float64)
        return np.asarray(bits[:, : len(costs)] @ costs, dtype=np.float64)

    def feasibles(self, given: SetCoverInput, bits: Bits) -> Bools:
        elements = {element: place for place, element in enumerate(_elements(given))}
        inside: npt.NDArray[np.int32] = np.zeros((len(given.sets), len(elements)), dtype=np.int32)
        for row, one in enumerate(given.sets):
            inside[row, [elements[element] for element in one.covers]] = 1
        return np.asarray(np.all(bits[:, : len(given.sets)] @ inside, axis=1), dtype=np.bool_)

    def repair(self, given: SetCoverInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Add what covers most that is uncovered for its cost, then drop what is not needed."""
        masks = _masks(given)
        chosen = set(solution)
        missing = _missing(masks, chosen)
        while missing:
            best = min(given.sets, key=lambda one: _price(one, masks, missing))
            chosen.add(best.name)
            missing &= ~masks[best.name]
        return self._lean(given, chosen)

    def improve(self, given: SetCoverInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Drop the dearest 1, 2, 4, … sets and repair, then swap a set for a cheaper one that
        covers all it alone covered, until there is none.

        Since all are dropped in the end, nothing above the greedy cover comes out.
        """
        order = [one.name for one in _cheapest_first(given) if one.name in set(solution)]
        kept = {0, *(len(order) - (1 << k) for k in range(len(order).bit_length()))}
        tries = [self.repair(given, tuple(order[:count])) for count in sorted(kept)]
        best = min([solution, *tries], key=lambda one: self.objective(given, one))
        chosen = set(best)
        while swap := _swap(given, chosen):
            chosen.discard(swap[0])
            chosen.add(swap[1])
        return self._lean(given, chosen)

    def baseline(self, given: SetCoverInput) -> tuple[str, ...]:
        """Again and again the set that covers most that is uncovered for its cost."""
        return self.repair(given, ())

    def bound(self, given: SetCoverInput) -> float:
        """A dual ascent: each element pays what the cheapest set with it has left to be paid.

        No set is paid more than its cost, so every cover costs at least what is paid.
        """
        unpaid, scale = whole_numbers([one.cost for one in given.sets])
        total = 0
        # An element in few sets has few ways to be covered, so it comes first.
        for sets in sorted(_covering(given).values(), key=len):
            paid = min(unpaid[place] for place in sets)
            total += paid
            for place in sets:
                unpaid[place] -= paid
        return rounded_down(Fraction(total, scale))

    def sums(self, given: SetCoverInput) -> Sums:
        return sums_of((one.cost for one in given.sets), one_sign=True)

    def explain(self, given: SetCoverInput, solution: tuple[str, ...]) -> str:
        return (
            f"{len(solution)} of {len(given.sets)} sets, cost "
            f"{number(self.objective(given, solution))}, cover all {len(_elements(given))} "
            f"elements: {listing(solution)}."
        )

    def solution_json(
        self, given: SetCoverInput, solution: tuple[str, ...]
    ) -> dict[str, JsonValue]:
        return {"chosen": list(solution)}

    def draw(self, given: SetCoverInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """A dot where a set covers an element, the columns of the chosen sets dark."""
        chosen = set(drawing.named(solution["chosen"]))
        place = {element: row for row, element in enumerate(_elements(given))}
        drawing.dots(
            axes,
            [one.name for one in given.sets],
            list(place),
            [[place[element] for element in one.covers] for one in given.sets],
            [one.name in chosen for one in given.sets],
        )
        cost = number(self.objective(given, tuple(chosen)))
        drawing.title(axes, f"{len(chosen)} sets, cost {cost}")

    def _lean(self, given: SetCoverInput, chosen: set[str]) -> tuple[str, ...]:
        """Without the sets that the others make superfluous, the dearest of them first."""
        times = Counter(e for one in given.sets if one.name in chosen for e in one.covers)
        for one in reversed(_cheapest_first(given)):
            if one.name in chosen and all(times[element] > 1 for element in one.covers):
                chosen.discard(one.name)
                times.subtract(one.covers)
        return tuple(one.name for one in given.sets if one.name in chosen)


def _elements(given: SetCoverInput) -> tuple[str, ...]:
    return in_order(given.elements, *(one.covers for one in given.sets))


def _covering(given: SetCoverInput) -> dict[str, list[int]]:
    """For each element the places of the sets that have it."""
    found: dict[str, list[int]] = {element: [] for element in _elements(given)}
    for place, one in enumerate(given.sets):
        for element in one.covers:
            found[element].append(place)
    return found


@lru_cache(maxsize=4)
def _masks(given: SetCoverInput) -> dict[str, int]:
    """For each set the elements that it covers, a bit for each."""
    place = {element: bit for bit, element in enumerate(_elements(given))}
    return {one.name: sum(1 << place[element] for element in one.covers) for one in given.sets}


@lru_cache(maxsize=4)
def _cheapest_first(given: SetCoverInput) -> tuple[Choice, ...]:
    return tuple(sorted(given.sets, key=lambda one: one.cost))


def _missing(masks: Mapping[str, int], chosen: Iterable[str]) -> int:
    """What is covered by some set, but by none of these."""
    covered = reduce(or_, (masks[name] for name in chosen), 0)
    return reduce(or_, masks.values()) & ~covered


def _price(one: Choice, masks: Mapping[str, int], missing: int) -> float:
    fresh = (masks[one.name] & missing).bit_count()
    return one.cost / fresh if fresh else float("inf")


def _swap(given: SetCoverInput, chosen: set[str]) -> tuple[str, str] | None:
    """A chosen set, the dearest first, and the cheapest one that can stand in for it."""
    masks = _masks(given)
    for one in reversed(_cheapest_first(given)):
        if one.name not in chosen:
            continue
        alone = _missing(masks, chosen - {one.name})
        for other in _cheapest_first(given):
            if other.cost >= one.cost:
                break
            if not alone & ~masks[other.name]:
                return one.name, other.name
    return None


def _extra_bits(sets: int) -> int:
    return max((sets - 1).bit_length() - 1, 0)


def _add_uncovered(
    model: dimod.BinaryQuadraticModel, sets: list[str], extra: tuple[str, ...], penalty: float
) -> None:
    """Add ``penalty`` times the product of all (1 - set), at its lowest over the extra bits."""
    if len(sets) == 1:
        model.add_linear(sets[0], -penalty)
        model.offset += penalty
        return
    top = 1 << (len(sets) - 1).bit_length()
    terms = [*((name, -1) for name in sets), *((y, -(2 << k)) for k, y in enumerate(extra))]
    # Half of t², then half of -t.
    model.add_linear_equality_constraint(terms, penalty / 2, top)
    for name, weight in terms:
        model.add_linear(name, -penalty / 2 * weight)
    model.offset -= penalty / 2 * top


SET_COVER = SetCover()
"""What the entry point names."""
