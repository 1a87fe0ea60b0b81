"""Opening a database, and the few places where SQLite and PostgreSQL differ."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
    event,
    make_url,
)
from sqlalchemy import DateTime as SqlDateTime
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import TypeEngine

BUSY_SECONDS = 30.0
"""How long a SQLite writer waits for another one."""


class Moment(TypeDecorator[datetime]):
    """A point in time; in UTC whatever the database keeps of zones."""

    impl = SqlDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC. Raises ValueError for a time without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """An exact amount: a number where the database has exact ones, text in SQLite."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text in SQLite, whose numbers are binary."""
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """As the database keeps it."""
        return str(value) if dialect.name == "sqlite" and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """As a decimal."""
        return None if value is None else Decimal(value)


class Words(TypeDecorator[str]):
    """Text from anywhere. PostgreSQL takes no NUL in it, and would fail at each repetition."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """With the sign for an unreadable character in its place, in both databases."""
        return None if value is None else value.replace("\x00", "\ufffd")


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def open_engine(url: str) -> AsyncEngine:
    """An engine for the URL; for SQLite, the folder is made and the safe settings are on.

    Args:
        url: ``sqlite:////path/to/file`` or ``postgresql://user@host/database``, with or without a
            driver; the drivers used are aiosqlite and psycopg.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _unless_busy(
            create_async_engine(
                parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_size=8
            )
        )
    if parsed.database in (None, "", ":memory:"):
        raise ValueError(f"{url}: records in memory would be lost; name a file")
    Path(str(parsed.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": BUSY_SECONDS}
    )

    make_safe(engine.sync_engine)
    return engine


def make_safe(engine: Engine) -> None:
    """Switch the safe settings of SQLite on for every connection of the engine."""

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        # The driver would begin transactions by itself, late and deferred: see _begin.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads before it writes fails at once, without waiting, when another
        # one wrote in between; so writers take their turn at the beginning.
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _use_wal(cursor: Any) -> None:
    """Switch to the write-ahead log, which SQLite refuses without waiting while others open it."""
    ends = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > ends:
                raise
            time.sleep(0.02)
        else:
            return


def _unless_busy(engine: AsyncEngine) -> AsyncEngine:
    """Replace a connection that a cancelled call gave back while it was still at work."""

    @event.listens_for(engine.sync_engine, "handle_error")
    def _look(context: ExceptionContext) -> None:
        if context.is_pre_ping and "in transaction status" in str(context.original_exception):
            context.is_disconnect = True

    return engine


def reading_options(engine: AsyncEngine | Engine) -> dict[str, Any]:
    """Of a connection whose transactions show one moment and only read."""
    options: dict[str, Any] = {"reads": True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    return options


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that shows one moment and keeps no writer waiting."""
    async with engine.connect() as connection:
        await connection.execution_options(**reading_options(engine))
        async with connection.begin():
            yield connection


async def insert_new(connection: AsyncConnection, table: Table, **values: Any) -> bool:
    """Insert a row unless one with its primary key is there. Returns whether it was inserted."""
    return await connection.run_sync(lambda direct: add_new(direct, table, **values))


def add_new(connection: Connection, table: Table, **values: Any) -> bool:
    """``insert_new`` in a thread that may wait."""
    return connection.execute(_unless_there(connection.dialect.name, table), values).rowcount == 1


def add_all(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose primary keys are not there yet, in a thread that may wait."""
    if rows:
        connection.execute(_unless_there(connection.dialect.name, table), rows)


@cache
def _unless_there(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    keys = list(table.primary_key.columns)
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing(index_elements=keys)
    return sqlite.insert(table).on_conflict_do_nothing(index_elements=keys)
