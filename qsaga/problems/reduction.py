"""Taking variables out of a binary model before it needs qubits, and putting them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dimod
import numpy as np
from dimod.traversal import connected_components
from pydantic import ValidationError

from qsaga.core.confidence import Proof
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import ResultUnusable, SolverError
from qsaga.core.ports import ArtefactStore
from qsaga.core.reduction import Reduction
from qsaga.problems.base import Bits, distinct
from qsaga.problems.polish import energies
from qsaga.problems.proofs import WholeModel, whole
from qsaga.problems.roof import library, persistent

REDUCTION = "roof-duality/1"
"""What ``reduce_model`` is; rises whenever the same model gives another reduction."""

REDUCTION_MEDIA = "application/vnd.qsaga.reduction+json"

JOINED = "joined-components/1"
"""What ``joined`` is; rises whenever the same samples give another one."""

SMALL = 3
"""Components of so many variables are solved in place where a larger one remains."""

MOST_TERMS = 100_000
"""Variables and couplings up to which a model is looked at: a second or two."""


def reduce_model(model: dimod.BinaryQuadraticModel) -> Reduction | None:
    """What can be taken out of a model without losing its lowest energy.

    Persistent variables first (roof duality, strict: every optimum keeps them), then variables
    that no coupling is left of (a tie takes 0), then components of up to ``SMALL`` variables where
    a larger one remains (the first of their optima). All in whole numbers, so that no rounding
    breaks a tie; see ``whole``.

    None where the model is too large to try, or its biases are not finite. Raises ImportError
    where the package that does it is not installed.
    """
    if model.num_variables + model.num_interactions > MOST_TERMS:
        return None
    try:
        left = _over_whole_numbers(whole(model))
    except SolverError:
        return None
    names = [str(name) for name in model.variables]
    fixed = persistent(left)
    left = _without(left, fixed)
    loose: list[Any] = [place for place in left.variables if not left.degree(place)]
    alone: dict[int, int] = {place: int(left.linear[place] < 0) for place in loose}
    left = _without(left, alone)
    fixed |= alone
    parts = sorted(sorted(part) for part in connected_components(left))
    large = [part for part in parts if len(part) > SMALL]
    solved: dict[int, int] = {}
    if large:
        for part in parts:
            solved |= _lowest(left, part) if len(part) <= SMALL else {}
    return Reduction(
        version=REDUCTION,
        library=library(),
        fixed=_named(names, fixed),
        solved=_named(names, solved),
        components=tuple(tuple(names[place] for place in part) for part in large or parts),
    )


def smaller(model: dimod.BinaryQuadraticModel, reduction: Reduction) -> dimod.BinaryQuadraticModel:
    """What a reduction leaves of its model, the variables in the model's order.

    The energy of each assignment is that of the model with the other variables put back.
    """
    low = 0 if model.vartype is dimod.BINARY else -1
    return _without(model, {name: value or low for name, value in reduction.values.items()})


def expanded(bits: Bits, names: Sequence[str], reduction: Reduction) -> Bits:
    """Samples of the smaller model with the other variables put back.

    Args:
        bits: 0/1, shape (samples, variables left), columns in the model's order.
        names: of all variables of the model, in its order.
        reduction: of that model.

    Raises ResultUnusable if the reduction is that of another model.
    """
    kept = _kept(names, reduction)
    if len(kept) + len(reduction.values) != len(names) or len(kept) != bits.shape[1]:
        raise ResultUnusable("the reduction is not that of the model")
    place = {name: column for column, name in enumerate(names)}
    found = np.zeros((len(bits), len(names)), dtype=np.int8)
    found[:, [place[name] for name in kept]] = bits
    for name, value in reduction.values.items():
        found[:, place[name]] = value
    return found


def joined(model: dimod.BinaryQuadraticModel, bits: Bits, reduction: Reduction) -> Bits:
    """The sample made of the best part of each component; none where there is one component.

    Components share no coupling, so their energies add up: it is no worse than the best sample.

    Args:
        model: before its reduction.
        bits: 0/1, shape (samples, variables), columns in the model's order.
        reduction: of the model.
    """
    if len(reduction.components) < 2 or not len(bits):
        return bits[:0]
    place = {name: column for column, name in enumerate(model.variables)}
    left = smaller(model, reduction)
    # Sorted: which of equal parts is taken must not depend on the order of the counts.
    rows = distinct(bits)
    best = rows[:1].copy()
    for component in reduction.components:
        columns = [place[name] for name in component]
        own = rows[:, columns]
        best[0, columns] = own[int(np.argmin(energies(_part(left, component), own)))]
    return best


def decided(
    model: dimod.BinaryQuadraticModel, reduction: Reduction
) -> tuple[dimod.SampleSet, Proof]:
    """The assignment of a reduction that leaves no variable, and that no other one is better."""
    exact, names = whole(model), [str(name) for name in model.variables]
    bits = [reduction.values[name] for name in names]
    least = sum(bias * bit for bias, bit in zip(exact.linear, bits, strict=True)) + sum(
        bias * bits[head] * bits[tail]
        for bias, head, tail in zip(exact.biases, exact.heads, exact.tails, strict=True)
    )
    values = bits if model.vartype is dimod.BINARY else [2 * bit - 1 for bit in bits]
    found = dimod.SampleSet.from_samples_bqm((np.array([values], dtype=np.int8), names), model)
    by = f"{reduction.version} ({reduction.library})"
    bound, loosened = exact.bound(least), exact.loosened(least)
    return found, Proof(bound=bound, by=by, complete=True, loosened=loosened)


def kept_reduction(artefacts: ArtefactStore, ref: ArtefactRef | None) -> Reduction | None:
    """A reduction that is an artefact; None where there is none. Raises as ``load_reduction``."""
    return load_reduction(artefacts.get(ref)) if ref else None


def load_reduction(data: bytes) -> Reduction:
    """A reduction from its JSON text. Raises ResultUnusable if it is damaged."""
    try:
        return Reduction.model_validate_json(data)
    except ValidationError as error:
        raise ResultUnusable(f"the reduction cannot be read: {error}") from error


def _without(
    model: dimod.BinaryQuadraticModel, values: Mapping[Any, int]
) -> dimod.BinaryQuadraticModel:
    """The model with some variables fixed, the others in their order.

    Not dimod's ``fix_variables``, whose time grows with the square of their number.
    """
    names = list(model.variables)
    vectors: Any = model.to_numpy_vectors(names)
    linear, (heads, tails, biases), offset = vectors
    gone = np.array([name in values for name in names], dtype=np.bool_)
    # Weighs 0 where the variable stays, so that each sum takes the terms that it is about.
    value = np.array([values.get(name, 0) for name in names], dtype=np.float64)
    stays, size = ~gone, len(names)
    offset += float(linear @ value + np.sum(biases * value[heads] * value[tails]))
    linear = linear + np.bincount(heads, weights=biases * value[tails], minlength=size)
    linear += np.bincount(tails, weights=biases * value[heads], minlength=size)
    place = np.cumsum(stays) - 1
    both = stays[heads] & stays[tails]
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear[stays],
        (place[heads[both]], place[tails[both]], biases[both]),
        offset,
        model.vartype,
        variable_order=[name for name, stay in zip(names, stays, strict=True) if stay],
    )


def _kept(names: Sequence[str], reduction: Reduction) -> list[str]:
    gone = reduction.values
    return [name for name in names if name not in gone]


def _over_whole_numbers(model: WholeModel) -> dimod.BinaryQuadraticModel:
    linear = np.array(model.linear, dtype=np.float64)
    biases = np.array(model.biases, dtype=np.float64)
    # A coupling of nothing would tie two components together.
    real = np.flatnonzero(biases)
    heads, tails = (np.array(ends, dtype=np.intp)[real] for ends in (model.heads, model.tails))
    quadratic = (heads, tails, biases[real])
    return dimod.BinaryQuadraticModel.from_numpy_vectors(linear, quadratic, 0.0, dimod.BINARY)


def _lowest(model: dimod.BinaryQuadraticModel, part: Sequence[int]) -> dict[int, int]:
    """The first of the best assignments of a small component, by trying all."""
    every = np.indices((2,) * len(part), dtype=np.int8).reshape(len(part), -1).T
    best = every[int(np.argmin(energies(_part(model, part), every)))]
    return dict(zip(part, best.tolist(), strict=True))


def _part(model: dimod.BinaryQuadraticModel, names: Sequence[Any]) -> dimod.BinaryQuadraticModel:
    """The terms of some variables, in that order, without the offset."""
    place = {name: number for number, name in enumerate(names)}
    found = dimod.BinaryQuadraticModel(model.vartype)
    found.add_linear_from((name, model.linear[name]) for name in names)
    found.add_quadratic_from(
        (name, other, bias)
        for name in names
        for other, bias in model.iter_neighborhood(name)
        if place.get(other, -1) > place[name]
    )
    return found


def _named(names: Sequence[str], values: Mapping[int, int]) -> dict[str, int]:
    return {names[place]: values[place] for place in sorted(values)}
