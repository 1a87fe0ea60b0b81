"""The activity contracts of the other rungs: exact, cached, learned, manual; and of more runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from temporalio import activity

from qsaga.core.approval import Ceiling
from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.jobs import JobRequest, Workload
from qsaga.core.steps import Raw, SolveInput
from qsaga.core.supplied import SuppliedAnswer


class ExactStep(ABC):
    """Try every assignment."""

    @activity.defn(name="exact")
    @abstractmethod
    async def exact(self, given: SolveInput) -> Raw:
        """Raises SolverError for a model that is too large."""


class IncumbentStep(ABC):
    """The best samples that a solver has found so far, also if its worker is dead."""

    @activity.defn(name="incumbent")
    @abstractmethod
    async def incumbent(self, key: str) -> Raw | None:
        """None if there are none yet."""


class CachedInput(Contract):
    """Whose answer to which input is looked for.

    Args:
        job_id: the job's workflow id; answers of other tenants are never served.
        workload: the same in every detail, shots and algorithm included.
        at: the workflow's time.
        max_age: in seconds; None takes any.
    """

    job_id: str
    workload: Workload
    at: datetime
    max_age: float | None = None


class CachedStep(ABC):
    """The newest earlier answer to the same input, with its age."""

    @activity.defn(name="cached")
    @abstractmethod
    async def cached(self, given: CachedInput) -> Raw | None:
        """None if there is none. ``detail`` has ``of_job``, ``age_seconds`` and ``source``."""


class LearnedInput(Contract):
    """``seconds`` is what the estimator may take."""

    workload: Workload
    model: ArtefactRef | None
    seconds: float


class LearnedStep(ABC):
    """Ask the user's estimator."""

    @activity.defn(name="learned")
    @abstractmethod
    async def learned(self, given: LearnedInput) -> Raw:
        """Raises SolverError where it fails or answers what does not fit."""


class TakeInput(Contract):
    """A person's answer; ``by`` and ``why`` become part of its provenance."""

    workload: Workload
    model: ArtefactRef | None
    answer: SuppliedAnswer
    by: str
    why: str


class TakeStep(ABC):
    """Take a person's answer as the output of a rung."""

    @activity.defn(name="take")
    @abstractmethod
    async def take(self, given: TakeInput) -> Raw:
        """Raises ResultUnusable where it does not fit the workload."""


class HoldRunInput(Contract):
    """What one more hardware run of a job may cost at most.

    Args:
        request: the job's.
        job_id: the job's workflow id.
        account: what the keys of its reservations are made of.
        number: of the run; the first, which is held at admission, has 0.
        ceiling: the most that it can be charged.
        at: the workflow's time.
    """

    request: JobRequest
    job_id: str
    account: str
    number: int
    ceiling: Ceiling
    at: datetime


class HoldRunStep(ABC):
    """Reserve for one more hardware run."""

    @activity.defn(name="hold_run")
    @abstractmethod
    async def hold_run(self, given: HoldRunInput) -> str:
        """Why the tenant's budgets do not allow it; empty if it is held. Safe to repeat."""


class MergeInput(Contract):
    """Outputs of two runs of the same circuit."""

    first: Raw
    second: Raw


class MergeStep(ABC):
    """Two runs of the same circuit as one."""

    @activity.defn(name="merge")
    @abstractmethod
    async def merge(self, given: MergeInput) -> Raw:
        """Raises ResultUnusable if they are not of the same circuit."""
