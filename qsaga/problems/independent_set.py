"""Maximum independent set: as many nodes as possible, no two of them joined by an edge."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Self

import dimod
import numpy as np
from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing
from qsaga.problems.base import (
    Bits,
    Bools,
    Floats,
    ProblemType,
    listing,
    number,
)
from qsaga.problems.exact import Sums, rounded_up, sums_of, whole_numbers
from qsaga.problems.graph_files import DIMACS, EDGES, GSET
from qsaga.problems.graphs import (
    NodeName,
    PlainGraph,
    ends,
    in_order,
    indices,
    neighbours,
)

PENALTY = 2.0
"""Energy of a conflict, in units of the lighter node's weight; must be above 1."""


class IndependentSetInput(PlainGraph):
    """A graph, its nodes weighing 1 where nothing else is said.

    Args:
        nodes: names, where their order or isolated nodes matter; else taken from the edges.
        edges: ``[u, v]``: nodes that exclude each other, each pair once.
        weights: node to weight, above 0, for nodes that do not weigh 1.
    """

    weights: dict[NodeName, Annotated[float, Field(gt=0, le=1e12)]] = {}

    @model_validator(mode="after")
    def _known_weights(self) -> Self:
        nodes = frozenset(in_order(self.nodes, ends(self.edges)))
        for name in self.weights:
            if name not in nodes:
                raise PydanticCustomError(
                    "unknown_name",
                    "{name} is no node of the graph",
                    {"name": repr(name), "at": f"weights.{name}", "allowed": "a node of the graph"},
                )
        return self


