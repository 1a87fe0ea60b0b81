"""A reduced model has the optimum of the whole one, and its samples are put back as they were."""

from __future__ import annotations

import json
from itertools import product
from random import Random
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.reduction import RoofDuality
from qsaga.core.confidence import Proof
from qsaga.core.errors import ResultUnusable
from qsaga.core.jobs import Optimise, Problem
from qsaga.core.reduction import Reduction
from qsaga.core.results import Confidence, OptimiseAnswer
from qsaga.problems.base import Bits, Floats
from qsaga.problems.polish import energies
from qsaga.problems.proofs import rounding, with_proof
from qsaga.problems.reduction import (
    JOINED,
    MOST_TERMS,
    SMALL,
    decided,
    expanded,
    joined,
    load_reduction,
    reduce_model,
    smaller,
)
from qsaga.problems.registry import parse
from qsaga.problems.roof import persistent
from qsaga.problems.verify import CIRCUIT_RESULT, SAMPLE_SET, dump_model, postprocessing, verify
from tests.support.sparse import sparse_model, sparse_problem

WHOLE = st.integers(-4, 4).map(float)
"""Few values, so that there are many ties."""
TENTHS = st.integers(-30, 30).map(lambda n: n / 10)


@st.composite
def models(
    draw: st.DrawFn, sizes: st.SearchStrategy[float] = WHOLE, largest: int = 9
) -> dimod.BinaryQuadraticModel:
    """Sparse, so that something is fixed and something falls apart."""
    size = draw(st.integers(0, largest))
    model = dimod.BinaryQuadraticModel(draw(st.sampled_from(["BINARY", "SPIN"])))
    for tail in range(size):
        model.add_linear(f"v{tail}", draw(sizes))
    if size > 1:
        ends = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))
        for head, tail in draw(st.sets(ends.filter(lambda pair: pair[0] < pair[1]), max_size=size)):
            model.add_quadratic(f"v{head}", f"v{tail}", draw(sizes))
    model.offset = draw(sizes)
    return model


def every(model: dimod.BinaryQuadraticModel) -> tuple[Bits, Floats]:
    """All assignments and their energies."""
    rows = np.array(list(product((0, 1), repeat=model.num_variables)), dtype=np.int8)
    rows = rows.reshape(2**model.num_variables, model.num_variables)
    if not model.num_variables:
        return rows, np.full(len(rows), float(model.offset))
    return rows, energies(model, rows)


def reduced(model: dimod.BinaryQuadraticModel) -> Reduction:
    found = reduce_model(model)
    assert found is not None
    return found


@settings(max_examples=300, deadline=None)
@given(st.one_of(models(), models(TENTHS)))
def test_a_reduced_optimum_is_an_optimum(model: dimod.BinaryQuadraticModel) -> None:
    reduction = reduced(model)
    left, close = smaller(model, reduction), 1e-9
    rows, found = every(left)
    _, all_found = every(model)
    assert found.min() == pytest.approx(all_found.min(), abs=close)
    names = [str(name) for name in model.variables]
    best = expanded(rows[found <= found.min() + close], names, reduction)
    if names:
        assert energies(model, best) == pytest.approx(all_found.min(), abs=close)
    # Not only the best: every assignment keeps its energy.
    if names:
        assert energies(model, expanded(rows, names, reduction)) == pytest.approx(found, abs=close)
    size = reduction.size
    assert size.variables == len(names) == size.fixed + size.solved + size.qubits
    assert [name for part in reduction.components for name in part] or not size.qubits
    assert set(left.variables) == {name for part in reduction.components for name in part}
    assert list(left.variables) == [name for name in names if name in left.variables]


@settings(max_examples=300, deadline=None)
@given(models())
def test_every_optimum_has_the_persistent_values(model: dimod.BinaryQuadraticModel) -> None:
    binary = model.change_vartype(dimod.BINARY, inplace=False)
    plain = binary.relabel_variables(
        {name: number for number, name in enumerate(model.variables)}, inplace=False
    )
    rows, found = every(plain)
    for place, value in persistent(plain).items():
        assert set(rows[found == found.min()][:, place].tolist()) == {value}


