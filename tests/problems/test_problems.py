"""The problems against brute force, and what their registry refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from adapters.annealing import NealSolver
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Estimate, Optimise, Problem
from qsaga.core.results import OptimiseAnswer
from qsaga.core.validation import check_observables, parse_request
from qsaga.problems import registry
from qsaga.problems.files import read_problem
from qsaga.problems.polish import descend, energies
from qsaga.problems.verify import SAMPLE_SET, dump_model, verify
from tests.problems.strategies import MADE, OPTIMA, decoded, everything, problems

DATA = Path(__file__).parents[2] / "data"


@settings(max_examples=100, deadline=None)
@given(problems())
def test_model_and_input_agree(problem: Problem) -> None:
    kind, parsed = registry.parse(problem)
    bits = everything(kind, parsed)
    model = kind.formulate(parsed)
    assert tuple(model.variables) == kind.variables(parsed)
    assert kind.size(parsed) == (model.num_variables, model.num_interactions)
    fast, feasible = kind.objectives(parsed, bits), kind.feasibles(parsed, bits)
    modelled = kind.objective_of_energy(energies(model, bits))
    # Variables that stand for no part of a solution (slack) may take what suits it best.
    seen: dict[str, tuple[float, float]] = {}
    for row, value, allowed, shown in zip(bits, fast, feasible, modelled, strict=True):
        solution = decoded(kind, parsed, row)
        assert kind.objective(parsed, solution) == pytest.approx(value)
        assert kind.feasible(parsed, solution) == allowed
        if allowed:
            key = repr(solution)
            _, before = seen.get(key, (value, shown))
            seen[key] = (value, shown if kind.better(shown, before) else before)
    for value, shown in seen.values():
        assert shown == pytest.approx(value, abs=1e-6)
    # The lowest energy of the model is that of the best feasible solution.
    optimum = (max if kind.sense == "maximise" else min)(fast[feasible])
    lowest = kind.objective_of_energy(energies(model, bits).min())
    assert lowest == pytest.approx(optimum, abs=1e-6)
    assert optimum == pytest.approx(OPTIMA[problem.name](problem.data))
    bound = kind.bound(parsed)
    assert bound is None or not kind.better(optimum, bound)
    baseline = kind.baseline(parsed)
    if baseline is not None:
        assert kind.feasible(parsed, baseline)
        assert not kind.better(kind.objective(parsed, baseline), optimum)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_repair_improve_and_polish(problem: Problem) -> None:
    kind, parsed = registry.parse(problem)
    bits = everything(kind, parsed)
    bits = bits[:: max(1, len(bits) // 64)]
    model = kind.formulate(parsed)
    polished = descend(model, bits)
    assert np.all(energies(model, polished) <= energies(model, bits) + 1e-9)
    for column in range(bits.shape[1]):
        flipped = polished.copy()
        flipped[:, column] ^= 1
        assert np.all(energies(model, flipped) >= energies(model, polished) - 1e-6)
    for row in bits:
        solution = decoded(kind, parsed, row)
        repaired = kind.repair(parsed, solution)
        if not kind.feasible(parsed, repaired):
            assert kind.baseline(parsed) is None, "greedy finds more than the repair"
            continue
        improved = kind.improve(parsed, repaired)
        assert kind.feasible(parsed, improved)
        better = kind.better(kind.objective(parsed, repaired), kind.objective(parsed, improved))
        assert not better, "the improvement made it worse"
        if kind.name == "independent_set":
            for node in set(kind.variables(parsed)) - set(repaired):
                assert not kind.feasible(parsed, (*repaired, node)), "not maximal"


@pytest.mark.parametrize("name", registry.names())
def test_annealing_finds_the_optimum_of_small_instances(name: str) -> None:
    for seed in range(10):
        problem = Problem(name=name, data=MADE[name](Random(seed)))
        kind, parsed = registry.parse(problem)
        model = dump_model(kind.formulate(parsed))
        optimum = pytest.approx(OPTIMA[name](problem.data))
        # A machine that is busy gets little done in a time that is plenty otherwise.
        for seconds in (0.05, 0.5, 5.0):
            raw = NealSolver().solve(model, seconds, seed)
            answer, _ = verify(Optimise(problem=problem), model, raw, SAMPLE_SET)
            assert isinstance(answer, OptimiseAnswer)
            if answer.quality.objective == optimum:
                break
        assert answer.quality.objective == optimum, problem.data
        assert answer.explanation
        json.dumps(answer.solution)


@pytest.mark.parametrize("name", registry.names())
def test_what_a_problem_says_of_itself(name: str) -> None:
    kind = registry.get(name)
    assert kind.name == name
    assert kind.title and kind.reference and kind.formats
    assert re.fullmatch(r"[a-z0-9-]+/\d+", kind.formulation)
    assert re.fullmatch(r"[a-z0-9-]+/\d+", kind.decoding)
    _, parsed = registry.parse(Problem(name=name, data=dict(kind.example)))
    assert 0 < kind.size(parsed)[0] <= 30, "the example is to be small enough for any backend"
    baseline = kind.baseline(parsed)
    assert baseline is not None and kind.feasible(parsed, baseline)
    assert kind.model.model_json_schema()["properties"]
    assert set(MADE) == set(OPTIMA) == set(registry.names())


@pytest.mark.parametrize(("name", "best", "ways"), [("maxcut", 12, 8), ("independent_set", 5, 3)])
def test_abilene_optimum(name: str, best: float, ways: int) -> None:
    kind, parsed = registry.parse(read_problem(DATA / "abilene.edges", name))
    bits = everything(kind, parsed)
    objectives = kind.objectives(parsed, bits)[kind.feasibles(parsed, bits)]
    assert (len(kind.variables(parsed)), kind.size(parsed)[1]) == (11, 14)
    assert (objectives.max(), np.sum(objectives == best)) == (best, ways)
    solution = kind.baseline(parsed)
    assert "Seattle" in kind.explain(parsed, solution)
    assert kind.solution_json(parsed, solution)


def test_spins_have_no_fields_in_maxcut() -> None:
    kind, parsed = registry.parse(read_problem(DATA / "G14.txt"))
    model = kind.formulate(parsed)
    assert kind.size(parsed) == (800, 4694)
    assert model.vartype.name == "SPIN"
    assert not any(model.linear.values())


EDGES = [["a", "b"], ["b", "c", 2.0]]

REFUSED: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("maxcut", {"edges": [["a", "a"]]}, "edges.0", "joins 'a' to itself", "two different"),
    ("maxcut", {"edges": [*EDGES, ["b", "a"]]}, "edges.2", "already given at position 0", "once"),
    ("maxcut", {"edges": [["a", "b", math.nan]]}, "edges.0.weight", "not a finite", "finite"),
    ("maxcut", {"edges": [["a", "b", math.inf]]}, "edges.0.weight", "finite", ""),
    ("maxcut", {"edges": [["a", "b", 1e300]]}, "edges.0.weight", "out of range", "at most"),
    ("maxcut", {"edges": [["a", "b", "1"]]}, "edges.0.weight", "valid number", ""),
    ("maxcut", {"edges": [["a", 1]]}, "edges.0.v", "valid string", ""),
    ("maxcut", {"edges": [["a"]]}, "edges.0.v", "missing", ""),
    ("maxcut", {"edges": [["a", "b", 1.0, 2.0]]}, "edges.0", "4 items", "at most 3"),
    ("maxcut", {"edges": []}, "edges", "0 items", "at least 1"),
    ("maxcut", {}, "edges", "missing", ""),
    ("maxcut", {"edges": EDGES, "colour": 1}, "colour", "no such field", ""),
    ("maxcut", {"edges": EDGES, "nodes": ["a", "b"]}, "edges.1", "'c' is not in the list", ""),
    ("maxcut", {"edges": EDGES, "nodes": ["a", "a"]}, "nodes.1", "already given", "once"),
    ("independent_set", {"edges": []}, "nodes", "empty", "at least one node"),
    ("independent_set", {"edges": [["a", "b", 1.0]]}, "edges.0", "3 items", "at most 2"),
    ("independent_set", {"edges": [["a", "a"]]}, "edges.0", "itself", ""),
    ("independent_set", {"nodes": ["a"], "weights": {"a": 0}}, "weights.a", "range", "above 0"),
    ("independent_set", {"nodes": ["a"], "weights": {"b": 1}}, "weights.b", "no node", ""),
    ("qubo", {}, "linear", "empty", "at least one variable"),
    ("qubo", {"quadratic": [["a", "a", 1.0]]}, "quadratic.0", "coupled to itself", "linear"),
    ("qubo", {"quadratic": [["a", "b"]]}, "quadratic.0.bias", "missing", ""),
    ("qubo", {"linear": {"a": math.inf}}, "linear.a", "finite", ""),
    ("qubo", {"linear": {"a": 1.0}, "vartype": "TERNARY"}, "vartype", "not known", "BINARY"),
    ("qubo", {"linear": {"a": 1.0}, "variables": ["b"]}, "linear.a", "not in the list", ""),
]


@pytest.mark.parametrize(("name", "data", "path", "problem", "allowed"), REFUSED)
def test_bad_input_is_refused(
    name: str, data: dict[str, Any], path: str, problem: str, allowed: str
) -> None:
    request = {
        "key": "k",
        "workload": {"kind": "optimise", "problem": {"name": name, "data": data}},
    }
    with pytest.raises(InvalidRequest) as caught:
        registry.request(request)
    assert caught.value.field == f"workload.problem.data.{path}"
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed


def _request(**more: Any) -> dict[str, Any]:
    optimise = {"kind": "optimise", "problem": {"name": "maxcut", "data": {"edges": EDGES}}}
    workload = {**optimise, **more.pop("workload", {})}
    return {"key": "k", "workload": workload, **more}


REQUESTS: list[tuple[dict[str, Any], str, str, str]] = [
    (_request(key="a/b"), "key", "'a/b' does not fit", "text matching"),
    (_request(workload={"shots": 0}), "workload.shots", "0 is out of range", "at least 1"),
    (_request(workload={"shots": -4}), "workload.shots", "-4 is out of range", "at least 1"),
    (_request(route="warp"), "route", "'warp' is not known", "'annealing'"),
    (_request(warp=1), "warp", "no such field", ""),
    (_request(workload={"kind": "guess"}), "workload", "kind 'guess' is not known", "'optimise'"),
    (_request(budgets={"queue": -1}), "budgets.queue", "-1 is out of range", "above 0"),
    (
        _request(budgets={"queue": 9, "deadline": 1}),
        "budgets",
        "contradict",
        "at most the deadline",
    ),
    (
        _request(workload={"problem": {"name": "chess", "data": {}}}),
        "workload.problem.name",
        "unknown problem 'chess'",
        "maxcut, ",
    ),
    ({"workload": _request()["workload"]}, "key", "missing", ""),
]


@pytest.mark.parametrize(("data", "path", "problem", "allowed"), REQUESTS)
def test_bad_request_is_refused(
    data: dict[str, Any], path: str, problem: str, allowed: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        registry.request(data)
    assert caught.value.field == path
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed


def test_good_request_is_taken() -> None:
    assert registry.request(_request()).job_id == "default/k"
    assert parse_request(_request()) == registry.request(_request())


def test_nan_in_a_request_has_a_plain_path() -> None:
    data = _request(
        workload={"problem": {"name": "maxcut", "data": {"edges": [["a", "b", math.nan]]}}}
    )
    with pytest.raises(InvalidRequest) as caught:
        parse_request(data)
    assert caught.value.field == "workload.problem.data.edges.0.2"


def test_observables_must_fit_the_circuit() -> None:
    workload = Estimate.model_validate(
        {
            "circuit": {"source": "OPENQASM 3.0;"},
            "observables": [{"ZZ": 1.0}, {"XX": 1.0, "Z": 2.0}],
        }
    )
    with pytest.raises(InvalidRequest, match=r"observables\.1\.Z: the label has 1 letters"):
        check_observables(workload, 2)
