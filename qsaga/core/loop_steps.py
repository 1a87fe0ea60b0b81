"""The activity contract of variational loops."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import JsonValue
from temporalio import activity

from qsaga.core.contract import Contract
from qsaga.core.jobs import Circuit, SessionTerms
from qsaga.core.loops import LoopRequest, Purpose
from qsaga.core.optimisers import Measured


class AskInput(Contract):
    """What the optimiser is told, and what it is asked for.

    Args:
        request: the loop's.
        state: of the optimiser; None before its first points.
        values: at the points that it asked last, in their order.
        confirm: measure the end point and the best one anew, instead of searching on.
        best: the best point so far, for ``confirm``.
    """

    request: LoopRequest
    state: JsonValue = None
    values: tuple[Measured, ...] = ()
    confirm: bool = False
    best: tuple[float, ...] = ()


class BoundPoint(Contract):
    """A point and the circuit with its values in it."""

    parameters: tuple[float, ...]
    circuit: Circuit


class Asking(Contract):
    """The next points of a loop; none where the optimiser has ended by itself.

    ``parameters`` are the names in their order, ``software`` the versions of what chose the points,
    ``session`` the provider session that the jobs are to share.
    """

    state: JsonValue
    points: tuple[BoundPoint, ...]
    purpose: Purpose = "search"
    parameters: tuple[str, ...]
    software: dict[str, str] = {}
    session: SessionTerms | None = None


class AskStep(ABC):
    """One step of a loop's optimiser, and the circuits of the points that it asks."""

    @activity.defn(name="ask_tell")
    @abstractmethod
    async def ask_tell(self, given: AskInput) -> Asking:
        """Raises InvalidRequest. Has no effect, so it is safe to repeat."""
