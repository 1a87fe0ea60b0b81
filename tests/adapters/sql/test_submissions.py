"""What was sent under each tag, on each database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlJobRecords, SqlSubmissions
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.ports import RemoteJob, RemoteState
from qsaga.core.records import JobOpening
from qsaga.core.submission import Intent, Quarantined, Resolution, StatedCharge, WatchedRun
from tests.adapters.sql.samples import AT, JOB, full_opening

pytestmark = pytest.mark.timeout(60)
TAG, RUN = "qsaga:0123", "temporal-run-1"
REMOTE = RemoteJob(provider_job_id="d1", backend="b", state=RemoteState.QUEUED)


@pytest.fixture
async def submissions(engine: AsyncEngine) -> SqlSubmissions:
    await SqlJobRecords(engine).open(full_opening())
    made = SqlSubmissions(engine)
    assert await made.open(JOB, TAG, RUN) == Intent()
    return made


def case(**changes: object) -> Quarantined:
    given = {"run_id": TAG, "job_id": JOB, "since": AT, "reason": "why", "intent": Intent()}
    return Quarantined.model_validate(given | changes)


async def test_an_unknown_job_and_another_jobs_tag_are_refused(
    submissions: SqlSubmissions, engine: AsyncEngine
) -> None:
    with pytest.raises(NoSuchJob):
        await submissions.open("acme/none", "qsaga:9", RUN)
    other = JobOpening(job_id="acme/other", payload_hash="b" * 64, at=AT)
    await SqlJobRecords(engine).open(other)
    with pytest.raises(KeyConflict):
        await submissions.open("acme/other", TAG, RUN)
    with pytest.raises(KeyConflict):
        await submissions.close("acme/other", TAG, RUN)


async def test_of_two_attempts_that_saw_the_same_one_sends(submissions: SqlSubmissions) -> None:
    got = await asyncio.gather(*(submissions.begin_send(TAG, 0, AT) for _ in range(6)))
    assert sorted(got) == [False] * 5 + [True]
    assert await submissions.intent(TAG) == Intent(sends=1, last_sent_at=AT)


async def test_a_refused_sending_is_decided_and_a_later_one_stands(
    submissions: SqlSubmissions,
) -> None:
    assert await submissions.begin_send(TAG, 0, AT)
    await submissions.refused(TAG, 1)
    assert await submissions.intent(TAG) == Intent(sends=1)
    later = AT + timedelta(seconds=5)
    assert await submissions.begin_send(TAG, 1, later)
    await submissions.refused(TAG, 1)
    assert await submissions.intent(TAG) == Intent(sends=2, last_sent_at=later)


async def test_a_refusal_that_comes_after_the_closing_opens_nothing(
    submissions: SqlSubmissions,
) -> None:
    assert await submissions.begin_send(TAG, 0, AT)
    await submissions.close(JOB, TAG, RUN)
    await submissions.refused(TAG, 1)
    assert await submissions.open(JOB, TAG, RUN) == Intent(sends=2, last_sent_at=AT, closed=True)


async def test_closing_stops_whoever_has_seen_the_tag_before(submissions: SqlSubmissions) -> None:
    seen = await submissions.open(JOB, TAG, RUN)
    assert await submissions.begin_send(TAG, seen.sends, AT)
    seen = await submissions.open(JOB, TAG, RUN)
    closed = await submissions.close(JOB, TAG, RUN)
    assert closed == Intent(sends=2, last_sent_at=AT, closed=True)
    assert not await submissions.begin_send(TAG, seen.sends, AT)
    assert (await submissions.open(JOB, TAG, RUN)).closed
    assert await submissions.close(JOB, TAG, RUN) == closed, "closing again changes nothing"


async def test_a_later_run_of_the_tag_may_send_but_knows_what_was_sent(
    submissions: SqlSubmissions,
) -> None:
    assert await submissions.begin_send(TAG, 0, AT)
    await submissions.close(JOB, TAG, RUN)
    again = await submissions.open(JOB, TAG, "temporal-run-2")
    assert again == Intent(sends=2, last_sent_at=AT)


async def test_a_tag_of_which_nothing_is_written_has_sent_nothing(
    submissions: SqlSubmissions,
) -> None:
    assert await submissions.intent("qsaga:none") == Intent()


async def test_watched_until_it_is_closed_settled_or_told_to_end(
    submissions: SqlSubmissions, engine: AsyncEngine
) -> None:
    run = WatchedRun(run_id=TAG, provider_job_id="d1", state=RemoteState.QUEUED, since=AT)
    await submissions.watch(run)
    running = run.model_copy(update={"state": RemoteState.RUNNING, "expected_start": AT})
    await submissions.watch(running)
    assert await submissions.watched() == (running,)
    await submissions.unwatch(TAG)
    assert await submissions.watched() == ()
    await submissions.watch(run)
    await submissions.close(JOB, TAG, RUN)
    assert await submissions.watched() == ()
    await submissions.watch(run)
    await SqlJobRecords(engine).settle_run(JOB, TAG, (), None)
    assert await submissions.watched() == ()


async def test_a_case_for_a_person_from_asking_to_settlement(
    submissions: SqlSubmissions, engine: AsyncEngine
) -> None:
    assert await submissions.begin_send(TAG, 0, AT)
    assert await submissions.quarantine(case())
    later = case(since=AT + timedelta(hours=1), seen=(REMOTE,), reason="still")
    assert not await submissions.quarantine(later), "the second time is no news"
    (kept,) = await submissions.quarantined()
    assert (kept.since, kept.reason, kept.seen) == (AT, "still", (REMOTE,))
    assert kept.intent == Intent(sends=1, last_sent_at=AT)
    assert await submissions.quarantined("acme") == (kept,)
    assert await submissions.quarantined("acm") == ()
    assert await submissions.resolution(TAG) is None
    word = Resolution(
        verdict="charged",
        charges=(StatedCharge(provider_job_id="d1", quantum_seconds=2.5),),
        why="invoice 7",
        by="ann",
    )
    await submissions.resolve(TAG, word)
    assert await submissions.resolution(TAG) == word
    assert (await submissions.quarantined())[0].resolution == word
    await SqlJobRecords(engine).settle_run(JOB, TAG, (), None)
    assert await submissions.quarantined() == ()
    assert await submissions.resolution(TAG) is None


async def test_nobody_waits_for_a_word_on_what_is_not_in_quarantine(
    submissions: SqlSubmissions,
) -> None:
    word = Resolution(verdict="never_accepted", why="support says so")
    for run_id in (TAG, "qsaga:none"):
        with pytest.raises(NoSuchJob):
            await submissions.resolve(run_id, word)
