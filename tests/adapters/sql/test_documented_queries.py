"""The queries of docs/records.md run as they stand there, on each database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlJobRecords, SqlLedger
from qsaga.core.ledger import Amounts, Budget, Hold, Tenant
from tests.adapters.sql.samples import EXACT, JOB, LATE, charge, full_opening, full_result

PAGE = Path(__file__).parents[3] / "docs" / "records.md"


def queries() -> list[str]:
    return re.findall(r"(?s)```sql\n(.*?)```", PAGE.read_text())


async def _filled(engine: AsyncEngine) -> None:
    records, ledger, now = SqlJobRecords(engine), SqlLedger(engine), datetime.now(UTC)
    await records.open(full_opening())
    await records.open_run(JOB, "run1")
    await records.settle_run(JOB, "run1", (charge(0), charge(1)), LATE)
    await records.close(full_result())
    await records.open_run(JOB, "run2")
    await ledger.put_tenant(Tenant(name="acme", money=Budget(limit=Decimal(40))), now)
    hold = Hold(key=JOB, amounts=Amounts(money=Decimal("12.80")))
    assert await ledger.reserve("acme", JOB, (hold,), now) == ()


async def test_every_query_finds_something(engine: AsyncEngine) -> None:
    await _filled(engine)
    found: dict[str, Row[Any]] = {}
    async with engine.connect() as connection:
        for query in queries():
            rows = (await connection.exec_driver_sql(query)).all()
            assert rows, query
            found |= {name: row for row in rows for name in row._fields}
    charged = found["remote_jobs"]
    assert (charged.tenant, charged.month, charged.currency) == ("acme", "2025-10", "EUR")
    assert charged.quantum_seconds == 4.0
    assert float(charged.money) == float(2 * EXACT)
    assert (found["mean_seconds"].state, found["mean_seconds"].mean_seconds) == ("degraded", 90.5)
    assert (found["for_example"].rung, found["for_example"].layer) == ("hardware", "queue")
    assert (found["longest"].layer, found["longest"].longest) == ("queue", 60.0)
    assert (found["decided_by"].decided_by, found["decided_by"].submitter) == ("bob", "ann")
    assert found["circuit_depth"].circuit_depth == 3
    assert found["run_id"].run_id == "run2"
    budget = next(row for row in found.values() if "allowance" in row._fields)
    assert (budget.tenant, budget.period) == ("acme", "month")
