"""Colouring graphs by hand: cliques, DSATUR, Kempe swaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Graph = Mapping[str, Mapping[str, float]]
"""For each node its neighbours."""

Colours = dict[str, int]

UNCOLOURED = -1

MOST_STARTS = 50
"""Nodes that a clique is grown from."""


def clique(graph: Graph) -> tuple[str, ...]:
    """A clique that cannot be extended: the largest grown from each of the busiest nodes."""
    order = sorted(graph, key=lambda node: -len(graph[node]))
    best: tuple[str, ...] = ()
    for start in order[:MOST_STARTS]:
        found = [start]
        open_nodes = [node for node in order if node in graph[start]]
        while open_nodes:
            found.append(open_nodes[0])
            open_nodes = [node for node in open_nodes if node in graph[open_nodes[0]]]
        if len(found) > len(best):
            best = tuple(found)
    return best


def dsatur(graph: Graph) -> Colours:
    """Next the node whose neighbours have most colours, the busiest of those (Brélaz 1979)."""
    found = dict.fromkeys(graph, UNCOLOURED)
    return fill(graph, found, len(graph))


def fill(graph: Graph, colours: Colours, most: int) -> Colours:
    """Colour what has no colour, in the order of DSATUR, with Kempe swaps where none is free.

    Ends at the first node that cannot be coloured with ``most`` colours; it and what would have
    come after it stay uncoloured.
    """
    found = dict(colours)
    near = {v: {found[w] for w in graph[v]} - {UNCOLOURED} for v in graph}
    todo = [node for node in graph if found[node] == UNCOLOURED]
    while todo:
        node = max(todo, key=lambda v: (len(near[v]), len(graph[v])))
        todo.remove(node)
        free = next((c for c in range(most) if c not in near[node]), None)
        if free is None:
            free = _kempe(graph, found, node, most)
            if free is None:
                return found
            # A swap changes what neighbours everywhere have.
            near = {v: {found[w] for w in graph[v]} - {UNCOLOURED} for v in graph}
        found[node] = free
        for other in graph[node]:
            near[other].add(free)
    return found


def mend(graph: Graph, colours: Colours, most: int) -> Colours:
    """A colouring without conflicts: the node with most of them loses its colour first."""
    found = dict(colours)
    clashes = {v: sum(found[w] == found[v] != UNCOLOURED for w in graph[v]) for v in graph}
    while worst := max((v for v in graph if clashes[v]), key=lambda v: clashes[v], default=None):
        for other in graph[worst]:
            clashes[other] -= found[other] == found[worst]
        found[worst], clashes[worst] = UNCOLOURED, 0
    return fill(graph, found, most)


def fewer(graph: Graph, colours: Colours) -> Colours:
    """Without the colours whose nodes can take others, the rarest tried first."""
    found = tidy(colours)
    while True:
        most = max(found.values()) + 1
        groups = sorted(range(most), key=list(found.values()).count)
        for gone in groups if most > 1 else ():
            # The last colour takes the place of the one that goes.
            names = {gone: UNCOLOURED, most - 1: gone if gone < most - 1 else UNCOLOURED}
            less = fill(graph, {v: names.get(c, c) for v, c in found.items()}, most - 1)
            if UNCOLOURED not in less.values():
                found = tidy(less)
                break
        else:
            return found


def tidy(colours: Colours) -> Colours:
    """The same groups, their colours numbered as they come up."""
    order: dict[int, int] = {}
    return {node: order.setdefault(c, len(order)) for node, c in colours.items()}


def _kempe(graph: Graph, colours: Colours, node: str, most: int) -> int | None:
    """A colour that ``node`` can have after two colours change places somewhere, or None.

    Only where a single neighbour has the colour: several are rarely freed by one swap.
    """
    for first in range(most):
        starts = [v for v in graph[node] if colours[v] == first]
        for second in range(most) if len(starts) == 1 else ():
            if second == first:
                continue
            chain = _chain(graph, colours, starts, (first, second))
            if not any(v in chain and colours[v] == second for v in graph[node]):
                for v in chain:
                    colours[v] = second if colours[v] == first else first
                return first
    return None


def _chain(
    graph: Graph, colours: Colours, starts: Iterable[str], pair: tuple[int, int]
) -> set[str]:
    """All that hangs together with ``starts`` in two colours."""
    found, todo = set(starts), list(starts)
    while todo:
        for other in graph[todo.pop()]:
            if colours[other] in pair and other not in found:
                found.add(other)
                todo.append(other)
    return found
