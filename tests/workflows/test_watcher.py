"""Who waits for the provider is told when to look, by one watcher for all."""

from __future__ import annotations

import asyncio
import time

import pytest

from qsaga.core.states import JobState, Layer
from qsaga.core.timing import FOLLOW_SECONDS, WATCH_REQUESTS
from tests.support.erased import visible
from tests.support.stack import Stack, abilene

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUDGETS = {"queue": 36000, "solve": 0.3, "deadline": 86400}


async def _watched(stack: Stack, count: int) -> None:
    while len(await stack.parts.submissions.watched()) < count:  # noqa: ASYNC110 - in a database
        await asyncio.sleep(0.05)


async def _signals(stack: Stack, workflow_id: str) -> int:
    history = await stack.temporal.get_workflow_handle(workflow_id).fetch_history()
    return sum(
        event.HasField("workflow_execution_signaled_event_attributes") for event in history.events
    )


def _asked(stack: Stack) -> dict[str, int]:
    return stack.emulator.control.requests()


async def test_a_job_that_ends_earlier_than_expected_is_noticed_at_the_next_look(
    dev: Stack,
) -> None:
    # By the forecast it waits 60 s more: its own run would look again in an hour. An estimate of
    # the provider's is not to be had, and not needed.
    dev.emulator.control.set_queue(1, 60.0)
    dev.emulator.control.set_plan({"do": "malformed", "text": "[]", "on": "metrics", "count": 3})
    handle = await dev.client.start(abilene(budgets=BUDGETS))
    await _watched(dev, 1)
    waiting = "WorkflowType = 'HardwareRun' AND ExecutionStatus = 'Running'"
    await visible(dev, 1, f"{waiting} AND QsagaState = 'queued' AND QsagaTenant = 'default'")
    dev.emulator.control.set_queue(0)
    began = time.perf_counter()
    result = await dev.result(handle)
    assert result.state is JobState.COMPLETED
    assert time.perf_counter() - began < 20
    run = dev.run_id(result)
    assert await _signals(dev, run) == 0, "being told costs no event"
    assert await dev.keep_history("watched.run", run) <= 24 + 6
    await dev.keep_histories(Watch="waits.watch")
    assert await dev.parts.submissions.watched() == ()


async def test_runs_share_the_looks(dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    # All that takes time, five times as fast.
    monkeypatch.setattr("activities.hardware.FOLLOW_SECONDS", FOLLOW_SECONDS / 5)
    monkeypatch.setattr("qsaga.core.timing.WATCH_REQUESTS", WATCH_REQUESTS * 5)
    dev.emulator.control.set_queue(1, 5.0)
    handles = [await dev.client.start(abilene(budgets=BUDGETS)) for _ in range(3)]
    await _watched(dev, 3)
    before, began = _asked(dev), time.perf_counter()
    results = await asyncio.gather(*(dev.result(handle) for handle in handles))
    took = time.perf_counter() - began
    asked = {name: count - before.get(name, 0) for name, count in _asked(dev).items()}
    assert all(result.state is JobState.COMPLETED for result in results)
    # One list for all of them every few seconds; each is looked at while it runs: alone it would
    # have been asked for every half second.
    assert asked["GET /api/v1/jobs"] <= took / 0.8 + 2 * 3 + 2
    assert asked["GET /api/v1/jobs/{id}"] <= 10 * 3


async def test_where_activities_cannot_be_woken_a_signal_is_sent(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(3, 1800.0)
    result = await skipping.run(abilene(budgets=BUDGETS))
    assert result.state is JobState.COMPLETED
    queue = next(t.seconds for t in result.timings if t.layer is Layer.QUEUE)
    assert queue == pytest.approx(5400, rel=0.01)
    assert await _signals(skipping, skipping.run_id(result)) == 1
    assert await skipping.keep_history("told.run", skipping.run_id(result)) <= 24 + 16


async def test_a_run_that_was_ended_from_outside_is_not_watched_for_ever(dev: Stack) -> None:
    dev.emulator.control.set_queue(1, 40.0)
    handle = await dev.client.start(abilene(budgets=BUDGETS))
    await _watched(dev, 1)
    (run,) = await dev.parts.submissions.watched()
    await handle.cancel()
    await dev.result(handle)
    while await dev.parts.submissions.watched():  # noqa: ASYNC110 - in a database
        await asyncio.sleep(0.05)
    assert run.run_id in dev.emulator.control.jobs()[0]["tags"]
