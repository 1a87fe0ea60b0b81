"""The activity contracts around people and watching: decisions, notices, operations, waiting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from temporalio import activity

from qsaga.core.approval import ApprovalDecision, ApprovalRecord, Decided
from qsaga.core.contract import Contract
from qsaga.core.jobs import Workload
from qsaga.core.operations import Operation, OperationReport
from qsaga.core.records import Notice


class ReviewInput(Contract):
    """A decision to weigh, in the state in which the workflow received it.

    ``number`` counts the decisions of the job, so that repeating a review writes one audit
    entry; ``guarded`` says that the caller must prove who he is. ``workload`` is given where the
    answer itself is asked for, to check one that comes with the decision.
    """

    record: ApprovalRecord
    decision: ApprovalDecision
    at: datetime
    number: int
    guarded: bool
    workload: Workload | None = None


class ReviewStep(ABC):
    """Check who decides and whether his word counts; write it to the audit log."""

    @activity.defn(name="review")
    @abstractmethod
    async def review(self, given: ReviewInput) -> Decided:
        """Never refuses by an error: why a decision does not count is part of the result."""


class NotifyStep(ABC):
    """Tell people of something; what cannot be told is lost."""

    @activity.defn(name="notify")
    @abstractmethod
    async def notify(self, given: Notice) -> None:
        """Raises TransientProviderError."""


class OperateInput(Contract):
    """An operation; ``id`` is the workflow's, ``by`` whom the caller says he is.

    ``seal`` shows that a schedule of the deployment asks.
    """

    id: str
    operation: Operation
    by: str | None
    at: datetime
    seal: str = ""


class OperateStep(ABC):
    """Do what an operator or auditor asks, if his roles allow it."""

    @activity.defn(name="operate")
    @abstractmethod
    async def operate(self, given: OperateInput) -> OperationReport:
        """Safe to repeat. Raises Unauthenticated, Forbidden, InvalidRequest, NoSuchJob, …"""


class WatchStep(ABC):
    """Look at all waiting remote jobs at once, and tell the runs of those that have changed.

    One activity that is retried for as long as anybody waits.
    """

    @activity.defn(name="watch")
    @abstractmethod
    async def watch(self, deployment: str) -> None:
        """Raises a benign retryable error while anybody waits, returns when nobody does."""
