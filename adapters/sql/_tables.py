"""The tables, and the few places where SQLite and PostgreSQL differ."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy import DateTime as SqlDateTime
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

BUSY_SECONDS = 30.0
"""How long a SQLite writer waits for another one."""

_CREATION_LOCK = 0x71736167  # any number of our own, for PostgreSQL's advisory locks


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


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(192), primary_key=True),
    Column("payload_hash", String(64), nullable=False),
    Column("opened", Moment, nullable=False),
    Column("state", String(32)),
    Column("result", Text),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("settled", Boolean, nullable=False),
)

charges = Table(
    "charges",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("provider_job_id", String(128), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("run_id", ForeignKey("runs.run_id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("backend", String(128), nullable=False),
    Column("state", String(32), nullable=False),
    Column("role", String(16), nullable=False),
    Column("quantum_seconds", Float, nullable=False),
    Column("money", Money, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("classical_seconds", Float, nullable=False),
    Column("settled", Boolean, nullable=False),
)

late_results = Table(
    "late_results",
    metadata,
    Column("run_id", ForeignKey("runs.run_id"), primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("late", Text, nullable=False),
)


def open_engine(url: str) -> Engine:
    """An engine for the URL; for SQLite, the folder is made and the safe settings are on."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database in (None, "", ":memory:"):
        raise ValueError(f"{url}: records in memory would be lost; name a file")
    Path(str(parsed.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})

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

    return engine


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


def create_tables(engine: Engine) -> None:
    """Make the tables that are missing; several processes may do so at once."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
        metadata.create_all(connection)


def insert_new(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert a row unless one with its primary key is there. Returns whether it was inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**values)
    done = connection.execute(
        statement.on_conflict_do_nothing(index_elements=list(table.primary_key.columns))
    )
    return done.rowcount == 1


__all__ = [
    "charges",
    "create_tables",
    "insert_new",
    "jobs",
    "late_results",
    "metadata",
    "open_engine",
    "runs",
]
