"""What is proven of a model holds for the problem: against every assignment."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any

import dimod
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cpsat import CpSatSolver
from qsaga.core.confidence import Proof
from qsaga.core.errors import ResultUnusable, SolverError
from qsaga.core.jobs import Optimise, Problem
from qsaga.core.results import Confidence, OptimiseAnswer
from qsaga.problems import registry
from qsaga.problems.exact import rounded_down
from qsaga.problems.proofs import (
    EXHAUSTIVE_VARIABLES,
    LARGEST,
    exhaustive,
    proof_of,
    rounding,
    whole,
    with_proof,
)
from qsaga.problems.verify import SAMPLE_SET, dump_model, verify
from tests.problems.strategies import MADE, OPTIMA, problems

SIZES = st.one_of(
    st.integers(-9, 9).map(float),
    st.integers(-64, 64).map(lambda n: n / 16),
    st.integers(-99, 99).map(lambda n: n / 10),
    st.floats(-1e3, 1e3),
    st.floats(1e-6, 1e12),
    st.sampled_from([1e-300, -1e-18, 1e18, 1e100, 2.0**-1040]),
)


@st.composite
def models(draw: st.DrawFn) -> dimod.BinaryQuadraticModel:
    size = draw(st.integers(1, 6))
    model = dimod.BinaryQuadraticModel(draw(st.sampled_from(["BINARY", "SPIN"])))
    for tail in range(size):
        model.add_linear(tail, draw(SIZES))
        for head in range(tail):
            if draw(st.booleans()):
                model.add_quadratic(head, tail, draw(SIZES))
    model.offset = draw(SIZES)
    return model


def true_energies(model: dimod.BinaryQuadraticModel) -> list[Fraction]:
    """Of every assignment, without rounding."""
    values = (0, 1) if model.vartype is dimod.BINARY else (-1, 1)
    names = list(model.variables)
    found = []
    for row in product(values, repeat=len(names)):
        sample = dict(zip(names, row, strict=True))
        energy = Fraction(float(model.offset))
        energy += sum(Fraction(float(b)) * sample[v] for v, b in model.linear.items())
        energy += sum(
            Fraction(float(b)) * sample[u] * sample[v] for (u, v), b in model.quadratic.items()
        )
        found.append(energy)
    return found


@settings(max_examples=200, deadline=None)
@given(models())
def test_whole_numbers_stand_for_the_energies_within_their_slack(
    model: dimod.BinaryQuadraticModel,
) -> None:
    exact = whole(model)
    assert sum(map(abs, (*exact.linear, *exact.biases))) <= 8 * LARGEST + model.num_variables**2
    terms = list(zip(exact.heads, exact.tails, exact.biases, strict=True))
    lows = []
    for row, energy in zip(
        product((0, 1), repeat=model.num_variables), true_energies(model), strict=True
    ):
        low = sum(bias * bit for bias, bit in zip(exact.linear, row, strict=True))
        low += sum(bias * row[head] * row[tail] for head, tail, bias in terms)
        shown = (low + exact.constant) / exact.scale + exact.offset
        assert abs(shown - energy) <= exact.slack
        lows.append(low)
    least = min(true_energies(model))
    assert exact.bound(min(lows)) <= least
    assert exact.bound(exact.least) <= least
    assert float(least) - exact.bound(min(lows)) <= 3 * float(exact.slack) + 1e-12 * abs(least)


@settings(max_examples=200, deadline=None)
@given(models())
def test_a_computed_energy_is_off_by_no_more_than_is_said(
    model: dimod.BinaryQuadraticModel,
) -> None:
    allowed = Fraction(rounding(model))
    computed = dimod.ExactSolver().sample(model)
    lowest = Fraction(float(computed.record.energy.min()))
    least = min(true_energies(model))
    assert abs(lowest - least) <= allowed
    _, proof = exhaustive(model)
    assert proof.complete and proof.bound <= least


@pytest.mark.parametrize(
    ("biases", "scale"), [([3, -7], 1), ([0.25, 1.5], 4), ([0.1, -2.3], 10), ([1e-3, 5], 1000)]
)
def test_usual_biases_are_scaled_without_loss(biases: list[float], scale: int) -> None:
    model = dimod.BinaryQuadraticModel({"a": biases[0]}, {("a", "b"): biases[1]}, 0, "BINARY")
    exact = whole(model)
    assert exact.scale == scale
    # 0.1 is no multiple of a tenth, but the double next to it.
    assert float(exact.slack) <= 1e-15
    assert rounding(model) == (0.0 if scale <= 4 else pytest.approx(0, abs=1e-12))


def test_rounding_is_nothing_for_whole_numbers_only_while_they_fit() -> None:
    fits = dimod.BinaryQuadraticModel({"a": 2.0**52, "b": 1.0}, {}, 0, "BINARY")
    assert rounding(fits) == 0
    fits.add_linear("c", 2.0**53)
    assert rounding(fits) > 0


def test_rounded_down_is_never_above() -> None:
    assert rounded_down(Fraction(1, 2)) == 0.5
    assert Fraction(rounded_down(Fraction(1, 10))) <= Fraction(1, 10)
    assert math.nextafter(rounded_down(Fraction(1, 10)), 1) >= 0.1


def test_what_cannot_be_tried_in_full_is_refused() -> None:
    large = dimod.BinaryQuadraticModel(EXHAUSTIVE_VARIABLES + 1, "BINARY")
    with pytest.raises(SolverError, match="21 variables, every assignment is tried for up to 20"):
        exhaustive(large)
    with pytest.raises(SolverError, match="no variables"):
        exhaustive(dimod.BinaryQuadraticModel("SPIN"))
    huge = dimod.BinaryQuadraticModel({"a": 1e308, "b": 1.7e308}, {}, 0, "BINARY")
    for work in (rounding, whole):
        with pytest.raises(SolverError, match="too large to be added up"):
            work(huge)
    infinite = dimod.BinaryQuadraticModel({"a": math.inf}, {}, 0, "BINARY")
    for work in (exhaustive, whole):
        with pytest.raises(SolverError, match="not finite"):
            work(infinite)


def answered(problem: Problem, raw: bytes) -> OptimiseAnswer:
    kind, given = registry.parse(problem)
    model = dump_model(kind.formulate(given))
    answer, _ = verify(Optimise(problem=problem), model, raw, SAMPLE_SET)
    assert isinstance(answer, OptimiseAnswer)
    return answer


def is_honest(problem: Problem, answer: OptimiseAnswer) -> None:
    """What is claimed holds against the optimum that the data alone gives."""
    kind, _ = registry.parse(problem)
    optimum, quality = OPTIMA[problem.name](problem.data), answer.quality
    if quality.bound is not None:
        assert not kind.better(optimum, quality.bound) or optimum == pytest.approx(quality.bound)
        assert quality.gap is not None and quality.bound_by
        assert abs(quality.objective - optimum) <= quality.gap + 1e-9 * abs(optimum)
    if quality.confidence is Confidence.PROVEN_OPTIMAL:
        assert quality.objective == pytest.approx(optimum)
    if quality.confidence is Confidence.BETTER_THAN_BASELINE:
        assert quality.gain is not None and quality.gain > 0 and quality.baseline_by


@settings(max_examples=60, deadline=None)
@given(problems())
def test_every_assignment_proves_the_optimum_of_every_problem(problem: Problem) -> None:
    kind, given = registry.parse(problem)
    model = kind.formulate(given)
    if model.num_variables > EXHAUSTIVE_VARIABLES:
        return
    found, proof = exhaustive(model)
    answer = answered(problem, with_proof(found, proof, {}))
    is_honest(problem, answer)
    if kind.bound_of_energy(given, 0.0) is not None:
        assert answer.quality.confidence is Confidence.PROVEN_OPTIMAL, answer.quality


@pytest.mark.parametrize("name", registry.names())
def test_cp_sat_proves_the_optimum_of_small_problems(name: str) -> None:
    for seed in range(4):
        problem = Problem(name=name, data=MADE[name](Random(seed)))
        kind, given = registry.parse(problem)
        found = CpSatSolver().solve(dump_model(kind.formulate(given)), 30.0, seed)
        assert found.samples is not None and found.proof.complete
        answer = answered(problem, found.samples)
        is_honest(problem, answer)
        if kind.bound_of_energy(given, 0.0) is not None:
            assert answer.quality.confidence is Confidence.PROVEN_OPTIMAL, answer.quality


@settings(max_examples=60, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_a_search_that_did_not_end_proves_no_more_than_its_bound(
    problem: Problem, random: Any
) -> None:
    """Any sample with any true bound: the class is what both together carry."""
    kind, given = registry.parse(problem)
    model = kind.formulate(given)
    exact = whole(model)
    row = [random.randrange(2) for _ in model.variables]
    values = row if model.vartype is dimod.BINARY else [2 * bit - 1 for bit in row]
    samples = dimod.SampleSet.from_samples_bqm(([values], list(model.variables)), model)
    proof = Proof(bound=exact.bound(exact.least), by="CP-SAT (test)")
    try:
        answer = answered(problem, with_proof(samples, proof, {}))
    except ResultUnusable:
        return  # nothing feasible came of this sample
    is_honest(problem, answer)


def test_a_model_of_a_part_of_the_problem_proves_nothing_of_all() -> None:
    """With a time step above 1 the best schedule of the model need not be the best one."""
    jobs = [{"name": f"j{i}", "steps": [["a", 3], ["b", 3]]} for i in range(2)]
    problem = Problem(name="job_shop", data={"jobs": jobs, "time_step": 2})
    kind, given = registry.parse(problem)
    assert kind.bound_of_energy(given, 10.0) is None


def test_a_damaged_proof_is_no_proof() -> None:
    assert proof_of({}) is None
    with pytest.raises(ResultUnusable, match="the proof cannot be read"):
        proof_of({"proof": {"bound": "low"}})


def test_a_bound_that_the_answer_disproves_is_dropped() -> None:
    problem = Problem(name="maxcut", data={"edges": [["a", "b"], ["b", "c"], ["a", "c"]]})
    kind, given = registry.parse(problem)
    found, _ = exhaustive(kind.formulate(given))
    lie = Proof(bound=-1.0, by="liar", complete=True)
    quality = answered(problem, with_proof(found, lie, {})).quality
    assert (quality.objective, quality.bound, quality.bound_by) == (2.0, 3.0, "problem")
    assert quality.confidence is not Confidence.PROVEN_OPTIMAL
    info = json.loads(with_proof(found, lie, {"more": 1}))["info"]
    assert set(info) == {"proof", "more"}
