"""Small random problems, and every assignment of their variables."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from qsaga.core.jobs import Problem
from qsaga.problems.base import Bits, ProblemInput, ProblemType

weights = st.integers(-5, 5).map(float)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """A small random problem of any kind."""
    nodes = [f"n{i}" for i in range(draw(st.integers(2, 7)))]
    pairs = [(u, v) for i, u in enumerate(nodes) for v in nodes[:i]]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    name = draw(st.sampled_from(["maxcut", "independent_set", "qubo"]))
    data: dict[str, Any]
    if name == "independent_set":
        heavy = {node: draw(st.integers(1, 4)) for node in nodes if draw(st.booleans())}
        data = {"nodes": nodes, "edges": [list(pair) for pair in chosen], "weights": heavy}
    elif name == "maxcut":
        data = {"nodes": nodes, "edges": [[*pair, draw(weights)] for pair in chosen]}
    else:
        data = {
            "variables": nodes,
            "linear": {node: draw(weights) for node in nodes},
            "quadratic": [[*pair, draw(weights)] for pair in chosen],
            "offset": draw(weights),
            "vartype": draw(st.sampled_from(["BINARY", "SPIN"])),
        }
    return Problem(name=name, data=data)


def everything(kind: ProblemType[Any, Any], given: ProblemInput) -> Bits:
    """Every assignment of the variables."""
    size = len(kind.variables(given))
    return ((np.arange(2**size)[:, None] >> np.arange(size)) & 1).astype(np.int8)


def decoded(kind: ProblemType[Any, Any], given: ProblemInput, row: Any) -> Any:
    return kind.decode(given, dict(zip(kind.variables(given), row.tolist(), strict=True)))
