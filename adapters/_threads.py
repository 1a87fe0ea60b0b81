"""Blocking calls in threads that can be given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Threads:
    """At most ``limit`` blocking calls at a time, each in a daemon thread of its own.

    A fixed pool would be the wrong tool: a call that hangs would keep its worker, a few of them
    would stop all others, and the interpreter would wait for them at its end. Here a call that
    is given up frees its place at once; starting a thread costs well under a millisecond.

    Args:
        limit: calls at a time.
        name: of the threads.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit, self._name = limit, name
        # A semaphore belongs to one event loop; a provider may outlive the loop it was used in.
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """Result of ``work``.

        Raises:
            TimeoutError: ``seconds`` are over, the wait for a free place included. The thread
                may go on; its result is dropped.
        """
        places = self._places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._limit))
        async with asyncio.timeout(seconds), places:
            outcome: Future[T] = Future()
            outcome.set_running_or_notify_cancel()  # from here on a cancel cannot disturb it
            thread = threading.Thread(
                target=_settle, args=(outcome, work), name=self._name, daemon=True
            )
            thread.start()
            return await asyncio.wrap_future(outcome)


def _settle(outcome: Future[Any], work: Callable[[], Any]) -> None:
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        outcome.set_exception(error)
    else:
        outcome.set_result(value)
