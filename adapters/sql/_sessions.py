"""Provider sessions that jobs share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql._charges import book, cost_values
from adapters.sql._engine import insert_new, reading
from adapters.sql._records import lock_job
from adapters.sql._tables import charges, jobs, provider_sessions, runs
from qsaga.core.ports import Charge
from qsaga.core.sessions import SessionRecord


class SqlSessionRecords:
    """Sessions in SQL (implements ``SessionRecords``).

    Args:
        engine: from ``open_engine``, of a database that ``migrate`` has brought up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def ask(self, record: SessionRecord) -> SessionRecord:
        """Runs ask for a session: they join the one that is there, unless it is closed."""
        fresh = record.model_copy(update={"opened": None, "closed": None})
        async with self._engine.begin() as connection:
            await lock_job(connection, record.job_id)
            if await insert_new(connection, provider_sessions, **_row(fresh)):
                return fresh
            known = await _locked(connection, record.session_id)
            if known.closed is None:
                joined = dict.fromkeys((*known.members, *record.members))
                fresh = known.model_copy(update={"members": tuple(joined)})
            await _write(connection, fresh)
        return fresh

    async def get(self, session_id: str) -> SessionRecord | None:
        """The session, or None."""
        query = select(provider_sessions.c.record).where(
            provider_sessions.c.session_id == session_id
        )
        async with reading(self._engine) as connection:
            text = await connection.scalar(query)
        return SessionRecord.model_validate_json(text) if text else None

    async def opened(self, session_id: str, provider_session_id: str, at: datetime) -> None:
        """It is open under that id."""
        await self._change(session_id, provider_session_id=provider_session_id, opened=at)

    async def held(self, session_id: str, key: str) -> None:
        """Under that key its costs are reserved."""
        await self._change(session_id, hold=key)

    async def unsettled(self, members: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the runs that may yet be charged: they have sent something, and are open."""
        query = select(runs.c.run_id).where(
            runs.c.run_id.in_(members),
            runs.c.settled.is_(False),
            runs.c.last_sent_at.is_not(None),
        )
        async with reading(self._engine) as connection:
            return tuple(await connection.scalars(query.order_by(runs.c.run_id)))

    async def charged(self, members: tuple[str, ...]) -> float:
        """Quantum seconds that were booked for the runs' own jobs."""
        query = select(func.coalesce(func.sum(charges.c.quantum_seconds), 0.0)).where(
            charges.c.run_id.in_(members), charges.c.role != "session"
        )
        async with reading(self._engine) as connection:
            return float(await connection.scalar(query) or 0.0)

    async def close(self, session_id: str, charge: Charge | None, at: datetime) -> None:
        """It is closed; what it was charged beyond its jobs is booked on the job that opened it."""
        async with self._engine.begin() as connection:
            record = await _locked(connection, session_id)
            if charge is not None:
                await lock_job(connection, record.job_id)
                opener = record.members[0]
                # It may have joined and then sent nothing.
                await insert_new(
                    connection, runs, run_id=opener, job_id=record.job_id, settled=True
                )
                await book(connection, record.job_id, opener, 0, charge)
                values = await cost_values(connection, record.job_id)
                await connection.execute(
                    update(jobs).where(jobs.c.job_id == record.job_id).values(**values)
                )
            await _write(connection, record.model_copy(update={"closed": record.closed or at}))

    async def left_open(self) -> tuple[SessionRecord, ...]:
        """Sessions that were opened and not closed."""
        query = (
            select(provider_sessions.c.record)
            .where(provider_sessions.c.opened.is_not(None), provider_sessions.c.closed.is_(None))
            .order_by(provider_sessions.c.session_id)
        )
        async with reading(self._engine) as connection:
            return tuple(
                SessionRecord.model_validate_json(text) for text in await connection.scalars(query)
            )

    async def _change(self, session_id: str, **changes: Any) -> None:
        async with self._engine.begin() as connection:
            known = await _locked(connection, session_id)
            await _write(connection, known.model_copy(update=changes))


async def _locked(connection: AsyncConnection, session_id: str) -> SessionRecord:
    query = select(provider_sessions.c.record).where(provider_sessions.c.session_id == session_id)
    text = (await connection.execute(query.with_for_update())).scalar_one()
    return SessionRecord.model_validate_json(text)


async def _write(connection: AsyncConnection, record: SessionRecord) -> None:
    await connection.execute(
        update(provider_sessions)
        .where(provider_sessions.c.session_id == record.session_id)
        .values(**_row(record))
    )


def _row(record: SessionRecord) -> dict[str, Any]:
    return {
        "session_id": record.session_id,
        "job_id": record.job_id,
        "opened": record.opened,
        "closed": record.closed,
        "record": record.model_dump_json(),
    }
