"""The user's estimator, found by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

from qsaga.core.errors import InvalidRequest
from qsaga.core.solvers import LearnedEstimator

GROUP = "qsaga.estimators"
"""Entry points of this group are factories without arguments, as ``QSAGA_ESTIMATOR`` names them."""
_FIELD = "QSAGA_ESTIMATOR"


def estimator(name: str | None) -> LearnedEstimator | None:
    """The estimator of that name; None where none is asked for.

    Raises InvalidRequest for a name that is unknown, that two packages claim, or whose factory
    fails.
    """
    if name is None:
        return None
    found = tuple(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        known = sorted({point.name for point in entry_points(group=GROUP)})
        problem = f"{name!r} is {'claimed by two packages' if found else 'unknown'}"
        raise InvalidRequest(_FIELD, problem, ", ".join(known) or f"an entry point of {GROUP}")
    try:
        made: LearnedEstimator = found[0].load()()
    except Exception as error:  # a user's package may raise anything
        raise InvalidRequest(_FIELD, f"{found[0].value} cannot be used: {error!r}") from error
    return made
