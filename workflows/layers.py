"""Running one layer of a job: its time budget, its timing, its failure by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as TemporalTimeout

with workflow.unsafe.imports_passed_through():
    from qsaga.core.jobs import Budgets
    from qsaga.core.results import LayerTiming
    from qsaga.core.roles import Queues, queue_of
    from qsaga.core.states import Layer, Rung
    from qsaga.core.timing import closing_reserve, closing_seconds

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=0.5),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
HEARTBEAT = timedelta(seconds=8)
ONE_ATTEMPT = timedelta(seconds=150)
"""No single attempt of provider I/O takes longer; the adapter ends its calls well before."""

# Of local activities. Between two attempts of one the SDK does not notice that its time is up:
# each policy must end by itself.
ONCE = RetryPolicy(maximum_attempts=1)
FEW = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_attempts=3)
LOCAL_TRY = timedelta(seconds=5)
"""For a local activity; then it is tried as a remote one."""

LEAST = timedelta(milliseconds=1)
"""For an activity whose time is up: zero would mean no limit at all."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 6 * 3600.0
"""Seconds before a step of a closing is tried again after it failed for good."""

NEEDS_PERSON = "NeedsPerson"

REFUSALS = (
    "InvalidRequest",
    "KeyConflict",
    "PolicyRefused",
    "BudgetExceeded",
    "Unauthenticated",
    "Forbidden",
)
"""Failures that say all by themselves, without the layer's name."""

G = TypeVar("G")
R = TypeVar("R")


class LayerEnded(Exception):
    """A layer did not do its work: it ran out of time or failed for good."""

    def __init__(self, layer: Layer, reason: str, *, timed_out: bool, kind: str = "") -> None:
        super().__init__(reason)
        self.layer, self.reason, self.timed_out, self.kind = layer, reason, timed_out, kind

    def as_failure(self) -> ApplicationError:
        """The same as what ends a workflow."""
        kind = self.kind or ("DeadlineExceeded" if self.timed_out else "QsagaError")
        return ApplicationError(self.reason, type=kind, non_retryable=True)


def layer_ended(layer: Layer, error: ActivityError, seconds: float) -> LayerEnded:
    """Name what ended an activity."""
    # The server reports a budget that ran out between two attempts as the last attempt's
    # failure, marked by the retry state; one that ran out inside an attempt as a time-out.
    out_of_time = isinstance(error.cause, TemporalTimeout) or (
        error.retry_state is not None and error.retry_state.name == "TIMEOUT"
    )
    cause = error.cause
    if isinstance(cause, TemporalTimeout) and cause.cause is not None:
        cause = cause.cause
    kind = (cause.type or "") if isinstance(cause, ApplicationError) else ""
    said = cause.message if isinstance(cause, ApplicationError) else ""
    if kind in REFUSALS:
        return LayerEnded(layer, said, timed_out=False, kind=kind)
    if kind == "DeadlineExceeded":  # it ended by itself, and says with what
        return LayerEnded(layer, f"{layer.value}: {said}", timed_out=True, kind=kind)
    if out_of_time:
        reason = f"{layer.value} took longer than its budget of {seconds:g} s"
        if said and kind != "NotYet":
            reason += f" (last: {said})"
        return LayerEnded(layer, reason, timed_out=True, kind=kind)
    return LayerEnded(layer, f"{layer.value}: {said or cause}", timed_out=False, kind=kind)


