"""Pictures of solutions. matplotlib and networkx are the optional extra ``plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Problem
from qsaga.problems import registry

SUFFIXES = (".svg", ".png", ".pdf")

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which people with any colour vision tell apart."""

PALE = "#dddddd"

MOST_NAMES = 60
"""Beyond so many nodes or bars their names would only cover each other."""

MOST_SPRINGS = 500
"""Up to so many nodes networkx lays a graph out with numpy alone."""


def picture(problem: Problem, solution: Mapping[str, JsonValue], path: Path) -> None:
    """Write a picture of a solution.

    Args:
        problem: what was solved.
        solution: as ``ProblemType.solution_json`` gives it, and as results have it.
        path: of the file; its ending says the kind, one of ``SUFFIXES``.

    Raises InvalidRequest if the ending is another, matplotlib or networkx is not installed, or
    the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequest("picture", f"{path.name!r} is no kind of picture", ", ".join(SUFFIXES))
    kind, given = registry.parse(problem)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 5.5), layout="constrained")
        axes = figure.add_subplot()
        # Without these the same picture would be another file each time.
        with rc_context({"svg.hashsalt": kind.name}):
            kind.draw(given, solution, axes)
            svg = path.suffix.lower() == ".svg"
            figure.savefig(path, metadata={"Date": None} if svg else None)
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            "picture", f"{error.name} is not installed", "pip install 'qsaga[plots]'"
        ) from error
    except OSError as error:
        raise InvalidRequest("picture", f"{path} cannot be written: {error.strerror}") from error


def colour(place: int) -> str:
    """The colour of a group; they repeat when there are more groups than colours."""
    return COLOURS[place % len(COLOURS)]


def named(value: JsonValue) -> list[str]:
    """The names in a list of a solution."""
    return [str(name) for name in value] if isinstance(value, list) else []


def title(axes: Any, text: str) -> None:
    """A heading. Names may hold a $, which is no formula here."""
    axes.set_title(text, parse_math=False, fontsize=11)


def graph(
    axes: Any,
    nodes: Sequence[str],
    edges: Sequence[tuple[str, str]],
    colours: Mapping[str, str],
    strong: Sequence[bool] | None = None,
) -> None:
    """A graph with coloured nodes.

    Args:
        axes: to draw into.
        nodes: names.
        edges: pairs of names.
        colours: of nodes; others are pale.
        strong: for each edge whether it is drawn dark; all are if left out.
    """
    import networkx as nx

    drawn = nx.Graph()
    drawn.add_nodes_from(nodes)
    drawn.add_edges_from(edges)
    small = len(nodes) < MOST_SPRINGS
    places = nx.spring_layout(drawn, seed=1) if small else nx.circular_layout(drawn)
    for index, (u, v) in enumerate(edges):
        dark = strong is None or strong[index]
        (x, y), (z, w) = places[u], places[v]
        axes.plot(
            [x, z],
            [y, w],
            color="#333333" if dark else PALE,
            linewidth=1.4 if dark else 0.8,
            linestyle="-" if dark else "--",
            zorder=1,
        )
    few = len(nodes) <= MOST_NAMES
    axes.scatter(
        [places[name][0] for name in nodes],
        [places[name][1] for name in nodes],
        s=120 if few else 20,
        c=[colours.get(name, PALE) for name in nodes],
        edgecolors="#333333",
        linewidths=0.8,
        zorder=2,
    )
    if few:
        for name in nodes:
            axes.annotate(
                name,
                places[name],
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                zorder=3,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
                parse_math=False,
            )
    axes.margins(0.12)
    axes.set_axis_off()


def bars(axes: Any, names: Sequence[str], heights: Sequence[float], chosen: Sequence[bool]) -> None:
    """A bar for each name, pale where it is not chosen."""
    places = range(len(names))
    shades = [colour(0) if one else PALE for one in chosen]
    axes.bar(places, heights, color=shades, edgecolor="#333333", linewidth=0.5)
    if len(names) <= MOST_NAMES:
        axes.set_xticks(places)
        axes.set_xticklabels(names, rotation=60, ha="right", fontsize=8, parse_math=False)
    else:
        axes.set_xticks([])


def stacks(axes: Any, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> None:
    """A horizontal stack of named lengths for each row, the first row on top."""
    for place, (_, parts) in enumerate(rows):
        start = 0.0
        for index, (name, length) in enumerate(parts):
            axes.barh(
                place,
                length,
                left=start,
                color=colour(index),
                edgecolor="white",
                linewidth=0.5,
            )
            if sum(len(row[1]) for row in rows) <= MOST_NAMES:
                axes.text(
                    start + length / 2,
                    place,
                    name,
                    ha="center",
                    va="center",
                    fontsize=8,
                    parse_math=False,
                )
            start += length
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([name for name, _ in rows], parse_math=False)
    axes.invert_yaxis()


def dots(
    axes: Any,
    columns: Sequence[str],
    rows: Sequence[str],
    places: Sequence[Sequence[int]],
    chosen: Sequence[bool],
) -> None:
    """A grid with dots in the rows that ``places`` gives for each column."""
    for column, (inside, one) in enumerate(zip(places, chosen, strict=True)):
        shade = colour(0) if one else PALE
        axes.axvline(column, color=shade, linewidth=1.0, zorder=1)
        axes.scatter([column] * len(inside), inside, s=40, color=shade, zorder=2)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    if len(columns) <= MOST_NAMES:
        axes.set_xticks(range(len(columns)))
        axes.set_xticklabels(columns, rotation=60, ha="right", fontsize=8, parse_math=False)
    if len(rows) <= MOST_NAMES:
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels(rows, fontsize=8, parse_math=False)
