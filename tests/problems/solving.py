"""From the data of a problem to its answer, and to the complaint that it is refused with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from adapters.annealing import NealSolver, steepest_descent
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Optimise, Problem
from qsaga.core.results import OptimiseAnswer
from qsaga.problems import registry
from qsaga.problems.verify import SAMPLE_SET, dump_model, verify

DATA = Path(__file__).parents[2] / "data"

SWEEPS_A_SECOND = 30_000
"""A machine makes more of small models and fewer of large ones."""


def solved(name: str, data: dict[str, Any], seconds: float = 0.1, seed: int = 7) -> OptimiseAnswer:
    """The answer by annealing, checked as a job's is; the same on a machine that is busy."""
    problem = Problem(name=name, data=data)
    kind, given = registry.parse(problem)
    model = dump_model(kind.formulate(given))
    raw = NealSolver(work=SWEEPS_A_SECOND * seconds).solve(model, seconds, seed)
    answer, _ = verify(Optimise(problem=problem), model, raw, SAMPLE_SET, steepest_descent)
    assert isinstance(answer, OptimiseAnswer)
    return answer


def refused(name: str, data: dict[str, Any], path: str, problem: str, allowed: str) -> None:
    """Assert that a request with that data is refused so; ``problem`` is a pattern."""
    request = {
        "key": "k",
        "workload": {"kind": "optimise", "problem": {"name": name, "data": data}},
    }
    with pytest.raises(InvalidRequest) as caught:
        registry.request(request)
    assert caught.value.field == ".".join(["workload.problem.data", *([path] if path else [])])
    assert re.search(problem, caught.value.problem)
    assert allowed in caught.value.allowed
