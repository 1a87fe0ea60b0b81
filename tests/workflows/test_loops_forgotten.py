"""A loop is forgotten with its jobs, and a job not without its loop."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

from qsaga.core.errors import KeyConflict, NoSuchJob, PolicyRefused
from qsaga.core.loop_rules import points
from qsaga.core.loops import LoopRequest
from qsaga.core.operations import Forget, Rebuild, Retain
from tests.support.erased import compacted, gone, mentions, visible
from tests.support.loops import loop
from tests.support.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

SECRET = "zaphod"


def short(**changes: Any) -> LoopRequest:
    """Two iterations on the simulator, of an experiment whose name is looked for."""
    adam = {"name": "adam", "iterations": 2}
    return loop(**({"optimiser": adam, "experiment": SECRET} | changes))


async def test_forgotten_by_its_own_id(dev: Stack) -> None:
    done = await (await dev.client.submit_loop(short())).result(120)
    # The key of the one is the beginning of the other's.
    beside = short(key=f"{done.key}.2", experiment=None)
    other = await (await dev.client.submit_loop(beside)).result(120)
    jobs = sorted(point.job_id for point in points(done.iterations))
    await visible(dev, 2 + len(jobs) + len(points(other.iterations)))
    assert mentions(dev.settings.data_dir, SECRET)
    report = await dev.client.operate(Forget(job_id=done.loop_id, why="asked by the owner"))
    assert report.forgotten == (done.loop_id, *jobs)
    assert report.text == f"loop {done.loop_id} and its {len(jobs)} jobs are forgotten"
    for workflow_id in (done.loop_id, *jobs):
        await gone(dev, workflow_id)
    await compacted(dev)
    assert not mentions(dev.settings.data_dir, SECRET)
    for job_id in jobs:
        record = await dev.record(job_id)
        assert record.request is None and record.forgotten is not None
    # the other is whole
    assert await dev.client.loop(other.loop_id).result(10) == other
    for point in points(other.iterations):
        assert (await dev.record(point.job_id)).request is not None
    # said again it does no harm, and what never was is not known
    again = await dev.client.operate(Forget(job_id=done.loop_id, why="once more"))
    assert again.forgotten == report.forgotten
    with pytest.raises(NoSuchJob, match="no loop"):
        await dev.client.operate(Forget(job_id=f"{done.tenant}/loop/never", why="a mistake"))


async def test_forgotten_with_a_job_of_it(dev: Stack) -> None:
    done = await (await dev.client.submit_loop(short())).result(120)
    measured = points(done.iterations)
    await visible(dev, 1 + len(measured))
    job_id = measured[0].job_id
    await dev.client.operate(Forget(job_id=job_id, why="asked by the owner"))
    for workflow_id in (done.loop_id, job_id):
        await gone(dev, workflow_id)
    assert not (await dev.client.operate(Retain(days=30))).forgotten
    # Its key stays taken: the point is not measured a second time.
    with pytest.raises(KeyConflict, match="forgotten"):
        await (await dev.client.submit_loop(short(key=done.key))).result(120)


async def delete_from_temporal(stack: Stack, workflow_id: str) -> None:
    """As its retention does."""
    service = stack.temporal.workflow_service
    await service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=stack.temporal.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
        )
    )
    await gone(stack, workflow_id)


async def test_what_temporal_has_forgotten_is_in_the_records(dev: Stack) -> None:
    request = short()
    done = await (await dev.client.submit_loop(request)).result(120)
    await delete_from_temporal(dev, done.loop_id)
    assert await dev.client.loop(done.loop_id).result() == done
    # Asked for again it has ended, as it had; nothing is measured, and no other payload gets in.
    assert await (await dev.client.submit_loop(request)).result(60) == done
    history = await dev.temporal.get_workflow_handle(done.loop_id).fetch_history()
    kinds = {event.WhichOneof("attributes") for event in history.events}
    assert "start_child_workflow_execution_initiated_event_attributes" not in kinds
    await delete_from_temporal(dev, done.loop_id)
    with pytest.raises(KeyConflict, match="another payload"):
        await (await dev.client.submit_loop(short(key=done.key, initial=[1.0]))).result(60)
    # By its id it can be forgotten all the same, and its key stays taken.
    await dev.client.operate(Forget(job_id=done.loop_id, why="asked by the owner"))
    with pytest.raises(NoSuchJob, match="no result is kept"):
        await dev.client.loop(done.loop_id).record()
    with pytest.raises(KeyConflict, match="forgotten"):
        await (await dev.client.submit_loop(request)).result(60)


async def test_what_the_table_lost_is_written_again(dev: Stack) -> None:
    done = await (await dev.client.submit_loop(short())).result(120)
    async with dev.parts.engine.begin() as connection:
        await connection.execute(text("DELETE FROM loops"))
    await visible(dev, 1 + len(points(done.iterations)))
    report = await dev.client.operate(Rebuild())
    assert report.text.endswith("and 1 loops are written")
    assert await dev.client.loop(done.loop_id).record() == done


async def test_an_old_loop_is_forgotten_by_retention(dev: Stack) -> None:
    done = await (await dev.client.submit_loop(short())).result(120)
    await visible(dev, 1 + len(points(done.iterations)))
    async with dev.parts.engine.begin() as connection:
        await connection.execute(text("UPDATE loops SET closed = '2020-01-01 00:00:00.000000'"))
    report = await dev.client.operate(Retain(days=30))
    assert sorted(report.forgotten) == sorted(point.job_id for point in points(done.iterations))
    await gone(dev, done.loop_id)
    with pytest.raises(NoSuchJob, match="no result is kept"):
        await dev.client.loop(done.loop_id).result()


async def test_not_while_it_is_at_work(dev: Stack) -> None:
    dev.emulator.control.set_queue(50, 3600.0)
    try:
        request = short(route="hardware")
        handle = await dev.client.submit_loop(request)
        async for status in handle.watch():
            if status.running:
                break
        for job_id in (request.job_id, status.running[0]):
            with pytest.raises(PolicyRefused, match="at work"):
                await dev.client.operate(Forget(job_id=job_id, why="too early"))
        await handle.cancel()
        await handle.result(60)
    finally:
        dev.emulator.control.set_queue(0, 1.0)
