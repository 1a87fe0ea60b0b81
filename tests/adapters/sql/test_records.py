"""The job table: what is kept, what a repetition changes, and what races leave behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlJobRecords, open_engine
from qsaga.core.contract import digest
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.records import JobRecord
from qsaga.core.results import Cost
from qsaga.core.states import JobState
from tests.adapters.sql.samples import (
    AT,
    DECISION,
    EXACT,
    HASH,
    JOB,
    LATE,
    OTHER,
    artefact,
    charge,
    contend,
    die_while_closing,
    full_opening,
    full_result,
    in_processes,
    opening,
    result,
)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def records(engine: AsyncEngine) -> SqlJobRecords:
    return SqlJobRecords(engine)


async def kept(records: SqlJobRecords, job_id: str = JOB) -> JobRecord:
    record = await records.get(job_id)
    assert record is not None
    return record


async def rows(engine: AsyncEngine, statement: str) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


async def test_a_job_from_opening_to_settlement(records: SqlJobRecords, database_url: str) -> None:
    assert await records.get(JOB) is None
    await records.open(full_opening())
    await records.open_run(JOB, "run1")
    await records.open_run(JOB, "run2")
    record = await kept(records)
    assert (record.opened, record.closed, record.result) == (AT, None, None)
    assert (record.runs, record.open_runs) == (("run1", "run2"), ("run1", "run2"))
    assert (record.request, record.decision) == (full_opening().request, DECISION)
    assert record.submitter == "ann"

    await records.settle_run(JOB, "run1", (charge(0), charge(1)), LATE)
    await records.close(full_result())
    another = open_engine(database_url)
    record = await kept(SqlJobRecords(another))
    await another.dispose()
    assert (record.runs, record.open_runs) == (("run1", "run2"), ("run2",))
    assert record.charges == (charge(0), charge(1))
    assert record.charges[0].cost.money == EXACT
    assert record.late_results == (LATE,)
    assert record.result == full_result()
    assert record.approval == full_result().approval
    assert record.closed == AT + timedelta(seconds=90.5)


async def test_every_write_may_be_repeated(records: SqlJobRecords, engine: AsyncEngine) -> None:
    for _ in range(2):
        await records.open(full_opening())
        await records.open_run(JOB, "run1")
        await records.settle_run(JOB, "run1", (charge(0), charge(1)), LATE)
        await records.close(full_result(), (artefact("3"), artefact("3")))
    record = await kept(records)
    assert (len(record.charges), len(record.late_results), record.open_runs) == (2, 1, ())
    for table, number in {
        "transitions": 2,
        "attempts": 2,
        "timings": 1,
        "approvals": 2,
        "lineage": 1,
        "job_artefacts": 5,
    }.items():
        assert await rows(engine, f"SELECT count(*) FROM {table}") == [(number,)]


async def test_what_a_job_was_made_of_is_in_columns(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    await records.open(full_opening())
    await records.close(full_result())
    assert await rows(
        engine,
        "SELECT tenant, key, state, verb, source, provider, backend, confidence, objective, rule,"
        " wanted, policy_version, sensitivity, environment, template, experiment, dataset,"
        " quantum_seconds, classical_seconds, currency, seconds, submitter FROM jobs",
    ) == [
        (
            *("acme", "one", "degraded", "optimise", "annealing", "neal", "here", "feasible"),
            *(4.0, "small", "hardware", "p1", "internal", "production", "nightly", "e1", "v3"),
            *(1.0, 5.5, "USD", 90.5, "ann"),
        )
    ]
    assert await rows(
        engine,
        "SELECT rung, outcome, reason, layer, run_id, objective FROM attempts ORDER BY position",
    ) == [
        ("hardware", "timed_out", "queue \ufffd full", "queue", "run1", None),
        ("annealing", "answered", "", None, None, 4.0),
    ]
    assert await rows(engine, "SELECT state FROM transitions ORDER BY position") == [
        ("received",),
        ("degraded",),
    ]
    assert await rows(engine, "SELECT layer, seconds, rung FROM timings") == [
        ("queue", 60.0, "hardware")
    ]
    decided = await rows(
        engine, "SELECT decided_by, verdict, refused, money FROM approvals ORDER BY position"
    )
    assert [row[:3] for row in decided] == [
        ("ann", "approve", "four eyes"),
        ("bob", "approve", ""),
    ]
    assert Decimal(decided[1][3]) == Decimal("0.3")
    assert await rows(
        engine,
        "SELECT input_sha256, variables, encoded_bytes, transpiler, machine, circuit_backend,"
        " circuit_depth, circuit_layout, circuit_sha256, seed, software FROM lineage",
    ) == [
        (
            *("f" * 64, 5, 2**40, '{"optimization_level":2}', '{"python":"3.11"}', "ibm_torino"),
            *(3, "[4,3,2,1,0]", "e" * 64, 7, '{"dimod":"0.12"}'),
        )
    ]
    found = await rows(engine, "SELECT sha256, size, media FROM job_artefacts ORDER BY sha256")
    assert found == [(letter * 64, 3, "text/plain") for letter in "12d"]


async def test_why_there_is_no_answer_is_in_columns(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    await records.open(opening())
    await records.close(result())
    assert await rows(engine, "SELECT state, reason, layer, source FROM jobs") == [
        ("failed", "no rung answered", "deadline", None)
    ]
    assert (await kept(records)).closed is not None


async def test_a_later_opening_adds_what_was_not_known(records: SqlJobRecords) -> None:
    await records.open(opening())
    await records.open(full_opening(at=AT + timedelta(days=1)))
    other = DECISION.model_copy(update={"rule": "another"})
    await records.open(
        full_opening().model_copy(update={"submitter": "eve", "request": None, "decision": other})
    )
    record = await kept(records)
    assert record.opened == AT
    assert (record.submitter, record.decision) == ("ann", DECISION)
    assert record.request == full_opening().request


async def test_a_key_stands_for_one_payload(records: SqlJobRecords) -> None:
    await records.open(opening())
    with pytest.raises(KeyConflict, match="aaaaaaaaaaaa"):
        await records.open(opening(payload=OTHER, at=AT + timedelta(days=1)))
    with pytest.raises(KeyConflict):
        await records.close(result(JobState.REJECTED, OTHER))
    record = await kept(records)
    assert (record.payload_hash, record.opened, record.result) == (HASH, AT, None)


async def test_the_first_closing_record_stands(records: SqlJobRecords, engine: AsyncEngine) -> None:
    await records.open(opening())
    assert await records.close(result(why="first")) is None
    closed = (await kept(records)).closed
    assert await records.close(full_result()) == result(why="first")
    record = await kept(records)
    assert (record.result, record.closed) == (result(why="first"), closed)
    assert await rows(engine, "SELECT count(*) FROM attempts") == [(0,)]


async def test_of_many_closing_records_at_once_one_stands(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    await records.open(full_opening())
    full = full_result()
    results = [full.model_copy(update={"attempts": full.attempts * n}) for n in range(1, 7)]
    await asyncio.gather(*(records.close(each) for each in results))
    record = await kept(records)
    assert record.result in results
    assert record.result is not None
    assert await rows(engine, "SELECT count(*) FROM attempts") == [(len(record.result.attempts),)]


async def test_only_a_charge_that_was_not_final_changes(records: SqlJobRecords) -> None:
    await records.open(opening())
    await records.settle_run(JOB, "run1", (charge(0, 0.0, settled=False), charge(1, 5.0)), None)
    await records.settle_run(JOB, "run1", (charge(0, 7.0), charge(1, 9.0)), None)
    await records.settle_run(JOB, "run2", (charge(0, 8.0),), None)  # an account of another run
    record = await kept(records)
    assert [c.cost.quantum_seconds for c in record.charges] == [7.0, 5.0]
    assert all(c.cost.settled for c in record.charges)


async def test_amounts_of_any_size_are_exact(records: SqlJobRecords) -> None:
    await records.open(opening())
    amounts = (Decimal("1E-21"), Decimal("0E-9"), Decimal("99999999999999999999.000001"))
    await records.settle_run(
        JOB,
        "run1",
        tuple(
            charge(number).model_copy(update={"cost": Cost(money=amount)})
            for number, amount in enumerate(amounts)
        ),
        None,
    )
    assert tuple(c.cost.money for c in (await kept(records)).charges) == amounts


async def test_what_belongs_to_nothing_is_refused(records: SqlJobRecords) -> None:
    with pytest.raises(NoSuchJob):
        await records.open_run("acme/none", "run1")
    with pytest.raises(NoSuchJob):
        await records.settle_run("acme/none", "run1", (charge(0),), None)
    with pytest.raises(NoSuchJob):
        await records.close(result(job_id="acme/none"))
    await records.open(opening())
    await records.open(opening("acme/two", OTHER))
    await records.open_run(JOB, "run1")
    with pytest.raises(KeyConflict, match="belongs to job acme/one"):
        await records.settle_run("acme/two", "run1", (charge(0),), LATE)
    record = await kept(records, "acme/two")
    assert (record.runs, record.charges, record.late_results) == ((), (), ())


async def test_a_failed_settlement_leaves_nothing_behind(records: SqlJobRecords) -> None:
    await records.open(opening())
    spoiled = charge(1).model_copy(update={"backend": None})
    with pytest.raises(DBAPIError, match=r"(?i)not.null"):
        await records.settle_run(JOB, "run1", (charge(0), spoiled), None)
    record = await kept(records)
    assert (record.runs, record.charges) == ((), ())


async def test_a_close_that_fails_anywhere_leaves_nothing(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    await records.open(full_opening())
    before = await kept(records)
    left = 0

    def count_down(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise InterruptedError

    event.listen(records._writer._direct, "after_cursor_execute", count_down)
    for stop in range(1, 100):
        left = stop
        try:
            await records.close(full_result())
        except InterruptedError:
            left = 0
            assert await kept(records) == before
            assert await rows(engine, "SELECT count(*) FROM transitions") == [(0,)]
        else:
            break
    event.remove(records._writer._direct, "after_cursor_execute", count_down)
    assert stop > 8
    assert (await kept(records)).result == full_result()
    assert await rows(engine, "SELECT count(*) FROM transitions") == [(2,)]


async def test_a_close_that_is_cancelled_is_done_all_the_same(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    await records.open(full_opening())
    before, loop = await kept(records), asyncio.get_running_loop()
    seen, go_on = asyncio.Event(), threading.Event()

    def hold(*_: Any) -> None:
        loop.call_soon_threadsafe(seen.set)
        go_on.wait(10)

    event.listen(records._writer._direct, "after_cursor_execute", hold)
    closing = asyncio.create_task(records.close(full_result()))
    await seen.wait()
    event.remove(records._writer._direct, "after_cursor_execute", hold)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert await kept(records) == before
    go_on.set()
    await records.close(full_result())  # after the one that was given up
    assert (await kept(records)).result == full_result()
    assert await rows(engine, "SELECT count(*) FROM transitions") == [(2,)]


async def test_a_process_killed_while_closing_leaves_nothing(
    records: SqlJobRecords, engine: AsyncEngine, database_url: str
) -> None:
    await records.open(full_opening())
    with pytest.raises(BrokenProcessPool):
        await asyncio.to_thread(in_processes, die_while_closing, [database_url], 1)
    assert (await kept(records)).closed is None
    assert await rows(engine, "SELECT count(*) FROM transitions") == [(0,)]
    await records.close(full_result())
    assert (await kept(records)).result == full_result()


async def test_times_are_kept_in_utc(records: SqlJobRecords) -> None:
    await records.open(opening(at=AT.astimezone(timezone(timedelta(hours=9)))))
    record = await kept(records)
    assert record.opened == AT
    assert record.opened.utcoffset() == timedelta(0)
    with pytest.raises(StatementError, match="no time zone"):
        await records.open(opening("acme/two", at=AT.replace(tzinfo=None)))


def test_records_in_memory_are_refused() -> None:
    with pytest.raises(ValueError, match="name a file"):
        open_engine("sqlite://")


async def test_the_safe_settings_of_sqlite_are_on(engine: AsyncEngine) -> None:
    if engine.dialect.name == "sqlite":
        wanted = {"PRAGMA journal_mode": "wal", "PRAGMA foreign_keys": 1, "PRAGMA synchronous": 2}
    else:
        wanted = {"SHOW synchronous_commit": "on"}
    for statement, value in wanted.items():
        assert await rows(engine, statement) == [(value,)]


@pytest.mark.parametrize("where", ["threads", "processes"])
async def test_contenders_leave_one_payload_one_result_and_each_charge_once(
    records: SqlJobRecords, engine: AsyncEngine, database_url: str, where: str
) -> None:
    tasks = [(database_url, number) for number in range(6)]
    if where == "threads":
        outcomes = await asyncio.gather(*(asyncio.to_thread(contend, task) for task in tasks))
    else:
        outcomes = await asyncio.to_thread(in_processes, contend, tasks, 2)
    winners = {outcome for outcome in outcomes if outcome != "conflict"}
    assert len(winners) == 1
    assert outcomes.count("conflict") == 3
    record = await kept(records)
    assert {record.payload_hash} == winners
    assert record.result is not None
    assert [c.provider_job_id for c in record.charges] == [f"d{turn}" for turn in range(5)]
    assert (len(record.runs), record.open_runs) == (5, ())
    assert await rows(engine, "SELECT count(*) FROM charges") == [(5,)]
    assert await rows(engine, "SELECT count(*) FROM attempts") == [(2,)]


async def test_free_text_of_any_kind_is_kept(records: SqlJobRecords) -> None:
    why = "Grüße \x00 '; DROP TABLE jobs; -- " + "x" * 100_000
    await records.open(opening())
    await records.close(result(why=why))
    record = await kept(records)
    assert record.result is not None
    assert record.result.unanswered is not None
    assert digest(record.result.unanswered.reason) == digest(why)