class IndependentSet(ProblemType[IndependentSetInput, tuple[str, ...]]):
    """Maximum (weight) independent set. The model rewards each chosen node with its weight and
    punishes each conflict, so that the energy of an independent set is minus its weight (Lucas
    2014, arXiv:1302.5843, section 4.2).

    Penalty: P = 2 times the lighter weight of each edge. Let both ends of an edge be chosen.
    Leaving out the lighter one, of weight w, raises the energy by w and lowers it by at least the
    penalty P of that edge, so every P above w makes the lowest energy that of an independent set.
    P = 2w keeps whole weights whole and leaves a margin of w.

    A solution is the chosen nodes, in the order of the input.
    """

    name = "independent_set"
    formulation = "independent-set-penalty/1"
    decoding = "independent-set-repair/2"
    title = "Maximum (weight) independent set of a graph"
    sense = "maximise"
    columns = {"edges": ("u", "v")}
    reference = "Lucas 2014, arXiv:1302.5843, section 4.2"
    example = {"nodes": ["a", "b", "c"], "edges": [["a", "b"], ["b", "c"]], "weights": {"b": 3.0}}
    formats = (EDGES, GSET, DIMACS)
    model = IndependentSetInput

    def variables(self, given: IndependentSetInput) -> tuple[str, ...]:
        return in_order(given.nodes, ends(given.edges))

    def size(self, given: IndependentSetInput) -> tuple[int, int]:
        return len(self.variables(given)), len(given.edges)

    def formulate(self, given: IndependentSetInput) -> dimod.BinaryQuadraticModel:
        weight = self._weights(given)
        model = dimod.BinaryQuadraticModel(dimod.BINARY)
        for name in self.variables(given):
            model.add_linear(name, -weight[name])
        for edge in given.edges:
            model.add_quadratic(edge.u, edge.v, PENALTY * min(weight[edge.u], weight[edge.v]))
        return model

    def decode(self, given: IndependentSetInput, sample: Mapping[str, int]) -> tuple[str, ...]:
        return tuple(name for name in self.variables(given) if sample[name] == 1)

    def objective(self, given: IndependentSetInput, solution: tuple[str, ...]) -> float:
        return float(sum(given.weights.get(name, 1.0) for name in solution))

    def feasible(self, given: IndependentSetInput, solution: tuple[str, ...]) -> bool:
        chosen = set(solution)
        return chosen <= set(self.variables(given)) and not any(
            edge.u in chosen and edge.v in chosen for edge in given.edges
        )

    def objectives(self, given: IndependentSetInput, bits: Bits) -> Floats:
        weight = self._weights(given)
        weights = np.array([weight[name] for name in self.variables(given)])
        return np.asarray(bits @ weights, dtype=np.float64)

    def feasibles(self, given: IndependentSetInput, bits: Bits) -> Bools:
        left, right = indices(self.variables(given), given.edges)
        conflicts = np.any(bits[:, left] & bits[:, right], axis=1)
        return np.asarray(~conflicts, dtype=np.bool_)

    def repair(self, given: IndependentSetInput, solution: tuple[str, ...]) -> tuple[str, ...]:
        """Drop conflicting nodes, those with most conflict for their weight first, then extend.

        What comes out is independent and maximal: no node can be added.
        """
        weight = self._weights(given)
        around = neighbours(self.variables(given), given.edges)
        chosen = set(solution)
        conflicts = {name: sum(v in chosen for v in around[name]) for name in chosen}
        while worst := max(
            (name for name in self.variables(given) if conflicts.get(name, 0) > 0),
            key=lambda name: conflicts[name] / weight[name],
            default=None,
        ):
            chosen.discard(worst)
            del conflicts[worst]
            for other in around[worst]:
                if other in conflicts:
                    conflicts[other] -= 1
        return self._extend(given, chosen, around, weight)

    def baseline(self, given: IndependentSetInput) -> tuple[str, ...]:
        """Again and again the free node with most weight for each free node it excludes."""
        around = neighbours(self.variables(given), given.edges)
        return self._extend(given, set(), around, self._weights(given))

    def bound(self, given: IndependentSetInput) -> float:
        """All weight less the lighter end of each edge of a greedy matching: one end must go."""
        weight = self._weights(given)
        terms = [*weight.values()]
        matched: set[str] = set()
        for edge in sorted(given.edges, key=lambda e: -min(weight[e.u], weight[e.v])):
            if edge.u not in matched and edge.v not in matched:
                matched |= {edge.u, edge.v}
                terms.append(-min(weight[edge.u], weight[edge.v]))
        parts, scale = whole_numbers(terms)
        return rounded_up(Fraction(sum(parts), scale))

    def sums(self, given: IndependentSetInput) -> Sums:
        return sums_of(self._weights(given).values(), one_sign=True)

    def explain(self, given: IndependentSetInput, solution: tuple[str, ...]) -> str:
        size = len(self.variables(given))
        worth = f", weight {number(self.objective(given, solution))}" if given.weights else ""
        return (
            f"{len(solution)} of {size} nodes{worth}, no two of them joined by an edge: "
            f"{listing(solution)}."
        )

    def solution_json(
        self, given: IndependentSetInput, solution: tuple[str, ...]
    ) -> dict[str, JsonValue]:
        return {"chosen": list(solution)}

    def draw(
        self, given: IndependentSetInput, solution: Mapping[str, JsonValue], axes: Any
    ) -> None:
        """The graph with the chosen nodes in colour."""
        chosen = drawing.named(solution["chosen"])
        edges = [(edge.u, edge.v) for edge in given.edges]
        colours = dict.fromkeys(chosen, drawing.colour(0))
        drawing.graph(axes, self.variables(given), edges, colours)
        drawing.title(axes, f"{len(chosen)} of {len(self.variables(given))} nodes")

    def _weights(self, given: IndependentSetInput) -> dict[str, float]:
        return {name: given.weights.get(name, 1.0) for name in self.variables(given)}

    def _extend(
        self,
        given: IndependentSetInput,
        chosen: set[str],
        around: dict[str, dict[str, float]],
        weight: dict[str, float],
    ) -> tuple[str, ...]:
        free = [n for n in around if n not in chosen and not any(v in chosen for v in around[n])]
        open_nodes = dict.fromkeys(free)
        degree = {n: sum(v in open_nodes for v in around[n]) for n in free}
        while open_nodes:
            best = max(open_nodes, key=lambda n: weight[n] / (1 + degree[n]))
            chosen.add(best)
            for gone in [best, *(v for v in around[best] if v in open_nodes)]:
                del open_nodes[gone]
                for other in around[gone]:
                    if other in open_nodes:
                        degree[other] -= 1
        return tuple(name for name in self.variables(given) if name in chosen)


INDEPENDENT_SET = IndependentSet()
"""What the entry point names."""
