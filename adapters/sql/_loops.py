"""How variational loops ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql._engine import insert_new, reading
from adapters.sql._tables import loops
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.loop_records import LoopOpening
from qsaga.core.loops import LoopResult


class SqlLoopRecords:
    """The table of loops in SQL (implements ``LoopRecords``).

    Args:
        engine: from ``open_engine``, of a database that ``migrate`` has brought up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open(self, opening: LoopOpening) -> None:
        """A row for a loop; one written down again learns what it lacked. Raises KeyConflict."""
        async with self._engine.begin() as connection:
            if await insert_new(
                connection,
                loops,
                loop_id=opening.loop_id,
                tenant=opening.tenant,
                payload_hash=opening.payload_hash,
                opened=opening.at,
                guarded=opening.guarded,
            ):
                return
            known = await _row(connection, opening.loop_id)
            if known is not None and known.payload_hash != opening.payload_hash:
                raise KeyConflict(
                    f"key: {opening.loop_id!r} belongs to a loop with another payload"
                )
            if known is not None and known.forgotten is not None:
                raise KeyConflict(f"key: {opening.loop_id!r} belongs to a loop that was forgotten")
            await connection.execute(
                update(loops)
                .where(loops.c.loop_id == opening.loop_id, loops.c.guarded.is_(None))
                .values(guarded=opening.guarded)
            )

    async def close(self, result: LoopResult) -> None:
        """How it ended; the first result stands. Raises NoSuchJob."""
        async with self._engine.begin() as connection:
            if await _row(connection, result.loop_id) is None:
                raise NoSuchJob(f"loop {result.loop_id!r} was never opened")
            await connection.execute(
                update(loops)
                .where(
                    loops.c.loop_id == result.loop_id,
                    loops.c.closed.is_(None),
                    loops.c.forgotten.is_(None),
                )
                .values(
                    state=result.state.value, closed=result.ended, result=result.model_dump_json()
                )
            )

    async def get(self, loop_id: str) -> LoopResult | None:
        """How it ended, if that is known."""
        async with reading(self._engine) as connection:
            row = await _row(connection, loop_id)
        return LoopResult.model_validate_json(row.result) if row and row.result else None

    async def guarded(self, loop_id: str) -> bool | None:
        """Whether it was admitted as a guarded one; None if that is not known."""
        async with reading(self._engine) as connection:
            row = await _row(connection, loop_id)
        guarded: bool | None = row and row.guarded
        return guarded

    async def known(self, loop_id: str) -> bool:
        """Whether there is a row of it, forgotten or not."""
        async with reading(self._engine) as connection:
            return await _row(connection, loop_id) is not None

    async def at_work(self) -> Sequence[str]:
        """Loops that have not ended and are not forgotten, by id."""
        query = select(loops.c.loop_id).where(loops.c.closed.is_(None), loops.c.forgotten.is_(None))
        async with reading(self._engine) as connection:
            return (await connection.scalars(query.order_by(loops.c.loop_id))).all()

    async def forget(self, loop_id: str, at: datetime) -> bool:
        """Delete what it said and answered; its key stays taken."""
        async with self._engine.begin() as connection:
            await connection.execute(
                update(loops)
                .where(loops.c.loop_id == loop_id, loops.c.forgotten.is_(None))
                .values(result=None, forgotten=at)
            )
            return await _row(connection, loop_id) is not None

    async def closed_before(self, tenant: str | None, moment: datetime) -> Sequence[str]:
        """Loops that were closed before ``moment`` and are not forgotten, by id."""
        query = select(loops.c.loop_id).where(loops.c.closed < moment, loops.c.forgotten.is_(None))
        if tenant is not None:
            query = query.where(loops.c.tenant == tenant)
        async with reading(self._engine) as connection:
            return (await connection.scalars(query.order_by(loops.c.loop_id))).all()


async def _row(connection: AsyncConnection, loop_id: str) -> Row[Any] | None:
    return (await connection.execute(select(loops).where(loops.c.loop_id == loop_id))).one_or_none()
