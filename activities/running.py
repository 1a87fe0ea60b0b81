"""What every activity shares: heartbeats, and errors in Temporal's terms."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from qsaga.core.errors import QsagaError, TransientProviderError


def not_yet(what: str, seconds: float) -> ApplicationError:
    """The error of an activity that has nothing to tell yet: retried after ``seconds``.

    Between two attempts it holds no slot and adds no event to the history. A local activity,
    which would hold up its workflow meanwhile, fails instead.
    """
    return ApplicationError(
        what,
        type="NotYet",
        category=ApplicationErrorCategory.BENIGN,
        non_retryable=activity.info().is_local,
        next_retry_delay=timedelta(seconds=seconds),
    )


def as_failure(error: QsagaError, wait: float | None = None) -> ApplicationError:
    """An error of ours as Temporal carries it: its class as type, retried if it may pass.

    ``wait`` is when the next attempt may come, in seconds; None leaves it to the provider's own
    word or to the retry policy. A local activity does not wait for that: as ``not_yet``.
    """
    if wait is None and isinstance(error, TransientProviderError):
        wait = error.retry_after
    held_up = bool(wait) and activity.in_activity() and activity.info().is_local
    return ApplicationError(
        str(error),
        type=type(error).__name__,
        non_retryable=held_up or not error.retryable,
        next_retry_delay=timedelta(seconds=wait) if wait else None,
    )


def seconds_since(moment: datetime) -> float:
    """From ``moment`` to the start of this attempt, both in the server's time."""
    return max(0.0, (activity.info().started_time - moment).total_seconds())


def seconds_remaining() -> float | None:
    """Until this activity's whole budget ends, from now."""
    info = activity.info()
    if info.schedule_to_close_timeout is None or not info.schedule_to_close_timeout:
        return None
    whole = info.schedule_to_close_timeout.total_seconds()
    return whole - seconds_since(info.scheduled_time) - elapsed()


def elapsed() -> float:
    """Seconds since the start of this attempt."""
    began = _began.get()
    return 0.0 if began is None else time.monotonic() - began


def server_now() -> datetime:
    """Temporal's time: that of the start of this attempt, and what passed since.

    The clocks of workers may differ; the server's is one for all of them.
    """
    return activity.info().started_time + timedelta(seconds=elapsed())


_began: ContextVar[float | None] = ContextVar("qsaga_attempt_began", default=None)


class Running(Interceptor):
    """Heartbeats for the steps that are watched, a clock and one translation of errors for all."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap every activity."""
        return _RunningActivity(next)


class _RunningActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        _began.set(time.monotonic())
        timeout = activity.info().heartbeat_timeout
        beating = asyncio.create_task(_beat(timeout)) if timeout else None
        try:
            return await super().execute_activity(input)
        except QsagaError as error:
            raise as_failure(error) from error
        finally:
            if beating is not None:
                beating.cancel()
                with suppress(asyncio.CancelledError):
                    await beating


async def _beat(patience: timedelta) -> None:
    while True:
        # Most steps are done before the first: each would cost a call to the server.
        await asyncio.sleep(patience.total_seconds() / 4)
        activity.heartbeat()
