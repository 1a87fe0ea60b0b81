"""Number partitioning: two groups whose totals differ as little as possible."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import dimod
import numpy as np
from pydantic import Field, JsonValue, field_validator

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Floats, ProblemInput, ProblemType, listing, number
from qsaga.problems.exact import Sums, rounded_down, sums_of, whole_numbers
from qsaga.problems.graphs import NodeName, check_names
from qsaga.problems.reading import FileFormat, Source
from qsaga.problems.sheets import looks_like, sheet


class Part(NamedTuple):
    """``[name, size]``."""

    name: NodeName
    size: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]


class PartitionInput(ProblemInput):
    """What is to be divided.

    Args:
        items: ``[name, size]``, each name once; sizes above 0, all in one unit.
    """

    items: Annotated[tuple[Part, ...], Field(min_length=2)]

    @field_validator("items")
    @classmethod
    def _names_once(cls, items: tuple[Part, ...]) -> tuple[Part, ...]:
        check_names([item.name for item in items])
        return items


def _csv(source: Source, _problem: str) -> dict[str, Any]:
    rows = sheet(source).columns("name", "size")
    return {"items": [[row[0], source.value(line, row[1])] for line, row in rows]}


CSV = FileFormat(
    "partition-csv",
    "CSV with the columns `name` and `size`",
    "partition",
    _csv,
    (".csv",),
    lambda source: looks_like(source, "name", "size"),
)


class Partition(ProblemType[PartitionInput, dict[str, int]]):
    """Number partitioning. The model is Ising: the square of the difference of the two totals,
    so a coupling 2·size·size for each pair, no field and no penalty (Lucas 2014,
    arXiv:1302.5843, section 2.1). The objective is the difference, the root of the energy.

    A solution maps each item to its group, 0 or 1; the first item is always in group 0.
    """

    name = "partition"
    formulation = "partition-squares/1"
    decoding = "partition-groups/2"
    title = "Two groups with totals as equal as possible"
    sense = "minimise"
    columns = {"items": ("name", "size")}
    reference = "Lucas 2014, arXiv:1302.5843, section 2.1"
    example = {"items": [["sofa", 31.0], ["piano", 27.0], ["desk", 22.0], ["bed", 19.0]]}
    formats = (CSV,)
    model = PartitionInput

    def variables(self, given: PartitionInput) -> tuple[str, ...]:
        return tuple(item.name for item in given.items)

    def size(self, given: PartitionInput) -> tuple[int, int]:
        count = len(given.items)
        return count, count * (count - 1) // 2

    def formulate(self, given: PartitionInput) -> dimod.BinaryQuadraticModel:
        model = dimod.BinaryQuadraticModel(dimod.SPIN)
        for place, item in enumerate(given.items):
            model.add_variable(item.name)
            for other in given.items[:place]:
                model.add_quadratic(item.name, other.name, 2 * item.size * other.size)
        model.offset = sum(item.size**2 for item in given.items)
        return model

    def objective_of_energy(self, energy: Any) -> Any:
        # The energy of equal totals may be a rounding error below 0.
        return np.sqrt(np.maximum(energy, 0.0))

    def decode(self, given: PartitionInput, sample: Mapping[str, int]) -> dict[str, int]:
        names = self.variables(given)
        return {name: sample[name] ^ sample[names[0]] for name in names}

    def objective(self, given: PartitionInput, solution: dict[str, int]) -> float:
        return abs(sum(_signed(given, solution)))

    def feasible(self, given: PartitionInput, solution: dict[str, int]) -> bool:
        return set(solution) == set(self.variables(given)) and set(solution.values()) <= {0, 1}

    def objectives(self, given: PartitionInput, bits: Bits) -> Floats:
        return np.asarray(np.abs((2.0 * bits - 1.0) @ _sizes(given)), dtype=np.float64)

    def improve(self, given: PartitionInput, solution: dict[str, int]) -> dict[str, int]:
        """Move the item, or the two items, that lower the difference most, until none does."""
        signed = np.array(_signed(given, solution))
        least = 0.0 if not self.sums(given).off else 1e-12 * float(np.sum(np.abs(signed)))
        while flips := _best_flips(signed, least):
            signed[list(flips)] *= -1
        groups = (signed > 0).astype(int).tolist()
        return self.decode(given, dict(zip(self.variables(given), groups, strict=True)))

    def baseline(self, given: PartitionInput) -> dict[str, int]:
        """Largest first, each to the group with the smaller total."""
        totals, groups = [0.0, 0.0], dict.fromkeys(self.variables(given), 0)
        for item in sorted(given.items, key=lambda item: -item.size):
            groups[item.name] = int(totals[1] < totals[0])
            totals[groups[item.name]] += item.size
        return self.decode(given, groups)

    def bound(self, given: PartitionInput) -> float:
        """What the largest item is above all others, and 1 where whole sizes have an odd sum."""
        parts, scale = whole_numbers([item.size for item in given.items])
        excess = max(2 * max(parts) - sum(parts), sum(parts) % 2 if scale == 1 else 0)
        return rounded_down(Fraction(excess, scale))

    def sums(self, given: PartitionInput) -> Sums:
        return sums_of(item.size for item in given.items)

    def explain(self, given: PartitionInput, solution: dict[str, int]) -> str:
        told = []
        for group in (0, 1):
            members = [item for item in given.items if solution[item.name] == group]
            total = number(sum(item.size for item in members))
            told.append(f"{listing([item.name for item in members])} come to {total}")
        return f"{told[0]}; {told[1]}: a difference of {number(self.objective(given, solution))}."

    def solution_json(
        self, given: PartitionInput, solution: dict[str, int]
    ) -> dict[str, JsonValue]:
        return {
            "first": [name for name, group in solution.items() if group == 0],
            "second": [name for name, group in solution.items() if group == 1],
        }

    def draw(self, given: PartitionInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """A stack of items for each group."""
        sizes = {item.name: item.size for item in given.items}
        groups = {word: drawing.named(solution[word]) for word in ("first", "second")}
        drawing.stacks(
            axes, [(word, [(n, sizes[n]) for n in names]) for word, names in groups.items()]
        )
        first, second = (sum(sizes[n] for n in names) for names in groups.values())
        drawing.title(axes, f"{number(first)} and {number(second)}")


def _sizes(given: PartitionInput) -> Floats:
    return np.array([item.size for item in given.items], dtype=np.float64)


def _signed(given: PartitionInput, solution: dict[str, int]) -> list[float]:
    return [item.size if solution[item.name] else -item.size for item in given.items]


def _best_flips(signed: Floats, least: float) -> tuple[int, ...]:
    """One or two places whose change of group lowers the difference most; none if none does."""
    difference = float(signed.sum())
    found: tuple[float, tuple[int, ...]] = (abs(difference) - least, ())
    alone = np.abs(difference - 2 * signed)
    if alone.min() < found[0]:
        found = (float(alone.min()), (int(alone.argmin()),))
    order = np.argsort(signed, kind="stable")
    # The best partner of an item brings their sum nearest to half the difference.
    nearest = np.searchsorted(signed[order], difference / 2 - signed)
    for shift in (-2, -1, 0, 1):
        partner = order[np.clip(nearest + shift, 0, len(order) - 1)]
        together = np.abs(difference - 2 * (signed + signed[partner]))
        together[partner == np.arange(len(signed))] = np.inf
        if together.min() < found[0]:
            place = int(together.argmin())
            found = (float(together[place]), (place, int(partner[place])))
    return found[1]


PARTITION = Partition()
"""What the entry point names."""
