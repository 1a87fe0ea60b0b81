"""The activity contract of variational loops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from pydantic import JsonValue
from temporalio import activity

from qsaga.core.admission import Admission
from qsaga.core.contract import Contract
from qsaga.core.jobs import Circuit, SessionTerms
from qsaga.core.loops import LoopGrant, LoopRequest, LoopResult, Purpose
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
    ``session`` the provider session that the jobs are to share. ``evaluations`` is the most that
    the whole search may ask for, its confirmation included; 0 was said before loops were judged as
    a whole, and such a loop is replayed as it was.
    """

    state: JsonValue
    points: tuple[BoundPoint, ...]
    purpose: Purpose = "search"
    parameters: tuple[str, ...]
    software: dict[str, str] = {}
    session: SessionTerms | None = None
    evaluations: int = 0


class LoopAdmission(Contract):
    """The admission of a loop, and what it grants to its jobs where nobody has to be asked.

    ``closed`` is how the loop ended that had this key when Temporal still knew it.
    """

    admission: Admission
    grant: LoopGrant
    closed: LoopResult | None = None


class AdmitLoopInput(Contract):
    """What is asked about a loop as a whole.

    Args:
        request: the loop's, its circuit with the values of one of its points.
        at: the workflow's time.
        evaluations: the most that it may ask for.
        payload_hash: of the request as it was asked.
    """

    request: LoopRequest
    at: datetime
    evaluations: int
    payload_hash: str


class AdmitLoopStep(ABC):
    """Decide on a loop as a whole: whether a person must say yes to all that it may use."""

    @activity.defn(name="admit_loop")
    @abstractmethod
    async def admit_loop(self, given: AdmitLoopInput) -> LoopAdmission:
        """Opens the loop's row. Holds nothing: each job holds its own.

        Raises as ``AdmitStep.admit`` does.
        """


class CloseLoopStep(ABC):
    """Write down how a loop ended."""

    @activity.defn(name="close_loop")
    @abstractmethod
    async def close_loop(self, given: LoopResult) -> None:
        """The first result stands. Raises NoSuchJob, Forbidden."""


class AskStep(ABC):
    """One step of a loop's optimiser, and the circuits of the points that it asks."""

    @activity.defn(name="ask_tell")
    @abstractmethod
    async def ask_tell(self, given: AskInput) -> Asking:
        """Raises InvalidRequest. Has no effect, so it is safe to repeat."""
