"""What a step that computes for long does when its worker has to end."""

from __future__ import annotations

import time
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

AGAIN = 0.1
"""Seconds after which another worker may take up what was handed back."""


class Leaving:
    """Whether to stop early, so that what was found is kept before the worker has ended.

    Args:
        seconds: that the step would still take.
        drain: seconds between a worker's being told to end and its end.
    """

    def __init__(self, seconds: float, drain: float) -> None:
        self._ends = time.monotonic() + seconds
        self._drain = drain
        self._stops: bool | None = None

    def should_stop(self) -> bool:
        """Asked now and then, in the activity or in a thread of its own."""
        if self._stops is None and activity.is_worker_shutdown():
            # The other half is for what cannot be interrupted, and for telling the result.
            self._stops = self.left() > self._drain / 2
        return bool(self._stops)

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
