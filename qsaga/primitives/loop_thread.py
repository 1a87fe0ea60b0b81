"""An event loop in a thread of its own: blocking calls from anywhere, a notebook included."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

from qsaga.connection import HAND_OVER

Result = TypeVar("Result")

STOPPING = 5.0
"""Seconds that the end of the process leaves to what is still under way."""


class LoopThread:
    """Runs coroutines for callers that block, whether or not these have a loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="qsaga-primitives", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run it to its end. Where the caller is interrupted it is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what is under way and end the thread; safe to repeat."""
        if self._loop.is_closed():
            return
        with suppress(TimeoutError, CancelledError):
            asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result(STOPPING)
        # What Temporal's runtime still hands over would come to an interpreter that is gone.
        time.sleep(HAND_OVER)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOPPING)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@cache
def loop_thread() -> LoopThread:
    """The one of this process."""
    made = LoopThread()
    atexit.register(made.close)
    return made
