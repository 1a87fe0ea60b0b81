"""Graph colouring: as few colours as possible, no edge between nodes of one colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Self

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing
from qsaga.problems.base import Bits, Bools, Floats, ProblemType, listing, number
from qsaga.problems.colouring import UNCOLOURED, Colours, Graph, clique, dsatur, fewer, mend, tidy
from qsaga.problems.exact import WHOLE, Sums
from qsaga.problems.graph_files import DIMACS, EDGES, GSET
from qsaga.problems.graphs import (
    NodeName,
    PlainGraph,
    check_names,
    ends,
    in_order,
    neighbours,
)
from qsaga.problems.inequality import MARGIN, extra_names


class GraphColouringInput(PlainGraph):
    """A graph, and how many colours there are.

    Args:
        nodes: names, where their order or isolated nodes matter; else taken from the edges.
        edges: ``[u, v]``: nodes that must differ in colour, each pair once.
        colours: at most so many; left out, as many as ``colour_names`` has or, without those, as
            a greedy colouring needs, which is always enough.
        colour_names: what the colours are called, such as time slots; left out 1, 2, 3, …
    """

    colours: Annotated[int, Field(ge=1, le=10_000)] | None = None
    colour_names: tuple[NodeName, ...] = ()

    @field_validator("colour_names")
    @classmethod
    def _colours_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.colour_names and self.colours and self.colours > len(self.colour_names):
            raise PydanticCustomError(
                "names_missing",
                "{colours} colours, but {names} names",
                {
                    "colours": self.colours,
                    "names": len(self.colour_names),
                    "at": "colour_names",
                    "allowed": "a name for each colour, or none",
                },
            )
        return self


@dataclass(frozen=True)
class _Plan:
    """What there is to decide.

    Args:
        graph: for each node its neighbours.
        palette: names of the colours.
        fixed: colours of the nodes of a clique, which all differ anyway.
        choices: for each other node the colours that it may have.
        clique: number of nodes that all exclude each other: no colouring needs less.
    """

    graph: Graph
    palette: tuple[str, ...]
    fixed: Colours
    choices: dict[str, tuple[int, ...]]
    clique: int

    def unsure(self) -> range:
        """The colours that may stay unused."""
        return range(len(self.fixed), len(self.palette))

    def columns(self) -> dict[tuple[str, int], int]:
        """The place of each variable that gives a node a colour."""
        pairs = ((node, c) for node, colours in self.choices.items() for c in colours)
        return {pair: place for place, pair in enumerate(pairs)}


class GraphColouring(ProblemType[GraphColouringInput, Colours]):
    """Graph colouring. A variable for each node and each colour that it may have, and one for
    each colour that may stay unused. The model counts the used colours; it punishes a node
    without exactly one colour and an edge within a colour by A (Lucas 2014, arXiv:1302.5843,
    section 6.1), and a node in a colour that counts as unused by B.

    To save variables: more colours than DSATUR needs are left out. Colours can be renamed, so a
    clique found greedily is given the first ones, its neighbours lose those, and each other node
    may have at most one new colour more than the nodes before it.

    Penalties: A = 1 + colours − clique, as no colouring saves more than colours − clique, and one
    broken rule then costs more than it can save. B = 1.5: to count a colour as used costs 1.

    A solution maps each node to the place of its colour, −1 for none.
    """

    name = "graph_colouring"
    formulation = "graph-colouring-onehot/1"
    decoding = "graph-colouring-kempe/1"
    title = "A graph's nodes in as few colours as possible, no edge within one"
    sense = "minimise"
    columns = {"edges": ("u", "v")}
    reference = "Lucas 2014, arXiv:1302.5843, section 6.1"
    example = {
        "edges": [["maths", "physics"], ["physics", "music"], ["maths", "music"], ["music", "art"]],
        "colour_names": ["Monday", "Tuesday", "Wednesday"],
    }
    formats = (DIMACS, EDGES, GSET)
    model = GraphColouringInput

    def infeasible(self, given: GraphColouringInput) -> str:
        most = _most(given)
        joined = clique(_graph(given)) if most else ()
        if most is None or len(joined) <= most:
            return ""
        return (
            f"{listing(joined)} all exclude each other and need {len(joined)} colours, "
            f"there are {most}"
        )

    def variables(self, given: GraphColouringInput) -> tuple[str, ...]:
        plan = _plan(given)
        # The number behind the last colon keeps names apart that have colons themselves.
        names = tuple(f"{node}:{place + 1}" for node, place in plan.columns())
        return names + extra_names(names, "used", len(plan.unsure()))

    def size(self, given: GraphColouringInput) -> tuple[int, int]:
        plan = _plan(given)
        left, _ = _conflicts(given)
        unsure = set(plan.unsure())
        couplings = len(left)
        for colours in plan.choices.values():
            couplings += len(colours) * (len(colours) - 1) // 2 + len(unsure & {*colours})
        return len(plan.columns()) + len(unsure), couplings

    def formulate(self, given: GraphColouringInput) -> dimod.BinaryQuadraticModel:
        plan, names = _plan(given), self.variables(given)
        columns = plan.columns()
        penalty = 1.0 + len(plan.unsure())
        model = dimod.BinaryQuadraticModel(dimod.BINARY)
        for name in names:
            model.add_variable(name)
        for node, colours in plan.choices.items():
            model.add_linear_equality_constraint(
                [(names[columns[node, c]], 1) for c in colours], penalty, -1
            )
        for u, v in zip(*_conflicts(given), strict=True):
            model.add_quadratic(names[u], names[v], penalty)
        used = dict(zip(plan.unsure(), names[len(columns) :], strict=True))
        for (_, c), place in columns.items():
            if c in used:
                model.add_linear(names[place], MARGIN)
                model.add_quadratic(names[place], used[c], -MARGIN)
        for name in used.values():
            model.add_linear(name, 1.0)
        model.offset += len(plan.fixed)
        return model

    def decode(self, given: GraphColouringInput, sample: Mapping[str, int]) -> Colours:
        plan = _plan(given)
        found = {node: plan.fixed.get(node, UNCOLOURED) for node in plan.graph}
        for node, colours in plan.choices.items():
            chosen = [c for c in colours if sample[f"{node}:{c + 1}"] == 1]
            if len(chosen) == 1:
                found[node] = chosen[0]
        return found

    def objective(self, given: GraphColouringInput, solution: Colours) -> float:
        return float(len(set(solution.values()) - {UNCOLOURED}))

    def feasible(self, given: GraphColouringInput, solution: Colours) -> bool:
        plan = _plan(given)
        return (
            set(solution) == set(plan.graph)
            and all(0 <= c < len(plan.palette) for c in solution.values())
            and all(solution[edge.u] != solution[edge.v] for edge in given.edges)
        )

    def objectives(self, given: GraphColouringInput, bits: Bits) -> Floats:
        plan = _plan(given)
        columns = plan.columns()
        used = np.zeros((len(bits), len(plan.palette)), dtype=np.bool_)
        used[:, list(plan.fixed.values())] = True
        for node, colours in plan.choices.items():
            chosen = bits[:, [columns[node, c] for c in colours]] == 1
            used[:, list(colours)] |= chosen & (chosen.sum(axis=1) == 1)[:, None]
        return np.asarray(used.sum(axis=1), dtype=np.float64)

    def feasibles(self, given: GraphColouringInput, bits: Bits) -> Bools:
        plan = _plan(given)
        columns = plan.columns()
        left, right = _conflicts(given)
        good = ~np.any(bits[:, left] & bits[:, right], axis=1)
        for node, colours in plan.choices.items():
            good &= bits[:, [columns[node, c] for c in colours]].sum(axis=1) == 1
        return np.asarray(good, dtype=np.bool_)

    def repair(self, given: GraphColouringInput, solution: Colours) -> Colours:
        """Take the colour from nodes in conflict, then colour again, with Kempe swaps.

        Where that leaves a node without colour it starts anew, as ``baseline`` does. That may
        fail as well: whether there is any colouring is hard to say.
        """
        plan = _plan(given)
        found = mend(plan.graph, solution, len(plan.palette))
        return found if UNCOLOURED not in found.values() else self.baseline(given) or found

    def improve(self, given: GraphColouringInput, solution: Colours) -> Colours:
        """Spread the nodes of a colour over the others, as long as that works for any colour."""
        return tidy(fewer(_plan(given).graph, solution))

    def baseline(self, given: GraphColouringInput) -> Colours | None:
        """DSATUR (Brélaz 1979): next the node whose neighbours have most colours already."""
        plan = _plan(given)
        found = dsatur(plan.graph)
        return found if max(found.values()) < len(plan.palette) else None

    def bound(self, given: GraphColouringInput) -> float:
        """The size of a clique: its nodes all differ."""
        return float(_plan(given).clique)

    def sums(self, given: GraphColouringInput) -> Sums:
        return WHOLE

    def explain(self, given: GraphColouringInput, solution: Colours) -> str:
        groups = self._groups(given, solution)
        told = "; ".join(f"{colour}: {listing(names)}" for colour, names in groups.items())
        return f"{number(self.objective(given, solution))} colours are enough. {told}."

    def solution_json(self, given: GraphColouringInput, solution: Colours) -> dict[str, JsonValue]:
        groups = self._groups(given, solution)
        return {"groups": {colour: [*names] for colour, names in groups.items()}}

    def draw(
        self, given: GraphColouringInput, solution: Mapping[str, JsonValue], axes: Any
    ) -> None:
        """The graph in its colours."""
        groups = solution["groups"]
        shades = {
            name: drawing.colour(place)
            for place, names in enumerate(groups.values() if isinstance(groups, dict) else ())
            for name in drawing.named(names)
        }
        drawing.graph(axes, list(_graph(given)), [(e.u, e.v) for e in given.edges], shades)
        drawing.title(axes, f"{len(set(shades.values()))} colours")

    def _groups(self, given: GraphColouringInput, solution: Colours) -> dict[str, list[str]]:
        palette = _plan(given).palette
        return {
            palette[c]: [node for node, colour in solution.items() if colour == c]
            for c in sorted(set(solution.values()) - {UNCOLOURED})
        }


def _graph(given: GraphColouringInput) -> Graph:
    return neighbours(in_order(given.nodes, ends(given.edges)), given.edges)


def _most(given: GraphColouringInput) -> int | None:
    return given.colours or len(given.colour_names) or None


def _palette(graph: Graph, given: GraphColouringInput) -> tuple[str, ...]:
    """As many colours as are allowed, but no more than greedy colouring needs."""
    enough = max(dsatur(graph).values()) + 1
    most = min(_most(given) or enough, enough)
    return given.colour_names[:most] or tuple(str(c) for c in range(1, most + 1))


@lru_cache(maxsize=4)
def _plan(given: GraphColouringInput) -> _Plan:
    graph = _graph(given)
    palette = _palette(graph, given)
    joined = clique(graph)
    # Where all nodes are in the clique, the last is left open, so that there is a variable.
    fixed = {node: c for c, node in enumerate(joined[: len(graph) - 1])}
    choices: dict[str, tuple[int, ...]] = {}
    for node in graph:
        if node not in fixed:
            near = {fixed[v] for v in graph[node] if v in fixed}
            most = min(len(fixed) + len(choices) + 1, len(palette))
            choices[node] = tuple(c for c in range(most) if c not in near)
    return _Plan(graph, palette, fixed, choices, len(joined))


def _conflicts(
    given: GraphColouringInput,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of the two variables of each edge and colour that both its ends may have."""
    plan = _plan(given)
    columns = plan.columns()
    pairs = [
        (columns[u, c], columns[v, c])
        for u, v in given.edges
        if u in plan.choices and v in plan.choices
        for c in plan.choices[u]
        if (v, c) in columns
    ]
    left, right = np.array(pairs, dtype=np.intp).reshape(len(pairs), 2).T
    return left, right


GRAPH_COLOURING = GraphColouring()
"""What the entry point names."""
