"""Distances between places by their coordinates, as TSPLIB defines them (Reinelt 1995)."""

from __future__ import annotations

import math
from collections.abc import Callable

Point = tuple[float, float]
Metric = Callable[[Point, Point], float]

EARTH = 6378.388
"""Radius in kilometres; this and the value of pi below belong to the definition of GEO."""
PI = 3.141592


def euclidean(one: Point, other: Point) -> float:
    """The straight line."""
    return math.dist(one, other)


def rounded(one: Point, other: Point) -> float:
    """EUC_2D: the straight line, rounded to the nearest whole number."""
    return float(math.floor(math.dist(one, other) + 0.5))


def rounded_up(one: Point, other: Point) -> float:
    """CEIL_2D: the straight line, rounded up."""
    return float(math.ceil(math.dist(one, other)))


def pseudo_euclidean(one: Point, other: Point) -> float:
    """ATT: the straight line divided by the root of 10, rounded up."""
    exact = math.sqrt(((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) / 10.0)
    whole = math.floor(exact + 0.5)
    return float(whole + 1 if whole < exact else whole)


def geographical(one: Point, other: Point) -> float:
    """GEO: kilometres on the earth between latitude and longitude, each as degrees.minutes."""
    (north, east), (other_north, other_east) = (_radians(point) for point in (one, other))
    apart = math.cos(east - other_east)
    less, more = math.cos(north - other_north), math.cos(north + other_north)
    angle = math.acos(max(-1.0, min(1.0, 0.5 * ((1 + apart) * less - (1 - apart) * more))))
    return float(int(EARTH * angle + 1.0))


def _radians(point: Point) -> tuple[float, float]:
    north, east = (PI * (int(value) + 5.0 * (value - int(value)) / 3.0) / 180.0 for value in point)
    return north, east


METRICS: dict[str, Metric] = {
    "euclidean": euclidean,
    "EUC_2D": rounded,
    "CEIL_2D": rounded_up,
    "ATT": pseudo_euclidean,
    "GEO": geographical,
}
