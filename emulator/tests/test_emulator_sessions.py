"""Sessions, batches and limits in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.tests.bench import HOUR, START, Bench
from ibm_quantum_emulator.errors import ApiError
from ibm_quantum_emulator.sessionstate import CLOSED, OPEN, Session
from ibm_quantum_emulator.worldfile import parse_world

ONE_SPEED = {"kind": "constant", "mean_seconds": 100}


async def test_a_session_has_the_machine_until_it_is_idle_too_long(bench: Bench) -> None:
    session = await bench.open()
    first = await bench.submit(30, session)
    other = await bench.submit(30)
    await bench.step(60)
    second = await bench.submit(30, session)
    await bench.step(20)
    assert bench.job(second).state == "Running"
    assert bench.job(other).state == "Queued"
    await bench.step(69)
    assert (await bench.sessions.details(session, "crn"))["state"] == "active"
    await bench.step(1.5)
    # 30 s of the second job from 60 on, and 60 s idle.
    view = await bench.sessions.details(session, "crn")
    assert (view["state"], view["elapsed_time"]) == ("inactive", pytest.approx(150))
    assert bench.since_start(bench.job(other).started) == 150
    third = await bench.submit(30, session)
    await bench.step(100)
    assert bench.since_start(bench.job(third).started) == 180
    await bench.step(100)
    (truth,) = await bench.sessions.truth()
    assert truth["charged_seconds"] == pytest.approx(150 + 90)
    assert [state for state, _ in truth["timestamps"]] == [
        "open", "active", "inactive", "active", "inactive",
    ]  # fmt: skip
    assert bench.engine.consumed("crn") == pytest.approx(150 + 90 + 30)
    assert bench.job(first).charged == 30


async def test_a_session_ends_at_its_time_limit(bench: Bench) -> None:
    session = await bench.open(max_ttl=100)
    jobs = [await bench.submit(70, session) for _ in range(3)]
    other = await bench.submit(10)
    await bench.step(500)
    states = [bench.job(job).state for job in jobs]
    assert states == ["Completed", "Completed", "Cancelled"]
    assert bench.since_start(bench.job(jobs[1]).finished) == 140
    assert bench.since_start(bench.job(jobs[2]).finished) == 100
    assert bench.job(jobs[2]).charged == 0
    assert bench.since_start(bench.job(other).started) == 140
    (truth,) = await bench.sessions.truth()
    assert bench.since_start(truth["closed"]) == 100
    # Usage goes on until the last job has ended.
    assert truth["charged_seconds"] == pytest.approx(140)
    with pytest.raises(ApiError, match="is closed"):
        await bench.submit(1, session)


async def test_a_session_that_takes_no_more_jobs_ends_with_its_last(bench: Bench) -> None:
    session = await bench.open()
    jobs = [await bench.submit(50, session) for _ in range(2)]
    await bench.sessions.accept(session, False, "crn")
    view = await bench.sessions.details(session, "crn")
    assert (view["state"], view["accepting_jobs"]) == ("active", False)
    await bench.step(1000)
    assert [bench.job(job).state for job in jobs] == ["Completed"] * 2
    (truth,) = await bench.sessions.truth()
    assert bench.since_start(truth["closed"]) == 100
    assert truth["charged_seconds"] == pytest.approx(100)


async def test_a_session_can_take_jobs_again_until_it_is_closed(bench: Bench) -> None:
    session = await bench.open()
    await bench.submit(50, session)
    await bench.sessions.accept(session, False, "crn")
    with pytest.raises(ApiError, match="is closed"):
        await bench.submit(50, session)
    await bench.sessions.accept(session, True, "crn")
    again = await bench.submit(50, session)
    await bench.sessions.accept(session, False, "crn")
    await bench.step(HOUR)
    assert bench.job(again).state == "Completed"
    with pytest.raises(ApiError, match="is closed"):
        await bench.sessions.accept(session, True, "crn")


async def test_closing_cancels_what_is_queued(bench: Bench) -> None:
    session = await bench.open()
    jobs = [await bench.submit(50, session) for _ in range(3)]
    await bench.step(20)
    await bench.sessions.close(session, "crn")
    await bench.step(100)
    assert [bench.job(job).state for job in jobs] == ["Completed", "Cancelled", "Cancelled"]
    (truth,) = await bench.sessions.truth()
    assert truth["charged_seconds"] == pytest.approx(50)


async def test_a_batch_is_charged_by_its_jobs_and_shares_the_machine(bench: Bench) -> None:
    batch = await bench.open("batch")
    jobs = [await bench.submit(50, batch), await bench.submit(50), await bench.submit(50, batch)]
    await bench.step(10)
    await bench.step(100)
    late = await bench.submit(50, batch)
    await bench.step(HOUR)
    starts = [bench.since_start(bench.job(job).started) for job in (*jobs, late)]
    # Within a batch that has begun, jobs go before others; one that runs is not interrupted.
    assert starts == [0, 100, 50, 150]
    (truth,) = await bench.sessions.truth()
    assert (truth["state"], truth["charged_seconds"]) == ("inactive", 150)
    assert bench.engine.consumed("crn") == 200


async def test_other_people_do_not_run_while_a_session_has_the_machine(bench: Bench) -> None:
    await bench.world(traffic={"every_seconds": 100, "service": ONE_SPEED})
    session = await bench.open()
    await bench.submit(30, session)
    await bench.step(85)
    await bench.submit(30, session)
    await bench.step(100)
    # Only the one of 100 has come, but the session keeps the machine up to 175.
    assert bench.engine.others("small") == 0
    job = await bench.submit()
    await bench.step(200)
    assert bench.since_start(bench.job(job).started) == 275


async def test_other_people_wait_for_the_end_of_a_session_and_not_only_its_jobs(
    bench: Bench,
) -> None:
    await bench.world(traffic={"every_seconds": 30, "service": {**ONE_SPEED, "mean_seconds": 10}})
    session = await bench.open(max_ttl=100)
    jobs = [await bench.submit(25, session)]
    await bench.step(60)
    jobs += [await bench.submit(45, session) for _ in range(2)]
    other = await bench.submit(5)
    places = bench.engine.places("small")
    assert places[jobs[2].id] == (0, START + 105)
    # Two of other people have come, at 30 and 60; the session lasts until 100 at most.
    assert places[other.id] == (3, START + 150 + 20)
    await bench.step(HOUR)
    assert [bench.job(job).state for job in jobs] == ["Completed", "Completed", "Cancelled"]
    assert bench.since_start(bench.job(jobs[1]).finished) == 105
    assert bench.since_start(bench.job(other).started) == 125


async def test_sessions_survive_a_crash(bench: Bench) -> None:
    session = await bench.open(max_ttl=400)
    await bench.submit(50, session)
    await bench.step(20)
    before = await bench.sessions.truth()
    await bench.again()
    assert await bench.sessions.truth() == before
    other = await bench.submit(10)
    second = await bench.submit(10, session)
    await bench.step(HOUR)
    assert bench.since_start(bench.job(second).started) == 50
    assert bench.since_start(bench.job(other).started) == 120


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"backend": "none"}, "backend"),
        ({"mode": "crowd"}, "mode"),
        ({"max_ttl": 0}, "max_ttl"),
        ({"max_ttl": True}, "max_ttl"),
        ({"max_ttl": 1e9}, "at most 28800"),
    ],
)
async def test_wrong_sessions_are_refused(bench: Bench, body: dict[str, Any], says: str) -> None:
    with pytest.raises(ApiError, match=says):
        await bench.open(**body)
    assert await bench.sessions.truth() == []


async def test_an_instance_that_is_used_up_is_refused_until_the_period_has_passed(
    bench: Bench, limited: Callable[..., Any]
) -> None:
    await limited(limit_seconds=50, period_days=1)
    await bench.submit(60)
    await bench.step(100)
    usage = bench.engine.usage("crn")
    assert (usage["usage_consumed_seconds"], usage["usage_limit_reached"]) == (60, True)
    with pytest.raises(ApiError, match="usage limit") as refused:
        await bench.submit()
    assert (refused.value.status, refused.value.code) == (403, 4317)
    await bench.step(24 * HOUR)
    assert not bench.engine.usage("crn")["usage_limit_reached"]
    await bench.submit()


async def test_only_so_many_jobs_may_be_pending(bench: Bench, limited: Callable[..., Any]) -> None:
    await limited(max_pending_jobs=3)
    jobs = [await bench.submit() for _ in range(3)]
    with pytest.raises(ApiError, match="maximum of 3 pending jobs"):
        await bench.submit()
    await bench.engine.cancel(bench.job(jobs[2]))
    await bench.submit()
    await bench.again()
    with pytest.raises(ApiError, match="pending jobs"):
        await bench.submit()


async def test_a_job_without_a_time_limit_gets_that_of_the_instance(
    bench: Bench, limited: Callable[..., Any]
) -> None:
    await limited(max_execution_seconds=30)
    job = await bench.submit(100)
    await bench.step(50)
    ended = bench.job(job)
    assert (ended.state, ended.reason_code, ended.charged) == ("Cancelled", 1305, 30)


@pytest.fixture
def limited(bench: Bench) -> Callable[..., Any]:
    async def put(**limits: Any) -> None:
        await bench.engine.change_world(parse_world({"version": 1, "limits": limits}))

    return put


@pytest.mark.parametrize(("closed", "state"), [(None, OPEN), (START, CLOSED)])
def test_a_session_of_the_first_release_can_be_read(closed: float | None, state: str) -> None:
    kept = {
        "id": "d1",
        "instance": "crn",
        "backend": "ibm_torino",
        "mode": "batch",
        "max_ttl": 600,
        "opened": START,
        "closed": closed,
        "accepting": closed is None,
    }
    assert Session.load(kept).state == state