async def unbroken(work: Awaitable[R]) -> tuple[R, bool]:
    """See ``work`` to its end although the workflow is cancelled meanwhile; whether it was."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    return task.result(), cancelled


class Allowance:
    """What a job may use of its time.

    Args:
        budgets: the job's.
        began: when it was started.
    """

    def __init__(self, budgets: Budgets, began: datetime) -> None:
        self._budgets, self._began = budgets, began

    def left(self) -> float:
        """Seconds to the deadline; negative once it has passed."""
        used = (workflow.now() - self._began).total_seconds()
        return self._budgets.seconds(Layer.DEADLINE) - used

    def of(self, layer: Layer) -> float:
        """Seconds that a layer may take: its budget, or what is left to the deadline."""
        return min(self._budgets.seconds(layer), self.left())

    def checking(self) -> float:
        """Seconds that it may take to check an answer, so that it can be written down in time."""
        return min(self.of(Layer.POSTPROCESS), self.left() - closing_reserve(self._budgets))

    def closing(self, *, answered: bool) -> float:
        """Seconds that the closing record may take: an answer is there by the deadline.

        A job that has none may be a little late: its record gives back what was held.
        """
        if answered:
            return closing_seconds(self._budgets, self.left())
        return max(self.left(), LOCAL_TRY.total_seconds())


class Stopwatch:
    """Collects how long each layer took, in the workflow's own time.

    Args:
        queues: task queues of the roles of workers, where they have some.
    """

    def __init__(self, queues: Queues | None = None) -> None:
        self.queues: Queues = queues or {}
        self.timings: list[LayerTiming] = []

    async def step(
        self,
        layer: Layer,
        seconds: float,
        method: Callable[[Any, G], Awaitable[R]],
        given: G,
        *,
        rung: Rung | None = None,
        attempt: timedelta | None = None,
        budget: float | None = None,
        light: bool = False,
    ) -> R:
        """Run one activity.

        Args:
            layer: whose budget it is.
            seconds: for all attempts together.
            method: the step of ``qsaga.core.steps``.
            given: its argument.
            rung: on whose behalf.
            attempt: the longest that one attempt may take; ``seconds`` if left out.
            budget: of the layer as a whole, where ``seconds`` is what is left of it; then the
                caller notes the time that the layer took.
            light: it takes milliseconds: try it here first, unless its role has a queue.

        Raises:
            LayerEnded: it failed for good or ran out of time.
            asyncio.CancelledError: the workflow was cancelled.
        """
        total = max(timedelta(seconds=seconds), LEAST)
        began = workflow.now()
        ended: LayerEnded | None = None
        done: R
        if light and not queue_of(method, self.queues):
            try:
                done = await workflow.execute_local_activity_method(
                    method,
                    given,
                    schedule_to_close_timeout=min(total, LOCAL_TRY),
                    retry_policy=ONCE,
                )
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise asyncio.CancelledError from error
                # What has failed is told apart, and tried again, as a remote activity.
                total = max(total - (workflow.now() - began), LEAST)
            else:
                self.note(layer, (workflow.now() - began).total_seconds(), rung)
                return done
        try:
            done = await workflow.execute_activity_method(
                method,
                given,
                task_queue=queue_of(method, self.queues),
                schedule_to_close_timeout=total,
                start_to_close_timeout=min(total, attempt or total),
                heartbeat_timeout=HEARTBEAT,
                retry_policy=RETRY,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            ended = layer_ended(layer, error, seconds if budget is None else budget)
            ended.__cause__ = error
        if budget is None:
            self.note(layer, (workflow.now() - began).total_seconds(), rung)
        if ended is not None:
            raise ended
        return done

    def note(self, layer: Layer, seconds: float, rung: Rung | None = None) -> None:
        """Record a timing that was measured elsewhere."""
        self.timings.append(LayerTiming(layer=layer, seconds=round(seconds, 3), rung=rung))


async def quickly(method: Callable[[Any, G], Awaitable[R]], given: G, queues: Queues) -> R:
    """A short step that an answer waits for: here, or on the queue of its role if that has one.

    Raises:
        FailureError: it was not done within ``LOCAL_TRY``. Where a local activity raised it, it
            comes as it is, and not as an ActivityError.
    """
    done: R
    if queue := queue_of(method, queues):
        done = await workflow.execute_activity_method(
            method, given, task_queue=queue, schedule_to_close_timeout=LOCAL_TRY
        )
    else:
        done = await workflow.execute_local_activity_method(
            method, given, schedule_to_close_timeout=LOCAL_TRY, retry_policy=FEW
        )
    return done


async def insist(
    what: str,
    method: Callable[[Any, G], Awaitable[R]],
    given: G,
    heartbeat: timedelta | None = None,
    troubled: Callable[[float, str], Awaitable[None]] | None = None,
    *,
    queues: Queues,
) -> R:
    """A step that closes an account: it stays open until it is closed, whatever fails.

    Args:
        what: whose account, for the log.
        method: the step of ``qsaga.core.steps``.
        given: its argument.
        heartbeat: how soon a dead worker is noticed; None is after ``ONE_ATTEMPT``.
        troubled: waits before the next try, given the seconds to wait at most and why a person
            is needed, empty if none is; None sleeps.
        queues: task queues of the roles of workers.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            done: R = await workflow.execute_activity_method(
                method,
                given,
                task_queue=queue_of(method, queues),
                start_to_close_timeout=ONE_ATTEMPT,
                heartbeat_timeout=heartbeat,
                retry_policy=RETRY,
            )
        except ActivityError as error:
            workflow.logger.error("%s stays open: %s", what, error.cause)
            cause = error.cause
            needed = isinstance(cause, ApplicationError) and cause.type == NEEDS_PERSON
            why = str(cause.message) if needed and isinstance(cause, ApplicationError) else ""
        else:
            return done
        if troubled is None:
            await workflow.sleep(pause)
        else:
            await troubled(pause, why)
        pause = min(2 * pause, LONGEST_PAUSE)
