"""Two things at the same moment, on the emulator's clock: whichever wins, the account is right.

Documented in docs/races.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qsaga.client import JobHandle
from qsaga.core.jobs import Budgets
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Layer
from qsaga.core.timing import fallback_reserve
from tests.support.people import reached
from tests.support.stack import Stack, abilene

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUEUE, EXECUTION = 1800.0, 60.0
"""Virtual seconds that a job waits and runs."""
OUTAGE = 45.0
RESULT = "GET /api/v1/jobs/{id}/results"


async def queued(stack: Stack, **changes: Any) -> tuple[JobHandle, float]:
    """A job in the provider's queue, and the virtual time at which it starts there."""
    stack.emulator.control.set_queue(1, QUEUE)
    stack.emulator.control.set_execution(overhead_seconds=EXECUTION, seconds_per_shot=0.0)
    handle = await stack.client.start(abilene(**changes))
    async for progress in handle.watch(0.05):
        if progress.run is not None and progress.run.state is JobState.QUEUED:
            (remote,) = stack.remote(progress.run.run_id)
            return handle, float(str(remote["created"])) + QUEUE
    raise AssertionError("it ended without having waited")


async def until(stack: Stack, moment: float) -> None:
    """Let virtual time run to a moment of the emulator's clock."""
    left = moment - stack.emulator.control.now()
    if left > 0:
        await stack.env.sleep(left)


async def settled(stack: Stack, handle: JobHandle, result: JobResult) -> str:
    """What became of the remote job, once the account is closed and right."""
    progress = await handle.progress()
    assert progress.job.run_id is not None
    async with stack.skipping_time():
        await stack.temporal.get_workflow_handle(progress.job.run_id).result()
    (remote,) = stack.remote(progress.job.run_id)
    account = await handle.account()
    assert account.closed
    booked = sum(charge.cost.quantum_seconds for charge in account.charges)
    assert booked == remote["charged_seconds"]
    await stack.books_are_clean()
    answered = result.state is JobState.COMPLETED
    # A result that came although nobody waited any more is kept and compared.
    assert len(account.late_results) == (remote["state"] == "Completed" and not answered)
    return str(remote["state"])


CANCELLED: list[tuple[str, float, set[str], bool | None]] = [
    ("before it starts", -5.0, {"Cancelled"}, False),
    ("as it starts", 0.0, {"Cancelled"}, None),
    ("while it runs", EXECUTION / 2, {"Cancelled"}, True),
    ("as it ends", EXECUTION - 0.01, {"Cancelled", "Completed"}, True),
    ("when it has ended", EXECUTION + 0.01, {"Completed"}, True),
]
"""When a job is cancelled, what may become of the remote one, and whether that is charged."""


@pytest.mark.parametrize(
    ("offset", "remote", "charged"), [each[1:] for each in CANCELLED], ids=[c[0] for c in CANCELLED]
)
async def test_cancelled_as_the_remote_job_starts_or_ends(
    skipping: Stack, offset: float, remote: set[str], charged: bool | None
) -> None:
    handle, starts = await queued(skipping)
    await until(skipping, starts + offset)
    await handle.cancel()
    result = await skipping.result(handle)
    assert result.state in {JobState.CANCELLED, JobState.COMPLETED}
    assert await settled(skipping, handle, result) in remote
    account = await handle.account()
    assert charged in (None, account.cost().quantum_seconds > 0)


def budgets_ending_at(seconds: float) -> dict[str, float]:
    """Budgets under which hardware is waited for until ``seconds`` after the start."""
    reserve = 0.0
    for _ in range(50):
        given = {"deadline": seconds + reserve, "queue": seconds + reserve, "solve": 0.3}
        reserve = fallback_reserve(Budgets.model_validate(given), Layer.SOLVE)
    return {"deadline": seconds + reserve, "queue": seconds + reserve, "solve": 0.3}


