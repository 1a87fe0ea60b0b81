"""Quadratic assignment: facilities to locations so that what flows between them travels little."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Self

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing
from qsaga.problems.assignment import (
    Chosen,
    Places,
    as_chosen,
    assigned,
    is_assignment,
    least_assignment,
    penalty,
    placed,
    square_model,
    squares,
)
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType, listing, number
from qsaga.problems.exact import LARGEST, Sums, rounded_down, sums_of, whole_numbers
from qsaga.problems.graphs import check_names
from qsaga.problems.qaplib import QAPLIB
from qsaga.problems.tables import Amount, PlainName, Table, check_square, frozen

MOST_FACILITIES = 50
"""The model of so many has 2,500 variables and up to 3 million couplings."""

Names = Annotated[tuple[PlainName, ...], Field(min_length=2, max_length=MOST_FACILITIES)]


EXCHANGES = 1000
"""Of one local search."""


class QuadraticAssignmentInput(ProblemInput):
    """As many facilities as locations.

    Args:
        facilities: names.
        locations: names.
        flow: how much goes from the facility of the row to that of the column.
        distance: from the location of the row to that of the column.

    Every ordered pair counts: a flow that is given in both directions counts twice, as in QAPLIB.
    On the diagonal is what a facility sends to itself, at its location's own distance.
    """

    facilities: Names
    locations: Names
    flow: tuple[tuple[Amount, ...], ...]
    distance: tuple[tuple[Amount, ...], ...]

    @field_validator("facilities", "locations")
    @classmethod
    def _names_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        size = len(self.facilities)
        if len(self.locations) != size:
            raise PydanticCustomError(
                "sizes",
                "{locations} locations for {facilities} facilities",
                {
                    "locations": len(self.locations),
                    "facilities": size,
                    "at": "locations",
                    "allowed": "as many; add facilities without flow for locations to spare",
                },
            )
        check_square(self.flow, size, "flow")
        check_square(self.distance, size, "distance")
        return self


def _whole_table(table: Table) -> tuple[npt.NDArray[np.object_], int]:
    """The numbers of a square table as ``whole_numbers``, which may be of any size."""
    numbers, scale = whole_numbers([value for row in table for value in row])
    return np.array(numbers, dtype=np.object_).reshape(len(table), len(table)), scale


@lru_cache(maxsize=8)
def _tables(given: QuadraticAssignmentInput) -> tuple[Floats, Floats]:
    return frozen(given.flow), frozen(given.distance)


class QuadraticAssignment(ProblemType[QuadraticAssignmentInput, Chosen]):
    """A variable says that a facility is at a location, as in the travelling salesman's square of
    Lucas 2014, arXiv:1302.5843, section 7. Flow times distance is the cost of a pair. Each
    facility must be at one location, and each location have one facility: P (1 - sum)**2 for each.

    How large P must be: where one is used twice, taking one out costs nothing. Then a facility
    and a location are left over; to put the one at the other lowers the penalty by 2 P and adds
    at most what the facility's flows cost, the largest over the longest distances. So every P
    above half of that makes each sample that is no assignment worse than some assignment. 1.25
    times that is taken.

    A solution is the indices of the locations of each facility.
    """

    name = "quadratic_assignment"
    formulation = "qap-square/1"
    decoding = "qap-exchange/2"
    title = "Facilities to locations with least flow times distance (quadratic assignment)"
    sense = "minimise"
    reference = "Koopmans and Beckmann 1957, doi:10.2307/1907742; Lucas 2014, arXiv:1302.5843"
    example = {
        "facilities": ["emergency", "x-ray", "surgery"],
        "locations": ["ground floor", "first floor", "annex"],
        "flow": [[0, 9, 4], [9, 0, 2], [4, 2, 0]],
        "distance": [[0, 1, 3], [1, 0, 2], [3, 2, 0]],
    }
    formats = (QAPLIB,)
    model = QuadraticAssignmentInput

    def variables(self, given: QuadraticAssignmentInput) -> tuple[str, ...]:
        return tuple(f"{thing}@{place}" for thing in given.facilities for place in given.locations)

    def size(self, given: QuadraticAssignmentInput) -> tuple[int, int]:
        flow, size = _tables(given)[0], len(given.facilities)
        joined = int(np.count_nonzero(np.triu(flow + flow.T, 1)))
        return size * size, size * size * (size - 1) + joined * size * (size - 1)

    def formulate(self, given: QuadraticAssignmentInput) -> dimod.BinaryQuadraticModel:
        flow, distance = _tables(given)
        size = len(flow)
        one, other = np.nonzero(np.triu(flow + flow.T, 1))
        here, there = np.nonzero(~np.eye(size, dtype=np.bool_))
        pairs = (
            (one[:, None] * size + here).ravel(),
            (other[:, None] * size + there).ravel(),
            (
                flow[one, other][:, None] * distance[here, there]
                + flow[other, one][:, None] * distance[there, here]
            ).ravel(),
        )
        own = np.outer(np.diag(flow), np.diag(distance))
        dearest = float(np.max(own + _dearest(flow, distance) + _dearest(flow.T, distance.T)))
        return square_model(self.variables(given), penalty(dearest), own, pairs)

    def decode(self, given: QuadraticAssignmentInput, sample: Mapping[str, int]) -> Chosen:
        return tuple(
            tuple(
                index for index, place in enumerate(given.locations) if sample[f"{thing}@{place}"]
            )
            for thing in given.facilities
        )

    def objective(self, given: QuadraticAssignmentInput, solution: Chosen) -> float:
        return math.fsum(
            amount * given.distance[here][there]
            for row, places in zip(given.flow, solution, strict=True)
            for amount, others in zip(row, solution, strict=True)
            if amount
            for here in places
            for there in others
        )

    def feasible(self, given: QuadraticAssignmentInput, solution: Chosen) -> bool:
        return len(solution) == len(given.facilities) and is_assignment(solution)

    def objectives(self, given: QuadraticAssignmentInput, bits: Bits) -> Floats:
        flow, distance = _tables(given)
        at = squares(bits, len(flow))
        total = np.sum(flow * (at @ distance @ np.swapaxes(at, 1, 2)), axis=(1, 2))
        for row in np.flatnonzero(assigned(bits, len(flow))):
            # Summed exactly, as ``objective`` does: rounding must not make equal layouts differ.
            places = at[row].argmax(axis=1)
            total[row] = math.fsum((flow * distance[np.ix_(places, places)]).ravel().tolist())
        return np.asarray(total, dtype=np.float64)

    def feasibles(self, given: QuadraticAssignmentInput, bits: Bits) -> Bools:
        return assigned(bits, len(given.facilities))

    def repair(self, given: QuadraticAssignmentInput, solution: Chosen) -> Chosen:
        """Each facility at its first free location, the others where they cost least.

        Facilities that have no location are placed in the order of the input.
        """
        flow, distance = _tables(given)
        places = placed(solution)
        for thing, place in enumerate(places):
            if place is None:
                free = sorted(set(range(len(flow))) - set(places))
                there = [k for k, one in enumerate(places) if one is not None]
                taken = [one for one in places if one is not None]
                costs = flow[thing, there] @ distance[np.ix_(free, taken)].T
                costs = costs + flow[there, thing] @ distance[np.ix_(taken, free)]
                places[thing] = free[int(np.argmin(costs))]
        return as_chosen(places)

    def improve(self, given: QuadraticAssignmentInput, solution: Chosen) -> Chosen:
        """Tabu search over exchanges of two facilities (after Taillard 1991)."""
        return as_chosen(_exchanged(*_tables(given), [place for (place,) in solution]))

    def baseline(self, given: QuadraticAssignmentInput) -> Chosen:
        """The facility with most flow to the location nearest to all others, and so on."""
        flow, distance = _tables(given)
        busy = np.argsort(-(flow.sum(axis=0) + flow.sum(axis=1)), kind="stable")
        central = np.argsort(distance.sum(axis=0) + distance.sum(axis=1), kind="stable")
        return as_chosen(central[np.argsort(busy, kind="stable")])

    def bound(self, given: QuadraticAssignmentInput) -> float:
        """Gilmore and Lawler's: each facility as if it alone could choose where the others go."""
        flow, scale = _whole_table(given.flow)
        distance, more = _whole_table(given.distance)
        own = np.outer(np.diag(flow), np.diag(distance))
        least = np.sort(_others(flow), axis=1) @ -np.sort(-_others(distance), axis=1).T
        found = least_assignment((own + least).tolist())
        return rounded_down(Fraction(found, scale * more))

    def sums(self, given: QuadraticAssignmentInput) -> Sums:
        flow, distance = (np.sort(table, axis=None) for table in _tables(given))
        # The dearest sum there is. One that is not whole goes through a product and one rounding.
        dearest = (flow * distance).tolist()
        whole = _are_whole(flow, distance)
        return sums_of(dearest, one_sign=True, operations=0 if whole else 2)

    def explain(self, given: QuadraticAssignmentInput, solution: Chosen) -> str:
        pairs = [
            f"{thing} at {given.locations[place]}"
            for thing, (place,) in zip(given.facilities, solution, strict=True)
        ]
        return (
            f"Flow times distance is {number(self.objective(given, solution))}: {listing(pairs)}."
        )

    def solution_json(
        self, given: QuadraticAssignmentInput, solution: Chosen
    ) -> dict[str, JsonValue]:
        return {
            "locations": {
                thing: given.locations[place]
                for thing, (place,) in zip(given.facilities, solution, strict=True)
            }
        }

    def draw(
        self, given: QuadraticAssignmentInput, solution: Mapping[str, JsonValue], axes: Any
    ) -> None:
        """Flow times distance of each pair of facilities, in the order of their locations."""
        flow, distance = _tables(given)
        where: Any = solution["locations"]
        places = [given.locations.index(where[thing]) for thing in given.facilities]
        order = np.argsort(places, kind="stable")
        costs = (flow * distance[np.ix_(places, places)])[np.ix_(order, order)]
        axes.imshow(costs, cmap="viridis")
        words = [f"{given.facilities[k]} at {given.locations[places[k]]}" for k in order]
        plain = {"fontsize": 8, "parse_math": False}
        axes.set_yticks(range(len(words)))
        axes.set_yticklabels(words, **plain)
        axes.set_xticks(range(len(words)))
        axes.set_xticklabels([given.facilities[k] for k in order], rotation=90, **plain)
        drawing.title(axes, "flow times distance")


