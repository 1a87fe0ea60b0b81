"""Travelling salesman: the shortest round trip through all cities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self

import dimod
import numpy as np
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing, tours
from qsaga.problems.assignment import assigned, penalty, square_model, squares
from qsaga.problems.base import (
    Bits,
    Bools,
    Floats,
    ProblemInput,
    ProblemType,
    listing,
    number,
)
from qsaga.problems.distances import METRICS, Metric
from qsaga.problems.exact import Sums, sums_of
from qsaga.problems.graphs import check_names
from qsaga.problems.tables import Amount, PlainName, check_square, frozen
from qsaga.problems.tsplib import PLACES_CSV, TSPLIB

MOST_CITIES = 128
"""The model of so many has 16,129 variables and 4 million couplings."""

Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]

Stops = tuple[tuple[str, ...], ...]
"""The cities at each stop after the first city; in a round trip one at each."""


class Place(NamedTuple):
    """``[name, x, y]``."""

    name: PlainName
    x: Coordinate
    y: Coordinate


class TspInput(ProblemInput):
    """Cities, and how far they are from each other.

    Args:
        places: ``[name, x, y]`` for each city; alone, or beside a table for the picture.
        metric: how coordinates become distances; the words but the first are TSPLIB's.
        cities: names, where distances come as a table and places are not known.
        distances: from the city of the row to the city of the column, null where no road leads.
            The two directions may differ. The diagonal is not read.
    """

    places: Annotated[tuple[Place, ...], Field(max_length=MOST_CITIES)] = ()
    metric: Literal["euclidean", "EUC_2D", "CEIL_2D", "ATT", "GEO"] = "euclidean"
    cities: Annotated[tuple[PlainName, ...], Field(max_length=MOST_CITIES)] = ()
    distances: tuple[tuple[Amount | None, ...], ...] = ()

    @field_validator("cities")
    @classmethod
    def _cities_once(cls, cities: tuple[str, ...]) -> tuple[str, ...]:
        check_names(cities)
        return cities

    @field_validator("places")
    @classmethod
    def _places_once(cls, places: tuple[Place, ...]) -> tuple[Place, ...]:
        check_names([place.name for place in places])
        return places

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.cities) == bool(self.places):
            raise _wrong("cities", "cities by places or by names", "either places or cities")
        if len(self.names) < 3:
            field = "cities" if self.cities else "places"
            raise _wrong(field, f"{len(self.names)} cities", "at least 3")
        if self.distances:
            check_square(self.distances, len(self.names), "distances")
        elif self.cities:
            raise _wrong("distances", "no distances", "a table, or places instead of cities")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cities, in order."""
        return self.cities or tuple(place.name for place in self.places)