@pytest.mark.parametrize("offset", [-1.0, 0.0, 3.0])
async def test_the_deadline_comes_as_the_remote_job_ends(skipping: Stack, offset: float) -> None:
    budgets = budgets_ending_at(QUEUE + EXECUTION + offset)
    handle, _ = await queued(skipping, budgets=budgets)
    result = await skipping.result(handle)
    assert result.answer is not None
    assert result.state in {JobState.COMPLETED, JobState.DEGRADED}
    taken = (result.transitions[-1].at - result.transitions[0].at).total_seconds()
    assert taken <= budgets["deadline"]
    await settled(skipping, handle, result)


async def test_an_outage_as_the_queue_budget_ends(skipping: Stack) -> None:
    handle, starts = await queued(skipping, budgets={"queue": 600, "solve": 0.3, "deadline": 3600})
    await until(skipping, starts - QUEUE + 500)
    skipping.emulator.control.set_faults(outage=True)
    result = await skipping.result(handle)
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].layer is Layer.QUEUE
    taken = (result.transitions[-1].at - result.transitions[0].at).total_seconds()
    assert taken < 3600
    # The answer is served; the account waits for the provider, as long as that takes.
    run_id = skipping.run_id(result)
    answered = await skipping.env.get_current_time()
    await skipping.env.sleep(OUTAGE)  # more would be long: IBM's client pauses in real seconds
    account = await handle.account()
    assert not account.closed
    skipping.emulator.control.set_faults(outage=False)
    assert await settled(skipping, handle, result) in {"Cancelled", "Completed"}
    described = await skipping.temporal.get_workflow_handle(run_id).describe()
    assert described.close_time is not None
    assert (described.close_time - answered).total_seconds() >= OUTAGE


async def test_cancelled_in_an_outage(skipping: Stack) -> None:
    handle, _ = await queued(skipping)
    skipping.emulator.control.set_faults(outage=True)
    await handle.cancel()
    result = await skipping.result(handle)
    assert result.state is JobState.CANCELLED
    await skipping.env.sleep(OUTAGE)
    assert not (await handle.account()).closed
    skipping.emulator.control.set_faults(outage=False)
    await settled(skipping, handle, result)


async def test_a_late_result_that_cannot_be_had_for_a_while_is_fetched_then(dev: Stack) -> None:
    control = dev.emulator.control
    control.set_queue(1, 2.0)
    control.set_faults(cancel_loses_race=True)
    control.set_plan({"do": "outage", "on": "result"})
    handle = await dev.client.start(abilene(budgets={"retrieval": 1.0}))
    await reached(handle, JobState.QUEUED)
    await handle.cancel()
    result = await dev.result(handle)
    assert result.state is JobState.CANCELLED
    # What was charged is booked at once, and the result asked for beyond the layer's budget.
    await true(lambda: booked(dev, result))
    asked = fetches(dev)
    await true(lambda: has_gone_on(dev, result, asked))
    assert not (await handle.account()).closed
    control.clear_plan()
    assert await settled(dev, handle, result) == "Completed"
    (late,) = (await handle.account()).late_results
    assert late.objective is not None
    assert [one.result for one in (await dev.record(result.job_id)).late_results] == [late.result]
    await dev.keep_history("late_after_outage.run", dev.run_id(result))


async def true(holds: Callable[[], Awaitable[bool]]) -> None:
    """Until it is so."""
    for _ in range(1200):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("that never came true")


async def booked(stack: Stack, result: JobResult) -> bool:
    """Whether the account of the job's run is settled."""
    return (await stack.record(result.job_id)).open_runs == ()


async def has_gone_on(stack: Stack, result: JobResult, asked: int) -> bool:
    """Whether the result was asked for more often than that, or the run has ended."""
    run = await stack.temporal.get_workflow_handle(stack.run_id(result)).describe()
    return fetches(stack) > asked or run.close_time is not None


def fetches(stack: Stack) -> int:
    """How often a result was asked for."""
    return stack.emulator.control.requests().get(RESULT, 0)


async def test_cancelled_twice_is_cancelled_once(skipping: Stack) -> None:
    handle, starts = await queued(skipping)
    await until(skipping, starts - 60)
    await asyncio.gather(handle.cancel(), handle.cancel())
    result = await skipping.result(handle)
    assert result.state is JobState.CANCELLED
    assert await settled(skipping, handle, result) == "Cancelled"
