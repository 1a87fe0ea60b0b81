"""Maximum cut: split the nodes in two so that the edges between the parts weigh most."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

import dimod
import numpy as np
from pydantic import Field, JsonValue

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Floats, ProblemType, listing, number
from qsaga.problems.exact import Sums, rounded_up, sums_of, whole_numbers
from qsaga.problems.graph_files import DIMACS, EDGES, GSET
from qsaga.problems.graphs import (
    Graph,
    Weighted,
    ends,
    in_order,
    indices,
    neighbours,
)


class MaxCutInput(Graph):
    """A weighted graph.

    Args:
        nodes: names, where their order or isolated nodes matter; else taken from the edges.
        edges: ``[u, v]`` or ``[u, v, weight]``, each pair once.
    """

    edges: Annotated[tuple[Weighted, ...], Field(min_length=1)]


class MaxCut(ProblemType[MaxCutInput, dict[str, int]]):
    """Maximum cut. The model is Ising: coupling w/2 for each edge and minus half of all weight,
    so that its energy is minus the cut and no spin has a field (Lucas 2014, arXiv:1302.5843).

    A solution maps each node to its side, 0 or 1; the first node is always on side 0, since a
    cut and its mirror image are one answer.
    """

    name = "maxcut"
    formulation = "maxcut-ising/1"
    decoding = "maxcut-sides/2"
    title = "Maximum cut of a weighted graph"
    sense = "maximise"
    columns = {"edges": ("u", "v", "weight")}
    reference = "Lucas 2014, arXiv:1302.5843, section 2.2"
    example = {"edges": [["a", "b", 2.0], ["b", "c", 1.0], ["c", "a", 3.0]]}
    formats = (EDGES, GSET, DIMACS)
    model = MaxCutInput

    def variables(self, given: MaxCutInput) -> tuple[str, ...]:
        return in_order(given.nodes, ends(given.edges))

    def size(self, given: MaxCutInput) -> tuple[int, int]:
        return len(self.variables(given)), len(given.edges)

    def formulate(self, given: MaxCutInput) -> dimod.BinaryQuadraticModel:
        model = dimod.BinaryQuadraticModel(dimod.SPIN)
        for name in self.variables(given):
            model.add_variable(name)
        for edge in given.edges:
            model.add_quadratic(edge.u, edge.v, edge.weight / 2)
        model.offset = -sum(edge.weight for edge in given.edges) / 2
        return model

    def decode(self, given: MaxCutInput, sample: Mapping[str, int]) -> dict[str, int]:
        names = self.variables(given)
        return {name: sample[name] ^ sample[names[0]] for name in names}

    def objective(self, given: MaxCutInput, solution: dict[str, int]) -> float:
        return float(sum(e.weight for e in given.edges if solution[e.u] != solution[e.v]))

    def feasible(self, given: MaxCutInput, solution: dict[str, int]) -> bool:
        return set(solution) == set(self.variables(given)) and set(solution.values()) <= {0, 1}

    def objectives(self, given: MaxCutInput, bits: Bits) -> Floats:
        left, right = indices(self.variables(given), given.edges)
        weights = np.array([edge.weight for edge in given.edges])
        return np.asarray((bits[:, left] != bits[:, right]) @ weights, dtype=np.float64)

    def baseline(self, given: MaxCutInput) -> dict[str, int]:
        """Heaviest node first, each to the side where it cuts more of what is placed."""
        around = neighbours(self.variables(given), given.edges)
        order = sorted(around, key=lambda node: -sum(map(abs, around[node].values())))
        sides: dict[str, int] = {}
        for node in order:
            pull = sum(w * (1 - 2 * sides[v]) for v, w in around[node].items() if v in sides)
            sides[node] = int(pull > 0)
        return self.decode(given, sides)

    def bound(self, given: MaxCutInput) -> float:
        """All positive weight: reached only where those edges form a bipartite graph."""
        parts, scale = whole_numbers([max(edge.weight, 0.0) for edge in given.edges])
        return rounded_up(Fraction(sum(parts), scale))

    def sums(self, given: MaxCutInput) -> Sums:
        weights = [edge.weight for edge in given.edges]
        return sums_of(weights, one_sign=min(weights) >= 0)

    def explain(self, given: MaxCutInput, solution: dict[str, int]) -> str:
        first = [name for name, side in solution.items() if side == 0]
        second = [name for name, side in solution.items() if side == 1]
        cut = sum(solution[e.u] != solution[e.v] for e in given.edges)
        return (
            f"{cut} of {len(given.edges)} edges, weight {number(self.objective(given, solution))}, "
            f"run between the two sides. One side: {listing(first)}. "
            f"Other side: {listing(second)}."
        )

    def solution_json(self, given: MaxCutInput, solution: dict[str, int]) -> dict[str, JsonValue]:
        return {
            "side_0": [name for name, side in solution.items() if side == 0],
            "side_1": [name for name, side in solution.items() if side == 1],
        }

    def draw(self, given: MaxCutInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """The graph, its sides in two colours and the edges between them dark."""
        sides = {name: side for side in (0, 1) for name in drawing.named(solution[f"side_{side}"])}
        drawing.graph(
            axes,
            self.variables(given),
            [(edge.u, edge.v) for edge in given.edges],
            {name: drawing.colour(side) for name, side in sides.items()},
            [sides[edge.u] != sides[edge.v] for edge in given.edges],
        )
        drawing.title(axes, f"cut {number(self.objective(given, sides))}")


MAXCUT = MaxCut()
"""What the entry point names."""
