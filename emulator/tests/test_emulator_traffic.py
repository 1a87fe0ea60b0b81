"""Other people's jobs and maintenance, in virtual time."""

from __future__ import annotations

import itertools
import math
import random
import time
from pathlib import Path
from typing import Any

import pytest

from emulator.tests.bench import HOUR, START, Bench
from ibm_quantum_emulator.errors import ApiError
from ibm_quantum_emulator.maintenance import Calendar, Closed
from ibm_quantum_emulator.moments import microsecond_before
from ibm_quantum_emulator.traffic import Era, Stream, Traffic

SERVICES = [
    {"kind": "constant", "mean_seconds": 100},
    {"kind": "exponential", "mean_seconds": 100},
    {"kind": "lognormal", "mean_seconds": 100, "sigma": 0.8},
    {"kind": "pareto", "mean_seconds": 100, "shape": 3.5},
]
BUSY = {"jobs_per_hour": 30, "initial": 5, "service": SERVICES[2]}


def stream(traffic: dict[str, Any], since: float = START) -> Stream:
    return Stream([Era(seed="7/x", since=since, traffic=Traffic.model_validate(traffic))])


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: str(each["kind"]))
def test_arrivals_and_service_are_as_many_and_as_long_as_told(service: dict[str, Any]) -> None:
    era = stream({"jobs_per_hour": 40, "service": service}).eras[0]
    hours = [era.hour(500_000 + number) for number in range(1, 400)]
    assert sum(len(times) for times, _ in hours) / 399 == pytest.approx(40, rel=0.05)
    seconds = [each for _, holds in hours for each in holds]
    assert sum(seconds) / len(seconds) == pytest.approx(100, rel=0.1)
    assert all(list(times) == sorted(times) for times, _ in hours)
    again = stream({"jobs_per_hour": 40, "service": service}).eras[0]
    assert [again.hour(500_000 + number) for number in range(399, 0, -1)] == hours[::-1]


def test_arrivals_follow_the_hour_of_the_day() -> None:
    by_hour = [0] * 12 + [60] * 12
    era = stream({"by_hour": by_hour, "service": SERVICES[0]}).eras[0]
    counts = [len(era.hour(500_016 + number)[0]) for number in range(24)]
    assert (500_016 % 24, sum(counts[:12])) == (0, 0)
    assert sum(counts[12:]) == pytest.approx(720, rel=0.15)


# Where ``floor(now * 1e6) / 1e6`` is later than ``now``, and two others.
@pytest.mark.parametrize(
    "now", [1795271915.0000489, 1795271915.0000849, 1795271915.0001209, START, START + 0.1]
)
def test_a_world_does_not_begin_later_than_it_is_put_in_force(now: float) -> None:
    began = microsecond_before(now)
    assert began <= now
    assert now - began < 1.3e-6
    # A job is accepted at a rounded moment, and never before the world that it finds.
    assert began <= round(now, 6)


def test_regular_arrivals() -> None:
    era = stream({"every_seconds": 1000, "service": SERVICES[0]}).eras[0]
    times = [each for number in range(3) for each in era.hour(500_000 + number)[0]]
    assert times == [START + 1000.0 * n for n in range(1, 11)]


async def test_a_job_waits_for_those_who_came_before(bench: Bench) -> None:
    await bench.world(traffic={"every_seconds": 100, "initial": 3, "service": SERVICES[0]})
    job = await bench.submit()
    # One of the three runs already, two wait.
    assert bench.engine.pending("small") == 3
    assert bench.engine.places("small")[job.id] == (2, START + 300)
    await bench.step(150)
    # The second of the three runs; the third, ours, and one that came after us wait.
    assert bench.engine.pending("small") == 3
    assert bench.engine.places("small")[job.id][0] == 1
    await bench.step(149)
    assert bench.job(job).state == "Queued"
    await bench.step(1.5)
    assert bench.since_start(bench.job(job).started) == 300
    later = await bench.submit()
    await bench.step(3600)
    # Those who came at 100, 200 and 300 are served between ours, from 310 on.
    assert bench.since_start(bench.job(later).started) == 610


