"""Answers from raw results: right against brute force, and never from a damaged result."""

from __future__ import annotations

import json
import time
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.annealing import steepest_descent
from qsaga.core.errors import ResultUnusable
from qsaga.core.jobs import Estimate, Optimise, Problem, Sample
from qsaga.core.ports import CircuitResult
from qsaga.core.results import (
    Confidence,
    EstimateAnswer,
    OptimiseAnswer,
    SampleAnswer,
)
from qsaga.problems import registry
from qsaga.problems.base import distinct
from qsaga.problems.polish import descend
from qsaga.problems.verify import CIRCUIT_RESULT, SAMPLE_SET, dump_model, verify
from tests.problems.strategies import everything, problems

PATH = {"nodes": ["a", "b", "c"], "edges": [["a", "b"], ["b", "c"]]}
INDEPENDENT = Optimise(problem=Problem(name="independent_set", data=PATH))
CIRCUIT = {"source": "OPENQASM 3.0;"}


def counted(counts: dict[str, int], register: str = "meas", shots: int | None = None) -> bytes:
    total = sum(counts.values()) if shots is None else shots
    result = CircuitResult(verb="sample", shots=total, counts={register: counts})
    return result.model_dump_json().encode()


def optimise(workload: Optimise, raw: bytes, media: str = CIRCUIT_RESULT) -> OptimiseAnswer:
    answer, _ = verify(workload, None, raw, media)
    assert isinstance(answer, OptimiseAnswer)
    return answer


@settings(max_examples=40, deadline=None)
@given(problems(), st.data())
def test_against_brute_force(problem: Problem, data: st.DataObject) -> None:
    kind, parsed = registry.parse(problem)
    every = everything(kind, parsed)
    rows = data.draw(st.lists(st.sampled_from(range(len(every))), min_size=1, unique=True))
    counts = {"".join(map(str, every[row][::-1])): row % 3 + 1 for row in rows}
    model = dump_model(kind.formulate(parsed))
    objectives, feasible = kind.objectives(parsed, every), kind.feasibles(parsed, every)
    optimum = (max if kind.sense == "maximise" else min)(objectives[feasible])
    for polisher in (descend, steepest_descent):
        answer, polished = verify(
            Optimise(problem=problem), model, counted(counts), CIRCUIT_RESULT, polisher
        )
        assert isinstance(answer, OptimiseAnswer)
        quality = answer.quality
        assert quality.feasible
        assert not kind.better(quality.objective, optimum + 0.0)
        good = [row for row in rows if feasible[row]]
        if good:
            raw_best = (max if kind.sense == "maximise" else min)(objectives[good])
            assert quality.raw_best == pytest.approx(raw_best)
            assert not kind.better(raw_best, quality.objective)
            assert polished == kind.better(quality.objective, raw_best)
            repeats = np.array([row % 3 + 1 for row in good])
            assert quality.raw_mean == pytest.approx(np.average(objectives[good], weights=repeats))
            assert quality.histogram is not None
            assert sum(quality.histogram.counts) == repeats.sum()
        else:
            assert (quality.raw_best, quality.raw_mean, quality.histogram) == (None, None, None)
            assert polished
        if len(rows) == len(every):
            assert quality.objective == pytest.approx(optimum)


def test_rightmost_bit_is_the_first_variable() -> None:
    answer = optimise(INDEPENDENT, counted({"101": 3, "110": 1}))
    assert answer.solution == {"chosen": ["a", "c"]}
    assert answer.quality.raw_best == 2.0
    assert answer.quality.feasible_share == 0.75
    linear = Optimise(problem=Problem(name="qubo", data={"linear": {"x": 5.0, "y": -1.0}}))
    assert optimise(linear, counted({"10": 1})).solution == {"values": {"x": 0, "y": 1}}


def test_conflicts_are_repaired() -> None:
    answer, polished = verify(INDEPENDENT, None, counted({"111": 5}), CIRCUIT_RESULT)
    assert isinstance(answer, OptimiseAnswer)
    assert polished
    assert answer.quality.feasible
    assert answer.quality.objective >= 1
    assert answer.quality.feasible_share == 0
    assert answer.quality.confidence is Confidence.PROVEN_OPTIMAL


def sample_set(rows: list[list[int]], info: dict[str, Any] | None = None) -> bytes:
    kind, parsed = registry.parse(INDEPENDENT.problem)
    found = dimod.SampleSet.from_samples_bqm((rows, ["c", "b", "a"]), kind.formulate(parsed))
    found.info.update(info or {})
    return json.dumps(found.to_serializable()).encode()


def test_sample_sets() -> None:
    raw = sample_set([[1, 0, 0], [1, 0, 1]], {"energies": [-2.0, -2.0, -1.0, -1.0, -1.0]})
    quality = optimise(INDEPENDENT, raw, SAMPLE_SET).quality
    assert (quality.objective, quality.raw_best, quality.raw_mean) == (2.0, 2.0, 1.5)
    assert quality.histogram is not None
    assert quality.histogram.counts == (3, 2)
    assert quality.histogram.edges == (0.5, 1.5, 2.5)


