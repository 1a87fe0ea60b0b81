"""The activity contracts of a hardware run: submit or adopt, follow, collect, cancel, settle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Literal

from temporalio import activity

from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.jobs import Workload
from qsaga.core.ports import Charge, LateResult, RemoteJob, RunSpec
from qsaga.core.results import Cost


class SubmitInput(Contract):
    """``tag`` identifies the submission, ``deployment_tag`` whose it is.

    ``session`` is an open session to run in.
    """

    job_id: str
    tag: str
    deployment_tag: str
    isa: ArtefactRef
    layout: tuple[int, ...]
    backend: str
    spec: RunSpec
    session: str | None = None


class Submitted(Contract):
    """The one job that stands for the submission, and any extra ones the wire made."""

    job: RemoteJob
    provider: str
    adopted: bool = False
    extras: tuple[RemoteJob, ...] = ()


class SubmitStep(ABC):
    """Submit or adopt: look up by tag before every attempt, send only when nothing is there."""

    @activity.defn(name="submit")
    @abstractmethod
    async def submit(self, given: SubmitInput) -> Submitted:
        """Raises Undecided (looked for until it must have shown up), NeedsPerson, …"""


class FollowInput(Contract):
    """``until_running`` returns as soon as the job has left the queue.

    ``tag`` is the run's; without it nobody else is asked to watch the job. ``expected_wait`` is how
    many seconds the job may stay queued; None is unknown.
    """

    provider_job_id: str
    until_running: bool
    since: datetime
    tag: str = ""
    expected_wait: float | None = None


class Followed(Contract):
    """The job, once it ran or ended; with its result if that could be fetched on the way."""

    job: RemoteJob
    result: ArtefactRef | None = None


class FollowStep(ABC):
    """Wait for a remote job by being retried: between two looks nothing holds a slot.

    Looks often at first; then rarely, since the watcher has it look when something has changed.
    """

    @activity.defn(name="follow")
    @abstractmethod
    async def follow(self, given: FollowInput) -> Followed:
        """Raises a benign retryable error while there is nothing to tell."""


class CollectStep(ABC):
    """Fetch the result of a completed job."""

    @activity.defn(name="collect")
    @abstractmethod
    async def collect(self, provider_job_id: str) -> ArtefactRef:
        """Raises ResultUnusable, TransientProviderError."""


class CancelInput(Contract):
    """Which submission to end, and since when that is tried.

    ``provider_job_id`` is None when it is not known whether the provider has a job of it.
    """

    tag: str
    provider_job_id: str | None
    since: datetime
    job_id: str = ""


class Cancelled(Contract):
    """Every job of the tag, each ended. Empty if there never was one.

    ``decided_by`` is the person who said so where the provider could not.
    """

    jobs: tuple[RemoteJob, ...]
    decided_by: str = ""


class CancelStep(ABC):
    """Ask the provider to end a submission, and wait until every job of it has ended."""

    @activity.defn(name="cancel_remote")
    @abstractmethod
    async def cancel_remote(self, given: CancelInput) -> Cancelled:
        """Raises a benign retryable error until all of them have ended, or NeedsPerson."""


Outcome = Literal["answered", "late", "not_answered"]


class SettleInput(Contract):
    """Closes the account of a run.

    ``workload``, ``model`` and ``reduction`` are given with a late result, to compare it with what
    was served.
    ``hold`` is the key of the reservation; empty where there is none. ``unsent`` says that nothing
    was ever sent under the tag. ``decided_by`` is the person whose word on the jobs is final.
    ``since`` is when the settling began. ``booked`` says that these jobs and charges are in the
    books already, and complete.
    """

    job_id: str
    run_id: str
    hold: str = ""
    booked: bool = False
    unsent: bool = False
    decided_by: str = ""
    since: datetime | None = None
    jobs: tuple[RemoteJob, ...]
    extras: tuple[RemoteJob, ...] = ()
    late: ArtefactRef | None = None
    outcome: Outcome
    workload: Workload | None = None
    model: ArtefactRef | None = None
    reduction: ArtefactRef | None = None


class Settled(Contract):
    """What the run cost."""

    charges: tuple[Charge, ...]
    cost: Cost
    late: LateResult | None = None


class SettleStep(ABC):
    """Record what a run was charged, and a late result."""

    @activity.defn(name="settle")
    @abstractmethod
    async def settle(self, given: SettleInput) -> Settled:
        """Safe to repeat."""
