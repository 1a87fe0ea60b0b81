"""Databases for tests: each one new, in SQLite and, where its server can be had, in PostgreSQL."""

from __future__ import annotations

import asyncio
import functools
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    from pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="qsaga-pg-"))
    server = get_server(folder, cleanup_mode="delete")
    with psycopg.connect(str(server.get_uri()), autocommit=True) as connection:
        # No test switches the machine off, and each makes a database and drops it.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    return server


def _migrate(url: str) -> None:
    """In a thread, since the caller's event loop may run."""
    with ThreadPoolExecutor(1) as aside:
        aside.submit(lambda: asyncio.run(migrate(url))).result()


@functools.cache
def _file_at_head() -> bytes:
    """A SQLite database as ``migrate`` makes it, once for each process."""
    with tempfile.TemporaryDirectory(prefix="qsaga-") as folder:
        path = Path(folder) / "head.sqlite3"
        _migrate(f"sqlite:///{path}")
        return path.read_bytes()


@functools.cache
def _template_at_head() -> str:
    """The name of a PostgreSQL database as ``migrate`` makes it, once for each process."""
    name = "at_head"
    with psycopg.connect(str(_server().get_uri()), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    _migrate(_url_of(name))
    return name


def _url_of(name: str) -> str:
    url = make_url(str(_server().get_uri())).set(database=name)
    return url.render_as_string(hide_password=False)


def put_at_head(path: Path) -> None:
    """Put a SQLite database at head there, unless there is one; to migrate takes longer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_file_at_head())


@contextmanager
def fresh_database(backend: str, folder: Path, *, at_head: bool = False) -> Iterator[str]:
    """The URL of a new database, dropped at the end.

    Args:
        backend: one of ``BACKENDS``.
        folder: where the file of SQLite goes.
        at_head: with the tables of the newest revision; otherwise it is empty.
    """
    if backend == "sqlite":
        path = folder / "new" / "records.sqlite3"
        if at_head:
            put_at_head(path)
        yield f"sqlite:///{path}"
        return
    name, admin = f"t{uuid4().hex}", str(_server().get_uri())
    template = f" TEMPLATE {_template_at_head()}" if at_head else ""
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{template}")
    try:
        yield _url_of(name)
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
