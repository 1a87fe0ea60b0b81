"""Databases for tests: each one new, in SQLite and, where its server can be had, in PostgreSQL."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import migrate, open_engine

# The newest Python that the wheel with the PostgreSQL server is made for.
BACKENDS = ("sqlite", "postgresql") if sys.version_info < (3, 13) else ("sqlite",)


@functools.cache
def _server() -> Any:
    """A PostgreSQL of our own, one in each process: no root, no service. It ends with us."""
    import pgserver

    return pgserver.get_server(Path(tempfile.mkdtemp(prefix="qsaga-pg-")), cleanup_mode="delete")


@contextmanager
def fresh_database(backend: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database, dropped at the end.

    Args:
        backend: one of ``BACKENDS``.
        folder: where the file of SQLite goes.
    """
    if backend == "sqlite":
        yield f"sqlite:///{folder}/new/records.sqlite3"
        return
    name, admin = f"t{uuid4().hex}", str(_server().get_uri())
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield make_url(admin).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def migrated_engine(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine for a database at head, disposed at the end."""
    engine = open_engine(url)
    try:
        await migrate(engine)
        yield engine
    finally:
        await engine.dispose()
