"""The activity contracts of admission: who asks, where it goes, what is held for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from temporalio import activity

from qsaga.core.approval import Ceiling
from qsaga.core.contract import Contract
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest
from qsaga.core.loops import LoopGrant
from qsaga.core.results import JobResult


class AdmitInput(Contract):
    """What is asked of an admission.

    Args:
        request: the job's.
        job_id: the job's workflow id.
        at: the workflow's time: budgets of its period are used.
        dry_run: decide without opening a row or holding a budget.
        account: what the keys of the job's reservations are made of, so that a repeat holds
            nothing twice and another run of the same key holds its own.
        grant: what was decided on the loop that the job is of, by that loop itself.
    """

    request: JobRequest
    job_id: str
    at: datetime
    dry_run: bool = False
    account: str = ""
    grant: LoopGrant | None = None


class Admission(Contract):
    """The decision, and what the deployment adds to every submission.

    Args:
        decision: where the job goes.
        deployment: name of the deployment.
        closed: the result of a key whose job ended so long ago that Temporal has forgotten it.
        refused: why the tenant's budgets do not allow the job; its close gives back what is held.
        account: what the keys of the job's reservations are made of; empty where there are none.
        submitter: who started the job: verified, or as the request says.
        guarded: who signals this job must prove who he is.
        left: what the tenant has left, in words.
        queues: task queues of the roles of workers; empty where there is one queue for all.
        frugal: leave out of the history what needs no entry there; admissions of before this
            was possible say False, and their jobs are replayed as they were.
    """

    decision: Decision
    deployment: str
    closed: JobResult | None = None
    refused: str = ""
    account: str = ""
    submitter: str | None = None
    guarded: bool = False
    left: str = ""
    queues: dict[str, str] = {}
    frugal: bool = False


class ReadmitInput(Contract):
    """A job that was admitted before and waited for a person since.

    ``ceiling`` is the most that was approved; ``withheld`` why hardware is no longer open to it.
    """

    request: JobRequest
    job_id: str
    at: datetime
    admission: Admission
    ceiling: Ceiling | None = None
    withheld: str = ""


class AdmitStep(ABC):
    """Check the request, survey the providers, decide the route, open the job's row."""

    @activity.defn(name="admit")
    @abstractmethod
    async def admit(self, given: AdmitInput) -> Admission:
        """Raises InvalidRequest, PolicyRefused, KeyConflict, Unauthenticated, Forbidden."""


class ReadmitStep(ABC):
    """Decide again after a person's yes: the backends and queues of then are not those of now."""

    @activity.defn(name="readmit")
    @abstractmethod
    async def readmit(self, given: ReadmitInput) -> Admission:
        """Changes what is held to what was approved. Raises as ``admit`` does."""
