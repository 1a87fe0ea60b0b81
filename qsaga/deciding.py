"""What handles of jobs and of loops share: people's decisions on them, and following them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError

from qsaga.caller import caller_name
from qsaga.calls import operate, translated
from qsaga.core.approval import DECIDE, ApprovalDecision, ApprovalRecord, Decided, Verdict
from qsaga.core.errors import (
    InvalidRequest,
    NoSuchJob,
    PolicyRefused,
    QsagaError,
    Unreachable,
    from_failure,
)
from qsaga.core.loop_rules import is_loop
from qsaga.core.operations import GetRecord, OperationReport
from qsaga.core.supplied import SuppliedAnswer
from qsaga.core.validation import invalid_request
from qsaga.settings import Settings

Seen = TypeVar("Seen")

RECORD = 30.0
"""Seconds for a worker to look a job or a loop up in its records."""
DECISION = 60.0
"""Seconds that a decision may take to be weighed."""
ENDED_MEANWHILE = "AcceptedUpdateCompletedWorkflow"
"""What the server says of a decision that was under way when the job ended."""


def decision_of(
    verdict: Verdict,
    why: str,
    *,
    settings: Settings,
    by: str | None = None,
    money: Decimal | None = None,
    quantum_seconds: float | None = None,
    answer: SuppliedAnswer | None = None,
) -> ApprovalDecision:
    """A decision of the caller, ``by`` if that is given. Raises InvalidRequest."""
    if not why.strip():
        raise InvalidRequest("why", "empty", "a reason of 1 to 2000 characters")
    who = caller_name(settings) if by is None else by
    if who is None:
        raise InvalidRequest("by", "nobody is named", "a name, here or in QSAGA_USER")
    try:
        return ApprovalDecision(
            verdict=verdict,
            by=who,
            why=why,
            money=money,
            quantum_seconds=quantum_seconds,
            answer=answer,
        )
    except ValidationError as error:
        raise invalid_request(error) from error


class Decidable(ABC):
    """What people are asked about.

    Args:
        client: of Temporal.
        workflow: of the job or the loop.
        settings: of the caller.
    """

    def __init__(
        self, client: Client, workflow: WorkflowHandle[Any, Any], settings: Settings
    ) -> None:
        self._client, self._workflow, self._settings = client, workflow, settings

    @abstractmethod
    async def approval(self) -> ApprovalRecord | None:
        """What is or was asked of a person; None if nothing was."""

    @abstractmethod
    async def _has_ended(self) -> QsagaError:
        """What to say of what takes no decision any more. Raises NoSuchJob."""

    async def approve(
        self,
        why: str,
        *,
        by: str | None = None,
        money: Decimal | None = None,
        quantum_seconds: float | None = None,
        answer: SuppliedAnswer | None = None,
    ) -> Decided:
        """Say yes. Repeating it does no harm: a second yes is refused.

        Args:
            why: the reason, for the record.
            by: who says so; None is the caller of the settings.
            money: the most that it may cost, below what was asked.
            quantum_seconds: the most that it may be charged, below what was asked.
            answer: where the answer itself is asked for.

        Raises:
            InvalidRequest: the decision cannot be read.
            PolicyRefused: it does not count, and why; also for a job that has ended.
            Unauthenticated, Forbidden: the caller may not decide.
            NoSuchJob: nothing is known under this id.
            Unreachable: nobody weighed it in time; it may still come to count.
        """
        given = decision_of(
            Verdict.APPROVE,
            why,
            settings=self._settings,
            by=by,
            money=money,
            quantum_seconds=quantum_seconds,
            answer=answer,
        )
        return await self.decide(given)

    async def reject(self, why: str, *, by: str | None = None) -> Decided:
        """Say no: it ends as rejected. Raises as ``approve`` does."""
        return await self.decide(decision_of(Verdict.REJECT, why, settings=self._settings, by=by))

    async def decide(self, decision: ApprovalDecision) -> Decided:
        """Hand a decision over. Raises as ``approve`` does."""
        decided = await self._sent(decision)
        if decided.refused:
            raise PolicyRefused(decided.refused)
        return decided

    async def _sent(self, decision: ApprovalDecision) -> Decided:
        limit = asyncio.timeout(DECISION)
        try:
            async with limit:
                with translated(self._workflow.id):
                    decided: Decided = await self._workflow.execute_update(
                        DECIDE, decision, result_type=Decided
                    )
                    return decided
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            if not limit.expired():
                raise asyncio.CancelledError from error
            raise Unreachable(
                f"nobody weighed the decision within {DECISION:g} s; it may still come to count"
            ) from error
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type != ENDED_MEANWHILE:
                raise from_failure(cause.type or "", cause.message) from error
            raise await self._has_ended() from error
        except NoSuchJob as error:
            raise await self._has_ended() from error

    async def _running(self) -> bool:
        """What was refused or terminated never says of itself that it has ended."""
        with translated(self._workflow.id):
            described = await self._workflow.describe()
        return described.status is WorkflowExecutionStatus.RUNNING

    async def _changes(
        self, look: Callable[[], Awaitable[Seen]], told: Callable[[Seen], object], interval: float
    ) -> AsyncIterator[Seen]:
        """Each look of which what is told differs from the one before, until it has ended."""
        before: object = None
        running = True
        while running:
            # Asked first: an end that comes between the two questions is then told.
            running = await self._running()
            now = await look()
            if told(now) != before:
                before = told(now)
                yield now
            if running:
                await asyncio.sleep(interval)

    async def _kept(self) -> OperationReport:
        """What the records have of it. Raises NoSuchJob, and as ``QsagaClient.operate``."""
        try:
            operation = GetRecord(job_id=self._workflow.id)
        except ValidationError as error:
            kind = "loop" if is_loop(self._workflow.id) else "job"
            raise NoSuchJob(f"no {kind} {self._workflow.id!r} is known") from error
        return await operate(self._client, self._settings, operation, by=None, seconds=RECORD)