UNUSABLE = [
    (counted({}), CIRCUIT_RESULT, "no counts"),
    (counted({"101": 0}, shots=5), CIRCUIT_RESULT, "no counts"),
    (counted({"1010": 4}), CIRCUIT_RESULT, "is not 3 bits"),
    (counted({"101": 4, "11": 4}), CIRCUIT_RESULT, "is not 3 bits"),
    (counted({"1x1": 4}), CIRCUIT_RESULT, "is not 3 bits"),
    (counted({"101": 4, "110": -1}), CIRCUIT_RESULT, "negative"),
    (b'{"verb": "sample", "shots": 1}', CIRCUIT_RESULT, "no register"),
    (b"not json", CIRCUIT_RESULT, "cannot be read"),
    (b"not json", SAMPLE_SET, "cannot be read"),
    (b"{}", SAMPLE_SET, "cannot be read"),
    (sample_set([[1, 0, 0]], {"energies": [float("nan")]}), SAMPLE_SET, "not finite"),
    (counted({"101": 4}), "text/plain", "cannot answer optimise"),
]


@pytest.mark.parametrize(("raw", "media", "problem"), UNUSABLE)
def test_damaged_results_are_refused(raw: bytes, media: str, problem: str) -> None:
    with pytest.raises(ResultUnusable, match=problem):
        verify(INDEPENDENT, None, raw, media)


def test_other_variables_are_refused() -> None:
    other = dimod.SampleSet.from_samples([{"x": 1}], "BINARY", energy=[0.0])
    with pytest.raises(ResultUnusable, match="other variables"):
        verify(INDEPENDENT, None, json.dumps(other.to_serializable()).encode(), SAMPLE_SET)
    model = dimod.BinaryQuadraticModel({"x": 1.0}, {}, "BINARY")
    with pytest.raises(ResultUnusable, match="not those of the input"):
        verify(INDEPENDENT, dump_model(model), counted({"101": 1}), CIRCUIT_RESULT)
    with pytest.raises(ResultUnusable, match="model cannot be read"):
        verify(INDEPENDENT, b"nonsense", counted({"101": 1}), CIRCUIT_RESULT)


def test_sample_is_passed_through() -> None:
    workload = Sample.model_validate({"circuit": CIRCUIT})
    answer, polished = verify(workload, None, counted({"01": 3, "11": 1}, "c"), CIRCUIT_RESULT)
    assert isinstance(answer, SampleAnswer)
    assert (answer.counts, answer.shots, polished) == ({"c": {"01": 3, "11": 1}}, 4, False)
    for raw, problem in (
        (counted({"01": 3}, shots=4), "3 counts, 4 shots"),
        (counted({"01": 3, "1": 1}), "is not 2 bits"),
        (CircuitResult(verb="sample", shots=1).model_dump_json().encode(), "no register"),
    ):
        with pytest.raises(ResultUnusable, match=problem):
            verify(workload, None, raw, CIRCUIT_RESULT)
    with pytest.raises(ResultUnusable, match="cannot answer sample"):
        verify(workload, None, b"{}", SAMPLE_SET)


@pytest.mark.parametrize(
    ("values", "errors", "problem"),
    [
        ((0.5,), (0.1,), ""),
        ((0.5, 0.1), (0.1,), "2 values and 1 standard errors for 1"),
        ((), (), "0 values"),
        ((0.5,), (-0.1,), "negative"),
    ],
)
def test_estimate_is_passed_through(
    values: tuple[float, ...], errors: tuple[float, ...], problem: str
) -> None:
    workload = Estimate.model_validate({"circuit": CIRCUIT, "observables": [{"Z": 1.0}]})
    result = CircuitResult(verb="estimate", shots=0, values=values, standard_errors=errors)
    raw = result.model_dump_json().encode()
    if problem:
        with pytest.raises(ResultUnusable, match=problem):
            verify(workload, None, raw, CIRCUIT_RESULT)
    else:
        answer, _ = verify(workload, None, raw, CIRCUIT_RESULT)
        assert answer == EstimateAnswer(values=values, standard_errors=errors)


def test_a_thousand_samples_of_a_hundred_variables() -> None:
    random = np.random.default_rng(1)
    names = [f"v{i}" for i in range(100)]
    pairs = [
        [u, v, float(random.integers(-50, 50))]
        for i, u in enumerate(names)
        for v in names[:i]
        if random.random() < 0.1
    ]
    workload = Optimise(problem=Problem(name="qubo", data={"variables": names, "quadratic": pairs}))
    raw = counted({"".join(map(str, random.integers(0, 2, 100))): 1 for _ in range(1024)})
    start = time.perf_counter()
    slow = optimise(workload, raw)
    assert time.perf_counter() - start < 10
    answer, _ = verify(workload, None, raw, CIRCUIT_RESULT, steepest_descent)
    assert isinstance(answer, OptimiseAnswer)
    assert answer.quality.confidence is Confidence.BETTER_THAN_BASELINE
    assert answer.quality.objective == pytest.approx(slow.quality.objective, rel=0.05)
    assert slow.quality.histogram is not None
    assert len(slow.quality.histogram.counts) <= 30


@given(st.integers(0, 40), st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_distinct_rows_are_those_of_numpy(rows: int, columns: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    few = generator.integers(0, 2, (rows, columns), dtype=np.int8)
    bits = np.vstack([few, few[: rows // 2]])
    assert np.array_equal(distinct(bits), np.unique(bits, axis=0))


def test_rows_without_columns_are_one() -> None:
    assert distinct(np.zeros((3, 0), dtype=np.int8)).shape == (1, 0)
