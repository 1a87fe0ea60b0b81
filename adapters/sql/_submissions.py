"""What was sent under each tag, in the table of the runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql._engine import reading
from adapters.sql._records import add_run
from adapters.sql._tables import runs
from qsaga.core.errors import NoSuchJob
from qsaga.core.submission import Intent, Quarantined, Resolution, WatchedRun


class SqlSubmissions:
    """Intents, watches and quarantine in SQL (implements ``Submissions``).

    Args:
        engine: from ``open_engine``, of a database that ``migrate`` has brought up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open(self, job_id: str, tag: str, by: str) -> Intent:
        """The record of a tag, made now if there is none; its account is open.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the tag belongs to another job.
        """
        async with self._engine.begin() as connection:
            await add_run(connection, job_id, tag)
            return _intent(await _row(connection, tag), by)

    async def intent(self, tag: str) -> Intent:
        """The record of a tag; an empty one if nothing was ever written."""
        async with reading(self._engine) as connection:
            return _intent(await _row(connection, tag))

    async def begin_send(self, tag: str, sends: int, at: datetime) -> bool:
        """Write down that a sending begins, if ``sends`` is still as it was when that was asked.

        One statement: of two attempts that have seen the same, one gets it.
        """
        async with self._engine.begin() as connection:
            done = await connection.execute(
                update(runs)
                .where(runs.c.run_id == tag, runs.c.sends == sends)
                .values(sends=sends + 1, last_sent_at=at)
            )
        return done.rowcount == 1

    async def refused(self, tag: str, sends: int) -> None:
        """The sending of that ordinal was surely not accepted; a later one stands."""
        async with self._engine.begin() as connection:
            await connection.execute(
                update(runs)
                .where(runs.c.run_id == tag, runs.c.sends == sends)
                .values(last_sent_at=None)
            )

    async def close(self, job_id: str, tag: str, by: str) -> Intent:
        """Whoever has seen the tag before, or asks for the same run, sends no more.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the tag belongs to another job.
        """
        async with self._engine.begin() as connection:
            await add_run(connection, job_id, tag)
            row = await _row(connection, tag, lock=True)
            if row is None or row.closed_by != by:
                await _set(connection, tag, closed_by=by, sends=runs.c.sends + 1, watched=None)
            return _intent(await _row(connection, tag), by)

    async def watch(self, run: WatchedRun) -> None:
        """The run waits to be told of a change."""
        async with self._engine.begin() as connection:
            await _set(connection, run.run_id, watched=run.model_dump_json())

    async def unwatch(self, run_id: str) -> None:
        """The run waits no more."""
        async with self._engine.begin() as connection:
            await _set(connection, run_id, watched=None)

    async def watched(self) -> tuple[WatchedRun, ...]:
        """Every run that waits so and whose account is open."""
        query = select(runs.c.watched).where(runs.c.watched.is_not(None))
        async with reading(self._engine) as connection:
            rows = await connection.scalars(query.order_by(runs.c.run_id))
            return tuple(WatchedRun.model_validate_json(text) for text in rows)

    async def quarantine(self, case: Quarantined) -> bool:
        """Remember a case for a person; what is seen of it later replaces what was seen first."""
        async with self._engine.begin() as connection:
            before = await _row(connection, case.run_id, lock=True)
            first = before is None or before.quarantined is None
            since = case.since if before is None or first else before.quarantined
            kept = case.model_copy(update={"since": since})
            await _set(
                connection, case.run_id, quarantined=since, quarantine=kept.model_dump_json()
            )
        return first

    async def quarantined(self, tenant: str | None = None) -> tuple[Quarantined, ...]:
        """The cases whose account is open, oldest first."""
        query = select(runs).where(runs.c.quarantined.is_not(None))
        if tenant is not None:
            query = query.where(runs.c.job_id.startswith(f"{tenant}/", autoescape=True))
        async with reading(self._engine) as connection:
            rows = await connection.execute(query.order_by(runs.c.quarantined, runs.c.run_id))
            return tuple(_case(row) for row in rows)

    async def resolve(self, run_id: str, resolution: Resolution) -> None:
        """What a person found out; a later word replaces an earlier one.

        Raises:
            NoSuchJob: nobody waits for a word on it.
        """
        async with self._engine.begin() as connection:
            row = await _row(connection, run_id, lock=True)
            if row is None or row.quarantined is None:
                raise NoSuchJob(f"no submission {run_id!r} waits for a person")
            await _set(connection, run_id, resolution=resolution.model_dump_json())

    async def resolution(self, run_id: str) -> Resolution | None:
        """What a person found out, if anything."""
        async with reading(self._engine) as connection:
            text = await connection.scalar(select(runs.c.resolution).where(runs.c.run_id == run_id))
        return Resolution.model_validate_json(text) if text else None


async def _row(connection: AsyncConnection, tag: str, *, lock: bool = False) -> Row[Any] | None:
    query = select(runs).where(runs.c.run_id == tag)
    found = await connection.execute(query.with_for_update() if lock else query)
    return found.one_or_none()


async def _set(connection: AsyncConnection, tag: str, **values: Any) -> None:
    await connection.execute(update(runs).where(runs.c.run_id == tag).values(**values))


def _intent(row: Row[Any] | None, by: str | None = None) -> Intent:
    if row is None:
        return Intent()
    closed = row.closed_by is not None and row.closed_by == by
    return Intent(sends=row.sends, last_sent_at=row.last_sent_at, closed=closed)


def _case(row: Row[Any]) -> Quarantined:
    said = Resolution.model_validate_json(row.resolution) if row.resolution else None
    case = Quarantined.model_validate_json(row.quarantine)
    return case.model_copy(update={"resolution": said, "intent": _intent(row)})
