"""Questions over many jobs, through the port and in plain SQL."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlJobRecords
from adapters.sql._history import matching
from adapters.sql._tables import jobs
from qsaga.core.records import HistoryQuery
from qsaga.core.states import JobState
from tests.adapters.sql.samples import (
    AT,
    EXACT,
    HASH,
    JOB,
    charge,
    full_opening,
    full_result,
    opening,
    result,
)

pytestmark = pytest.mark.timeout(60)
DAY = timedelta(days=1)


@pytest.fixture
def records(engine: AsyncEngine) -> SqlJobRecords:
    return SqlJobRecords(engine)


async def test_each_field_selects(records: SqlJobRecords) -> None:
    await records.open(full_opening("acme/a"))
    await records.close(full_result("acme/a"))
    await records.open(full_opening("acme/b", AT + DAY, template=None, experiment="e2"))
    await records.open(opening("beta/c", at=AT + 2 * DAY))
    await records.close(result(job_id="beta/c"))

    async def ids(**query: Any) -> str:
        found = await records.find(HistoryQuery.model_validate(query))
        return "".join(row.job_id[-1] for row in found)

    assert await ids() == "cba"
    assert await ids(limit=2) == "cb"
    assert await ids(tenant="acme") == "ba"
    assert await ids(state="degraded") == "a"
    assert await ids(verb="optimise") == "ba"
    assert await ids(source="annealing") == "a"
    assert await ids(backend="here") == "a"
    assert await ids(backend="ibm_torino") == ""
    assert await ids(experiment="e2") == "b"
    assert await ids(template="nightly") == "a"
    assert await ids(since=AT + DAY) == "cb"
    assert await ids(until=AT + DAY) == "a"
    assert await ids(since=AT + DAY, until=AT + 2 * DAY, tenant="acme") == "b"


async def test_a_line_says_what_became_of_a_job(records: SqlJobRecords) -> None:
    await records.open(full_opening())
    (row,) = await records.find(HistoryQuery())
    assert (row.closed, row.state, row.seconds, row.quantum_seconds) == (None, None, None, 0.0)
    assert (row.money, row.currency) == ("0", "USD")
    await records.close(full_result())
    (row,) = await records.find(HistoryQuery())
    assert row.closed == AT + timedelta(seconds=90.5)
    assert row.seconds == 90.5
    assert (row.money, row.quantum_seconds) == ("1.60", 1.0)


async def test_the_cost_follows_the_charges(records: SqlJobRecords) -> None:
    async def cost() -> tuple[str, str, float]:
        (row,) = await records.find(HistoryQuery())
        return row.money, row.currency, row.quantum_seconds

    await records.open(full_opening())
    await records.settle_run(JOB, "run1", (charge(0, settled=False),), None)
    assert await cost() == (str(EXACT), "EUR", 2.0)
    await records.close(full_result())
    assert await cost() == (str(EXACT), "EUR", 2.0)
    await records.settle_run(JOB, "run1", (charge(0, 3.0),), None)
    await records.settle_run(JOB, "run2", (charge(1),), None)
    assert await cost() == (str(2 * EXACT), "EUR", 5.0)
    dollars = charge(2).model_copy(
        update={"cost": charge(2).cost.model_copy(update={"currency": "USD"})}
    )
    await records.settle_run(JOB, "run3", (dollars,), None)
    assert await cost() == (str(2 * EXACT), "EUR", 7.0)


async def test_how_many_were_degraded_in_october_and_what_did_they_cost(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    october = datetime(2025, 10, 1, tzinfo=UTC)
    for number, (tenant, at, degraded) in enumerate(
        [
            ("acme", october, True),
            ("acme", october + 31 * DAY - timedelta(microseconds=1), True),
            ("acme", october + DAY, False),
            ("acme", october + 31 * DAY, True),
            ("acme", october - timedelta(microseconds=1), True),
            ("beta", october + DAY, True),
        ]
    ):
        job_id = f"{tenant}/{number}"
        await records.open(full_opening(job_id, at))
        await records.close(full_result(job_id, at) if degraded else result(job_id=job_id))
    late = charge(9).model_copy(
        update={"cost": charge(9).cost.model_copy(update={"money": Decimal("0.40")})}
    )
    await records.settle_run("acme/1", "late", (late,), None)
    async with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text("SET TIME ZONE 'UTC'"))
        number, money = (
            await connection.execute(
                text(
                    "SELECT count(*), sum(money) FROM jobs"
                    " WHERE tenant = 'acme' AND state = 'degraded'"
                    " AND opened >= '2025-10-01' AND opened < '2025-11-01'"
                )
            )
        ).one()
    assert number == 2
    assert money == pytest.approx(Decimal("2.00") if isinstance(money, Decimal) else 2.0)


async def test_every_remote_job_that_was_booked_is_listed(records: SqlJobRecords) -> None:
    await records.open(opening())
    elsewhere = charge(7).model_copy(update={"provider": "elsewhere"})
    await records.settle_run(JOB, "run1", (charge(0), charge(1), elsewhere), None)
    booked = await records.booked("ibm")
    assert sorted((b.provider_job_id, b.job_id, b.run_id, b.quantum_seconds) for b in booked) == [
        ("d0", JOB, "run1", 2.0),
        ("d1", JOB, "run1", 2.0),
    ]
    assert [b.provider_job_id for b in await records.booked("elsewhere")] == ["d7"]
    assert await records.booked("none") == ()


async def test_answered_jobs_of_a_template_count(records: SqlJobRecords) -> None:
    for number, state in enumerate(
        (JobState.COMPLETED, JobState.DEGRADED, JobState.FAILED, JobState.CANCELLED)
    ):
        job_id = f"acme/{number}"
        await records.open(full_opening(job_id))
        await records.close(full_result(job_id).model_copy(update={"state": state}))
    await records.open(full_opening("acme/at-work"))
    await records.open(full_opening("acme/other", template="weekly"))
    await records.close(full_result("acme/other"))
    await records.open(full_opening("beta/one"))
    await records.close(full_result("beta/one"))
    assert await records.template_runs("acme", "nightly") == 2
    assert await records.template_runs("acme", "none") == 0


BY_INDEX: list[tuple[dict[str, Any], str, int]] = [
    ({"tenant": "t7"}, "ix_jobs_tenant_opened", 50),
    ({"tenant": "t7", "since": AT + DAY, "until": AT + 2 * DAY}, "ix_jobs_tenant_opened", 14),
    ({"experiment": "e77"}, "ix_jobs_experiment_opened", 50),
    ({"state": "quarantined"}, "ix_jobs_state_opened", 0),
    ({"template": "m7"}, "ix_jobs_template_state", 50),
    ({}, "ix_jobs_opened", 50),
]


async def test_a_hundred_thousand_jobs_are_searched_by_index(
    hundred_thousand: AsyncEngine,
) -> None:
    records = SqlJobRecords(hundred_thousand)
    for query, index, number in BY_INDEX:
        asked = HistoryQuery.model_validate(query)
        assert index in await plan(hundred_thousand, asked)
        took, found = [], ()
        for _ in range(5):
            started = time.perf_counter()
            found = await records.find(asked)
            took.append(time.perf_counter() - started)
        assert len(found) == number
        # Reading all rows takes longer by far, on any machine.
        assert min(took) < 0.25, query


async def plan(engine: AsyncEngine, query: HistoryQuery) -> str:
    compiled = matching(query).compile(
        engine.sync_engine, compile_kwargs={"render_postcompile": True}
    )
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    params = compiled.construct_params()
    values = [moment(value, engine) for value in params.values()]
    async with engine.connect() as connection:
        told = await connection.exec_driver_sql(
            f"{explain} {compiled}",
            tuple(values) if compiled.positional else dict(zip(params, values, strict=True)),
        )
        return "\n".join(str(tuple(row)) for row in told)


def moment(value: Any, engine: AsyncEngine) -> Any:
    """As the driver takes it."""
    if isinstance(value, datetime) and engine.dialect.name == "sqlite":
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return value


@pytest.fixture
async def hundred_thousand(engine: AsyncEngine) -> AsyncEngine:
    """Of a hundred tenants, one job every minute."""
    rows = [
        {
            "job_id": f"t{number % 100}/{number}",
            "tenant": f"t{number % 100}",
            "payload_hash": HASH,
            "opened": AT + timedelta(minutes=number),
            "state": "completed",
            "experiment": f"e{number % 1000}",
            "template": f"m{number % 500}",
        }
        for number in range(100_000)
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(jobs), rows)
    if engine.dialect.name == "postgresql":
        async with engine.begin() as connection:
            await connection.execute(text("ANALYZE jobs"))
    return engine
