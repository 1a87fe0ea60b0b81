"""Strong persistencies of a binary model by roof duality (``pip install "qsaga[reduction]"``)."""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import version
from typing import Any

import dimod
import numpy as np

PACKAGE = "dwave-preprocessing"


@cache
def library() -> str:
    """The package that is installed, with its version. Raises PackageNotFoundError without it."""
    return f"{PACKAGE} {version(PACKAGE)}"


def persistent(model: dimod.BinaryQuadraticModel) -> dict[int, int]:
    """Variables that have the same value in every optimum, as far as roof duality sees them.

    Hammer, Hansen and Simeone 1984, doi:10.1007/BF02612354; by one maximum flow, as in Boros,
    Hammer and Tavares 2006, RUTCOR Research Report 10-2006.

    Args:
        model: over 0/1 variables 0, 1, 2, …, its biases whole numbers whose sizes add up to less
            than 2**52.

    Raises ImportError where the package is not installed.
    """
    from dwave.preprocessing import roof_duality

    count = model.num_variables
    if not count:
        return {}
    padded = model.copy()
    padded.add_linear(count, _padding(model))
    _, found = roof_duality(padded, strict=True)
    return {name: int(value) for name, value in found.items() if name != count}


def _padding(model: dimod.BinaryQuadraticModel) -> float:
    """The bias of one more variable that makes the library's arithmetic exact.

    It turns biases into whole numbers by a factor of 2**61 over the sum that is computed here,
    and cuts off what is left. Ties are broken by that unless the sum is a power of two: then
    variables are called persistent that are not.
    """
    vectors: Any = model.to_numpy_vectors(range(model.num_variables))
    linear, (heads, tails, biases), _ = vectors
    lows = np.minimum(biases, 0)
    sums = linear + np.bincount(np.minimum(heads, tails), weights=lows, minlength=len(linear))
    total = float(np.sum(np.abs(sums)))
    largest = float(np.max(np.abs(np.concatenate([linear, biases])), initial=total))
    return math.ldexp(1.0, math.frexp(largest)[1]) - total
