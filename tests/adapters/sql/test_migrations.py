"""Where a database comes from: nothing, the first release, or several processes at once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import event, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlJobRecords, SqlSubmissions, migrate, open_engine
from adapters.sql._engine import metadata
from qsaga.core.errors import KeyConflict
from qsaga.core.records import HistoryQuery
from qsaga.core.results import JobResult
from qsaga.core.states import JobState
from tests.adapters.sql.samples import (
    LATE,
    artefact,
    full_result,
    in_processes,
    migrate_in_process,
    opening,
)

pytestmark = pytest.mark.timeout(60)
FIRST_RELEASE = (Path(__file__).parent / "first_release.sql").read_text()


@pytest.fixture
async def bare(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine for a database that nobody has migrated."""
    made = open_engine(database_url)
    yield made
    await made.dispose()


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda c: inspect(c).get_table_names()))


def left_by_the_first_release(url: str) -> None:
    if url.startswith("postgresql"):
        script = FIRST_RELEASE.replace("@MOMENT@", "TIMESTAMP WITH TIME ZONE")
        script = script.replace("@MONEY@", "NUMERIC").replace("@UTC@", "+00")
        with psycopg.connect(url) as connection:
            connection.execute(script.encode())
        return
    script = FIRST_RELEASE.replace("@MOMENT@", "DATETIME").replace("@MONEY@", "VARCHAR")
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(exist_ok=True)
    raw = sqlite3.connect(path)
    raw.executescript(script.replace("@UTC@", ""))
    raw.close()


async def test_the_migrated_schema_is_that_of_the_code(engine: AsyncEngine) -> None:
    def differences(connection: Any) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_an_adopted_database_has_the_schema_of_a_new_one(
    bare: AsyncEngine, database_url: str
) -> None:
    left_by_the_first_release(database_url)
    await migrate(database_url)
    await test_the_migrated_schema_is_that_of_the_code(bare)


async def test_nothing_that_the_first_release_stored_is_lost(
    bare: AsyncEngine, database_url: str
) -> None:
    left_by_the_first_release(database_url)
    await migrate(database_url)
    records = SqlJobRecords(bare)
    kept = await records.get("acme/old")
    assert kept is not None
    assert kept.opened == datetime(2025, 10, 5, 12, tzinfo=UTC)
    assert isinstance(kept.result, JobResult)
    assert kept.result.state is JobState.DEGRADED
    assert kept.result.attempts[0].reason == "queue"
    assert kept.decision == kept.result.decision
    assert [c.provider_job_id for c in kept.charges] == ["d0", "d1"]
    assert str(kept.charges[0].cost.money) == "3.200000000000000000001"
    assert [each.result for each in kept.late_results] == [artefact("c")]
    assert (kept.runs, kept.open_runs) == (("run1",), ())
    unfinished = await records.get("acme/open")
    assert unfinished is not None
    assert (unfinished.closed, unfinished.open_runs) == (None, ("run2",))
    # Nobody wrote down whether it has sent: it looks and waits before it sends again.
    intent = await SqlSubmissions(bare).intent("run2")
    assert intent.sends == 1
    assert intent.last_sent_at is not None
    assert abs((datetime.now(UTC) - intent.last_sent_at).total_seconds()) < 60
    with pytest.raises(KeyConflict):
        await records.open(opening("acme/old", "b" * 64))


async def test_jobs_of_the_first_release_are_in_the_history(
    bare: AsyncEngine, database_url: str
) -> None:
    left_by_the_first_release(database_url)
    await migrate(database_url)
    records = SqlJobRecords(bare)
    still_open, failed, old = await records.find(HistoryQuery(tenant="acme"))
    assert (still_open.job_id, still_open.state, still_open.money) == ("acme/open", None, "0")
    assert (failed.state, failed.money, failed.currency) == ("failed", "0.10", "EUR")
    assert failed.closed == failed.opened
    assert old.model_dump(exclude={"job_id", "opened", "closed", "submitter", "backend"}) == {
        "state": "degraded",
        "verb": "optimise",
        "source": "annealing",
        "quantum_seconds": 2.5,
        "money": "4.000000000000000000001",
        "currency": "USD",
        "seconds": 90.5,
    }
    async with bare.connect() as connection:

        async def rows(statement: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.execute(text(statement))]

        assert await rows("SELECT rung, outcome, layer FROM attempts ORDER BY position") == [
            ("hardware", "timed_out", "queue"),
            ("annealing", "answered", None),
        ]
        assert await rows("SELECT layer, seconds, rung FROM timings") == [
            ("queue", 60.0, "hardware")
        ]
        assert await rows("SELECT count(*) FROM transitions") == [(2,)]
        assert await rows("SELECT difference, comparison FROM late_results") == [(1.0, "better")]
        assert await rows("SELECT circuit_depth, circuit_layout, seed FROM lineage") == [
            (3, "[0, 1, 2, 3, 4]", 7)
        ]
    gone = await records.forget("acme/old", datetime(2026, 1, 1, tzinfo=UTC))
    assert {each.sha256[0] for each in gone.artefacts} == {"c", "d"}


async def test_work_of_the_first_release_goes_on(bare: AsyncEngine, database_url: str) -> None:
    left_by_the_first_release(database_url)
    await migrate(database_url)
    records = SqlJobRecords(bare)
    late = LATE.model_copy(update={"run_id": "run2"})
    await records.settle_run("acme/open", "run2", (), late)
    await records.close(full_result("acme/open").model_copy(update={"payload_hash": "c" * 64}))
    kept = await records.get("acme/open")
    assert kept is not None
    assert (kept.open_runs, kept.late_results) == ((), (late,))
    (row,) = await records.find(HistoryQuery(until=datetime(2025, 10, 8, tzinfo=UTC), limit=1))
    assert (row.job_id, Decimal(row.money)) == ("acme/open", Decimal("1.60"))


def test_several_event_loops_of_a_process_all_find_a_database(tmp_path: Path) -> None:
    """One after the other, as tests have them, and side by side."""

    async def two(name: str) -> None:
        urls = [f"sqlite:///{tmp_path / name}{n}.db" for n in range(2)]
        await asyncio.gather(*(migrate(url) for url in urls))

    for name in "ab":
        asyncio.run(two(name))
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: asyncio.run(two(name)), "cd"))
    for path in tmp_path.iterdir():
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


async def test_processes_that_start_at_once_all_find_a_database(
    bare: AsyncEngine, database_url: str
) -> None:
    await asyncio.to_thread(in_processes, migrate_in_process, [database_url] * 4, 2)
    await test_the_migrated_schema_is_that_of_the_code(bare)


async def test_in_one_process_too(bare: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    elsewhere = f"sqlite:///{tmp_path}/100%/other.sqlite3"
    await asyncio.gather(
        *(migrate(where) for where in (database_url, bare, elsewhere, database_url, elsewhere))
    )
    await test_the_migrated_schema_is_that_of_the_code(bare)


async def test_a_migration_that_is_interrupted_leaves_nothing(bare: AsyncEngine) -> None:
    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "CREATE TABLE audit" in statement:
            raise InterruptedError

    event.listen(bare.sync_engine, "after_cursor_execute", fail)
    with pytest.raises(InterruptedError):
        await migrate(bare)
    event.remove(bare.sync_engine, "after_cursor_execute", fail)
    assert await tables(bare) == set()
    await migrate(bare)
    assert await tables(bare) == {*metadata.tables, "alembic_version"}


async def test_a_database_of_a_later_release_is_refused(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
    with pytest.raises(CommandError, match="9999_later"):
        await migrate(engine)
