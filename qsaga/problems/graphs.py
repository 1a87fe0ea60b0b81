"""Graphs as problems take them: named nodes and edges between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qsaga.problems.base import ProblemInput

NodeName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Weight = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
"""A weight; the limit keeps sums of a million of them exact enough to compare."""


Row = tuple[Any, ...]
"""Two names, perhaps followed by a number."""


class WeightedEdge(NamedTuple):
    """``[u, v]`` or ``[u, v, weight]``; an edge without a weight weighs 1."""

    u: NodeName
    v: NodeName
    weight: Weight = 1.0


class PlainEdge(NamedTuple):
    """``[u, v]``."""

    u: NodeName
    v: NodeName


def _no_loop(edge: Row) -> Row:
    if edge[0] == edge[1]:
        raise PydanticCustomError(
            "self_loop",
            "the edge joins {node} to itself",
            {"node": repr(edge[0]), "allowed": "two different nodes"},
        )
    return edge


Weighted = Annotated[WeightedEdge, AfterValidator(_no_loop)]
Plain = Annotated[PlainEdge, AfterValidator(_no_loop)]


def check_pairs(rows: Sequence[Row], what: str = "edge") -> None:
    """Refuse a pair of names that is given twice, in either order."""
    seen: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        pair = (row[0], row[1]) if row[0] <= row[1] else (row[1], row[0])
        first = seen.setdefault(pair, index)
        if first != index:
            raise PydanticCustomError(
                "duplicate",
                "{what} {u} - {v} was already given at position {first}",
                {
                    "what": what,
                    "u": repr(row[0]),
                    "v": repr(row[1]),
                    "first": first,
                    "at": str(index),
                    "allowed": f"each {what} once, in either order",
                },
            )


def check_names(names: Sequence[str]) -> None:
    """Refuse a name that is given twice."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        first = seen.setdefault(name, index)
        if first != index:
            raise PydanticCustomError(
                "duplicate",
                "{name} was already given at position {first}",
                {"name": repr(name), "first": first, "at": str(index), "allowed": "each name once"},
            )


def check_known(names: Sequence[str], rows: Iterable[Row], path: str) -> None:
    """Refuse a row that uses a name outside ``names``, where names are given at all."""
    known = frozenset(names)
    for index, row in enumerate(rows):
        for name in row[:2]:
            if known and name not in known:
                raise PydanticCustomError(
                    "unknown_name",
                    "{name} is not in the list of names",
                    {
                        "name": repr(name),
                        "at": f"{path}.{index}",
                        "allowed": "a name from that list, or no list",
                    },
                )


class Graph(ProblemInput):
    """Base of inputs that are a graph; each says what its edges are."""

    nodes: tuple[NodeName, ...] = ()
    edges: tuple[Row, ...] = ()

    @field_validator("nodes")
    @classmethod
    def _names_once(cls, nodes: tuple[str, ...]) -> tuple[str, ...]:
        check_names(nodes)
        return nodes

    @field_validator("edges")
    @classmethod
    def _pairs_once(cls, edges: tuple[Row, ...]) -> tuple[Row, ...]:
        check_pairs(edges)
        return edges

    @model_validator(mode="after")
    def _known_nodes(self) -> Self:
        check_known(self.nodes, self.edges, "edges")
        return self


class PlainGraph(Graph):
    """Base of inputs that are a graph without weights on its edges, of one node at least."""

    edges: tuple[Plain, ...] = ()

    @model_validator(mode="after")
    def _some_node(self) -> Self:
        if not self.nodes and not self.edges:
            raise PydanticCustomError(
                "empty_graph", "the graph is empty", {"at": "nodes", "allowed": "at least one node"}
            )
        return self


def in_order(names: Sequence[str], *more: Iterable[str]) -> tuple[str, ...]:
    """The names as listed, then all others in the order of their first use."""
    order = dict.fromkeys(names)
    for others in more:
        order.update(dict.fromkeys(others))
    return tuple(order)


def ends(rows: Sequence[Row]) -> Iterable[str]:
    """Both names of each row, row by row."""
    return (name for row in rows for name in row[:2])


def indices(names: Sequence[str], rows: Sequence[Row]) -> npt.NDArray[np.intp]:
    """Positions of the two names of each row. Shape (2, rows)."""
    place = {name: index for index, name in enumerate(names)}
    flat = [place[name] for name in ends(rows)]
    return np.array(flat, dtype=np.intp).reshape(len(rows), 2).T


def neighbours(names: Sequence[str], rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each node its neighbours and the weights of the edges to them (1 if they have none)."""
    around: dict[str, dict[str, float]] = {name: {} for name in names}
    for row in rows:
        weight = float(row[2]) if len(row) > 2 else 1.0
        around[row[0]][row[1]] = around[row[1]][row[0]] = weight
    return around
