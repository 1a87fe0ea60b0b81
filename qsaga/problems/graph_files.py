"""Readers of graphs: edge lists, the G-set form and DIMACS."""

from __future__ import annotations

from typing import Any

from qsaga.problems.reading import MOST_NAMES, FileFormat, Line, Pairs, Source, count


def _edges(source: Source, problem: str) -> dict[str, Any]:
    return {"edges": _rows(source, problem, list(source.lines()))}


def _gset(source: Source, problem: str) -> dict[str, Any]:
    size, rows = source.counted("edges")
    nodes = [str(index) for index in range(1, size + 1)]
    return {"nodes": nodes, "edges": _rows(source, problem, rows, size)}


def _dimacs(source: Source, _problem: str) -> dict[str, Any]:
    size = 0
    rows: dict[frozenset[str], list[str]] = {}
    for line, words in source.lines(""):
        kind, *rest = words
        if kind == "c":
            continue
        if kind == "p":
            if size or len(rest) != 3 or rest[0] not in ("edge", "edges", "col"):
                raise source.wrong(line, " ".join(words), "once `p edge nodes edges`")
            size = source.place(line, rest[1], MOST_NAMES)
        elif kind == "e" and size and len(rest) == 2:
            pair = [str(source.place(line, word, size)) for word in rest]
            if pair[0] == pair[1]:
                raise source.wrong(line, f"the edge joins {pair[0]} to itself", "two nodes")
            # Many published files give an edge in both directions.
            rows.setdefault(frozenset(pair), pair)
        else:
            wanted = "`e u v`" if size else "`p edge nodes edges` before the edges"
            raise source.wrong(line, " ".join(words), wanted)
    if not rows:
        raise source.wrong(1, "no edges", "`p edge nodes edges`, then lines `e u v`")
    return {"nodes": [str(index) for index in range(1, size + 1)], "edges": list(rows.values())}


def _like_dimacs(source: Source) -> bool:
    first = next((words for _, words in source.lines("") if words[0] != "c"), [])
    return first[:2] in (["p", "edge"], ["p", "edges"], ["p", "col"])


def _rows(
    source: Source, problem: str, rows: list[Line], size: int | None = None
) -> list[list[Any]]:
    """Edges as requests have them; names are indices up to ``size`` where that is given."""
    edges: list[list[Any]] = []
    pairs = Pairs(source)
    for line, words in rows:
        if len(words) not in (2, 3):
            raise source.wrong(line, f"{len(words)} words", "u v, or u v weight")
        if size is not None:
            words[:2] = (str(source.place(line, word, size)) for word in words[:2])
        u, v = words[:2]
        pairs.add(line, u, v)
        if u == v:
            raise source.wrong(line, f"the edge joins {u!r} to itself", "two different nodes")
        weight = [source.value(line, words[2])] if len(words) == 3 else []
        if problem != "maxcut":
            if weight not in ([], [1.0]):
                raise source.wrong(line, f"edge weight {weight[0]:g}", "no edge weights here")
            weight = []
        edges.append([u, v, *weight])
    if not edges:
        raise source.wrong(1, "no edges", "at least one edge")
    return edges


def like_gset(source: Source) -> bool:
    """Whether two counts stand above rows of three words."""
    rows = [words for _, words in source.lines()]
    # A header of two numbers over rows of three: an edge list would weigh all edges or none.
    return (
        len(rows) > 1
        and len(rows[0]) == 2
        and all(count(word) is not None for word in rows[0])
        and {len(words) for words in rows[1:]} == {3}
    )


EDGES = FileFormat(
    "edges",
    "a line for each edge, `u v` or `u v weight`, names without spaces; `#` starts a comment",
    "maxcut",
    _edges,
    (".edges", ".edgelist"),
)
GSET = FileFormat(
    "gset",
    "`n m`, then m lines `i j weight`, nodes counted from 1 (G-set, Biq Mac, rudy)",
    "maxcut",
    _gset,
    (".gset", ".rud", ".mc"),
    like_gset,
)
DIMACS = FileFormat(
    "dimacs",
    "`p edge nodes edges`, then lines `e u v`, nodes counted from 1; `c` starts a comment (DIMACS "
    "challenge files of colouring and clique)",
    "graph_colouring",
    _dimacs,
    (".col", ".clq"),
    _like_dimacs,
)
