"""The annealer: on time, on one core, and good."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest

from adapters.annealing import KEEP, MOST_ENERGIES, NealSolver, steepest_descent
from qsaga.core.errors import SolverError
from qsaga.problems import registry
from qsaga.problems.files import read_problem
from qsaga.problems.polish import descend, energies
from qsaga.problems.verify import dump_model

DATA = Path(__file__).parents[2] / "data"


def solve(model: dimod.BinaryQuadraticModel, seconds: float, seed: int = 1) -> Any:
    raw = NealSolver().solve(dump_model(model), seconds, seed)
    return dimod.SampleSet.from_serializable(json.loads(raw))


def model_of(name: str, problem: str | None = None) -> dimod.BinaryQuadraticModel:
    kind, parsed = registry.parse(read_problem(DATA / name, problem))
    return kind.formulate(parsed)


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
def test_form_of_the_result(vartype: str) -> None:
    random = np.random.default_rng(1)
    model = dimod.BinaryQuadraticModel(vartype)
    for i in range(8):
        model.add_linear(f"z{9 - i}", random.normal())
        for j in range(i):
            model.add_quadratic(f"z{9 - i}", f"z{9 - j}", random.normal())
    model.offset = 3.0
    found = solve(model, 0.15)
    assert set(found.variables) == set(model.variables)
    assert found.vartype is model.vartype
    assert 1 <= len(found) <= KEEP
    assert list(found.record.energy) == sorted(found.record.energy)
    assert model.energies((found.record.sample, list(found.variables))) == pytest.approx(
        found.record.energy
    )
    bits = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.int8)
    assert found.first.energy == pytest.approx(energies(model, bits).min())
    info = found.info
    assert 0 < len(info["energies"]) <= MOST_ENERGIES
    assert info["energies"] == sorted(info["energies"])
    assert info["energies"][0] == pytest.approx(found.first.energy)
    assert info["reads"] == sum(one["reads"] for one in info["schedules"].values())
    assert info["sweeps"] >= info["reads"]


def test_abilene() -> None:
    assert solve(model_of("abilene.edges"), 0.1).first.energy == -12
    assert solve(model_of("abilene.edges", "independent_set"), 0.1).first.energy == -5


def test_a_large_graph_on_time() -> None:
    start = time.perf_counter()
    found = solve(model_of("G14.txt"), 2.0)
    # Wide, since other tests share the machine.
    assert 1.5 < time.perf_counter() - start < 3.5
    assert found.info["seconds"] < 3.5
    # Within 0.5 % of the best known cut, 3064.
    assert found.first.energy <= -3049


def test_odd_models() -> None:
    flat = dimod.BinaryQuadraticModel({"a": 0.0, "b": 0.0}, {("a", "b"): 0.0}, 1.5, "BINARY")
    assert solve(flat, 0.02).first.energy == 1.5
    single = dimod.BinaryQuadraticModel({"a": 1.0}, {}, 0.0, "SPIN")
    assert solve(single, 0.02).first.energy == -1
    # No time at all still gives an answer.
    assert len(solve(model_of("abilene.edges"), 1e-6)) >= 1


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (dimod.BinaryQuadraticModel("SPIN"), "no variables"),
        (dimod.BinaryQuadraticModel({"a": float("nan")}, {}, 0.0, "SPIN"), "not finite"),
        (dimod.BinaryQuadraticModel({"a": 1.0}, {}, float("inf"), "SPIN"), "not finite"),
    ],
)
def test_refusals(model: dimod.BinaryQuadraticModel, problem: str) -> None:
    with pytest.raises(SolverError, match=problem):
        solve(model, 0.01)


def test_compiled_descent_agrees() -> None:
    model = model_of("abilene.edges", "independent_set")
    bits = np.random.default_rng(2).integers(0, 2, (50, 11)).astype(np.int8)
    compiled, plain = steepest_descent(model, bits), descend(model, bits)
    assert compiled.shape == bits.shape
    for found in (compiled, plain):
        assert np.all(energies(model, found) <= energies(model, bits))
        for column in range(11):
            flipped = found.copy()
            flipped[:, column] ^= 1
            assert np.all(energies(model, flipped) >= energies(model, found))
