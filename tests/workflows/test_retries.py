"""Steps that were begun again are counted: while they are at work, and of a job that has ended."""

from __future__ import annotations

import asyncio
import json

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent

from qsaga.core.states import JobState
from qsaga.core.story import story
from qsaga.retries import recorded
from tests.support.stack import Stack, bell

COLLECT = "collect"


@pytest.mark.asyncio(loop_scope="session")
async def test_retries_are_counted_and_looks_are_not(dev: Stack) -> None:
    control = dev.emulator.control
    control.set_queue(1, 3.0)
    control.set_plan({"do": "outage", "on": "result"})
    handle = await dev.client.start(bell(route="hardware", budgets={"retrieval": 60.0}))
    while not (now := await handle.retries()):  # noqa: ASYNC110 - it is in another process
        await asyncio.sleep(0.1)
    assert list(now) == [COLLECT]
    progress = await handle.progress()
    told = story(progress.model_copy(update={"retries": now}))
    assert f"Steps were begun again: collect {now[COLLECT]} time" in " ".join(told)
    control.clear_plan()
    result = await dev.result(handle)
    assert result.state is JobState.COMPLETED
    await dev.settled(result)
    account = await handle.account()
    # It was followed for seconds, look by look.
    assert account.retries is not None and list(account.retries) == [COLLECT]
    assert account.retries[COLLECT] >= now[COLLECT]
    assert await handle.retries() == account.retries
    assert len(dev.remote(dev.run_id(result))) == 1


@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_is_begun_again_where_nothing_fails(dev: Stack) -> None:
    handle = await dev.client.start(bell(route="simulator"))
    await dev.result(handle)
    account = await handle.account()
    assert account.retries == {}
    assert "begun again" not in " ".join(story(account))


@pytest.mark.asyncio(loop_scope="session")
async def test_of_what_temporal_does_not_know_nothing_is_counted(dev: Stack) -> None:
    assert await dev.client.job("examples/never").retries() is None


@pytest.mark.parametrize(("attempt", "counted"), [(1, {}), (3, {"close": 2})])
def test_local_steps(attempt: int, counted: dict[str, int]) -> None:
    event = HistoryEvent(event_id=5)
    marker = event.marker_recorded_event_attributes
    marker.marker_name = "core_local_activity"
    told = {"seq": 4, "attempt": attempt, "activity_id": "4", "activity_type": "close"}
    marker.details["data"].CopyFrom(Payloads(payloads=[Payload(data=json.dumps(told).encode())]))
    assert recorded([event]) == counted


def test_other_markers_are_passed_over() -> None:
    event = HistoryEvent(event_id=5)
    event.marker_recorded_event_attributes.marker_name = "core_patch"
    assert recorded([event]) == {}
