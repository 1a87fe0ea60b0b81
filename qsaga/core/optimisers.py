"""What an optimiser is: a pure function of what it was asked and told, its state plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field, JsonValue

from qsaga.core.contract import Contract
from qsaga.core.jobs import Circuit
from qsaga.core.loops import LoopRequest, Purpose

MAX_POINTS = 100
"""Points of one iteration: each is a job, and all run side by side."""


class Measured(Contract):
    """The value at a point and its standard error, in the unit of the observable."""

    value: float
    standard_error: float


class Spectrum(Contract):
    """How a value depends on one parameter x: a trigonometric polynomial in ``unit`` times x.

    Args:
        unit: for one rotation exp(-i (a x + b) P / 2), P a Pauli string, a; for several, what all
            their factors are multiples of.
        degree: of the polynomial; 1 for one rotation.

    Source: Wierichs et al. 2022, arXiv:2107.12390, section 2.
    """

    unit: float
    degree: int = Field(ge=1)


class Setup(Contract):
    """What stays the same for a whole search.

    Args:
        initial: where it begins, radians; its length is the number of parameters.
        seed: of everything random.
        iterations: the most that will be asked for.
        spectrum: of each parameter; None where it is not known.
        options: as the caller gave them.
    """

    initial: tuple[float, ...]
    seed: int
    iterations: int
    spectrum: tuple[Spectrum | None, ...] = ()
    options: dict[str, JsonValue] = Field(default_factory=dict)


class Asked(Contract):
    """Points to measure side by side, and the state to tell their values to.

    ``points`` is empty where the optimiser has finished by itself.
    """

    state: JsonValue
    points: tuple[tuple[float, ...], ...]
    purpose: Purpose = "search"


class Optimiser(Protocol):
    """Asks points and is told values. Deterministic: the same calls give the same points.

    Each call may be made in another process than the one before it, and may be repeated.
    """

    @property
    def version(self) -> str:
        """Name and version; rises whenever the same calls give other points."""

    def evaluations(self, setup: Setup) -> int:
        """The most points that a search may ask for, calibration included."""

    def begin(self, setup: Setup) -> Asked:
        """The first points.

        Raises InvalidRequest, with a path below ``optimiser``, for options that it does not know
        and for circuits that it cannot be used on.
        """

    def tell(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> Asked:
        """The next points, given the values of those that were asked last, in their order."""

    def estimate(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> list[float]:
        """Where the minimum is thought to be, given the values of the points asked last."""


class Ansatz(Protocol):
    """A circuit with free parameters, in their order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    def bound(self, values: Sequence[float]) -> Circuit:
        """The circuit at a point."""

    def spectrum(self) -> tuple[Spectrum | None, ...]:
        """See ``Setup.spectrum``."""


class AnsatzReader(Protocol):
    """Reads circuits with free parameters."""

    def read(self, request: LoopRequest) -> Ansatz:
        """The circuit of a request. Raises InvalidRequest."""
