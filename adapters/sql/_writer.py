"""Short transactions in threads, and how the writers of a SQLite file take turns.

SQLite lets one write at a time, and whoever finds it busy sleeps for ever longer pauses (up to
100 ms) before asking again: with eight writers the unlucky wait many times longer than the
queue in front of them. So writers queue before they ask: those of a process for its one thread,
first come first served; processes for a lock on a file beside the database, which the kernel
hands on at once and takes from a process that dies. This is only a courtesy: SQLite's own lock
decides, also against writers that do not queue.

A transaction runs in one thread from beginning to end, with the drivers that wait there. Through
an event loop each statement is several trips to it and back (aiosqlite: to another thread), and
all who want the same rows wait meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql._engine import BUSY_SECONDS, make_safe, reading_options

if sys.platform != "win32":  # there, writers queue within a process only
    import fcntl

Result = TypeVar("Result")

_CONNECTIONS = 8
"""To PostgreSQL, for each engine."""
_READERS = 4
_writers: WeakKeyDictionary[AsyncEngine, Writer] = WeakKeyDictionary()


class Writer:
    """Runs transactions on the database of an engine; disposed of with the engine.

    One for each engine: ``Writer.of``.
    """

    @classmethod
    def of(cls, engine: AsyncEngine) -> Writer:
        """The engine's."""
        if engine not in _writers:
            _writers[engine] = cls(engine)
        return _writers[engine]

    def __init__(self, engine: AsyncEngine) -> None:
        self._file = engine.url.database if engine.dialect.name == "sqlite" else None
        if self._file is None:
            self._direct = create_engine(
                engine.url, pool_size=_CONNECTIONS, max_overflow=0, pool_pre_ping=True
            )
        else:
            url = engine.url.set(drivername="sqlite")
            self._direct = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
            make_safe(self._direct)
        self._threads = ThreadPoolExecutor(
            _CONNECTIONS if self._file is None else 1, thread_name_prefix="sql-writer"
        )
        # Beside the writer: in SQLite's write-ahead log readers do not wait for it.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sql-reader")
        event.listen(engine.sync_engine, "engine_disposed", lambda _: self._direct.dispose())

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction; it is committed unless the work raises.

        Who is cancelled while it waits may find later that the work was done.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._do, work)

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Do the work in a transaction that shows one moment and keeps no writer waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, work)

    def _look(self, work: Callable[[Connection], Result]) -> Result:
        with (
            self._direct.connect().execution_options(**reading_options(self._direct)) as connection,
            connection.begin(),
        ):
            return work(connection)

    def _do(self, work: Callable[[Connection], Result]) -> Result:
        if self._file is None:
            with self._direct.begin() as connection:
                return work(connection)
        with _queue(f"{self._file}-turn"), self._direct.begin() as connection:
            return work(connection)


@contextmanager
def _queue(path: str) -> Iterator[None]:
    """Wait for our turn among the processes; the next one's comes when the block ends."""
    # Opened anew each time: a lock that a fork inherits would be held by both.
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)
