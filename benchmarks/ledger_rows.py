"""A ledger's rows in bulk, as if many jobs had been reserved and settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Table, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql._accounts import Kept, live_accounts, movement, open_accounts
from adapters.sql._ledger_tables import accounts, entries, reservations, tenants, transfers
from qsaga.core.ledger import Unit

HELD = {Unit.QUANTUM_SECONDS: 4_000_000, Unit.MONEY: 6_400_000, Unit.CLASSICAL_SECONDS: 10**6}
USED = {Unit.QUANTUM_SECONDS: 3_200_000, Unit.MONEY: 5_120_000, Unit.CLASSICAL_SECONDS: 900_000}
BATCH = 20_000


async def fill(engine: AsyncEngine, rows: int, at: datetime) -> int:
    """Write settled reservations, evenly by tenant, until there are that many rows of the ledger.

    Returns:
        How many there are: reservations, transfers and entries.
    """
    async with engine.begin() as connection:
        names = list(await connection.scalars(select(tenants.c.name).order_by(tenants.c.name)))
        booked_on: dict[str, dict[Unit, int | None]] = {}
        for name in names:
            live = await connection.run_sync(live_accounts, name, at)
            await connection.run_sync(open_accounts, live, [(unit, "USD") for unit in Unit])
            booked_on[name] = {unit: live.of(unit, "USD").id for unit in Unit}
        # One reservation is a row, two transfers and 19 entries.
        each = rows // (22 * len(names)) + 1
        numbers = (await connection.scalar(select(func.max(transfers.c.id))) or 0) + 1
        for name in names:
            made = _jobs(name, booked_on[name], range(each), at)
            numbers = await _write(connection, made, numbers)
            for unit, amount in USED.items():
                await connection.execute(
                    update(accounts)
                    .where(accounts.c.id == booked_on[name][unit])
                    .values(spent=accounts.c.spent + amount * each)
                )
        counted = [
            await connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (reservations, transfers, entries)
        ]
    if engine.dialect.name == "postgresql":
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM ANALYZE"))
    return sum(counted)


def _jobs(
    name: str, booked_on: dict[Unit, int | None], numbers: Iterable[int], at: datetime
) -> Iterator[tuple[Kept, Kept, Kept]]:
    """Each as it was before, while it was held, and when it was settled."""
    for number in numbers:
        key = f"{name}/old-{number:08d}"
        before = Kept.nothing(key, name, key, "USD", at)
        before.booked_on = booked_on
        held = Kept(**(vars(before) | {"state": "held", "amounts": HELD | {Unit.JOBS: 10**6}}))
        settled = Kept(**(vars(before) | {"state": "settled", "amounts": USED | {Unit.JOBS: 0}}))
        yield before, held, settled


async def _write(
    connection: AsyncConnection, jobs: Iterator[tuple[Kept, Kept, Kept]], number: int
) -> int:
    while batch := list(islice(jobs, BATCH // 20)):
        heads: list[dict[str, Any]] = []
        lines: list[dict[str, Any]] = []
        for before, held, settled in batch:
            for kind, was, now in (("reserve", before, held), ("settle", held, settled)):
                made = movement(kind, now.at, was, now)
                heads.append(
                    {"id": number, "kind": kind, "tenant": now.tenant, "key": now.key, "at": now.at}
                )
                lines += [
                    {"transfer_id": number, "account_id": account, "side": side, "amount": amount}
                    for account, side, amount in made.entries()
                ]
                number += 1
        await _load(connection, reservations, [settled.row() for _, _, settled in batch])
        await _load(connection, transfers, heads)
        await _load(connection, entries, lines)
    if connection.dialect.name == "postgresql":
        sequence = text("SELECT setval(pg_get_serial_sequence('ledger_transfers', 'id'), :last)")
        await connection.execute(sequence, {"last": number - 1})
    return number


async def _load(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        await connection.execute(insert(table), rows)
        return
    raw = await connection.get_raw_connection()
    names = list(rows[0])
    async with (
        raw.driver_connection.cursor() as cursor,  # type: ignore[union-attr]
        cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy,
    ):
        for row in rows:
            await copy.write_row([row[name] for name in names])