async def test_a_job_accepted_in_the_same_instant_comes_after_the_first_ones(
    bench: Bench,
) -> None:
    # The time of acceptance is rounded, here down.
    bench.engine.settings.clock.state.anchor_now = START + 4e-7
    await bench.world(traffic={"every_seconds": 100, "initial": 3, "service": SERVICES[0]})
    job = await bench.submit()
    assert job.created == START
    assert bench.engine.places("small")[job.id][0] == 2


@pytest.mark.parametrize("seed", range(6))
async def test_starts_are_those_of_a_plain_queue(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    service = rng.choice(SERVICES)
    windows = [{"in_hours": 3.3, "hours": 0.7, "every_hours": 5}]
    traffic = {"jobs_per_hour": rng.choice([15, 35, 45]), "initial": 3, "service": service}
    await bench.world(traffic=traffic, maintenance=windows)
    others = bench.engine.around.lines["small"].stream.eras[0]
    everyone: list[tuple[float, float, str]] = []
    for number in range(500_000, 500_030):
        everyone += [(at, held, "") for at, held in zip(*others.hour(number), strict=True)]
    own = []
    for _ in range(8):
        await bench.step(rng.uniform(0, 1.5 * HOUR))
        own.append(await bench.submit(rng.uniform(1, 900)))
        everyone.append((own[-1].created, own[-1].duration, own[-1].id))
    await bench.step(30 * HOUR)
    free, expected = 0.0, {}
    for at, held, job_id in sorted(everyone, key=lambda each: each[0]):
        start = max(at, free)
        into = (start - START - 3.3 * HOUR) % (5 * HOUR)
        if start >= START + 3.3 * HOUR and into < 0.7 * HOUR:
            start += 0.7 * HOUR - into
        expected[job_id], free = start, start + held
    for job in own:
        assert bench.job(job).started == pytest.approx(expected[job.id], abs=1e-3)


async def test_a_cancelled_job_lets_the_others_move_up(bench: Bench) -> None:
    await bench.world(traffic={"every_seconds": 100, "initial": 1, "service": SERVICES[0]})
    long, later = await bench.submit(1000), await bench.submit()
    await bench.step(200)
    assert bench.job(long).state == "Running"
    await bench.engine.cancel(bench.job(long))
    await bench.step(5)
    assert bench.since_start(bench.job(later).started) == 200
    assert bench.job(long).charged == 100


async def _story(bench: Bench, steps: list[float], crash: bool) -> Any:
    await bench.world(
        traffic=BUSY,
        maintenance=[{"in_hours": 2, "hours": 1, "every_hours": 9}],
        recalibration={"every_hours": 2.5},
    )
    session = await bench.open(max_ttl=2 * 3600)
    jobs = [await bench.submit(60, session), await bench.submit(40)]
    jobs += [await bench.submit(70, session), await bench.submit(50)]
    total = 0.0
    for step in steps:
        await bench.step(step)
        total += step
        if crash:
            await bench.again()
    assert total == pytest.approx(24 * HOUR)
    facts = [
        (job.state, bench.since_start(job.started), bench.since_start(job.finished), job.charged)
        for job in map(bench.job, jobs)
    ]
    (found,) = await bench.sessions.truth()
    states = [(state, bench.since_start(moment)) for state, moment in found["timestamps"]]
    calibrations = bench.engine.around.calibrations["small"].history
    later = await bench.submit()
    return (
        facts,
        states,
        found["charged_seconds"],
        bench.engine.pending("small"),
        [each.id for each in calibrations],
        bench.job(jobs[0]).calibration_id,
        bench.engine.places("small").get(later.id),
    )


async def test_one_long_step_ends_where_many_short_ones_and_crashes_do(tmp_path: Path) -> None:
    day = 24 * HOUR
    ways = {
        "once": ([day], False),
        "hours": ([HOUR] * 24, False),
        "odd": ([day / 700] * 700, False),
        "crashes": ([HOUR / 2] * 48, True),
    }
    ends = {}
    for name, (steps, crash) in ways.items():
        bench = Bench(tmp_path / name)
        ends[name] = await _story(bench, steps, crash)
        bench.store.close()
    assert all(end == ends["once"] for end in ends.values())
    facts = ends["once"][0]
    assert [state for state, *_ in facts] == ["Completed"] * 4
    # The session's second job went before the other account's earlier one.
    assert facts[2][1] < facts[1][1]
    assert len(ends["once"][4]) == 10


async def test_eight_hours_in_one_step_are_quick(bench: Bench) -> None:
    await bench.world(traffic={"jobs_per_hour": 600, "initial": 500, "service": SERVICES[1]})
    job = await bench.submit()
    began = time.perf_counter()
    await bench.step(8 * HOUR)
    bench.engine.pending("small")
    assert time.perf_counter() - began < 3
    assert bench.job(job).state == "Queued"


async def test_traffic_that_ends_leaves_those_who_wait(bench: Bench) -> None:
    await bench.world(traffic={"every_seconds": 50, "initial": 4, "service": SERVICES[0]})
    await bench.step(120)
    await bench.world()
    assert bench.engine.pending("small") == 4
    job = await bench.submit()
    await bench.step(479)
    assert bench.job(job).state == "Queued"
    await bench.step(2)
    assert bench.since_start(bench.job(job).started) == 600
    assert bench.engine.pending("small") == 0
    assert not bench.engine.around.lines["small"].has_traffic


async def test_own_jobs_keep_their_order(bench: Bench) -> None:
    await bench.world(traffic=BUSY)
    jobs = []
    for _ in range(6):
        jobs.append(await bench.submit(20))
        await bench.step(200)
    await bench.step(24 * HOUR)
    starts = [bench.job(job).started or 0.0 for job in jobs]
    assert all(later - earlier >= 20 for earlier, later in itertools.pairwise(starts))


def test_a_calendar_knows_its_windows() -> None:
    calendar = Calendar([Closed(100, 10), Closed(1000, 50, 500)])
    assert [calendar.open_at(each) for each in (99, 100, 105, 110)] == [99, 110, 110, 110]
    assert calendar.open_at(1549.0) == 1550
    assert calendar.closed_until(2020) == 2050
    assert calendar.after(90, 15) == 115
    assert calendar.after(90, 10) == 100
    assert calendar.open_between(90, 1600) == 1510 - 10 - 50 - 50
    assert Calendar((), paused=True).open_at(5) == math.inf
    # Two windows that leave no time between them.
    never = Calendar([Closed(0, 10, 20), Closed(10, 10, 20)])
    assert never.open_at(3) == never.after(3, 5) == math.inf
    assert never.closes_after(math.inf) == never.open_at(math.inf) == math.inf


async def test_maintenance_holds_up_queued_jobs_and_lets_running_ones_end(bench: Bench) -> None:
    await bench.world(maintenance=[{"in_hours": 1, "hours": 2}])
    await bench.step(HOUR - 5)
    running, queued = await bench.submit(60), await bench.submit(60)
    await bench.step(30)
    line = bench.engine.around.lines["small"]
    assert line.calendar.closed_until(START + HOUR + 25) == START + 3 * HOUR
    assert bench.engine.places("small")[queued.id] == (0, START + 3 * HOUR)
    await bench.step(60)
    assert (bench.job(running).state, bench.job(queued).state) == ("Completed", "Queued")
    await bench.step(2 * HOUR)
    assert bench.since_start(bench.job(queued).started) == 3 * HOUR


async def test_the_simple_queue_stands_still_in_maintenance(bench: Bench) -> None:
    queue = {"length": 60, "seconds_per_job": 60}
    await bench.world(queue=queue, maintenance=[{"in_hours": 0.5, "hours": 2}])
    job = await bench.submit()
    await bench.step(2 * HOUR)
    assert bench.engine.places("small")[job.id] == (30, START + 3 * HOUR)
    await bench.step(HOUR)
    assert bench.job(job).state == "Running"


async def test_a_pause_can_be_lifted_and_submissions_refused(bench: Bench) -> None:
    await bench.world(when_closed="refuse")
    await bench.engine.pause("small", True)
    with pytest.raises(ApiError, match="not available") as refused:
        await bench.submit()
    assert refused.value.status == 409
    await bench.world(paused=True)
    job = await bench.submit()
    assert bench.engine.places("small")[job.id] == (0, math.inf)
    await bench.step(HOUR)
    await bench.again()
    assert bench.job(job).state == "Queued"
    await bench.engine.pause("small", False)
    assert bench.since_start(bench.job(job).started) == HOUR