def _wrong(field: str, problem: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError(
        "tsp", "{problem}", {"problem": problem, "at": field, "allowed": allowed}
    )


@lru_cache(maxsize=8)
def distances(given: TspInput) -> Floats:
    """From city to city, infinite where no road leads. Shape (n, n), 0 on the diagonal."""
    if given.distances:
        table = [[math.inf if one is None else one for one in row] for row in given.distances]
    else:
        measure: Metric = METRICS[given.metric]
        points = [(place.x, place.y) for place in given.places]
        table = [[measure(one, other) for other in points] for one in points]
    found = np.array(table)
    np.fill_diagonal(found, 0.0)
    return frozen(found)


@lru_cache(maxsize=8)
def _greedy(given: TspInput) -> Stops | None:
    # Kept: each sample that cannot be repaired asks for it.
    for start in range(len(given.names)):
        tour = tours.nearest_neighbour(closed(given), start)
        if math.isfinite(tours.length(distances(given), tour)):
            return _stops(given, tour)
    return None


@lru_cache(maxsize=8)
def closed(given: TspInput) -> Floats:
    """Distances with a dear one for each missing road.

    It is longer than the longest road out of every city together, so that any round trip over
    roads is shorter than one with a gap.
    """
    table = distances(given)
    longest = np.max(np.where(np.isfinite(table), table, 0.0), axis=1)
    return frozen(np.where(np.isfinite(table), table, float(longest.sum()) + 1.0))


@lru_cache(maxsize=8)
def _bound(given: TspInput) -> float:
    table = closed(given)
    some = tours.improved(table, tours.nearest_neighbour(table, 0))
    return tours.lower_bound(table, tours.length(table, some))


class Tsp(ProblemType[TspInput, Stops]):
    """A variable says that a city is at a stop; the first city is at stop 0 and needs none (Lucas
    2014, arXiv:1302.5843, section 7). Distances are costs of neighbouring stops. Each city must
    be at one stop, and each stop have one city: P (1 - sum)**2 for each.

    How large P must be: where a city is at two stops, or a stop has two cities, taking one out
    costs nothing. Then a city and a stop are left over; to put the one at the other lowers the
    penalty by 2 P and adds two distances at most. So every P above half of the dearest way into a
    city and out of it makes each sample that is no round trip worse than some round trip. 1.25
    times that is taken. A missing road counts as longer than any round trip over roads.

    A solution is the cities at each stop.
    """

    name = "tsp"
    formulation = "tsp-stops/2"
    decoding = "tsp-insertion-2opt/2"
    title = "Shortest round trip through all cities (travelling salesman)"
    sense = "minimise"
    columns = {"places": ("name", "x", "y")}
    reference = "Lucas 2014, arXiv:1302.5843, section 7"
    example = {
        "places": [["depot", 0.0, 0.0], ["mill", 3.0, 0.0], ["farm", 3.0, 4.0], ["inn", 0.0, 4.0]]
    }
    formats = (TSPLIB, PLACES_CSV)
    model = TspInput

    def infeasible(self, given: TspInput) -> str:
        """Too few roads at a city, or one that cannot be reached."""
        roads = np.isfinite(distances(given)) & ~np.eye(len(given.names), dtype=np.bool_)
        for place, name in enumerate(given.names):
            if not roads[place].any():
                return f"no road leads from {name!r}"
            if not roads[:, place].any():
                return f"no road leads to {name!r}"
            if (roads[place] | roads[:, place]).sum() < 2:
                return f"all roads of {name!r} lead to one city only"
        for way, word in ((roads, "from"), (roads.T, "back to")):
            if missing := _unreached(way):
                first = given.names[0]
                return f"there is no way {word} {first!r} for {given.names[missing]!r}"
        return ""

    def variables(self, given: TspInput) -> tuple[str, ...]:
        stops = range(1, len(given.names))
        return tuple(f"{name}@{stop}" for name in given.names[1:] for stop in stops)

    def size(self, given: TspInput) -> tuple[int, int]:
        free = len(given.names) - 1
        return free * free, free * free * (free - 1) + free * (free - 1) ** 2

    def formulate(self, given: TspInput) -> dimod.BinaryQuadraticModel:
        table = closed(given)
        free = len(table) - 1
        costs = np.zeros((free, free))
        costs[:, 0] += table[0, 1:]
        costs[:, -1] += table[1:, 0]
        one, other = np.nonzero(~np.eye(free, dtype=np.bool_))
        stops = np.arange(free - 1)
        pairs = (
            (one[:, None] * free + stops).ravel(),
            (other[:, None] * free + stops + 1).ravel(),
            np.repeat(table[1 + one, 1 + other], free - 1),
        )
        dearest = float(np.max(np.max(table, axis=0) + np.max(table, axis=1)))
        return square_model(self.variables(given), penalty(dearest), costs, pairs)

    def decode(self, given: TspInput, sample: Mapping[str, int]) -> Stops:
        return tuple(
            tuple(name for name in given.names[1:] if sample[f"{name}@{stop}"] == 1)
            for stop in range(1, len(given.names))
        )

    def objective(self, given: TspInput, solution: Stops) -> float:
        return math.fsum(
            length
            for here, there in zip(*_legs(given, solution), strict=True)
            for u in here
            for v in there
            if math.isfinite(length := self._table(given)[u][v])
        )

    def feasible(self, given: TspInput, solution: Stops) -> bool:
        if not all(len(stop) == 1 for stop in solution) or len(set(solution)) != len(solution):
            return False
        tour = _indices(given, solution)
        return len(tour) == len(given.names) and math.isfinite(tours.length(distances(given), tour))

    def objectives(self, given: TspInput, bits: Bits) -> Floats:
        table = np.where(np.isfinite(distances(given)), distances(given), 0.0)
        at = np.swapaxes(squares(bits, len(table) - 1), 1, 2)
        total = at[:, 0] @ table[0, 1:] + at[:, -1] @ table[1:, 0]
        total = total + np.sum((at[:, :-1] @ table[1:, 1:]) * at[:, 1:], axis=(1, 2))
        for row in np.flatnonzero(assigned(bits, len(table) - 1)):
            # Summed exactly, as ``objective`` does: rounding must not make equal tours differ.
            tour = np.array([0, *(1 + at[row].argmax(axis=1)), 0])
            total[row] = math.fsum(table[tour[:-1], tour[1:]].tolist())
        return np.asarray(total, dtype=np.float64)

    def feasibles(self, given: TspInput, bits: Bits) -> Bools:
        free = len(given.names) - 1
        missing = (~np.isfinite(distances(given))).astype(np.float64)
        at = np.swapaxes(squares(bits, free), 1, 2)
        gaps = at[:, 0] @ missing[0, 1:] + at[:, -1] @ missing[1:, 0]
        gaps += np.sum((at[:, :-1] @ missing[1:, 1:]) * at[:, 1:], axis=(1, 2))
        return np.asarray(assigned(bits, free) & (gaps == 0), dtype=np.bool_)

    def repair(self, given: TspInput, solution: Stops) -> Stops:
        """Each city where it is first named, the rest by cheapest insertion.

        Where that leaves a gap in the roads, the local search is to close it; else it starts anew,
        as ``baseline`` does.
        """
        tour = [0, *(places[0] for places in _first(_indexed(given, solution)) if places)]
        left = sorted(set(range(len(given.names))) - set(tour))
        tour = tours.insert(closed(given), tour, left)
        if not math.isfinite(tours.length(distances(given), tour)):
            tour = tours.improved(closed(given), tour)
        found = _stops(given, tour)
        return found if self.feasible(given, found) else self.baseline(given) or found

    def improve(self, given: TspInput, solution: Stops) -> Stops:
        """A local optimum of 2-opt and Or-opt."""
        return _stops(given, tours.improved(closed(given), _indices(given, solution)))

    def baseline(self, given: TspInput) -> Stops | None:
        """Nearest neighbour from the first city; from the next one where that meets a gap."""
        return _greedy(given)

    def bound(self, given: TspInput) -> float:
        """The one-tree bound, or for directed distances that of the assignment problem."""
        return _bound(given)

    def sums(self, given: TspInput) -> Sums:
        table = distances(given)
        return sums_of(table[np.isfinite(table)].tolist(), one_sign=True, most=len(table))

    def explain(self, given: TspInput, solution: Stops) -> str:
        tour = [given.names[0], *(stop[0] for stop in solution)]
        lengths = self._lengths(given, solution)
        place = lengths.index(max(lengths))
        ends = [*tour, tour[0]][place : place + 2]
        return (
            f"The round trip is {number(self.objective(given, solution))} long: "
            f"{listing(tour)}, and back. Its longest leg, {number(max(lengths))}, "
            f"is from {ends[0]} to {ends[1]}."
        )

    def solution_json(self, given: TspInput, solution: Stops) -> dict[str, JsonValue]:
        return {
            "tour": [given.names[0], *(stop[0] for stop in solution)],
            "legs": [*self._lengths(given, solution)],
        }

    def draw(self, given: TspInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """The tour over the cities, on a circle where places are not known."""
        size = len(given.names)
        angles = [2 * math.pi * place / size for place in range(size)]
        known = [(place.x, place.y) for place in given.places]
        if given.metric == "GEO":
            known = [(place.y, place.x) for place in given.places]
        points = known or [(math.cos(angle), math.sin(angle)) for angle in angles]
        at = dict(zip(given.names, points, strict=True))
        tour: Any = solution["tour"]
        legs: Any = solution["legs"]
        path = [at[name] for name in [*tour, tour[0]]]
        axes.plot([x for x, _ in path], [y for _, y in path], marker="o", color=drawing.colour(0))
        if size <= drawing.MOST_NAMES:
            for name, point in at.items():
                beside = {"xytext": (4, 4), "textcoords": "offset points"}
                axes.annotate(name, point, fontsize=8, parse_math=False, **beside)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        drawing.title(axes, f"{size} cities, {number(math.fsum(legs))} round")

    def _table(self, given: TspInput) -> Any:
        return distances(given)

    def _lengths(self, given: TspInput, solution: Stops) -> list[float]:
        tour, table = _indices(given, solution), distances(given)
        return [float(table[u, v]) for u, v in zip(tour, [*tour[1:], 0], strict=True)]


def _unreached(roads: Bools) -> int:
    """A place that cannot be reached from the first; 0 if there is none."""
    seen = np.zeros(len(roads), dtype=np.bool_)
    seen[0] = True
    for _ in range(len(roads)):
        seen |= roads[seen].any(axis=0)
    return int(np.argmin(seen)) if not seen.all() else 0


def _indexed(given: TspInput, solution: Stops) -> tuple[tuple[int, ...], ...]:
    place = {name: index for index, name in enumerate(given.names)}
    return tuple(tuple(place[name] for name in stop) for stop in solution)


def _first(stops: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    """At each stop the first city that no stop before it has."""
    seen: set[int] = set()
    found: list[list[int]] = []
    for stop in stops:
        found.append([city for city in stop if city not in seen][:1])
        seen |= set(found[-1])
    return found


def _indices(given: TspInput, solution: Stops) -> list[int]:
    return [0, *(stop[0] for stop in _indexed(given, solution))]


def _legs(given: TspInput, solution: Stops) -> tuple[Any, Any]:
    stops = [(0,), *_indexed(given, solution)]
    return stops, [*stops[1:], stops[0]]


def _stops(given: TspInput, tour: list[int]) -> Stops:
    return tuple((given.names[city],) for city in tour[1:])


TSP = Tsp()
"""What the entry point names."""
