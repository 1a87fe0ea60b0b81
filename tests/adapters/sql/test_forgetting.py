"""What remains of a job that was forgotten, and what happens to its blobs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlJobRecords
from qsaga.core.errors import KeyConflict, NoSuchJob, PolicyRefused
from qsaga.core.records import HistoryQuery, JobRecord
from tests.adapters.sql.samples import (
    AT,
    HASH,
    JOB,
    LATE,
    artefact,
    charge,
    full_opening,
    full_result,
    opening,
)

pytestmark = pytest.mark.timeout(60)
LATER = AT + timedelta(days=30)
OWN = tuple(artefact(letter) for letter in "12cd")


@pytest.fixture
async def records(engine: AsyncEngine) -> SqlJobRecords:
    """With one job that is closed and settled."""
    made = SqlJobRecords(engine)
    await made.open(full_opening())
    await made.settle_run(JOB, "run1", (charge(0),), LATE)
    await made.close(full_result())
    return made


async def test_only_the_account_remains(records: SqlJobRecords, engine: AsyncEngine) -> None:
    gone = await records.forget(JOB, LATER)
    assert (gone.run_ids, gone.artefacts) == (("run1",), OWN)
    assert await records.get(JOB) == JobRecord(
        job_id=JOB,
        payload_hash=HASH,
        opened=AT,
        closed=AT + timedelta(seconds=90.5),
        charges=(charge(0),),
        runs=("run1",),
        forgotten=LATER,
    )
    (row,) = await records.find(HistoryQuery())
    assert (row.state, row.money, row.submitter) == (
        "degraded",
        "3.200000000000000000001",
        None,
    )
    async with engine.connect() as connection:
        for table in (
            *("transitions", "attempts", "timings", "approvals", "lineage", "late_results"),
        ):
            left = await connection.scalar(text(f"SELECT count(*) FROM {table}"))
            assert left == 0, table
        content = await connection.execute(
            text(
                "SELECT request, decision, result, approval, submitter, template, experiment,"
                " dataset, source, backend, objective, reason FROM jobs"
            )
        )
        assert set(content.one()) == {None}


async def test_blobs_are_named_until_they_are_gone(records: SqlJobRecords) -> None:
    assert await records.unerased() == ()
    first = await records.forget(JOB, LATER)
    assert await records.unerased() == (JOB,)
    again = await records.forget(JOB, LATER + timedelta(days=1))
    assert again == first
    record = await records.get(JOB)
    assert record is not None
    assert record.forgotten == LATER
    for _ in range(2):
        await records.erased(JOB)
        assert await records.unerased() == ()
        assert (await records.forget(JOB, LATER)).artefacts == ()
    assert (await records.forget(JOB, LATER)).run_ids == ("run1",)


async def test_a_guarded_job_stays_guarded(records: SqlJobRecords) -> None:
    for job_id, guarded in (("acme/two", True), ("acme/three", False)):
        assert await records.guarded(job_id) is None
        await records.open(opening(job_id))
        assert await records.guarded(job_id) is None
        await records.open(full_opening(job_id).model_copy(update={"guarded": guarded}))
        await records.open(full_opening(job_id).model_copy(update={"guarded": not guarded}))
        await records.close(full_result(job_id))
        await records.forget(job_id, LATER)
        assert await records.guarded(job_id) is guarded


async def test_what_another_job_needs_stays(records: SqlJobRecords) -> None:
    await records.open(opening("acme/two"))
    await records.close(full_result("acme/two"), (artefact("3"),))
    assert (await records.forget(JOB, LATER)).artefacts == (artefact("c"),)
    # The last one that needs them takes them along.
    rest = (await records.forget("acme/two", LATER)).artefacts
    assert rest == tuple(artefact(letter) for letter in "123d")


async def test_what_another_job_needs_by_now_is_named_no_more(records: SqlJobRecords) -> None:
    assert (await records.forget(JOB, LATER)).artefacts == OWN
    await records.open(opening("acme/two"))
    await records.close(full_result("acme/two"))
    assert (await records.forget(JOB, LATER)).artefacts == (artefact("c"),)
    # Named for the later one, whoever was to delete them for the first one may be gone.
    rest = (await records.forget("acme/two", LATER)).artefacts
    assert rest == tuple(artefact(letter) for letter in "12d")


async def test_of_two_that_are_forgotten_at_once_one_takes_the_blobs(
    records: SqlJobRecords,
) -> None:
    others = [f"acme/{number}" for number in range(4)]
    for job_id in others:
        await records.open(opening(job_id))
        await records.close(full_result(job_id))
    gone = await asyncio.gather(*(records.forget(job_id, LATER) for job_id in (JOB, *others)))
    named = sorted(ref.sha256[0] for each in gone for ref in each.artefacts)
    assert named == list("12cd")


async def test_a_forgotten_key_is_refused(records: SqlJobRecords) -> None:
    await records.forget(JOB, LATER)
    with pytest.raises(KeyConflict, match="forgotten at 2025-11-01 03:04:05 UTC"):
        await records.open(full_opening())


async def test_what_comes_late_brings_nothing_back(
    records: SqlJobRecords, engine: AsyncEngine
) -> None:
    await records.forget(JOB, LATER)
    await records.erased(JOB)
    await records.close(full_result())
    await records.settle_run(JOB, "run1", (charge(0), charge(1)), LATE)
    record = await records.get(JOB)
    assert record is not None
    assert (record.result, record.late_results) == (None, ())
    assert record.charges == (charge(0), charge(1))
    assert (await records.forget(JOB, LATER)).artefacts == ()


async def test_a_job_at_work_or_with_an_open_account_is_not_forgotten(
    records: SqlJobRecords,
) -> None:
    with pytest.raises(NoSuchJob):
        await records.forget("acme/none", LATER)
    await records.erased("acme/none")
    await records.open(full_opening("acme/two"))
    with pytest.raises(PolicyRefused, match="at work"):
        await records.forget("acme/two", LATER)
    await records.open_run("acme/two", "run2")
    await records.close(full_result("acme/two"))
    with pytest.raises(PolicyRefused, match=r"open accounts \(run2\)"):
        await records.forget("acme/two", LATER)
    await records.erased("acme/two")
    await records.settle_run("acme/two", "run2", (), None)
    assert len((await records.forget(JOB, LATER)).artefacts) == 1
    assert len((await records.forget("acme/two", LATER)).artefacts) == 3


async def test_which_jobs_may_be_forgotten(records: SqlJobRecords) -> None:
    await records.open(full_opening("beta/new", LATER))
    await records.close(full_result("beta/new", LATER))
    await records.open(full_opening("acme/charged"))
    await records.open_run("acme/charged", "run2")
    await records.close(full_result("acme/charged"))
    assert await records.oldest_at_work() is None
    await records.open(full_opening("acme/at-work", AT + timedelta(days=2)))
    await records.open(full_opening("acme/later", AT + timedelta(days=3)))
    assert await records.oldest_at_work() == AT + timedelta(days=2)
    assert await records.closed_before(None, AT + timedelta(days=99)) == (JOB, "beta/new")
    assert await records.closed_before("acme", AT + timedelta(days=99)) == (JOB,)
    assert await records.closed_before(None, LATER) == (JOB,)
    assert await records.closed_before(None, AT + timedelta(seconds=90.5)) == ()
    await records.forget(JOB, LATER)
    assert await records.closed_before(None, LATER) == ()


async def test_jobs_are_found_by_the_beginning_of_their_ids(records: SqlJobRecords) -> None:
    for name in ("k_:loop:0:0", "k_:loop:1:0", "K_:loop:0:0", "kx:loop:0:0"):
        await records.open(opening(f"acme/{name}"))
    await records.close(full_result("acme/k_:loop:1:0"))
    await records.forget("acme/k_:loop:1:0", LATER)
    assert await records.beginning("acme/k_:loop:") == ("acme/k_:loop:0:0", "acme/k_:loop:1:0")
    assert await records.beginning("acme/none") == ()