def _exchanged(flow: Floats, distance: Floats, start: list[int]) -> Places:
    """The best that ``EXCHANGES`` exchanges lead to, each the best that is open.

    Closed is an exchange that takes both facilities back to where they were lately, unless
    nothing better was found before. How long is "lately" goes round from 0.9 n to 1.1 n rounds.
    """
    size = len(flow)
    places = np.array(start)
    best, worth, total = places.copy(), 0.0, 0.0
    dearest = float(np.max(flow) * np.max(distance))
    exact = _are_whole(flow, distance) and 16 * size**2 * dearest <= LARGEST
    # Rounding must not pass for a layout that is better.
    least = 0.0 if exact else 1e-9 * dearest
    until = np.zeros((size, size), dtype=np.intp)
    same = np.tri(size, dtype=np.bool_)
    low, spread = max(1, 9 * size // 10), max(1, size // 5)
    for turn in range(1, EXCHANGES + 1):
        saved = _savings(flow, distance[np.ix_(places, places)])
        back = until[:, places] >= turn
        closed = (back & back.T & (total + saved <= worth + least)) | same
        choice = np.where(closed, -np.inf, saved)
        one, other = (int(k) for k in np.unravel_index(int(np.argmax(choice)), choice.shape))
        if not np.isfinite(choice[one, other]):
            continue
        kept = turn + low + turn % (spread + 1)
        until[one, places[one]] = until[other, places[other]] = kept
        places[[one, other]] = places[[other, one]]
        total += float(saved[one, other])
        if total > worth + least:
            best, worth = places.copy(), total
    return best


def _are_whole(flow: Floats, distance: Floats) -> bool:
    return bool(np.all(flow == np.round(flow)) and np.all(distance == np.round(distance)))


def _others(table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A table without its diagonal. Shape (n, n - 1)."""
    size = len(table)
    return table[~np.eye(size, dtype=np.bool_)].reshape(size, size - 1)


def _dearest(flow: Floats, distance: Floats) -> Floats:
    """The most that the outgoing flows of each facility can cost at each location."""
    found: Floats = np.sort(_others(flow), axis=1) @ np.sort(_others(distance), axis=1).T
    return found


def _savings(flow: Floats, apart: Floats) -> Floats:
    """What exchanging each two facilities saves (Taillard 1991). Shape (n, n), symmetric.

    Args:
        flow: between facilities.
        apart: the distance between facilities where they are now.
    """
    # [r, s]: what the flows of r cost where s is; too much by those between r and s themselves.
    moved = flow.T @ apart + flow @ apart.T
    stay = np.diag(moved)
    own, near = np.diag(flow), np.diag(apart)
    ends = near[:, None] + near[None, :]
    within = own[:, None] * (apart + apart.T - 2 * near[:, None])
    between = (flow + flow.T) * ends / 2 - 2 * flow * apart
    twice = within + within.T + between + between.T
    turned = (flow - flow.T) * (apart - apart.T)
    alone = (own[:, None] - own[None, :]) * (near[:, None] - near[None, :])
    found: Floats = stay[:, None] + stay[None, :] - moved - moved.T + twice + turned + alone
    return found


QUADRATIC_ASSIGNMENT = QuadraticAssignment()
"""What the entry point names."""
