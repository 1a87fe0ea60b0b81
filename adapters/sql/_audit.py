"""The log of who did what: numbered without gaps, chained by hashes, never changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql._engine import reading
from adapters.sql._tables import audit
from qsaga.core.contract import canonical_json, digest
from qsaga.core.records import AuditEntry, AuditRow

FIRST = "0" * 64
"""What stands in place of a hash before the first entry."""

_PAGE = 1000
_LOCK = 0x71736169  # for PostgreSQL's advisory locks, beside those of the migrations


class SqlAuditLog:
    """The audit log in SQL (implements ``AuditLog``).

    The chain shows every change and every gap. That the newest entries were cut off, it can show
    only to whoever has kept a later hash elsewhere.

    Args:
        engine: from ``open_engine``, of a database that ``migrate`` has brought up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry once; of two with the same id the first one stands.

        Raises:
            ValueError: its time has no zone.
        """
        entry = _as_kept(entry)
        async with self._engine.begin() as connection:
            # One writer at a time, since each needs the hash of the one before.
            await _serialise(connection)
            if await connection.scalar(select(audit.c.number).where(audit.c.id == entry.id)):
                return
            last = (
                await connection.execute(select(audit).order_by(audit.c.number.desc()).limit(1))
            ).one_or_none()
            previous = FIRST if last is None else last.hash
            await connection.execute(
                insert(audit).values(
                    **entry.model_dump(exclude={"detail"}),
                    detail=canonical_json(entry.detail),
                    number=1 if last is None else last.number + 1,
                    previous=previous,
                    hash=_hash(previous, entry),
                )
            )

    async def entries(
        self,
        *,
        tenant: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[AuditRow, ...]:
        """The newest ``limit`` that match, oldest first; ``since`` belongs to them."""
        conditions: list[ColumnElement[bool]] = []
        if tenant is not None:
            conditions.append(audit.c.tenant == tenant)
        if subject is not None:
            conditions.append(audit.c.subject == subject)
        if since is not None:
            conditions.append(audit.c.at >= since)
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(audit).where(*conditions).order_by(audit.c.number.desc()).limit(limit)
            )
            return tuple(_row(row) for row in rows)[::-1]

    async def broken(self) -> str:
        """Check the chain of hashes: empty, or the first number that is not right and why."""
        number, previous, size = 0, FIRST, _PAGE
        while True:
            try:
                page = await self._page(number, size)
            except ValueError as error:
                if size == 1:
                    return f"number {number + 1} cannot be read: {error}"
                size = 1  # to find out which one of the page it is
                continue
            for row in page:
                number += 1
                if row.number != number:
                    return f"number {number} is missing"
                if row.previous != previous:
                    return f"number {number} does not follow from the one before"
                if row.hash != _hash(previous, row.entry):
                    return f"number {number} does not say what it said when it was written"
                previous = row.hash
            if not page:
                return ""

    async def _page(self, after: int, size: int) -> tuple[AuditRow, ...]:
        async with reading(self._engine) as connection:
            rows = await connection.execute(
                select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(size)
            )
            return tuple(_row(row) for row in rows)


async def _serialise(connection: AsyncConnection) -> None:
    """In SQLite a writing transaction does so from its beginning."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _as_kept(entry: AuditEntry) -> AuditEntry:
    """As it will be read back, since the hash is of that."""
    if entry.at.tzinfo is None:
        raise ValueError(f"at: {entry.at} has no time zone")
    words = {
        name: value.replace("\x00", "\ufffd") for name, value in entry if isinstance(value, str)
    }
    return entry.model_copy(update={**words, "at": entry.at.astimezone(UTC)})


def _hash(previous: str, entry: AuditEntry) -> str:
    return digest(previous, canonical_json(entry.model_dump(mode="json")))


def _row(row: Row[Any]) -> AuditRow:
    """Raises ValueError for what was never written here."""
    kept = {**row._asdict(), "detail": json.loads(row.detail)}
    return AuditRow(
        number=row.number,
        entry=AuditEntry.model_validate({name: kept[name] for name in AuditEntry.model_fields}),
        previous=row.previous,
        hash=row.hash,
    )
