"""Taking a person's word: the handlers of every workflow that may ask for one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.approval import DECIDE, ApprovalDecision, Decided
    from workflows.approval import ApprovalDesk

ABANDON = workflow.HandlerUnfinishedPolicy.ABANDON
"""A signal to a workflow that is refused leaves no trace."""


class Decidable(ABC):
    """A workflow that people decide on, by update or by signal."""

    @property
    @abstractmethod
    def asking(self) -> ApprovalDesk:
        """Where a person's word goes."""

    @workflow.update(name=DECIDE)
    async def decide(self, decision: ApprovalDecision) -> Decided:
        """An approver's word; returns what came of it."""
        return await self.asking.decide(decision)

    @decide.validator
    def _may_decide(self, decision: ApprovalDecision) -> None:
        if not isinstance(decision, ApprovalDecision):  # a null payload
            raise ApplicationError(
                "decision: missing (allowed: an ApprovalDecision)",
                type="InvalidRequest",
                non_retryable=True,
            )
        if why := self.asking.refusal(decision):
            raise ApplicationError(why, type="PolicyRefused", non_retryable=True)

    @workflow.signal(name=DECIDE, unfinished_policy=ABANDON)
    async def decide_by_signal(self, decision: ApprovalDecision) -> None:
        """The same by signal: what came of it shows in the job's status."""
        if isinstance(decision, ApprovalDecision):  # and not a null payload
            await self.asking.decide(decision)