def test_no_rounding_of_the_library_breaks_a_tie() -> None:
    """Its own scale, 2**61 over a sum of biases, fixes too much in 50 of these (release 0.6.11)."""
    random, fixed = Random(5), 0
    for _ in range(1500):
        model = dimod.BinaryQuadraticModel("BINARY")
        for tail in range(5):
            model.add_linear(tail, float(random.randint(-3, 3)))
            for head in range(tail):
                if random.random() < 0.5:
                    model.add_quadratic(head, tail, float(random.randint(-3, 3)))
        rows, found = every(model)
        best, values = rows[found == found.min()], persistent(model)
        assert all((best[:, place] == value).all() for place, value in values.items()), model
        fixed += len(values)
    assert fixed > 1000


@settings(max_examples=100, deadline=None)
@given(models(largest=12), st.integers(0, 2**20), st.integers(1, 12))
def test_a_joined_sample_is_no_worse_than_any(
    model: dimod.BinaryQuadraticModel, seed: int, shots: int
) -> None:
    reduction = reduced(model)
    names = [str(name) for name in model.variables]
    drawn = np.random.default_rng(seed).integers(0, 2, (shots, reduction.size.qubits))
    bits = expanded(drawn.astype(np.int8), names, reduction)
    one = joined(model, bits, reduction)
    assert len(one) == (1 if len(reduction.components) > 1 else 0)
    if len(one):
        assert energies(model, one)[0] <= energies(model, bits).min() + 1e-9
        # The shots in another order give the same one.
        assert (joined(model, bits[::-1], reduction) == one).all()


# --- what is taken out -----------------------------------------------------------------------


def test_a_sparse_model_fits_a_backend_afterwards() -> None:
    size = reduced(sparse_model()).size
    assert (size.variables, size.qubits, size.components) == (300, 11, 2)


def test_a_model_may_be_decided_as_a_whole() -> None:
    model = dimod.BinaryQuadraticModel({"a": -1.0, "b": 1.0, "c": 0.0}, {"ab": 0.5}, 2.0, "SPIN")
    reduction = reduced(model)
    assert reduction.fixed == {"a": 1, "b": 0, "c": 0}
    assert reduction.components == () and reduction.size.qubits == 0
    found, proof = decided(model, reduction)
    assert found.first.sample == {"a": 1, "b": -1, "c": -1}
    assert (found.first.energy, proof.bound, proof.complete) == (-0.5, -0.5, True)


@settings(max_examples=200, deadline=None)
@given(models(st.one_of(WHOLE, st.floats(-1e3, 1e3))))
def test_a_decided_model_is_proven(model: dimod.BinaryQuadraticModel) -> None:
    reduction = reduced(model)
    if reduction.components or not model.num_variables:
        return
    found, proof = decided(model, reduction)
    _, all_found = every(model)
    assert proof.bound <= all_found.min() + rounding(model)
    assert float(found.record.energy[0]) == pytest.approx(all_found.min(), abs=1e-9)


def test_without_fields_nothing_is_fixed() -> None:
    ring = {(f"n{i}", f"n{(i + 1) % 7}"): 1.0 for i in range(7)}
    reduction = reduced(dimod.BinaryQuadraticModel({}, ring, 0.0, "SPIN"))
    assert reduction.values == {}
    assert reduction.components == (tuple(f"n{i}" for i in range(7)),)


def ring(letter: str, size: int) -> dict[tuple[str, str], float]:
    return {(f"{letter}{i}", f"{letter}{(i + 1) % size}"): 1.0 for i in range(size)}


def test_small_components_are_solved_beside_a_large_one_only() -> None:
    three, five = ring("a", SMALL), ring("b", SMALL + 2)
    both = dimod.BinaryQuadraticModel({}, three | five, 0.0, "SPIN")
    reduction = reduced(both)
    assert set(reduction.solved) == {"a0", "a1", "a2"}
    assert len(set(reduction.solved.values())) == 2
    assert [len(part) for part in reduction.components] == [SMALL + 2]
    alone = reduced(dimod.BinaryQuadraticModel({}, three, 0.0, "SPIN"))
    assert alone.solved == {} and alone.size.qubits == SMALL


