"""Books that were tampered with do not close, and say where."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlLedger
from adapters.sql._statement import books
from qsaga.core.ledger import Amounts, Budget, Hold, Tenant

pytestmark = pytest.mark.timeout(60)
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)

DAMAGES = (
    ("UPDATE ledger_accounts SET held = held + 1", "held is 6.000001, its entries sum to 6"),
    ("UPDATE ledger_accounts SET allowance = 1", "limit is -0.000001, its entries sum to -50"),
    ("UPDATE ledger_entries SET amount = amount + 1 WHERE side = 'held'", "sum to 6.000002"),
    ("DELETE FROM ledger_entries WHERE side = 'available'", "entries of money sum to 3"),
    ("DELETE FROM ledger_transfers WHERE kind = 'reserve'", "has entries and no record"),
    ("DELETE FROM ledger_accounts", "has reservations (held) and no balance"),
    ("UPDATE ledger_reservations SET money = 1", "its reservations sum to 0.000002"),
    ("UPDATE ledger_reservations SET state = 'settled'", "spent is 0, its reservations sum to 6"),
)


async def test_every_damage_is_seen(engine: AsyncEngine) -> None:
    ledger = SqlLedger(engine)
    await ledger.put_tenant(Tenant(name="acme", money=Budget(limit=Decimal(50))), AT)
    for key in ("a", "b"):
        held = Hold(key=key, amounts=Amounts(money=Decimal(3)))
        assert await ledger.reserve("acme", "acme/1", (held,), AT) == ()
    for damage, said in DAMAGES:
        async with engine.connect() as connection:
            assert (await connection.run_sync(books)).closed
            await connection.execute(text(damage))
            found = await connection.run_sync(books)
            await connection.rollback()
        assert not found.closed
        assert any(said in words for words in found.mismatches), (damage, found)

    # What one transfer lost another gained: all sums and balances are as they were.
    async with engine.connect() as connection:
        query = "SELECT transfer_id FROM ledger_entries WHERE side = 'held' ORDER BY transfer_id"
        first, last = await connection.scalars(text(query))
        for transfer, more in ((first, 5), (last, -5)):
            await connection.execute(
                text(
                    "UPDATE ledger_entries SET amount = amount + :more "
                    "WHERE transfer_id = :transfer AND side = 'held'"
                ),
                {"more": more, "transfer": transfer},
            )
        found = await connection.run_sync(books)
        await connection.rollback()
    assert not any(found.sums.values())
    assert [words.partition(":")[0] for words in found.mismatches] == [
        f"transfer {first}",
        f"transfer {last}",
    ]
