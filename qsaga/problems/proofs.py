"""Energies of binary models without rounding errors, and the proofs that need them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from qsaga.core.confidence import Proof
from qsaga.core.errors import ResultUnusable, SolverError
from qsaga.problems.exact import UNIT, rounded_down, rounded_up, sums_of

EXHAUSTIVE_VARIABLES = 20
"""A model of so many variables has a million assignments: one second, and 100 MB."""

KEPT = 64
"""Distinct samples that are kept."""

LARGEST = 2**49
"""Sum of the sizes of scaled biases. As numbers of 0/1 variables they come to eight times that at
most, which a double and CP-SAT hold exactly.
"""

MOST_BITS = 60
"""Of the fractions of biases that are looked at for a power of two."""

NOT_FINITE = "the model has biases that are not finite"
TOO_LARGE = "the model's biases are too large to be added up"
PROOF = "proof"
"""Under which a sample set's ``info`` holds a ``Proof``."""


@dataclass(frozen=True)
class WholeModel:
    """A model over 0/1 variables in whole numbers.

    The energy of x is ``(linear·x + sum of biases·x[heads]·x[tails] + constant) / scale + offset``,
    right to ``slack``. Columns are in the order of the model's variables.
    """

    linear: tuple[int, ...]
    heads: tuple[int, ...]
    tails: tuple[int, ...]
    biases: tuple[int, ...]
    constant: int
    scale: Fraction
    offset: Fraction
    slack: Fraction

    @property
    def least(self) -> int:
        """No sum of linear terms and couplings is below this: each at its lowest."""
        return sum(min(bias, 0) for bias in (*self.linear, *self.biases))

    def bound(self, least: int) -> float:
        """What no energy is below, where no sum of linear terms and couplings is below ``least``.

        Rounded down.
        """
        return rounded_down(self._energy(least) - self.slack)

    def loosened(self, least: int) -> float:
        """What the least energy is above ``bound`` by at most, where a sum comes to ``least``."""
        return rounded_up(self._energy(least) + self.slack - Fraction(self.bound(least)))

    def _energy(self, least: int) -> Fraction:
        return (least + self.constant) / self.scale + self.offset


def whole(model: dimod.BinaryQuadraticModel) -> WholeModel:
    """A model with its biases scaled and rounded to whole numbers.

    Exact for biases that are multiples of a power of two or of ten, such as 3, 0.25 and 0.1, where
    the model's range of sizes fits; else ``slack`` says what it is off by at most. Raises
    SolverError for biases that are not finite.
    """
    vectors: Any = model.to_numpy_vectors(list(model.variables))
    fields, (heads, tails, pairs), offset = vectors
    sizes = np.concatenate([fields, pairs]).astype(np.float64)
    if not (np.all(np.isfinite(sizes)) and math.isfinite(float(offset))):
        raise SolverError(NOT_FINITE)
    scale = _scale(sizes)
    rounded = [round(Fraction(value) * scale) for value in sizes.tolist()]
    # Every |term| is at most its |bias|, for spins and for 0/1 variables.
    slack = sum(
        (
            abs(Fraction(value) - near / scale)
            for value, near in zip(sizes.tolist(), rounded, strict=True)
        ),
        Fraction(0),
    )
    linear, biases = rounded[: len(fields)], rounded[len(fields) :]
    constant = 0
    if model.vartype is dimod.SPIN:
        # s = 2x - 1
        constant = sum(biases) - sum(linear)
        linear = [2 * bias for bias in linear]
        for head, tail, bias in zip(heads.tolist(), tails.tolist(), biases, strict=True):
            linear[head] -= 2 * bias
            linear[tail] -= 2 * bias
        biases = [4 * bias for bias in biases]
    return WholeModel(
        linear=tuple(linear),
        heads=tuple(heads.tolist()),
        tails=tuple(tails.tolist()),
        biases=tuple(biases),
        constant=constant,
        scale=scale,
        offset=Fraction(float(offset)),
        slack=slack,
    )


def _scale(sizes: npt.NDArray[np.float64]) -> Fraction:
    """The smallest factor of a few that makes whole numbers of all, or else the finest one."""
    with np.errstate(over="ignore"):
        total = float(np.sum(np.abs(sizes)))
    if not math.isfinite(total):
        raise SolverError(TOO_LARGE)
    if not total:
        return Fraction(1)
    finest = math.floor(math.log2(LARGEST) - math.log2(total))
    factors = [2.0**power for power in range(min(finest, MOST_BITS) + 1)]
    factors += [10.0**power for power in range(1, 13) if 10.0**power * total <= LARGEST]
    # No more than adding them up may be off by: more would make small biases vanish beside large.
    close = len(sizes) * UNIT * total
    for factor in sorted(factors):
        scaled = sizes * factor
        if np.sum(np.abs(scaled - np.rint(scaled))) <= close * factor:
            return Fraction(factor)
    return Fraction(2) ** finest


def rounding(model: dimod.BinaryQuadraticModel) -> float:
    """What an energy that is computed in floating point may be off by; see ``sums_of``.

    Raises SolverError for biases that cannot be added up.
    """
    found = sums_of([float(model.offset), *model.linear.values(), *model.quadratic.values()]).off
    if not math.isfinite(found):
        raise SolverError(TOO_LARGE)
    return found


def exhaustive(model: dimod.BinaryQuadraticModel) -> tuple[dimod.SampleSet, Proof]:
    """The best assignments of all, best first, and what having tried all of them proves.

    Raises SolverError for a model that is too large or has biases that are not finite.
    """
    if model.num_variables > EXHAUSTIVE_VARIABLES:
        raise SolverError(
            f"{model.num_variables} variables, every assignment is tried for up to "
            f"{EXHAUSTIVE_VARIABLES}"
        )
    found = dimod.ExactSolver().sample(model).truncate(KEPT, sorted_by="energy")
    if not len(found):
        raise SolverError("the model has no variables")
    lowest = float(found.record.energy[0])
    if not math.isfinite(lowest):
        raise SolverError(NOT_FINITE)
    off = rounding(model)
    by = f"every assignment (dimod {dimod.__version__})"
    return found, Proof(bound=lowest - off, by=by, complete=True, loosened=2 * off)


def with_proof(samples: dimod.SampleSet, proof: Proof, info: Mapping[str, Any]) -> bytes:
    """A sample set as its JSON text, with its proof."""
    samples.info.clear()
    samples.info.update({**info, PROOF: proof.model_dump(mode="json")})
    return json.dumps(samples.to_serializable()).encode()


def proof_of(info: Mapping[str, Any]) -> Proof | None:
    """What a solver has shown of a sample set's model. Raises ResultUnusable if it is damaged."""
    if PROOF not in info:
        return None
    try:
        return Proof.model_validate(info[PROOF])
    except ValidationError as error:
        raise ResultUnusable(f"the proof cannot be read: {error}") from error
