"""What a step that computes for long does when its worker has to end, or nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

AGAIN = 0.1
"""Seconds after which another worker may take up what was handed back."""


class Leaving:
    """Whether to stop early: what was found is kept before the worker has ended.

    After a cancellation nothing is kept: the job has its answer, or another attempt is at work.
    It is asked in the thread that the activity works in, and in threads that a solver begins.

    Args:
        seconds: that the step would still take.
        drain: seconds between a worker's being told to end and its end.
    """

    def __init__(self, seconds: float, drain: float) -> None:
        self._ends = time.monotonic() + seconds
        self._drain = drain
        self._stops: bool | None = None
        self._context = copy_context()

    def should_stop(self) -> bool:
        """Asked now and then."""
        if self._is(activity.is_cancelled):
            return True
        if self._stops is None and self._is(activity.is_worker_shutdown):
            # The other half is for what cannot be interrupted, and for telling the result.
            self._stops = self.left() > self._drain / 2
        return bool(self._stops)

    def unless_cancelled(self, put: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """``put``, for as long as somebody waits for what is found."""

        def keep(found: bytes) -> None:
            if not self._is(activity.is_cancelled):
                put(found)

        return keep

    def check(self) -> None:
        """Raises CancelledError if nobody waits any more."""
        if self._is(activity.is_cancelled):
            raise CancelledError("nobody waits for what the solver finds")

    def _is(self, so: Callable[[], bool]) -> bool:
        # Threads begin without a context, and several cannot be in one at the same time.
        return self._context.copy().run(so)

    def left(self) -> float:
        """Seconds that the step would still take."""
        return self._ends - time.monotonic()


def handed_back(what: str) -> ApplicationError:
    """The error of an attempt that another worker is to go on with."""
    return ApplicationError(
        f"the worker ends: {what}",
        type="WorkerEnds",
        category=ApplicationErrorCategory.BENIGN,
        next_retry_delay=timedelta(seconds=AGAIN),
    )
