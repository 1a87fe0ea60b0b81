"""Bringing a database to the revision of this code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql._engine import open_engine

_MIGRATION_LOCK = 0x71736167  # any number of our own, for PostgreSQL's advisory locks

# Alembic keeps what it works on in globals of its modules, which event loops and threads share.
_alembic = threading.Lock()


async def migrate(where: str | AsyncEngine) -> None:
    """Bring a database to the newest revision, in one transaction.

    Several processes may do so at once: each takes its turn, and the later ones find nothing to
    do. A database of the first release is adopted as it is; stop its workers before. There are no
    downgrades: an older revision has no place for what a newer one keeps, so the way back is a
    copy of the database.

    Args:
        where: URL as ``open_engine`` takes it, or an engine that it made.

    Raises:
        alembic.util.CommandError: the database is of a revision that this code does not know.
    """
    engine = open_engine(where) if isinstance(where, str) else where
    try:
        async with _turn(), engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        if engine is not where:
            await engine.dispose()


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    # To block would stop the event loop of whoever has the lock; asyncio's own belongs to one loop.
    while not _alembic.acquire(blocking=False):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        _alembic.release()


def _upgrade(connection: Connection) -> None:
    # In SQLite the transaction holds the write lock from its beginning.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
