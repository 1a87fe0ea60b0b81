"""What is computed on our own machines without an answer: it is booked all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutType
from temporalio.exceptions import TimeoutError as TemporalTimeout

with workflow.unsafe.imports_passed_through():
    from qsaga.core.results import Cost
    from workflows.layers import LayerEnded


class Spending:
    """Books classical seconds of a job.

    Args:
        costs: of the job; what is spent is added to it.
        currency: of the job.
    """

    def __init__(self, costs: list[Cost], currency: str) -> None:
        self._costs, self._currency = costs, currency

    def book(self, seconds: float) -> None:
        """Add what a step says that it took."""
        self._costs.append(Cost(classical_seconds=round(seconds, 3), currency=self._currency))

    @contextmanager
    def unless_answered(self, most: float) -> Iterator[None]:
        """Book a step that is cancelled, or ends as LayerEnded, for it does not say what it took.

        The time since it was scheduled counts, up to ``most``, the seconds that it may compute.
        """
        began = workflow.now()
        try:
            yield
        except (LayerEnded, asyncio.CancelledError) as end:
            if not _never_begun(end):
                self.book(min((workflow.now() - began).total_seconds(), most))
            raise


def _never_begun(end: BaseException) -> bool:
    """Whether no worker had taken the step up when its time was over."""
    error = end.__cause__
    cause = error.cause if isinstance(error, ActivityError) else None
    return isinstance(cause, TemporalTimeout) and cause.type is TimeoutType.SCHEDULE_TO_START