def test_a_coupling_of_nothing_joins_no_components() -> None:
    terms = ring("a", 5) | ring("b", 5) | {("a0", "b0"): 0.0}
    reduction = reduced(dimod.BinaryQuadraticModel({}, terms, 0.0, "SPIN"))
    assert [len(part) for part in reduction.components] == [5, 5]


def test_what_is_too_large_or_not_finite_is_left_alone() -> None:
    many = dimod.BinaryQuadraticModel({f"v{i}": 1.0 for i in range(MOST_TERMS + 1)}, {}, 0, "SPIN")
    assert reduce_model(many) is None
    assert reduce_model(dimod.BinaryQuadraticModel({"a": float("inf")}, {}, 0, "SPIN")) is None


def test_the_adapter_reads_a_model_and_its_reduction_survives_the_wire() -> None:
    found = RoofDuality().reduce(dump_model(sparse_model()))
    assert found is not None and found.version == RoofDuality.version
    assert load_reduction(found.model_dump_json().encode()) == found
    with pytest.raises(ResultUnusable, match="cannot be read"):
        load_reduction(b"{}")


# --- from counts to an answer ----------------------------------------------------------------


def answer_of(
    workload: Optimise, raw: dict[str, Any], reduction: Reduction | None
) -> OptimiseAnswer:
    data = json.dumps({"verb": "sample"} | raw).encode()
    found, _ = verify(workload, None, data, CIRCUIT_RESULT, reduction=reduction)
    assert isinstance(found, OptimiseAnswer)
    return found


def formulated(problem: Problem) -> dimod.BinaryQuadraticModel:
    kind, given = parse(problem)
    return kind.formulate(given)


def left_alone(_: dimod.BinaryQuadraticModel, bits: Bits) -> Bits:
    return bits


def two_rings() -> tuple[Optimise, Reduction]:
    """Two cycles of five: each is cut best at four edges, and by one shot of the two."""
    edges = [[*pair] for pair in (ring("a", 5) | ring("b", 5))]
    problem = Problem(name="maxcut", data={"edges": edges})
    return Optimise(problem=problem), reduced(formulated(problem))


def test_the_best_parts_of_two_shots_are_one_candidate_and_the_counts_stay_raw() -> None:
    workload, reduction = two_rings()
    assert len(reduction.components) == 2
    # a is right in the first, b in the second; bit 0 is the rightmost and is a0.
    counts = {"0000001010": 3, "0101000000": 5}
    data = json.dumps({"verb": "sample", "shots": 8, "counts": {"meas": counts}}).encode()
    found, better = verify(workload, None, data, CIRCUIT_RESULT, left_alone, reduction)
    assert isinstance(found, OptimiseAnswer)
    assert found.quality.objective == 8 and found.quality.raw_best == 4 and better
    assert found.quality.histogram is not None and sum(found.quality.histogram.counts) == 8
    assert postprocessing(workload, left_alone, reduction).endswith(f", {JOINED}")
    assert JOINED not in postprocessing(workload, left_alone)


def test_counts_of_the_smaller_circuit_are_put_back() -> None:
    workload = Optimise(problem=Problem(name="qubo", data=sparse_problem()))
    reduction = reduced(sparse_model())
    width = reduction.size.qubits
    raw = {"shots": 2, "counts": {"meas": {"0" * width: 1, "1" * width: 1}}}
    assert answer_of(workload, raw, reduction).quality.feasible
    with pytest.raises(ResultUnusable, match="is not 300 bits"):
        answer_of(workload, raw, None)
    wrong = reduction.model_copy(update={"fixed": {}})
    with pytest.raises(ResultUnusable, match="not that of the model"):
        answer_of(workload, raw, wrong)


def test_a_decided_model_answers_with_its_proof() -> None:
    data = {"linear": {"a": 1.0, "b": -2.0}, "quadratic": [["a", "b", -0.5]]}
    workload = Optimise(problem=Problem(name="qubo", data=data))
    model = formulated(workload.problem)
    found, proof = decided(model, reduced(model))
    assert isinstance(proof, Proof)
    answer, _ = verify(workload, None, with_proof(found, proof, {}), SAMPLE_SET)
    assert isinstance(answer, OptimiseAnswer)
    assert answer.quality.confidence is Confidence.PROVEN_OPTIMAL
    assert (answer.quality.objective, answer.quality.bound_by) == (-2.0, proof.by)
