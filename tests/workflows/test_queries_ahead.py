"""A query that reads ahead of the workflow task must not leave a history that nobody can replay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from composition.one_task import AHEAD, OneTaskAtATime
from tests.support.failed_tasks import failed_tasks

SOON = timedelta(seconds=30)
JOBS, ROUNDS = 8, 6
"""Which of query and task comes first is chance: half of the jobs."""
SENT = 0.3
"""Seconds for a request to reach the server: neither query nor update shows before a worker."""


@activity.defn
async def look() -> None:
    """Takes no time."""


@workflow.defn
class Asks:
    """Looks, then asks a person, as a job with an approval does."""

    def __init__(self) -> None:
        self.asked = False

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(look, schedule_to_close_timeout=SOON)
        workflow.upsert_memo({"asked": True})
        self.asked = True
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def status(self) -> bool:
        """Whether the person was asked."""
        return self.asked

    @workflow.update
    async def decide(self) -> None:
        """The person's word."""


async def _played(client: Client, runner: WorkflowRunner) -> list[WorkflowHandle[Asks, None]]:
    """Jobs whose worker is lost while a query, an activity's result and an update come in."""
    queue = f"ahead-{uuid4()}"
    jobs = [
        await client.start_workflow(Asks.run, id=str(uuid4()), task_queue=queue)
        for _ in range(JOBS)
    ]

    async def all_saw(wanted: EventType.ValueType) -> None:
        for job in jobs:
            await _saw(job, wanted)

    async with asyncio.TaskGroup() as group:
        # Without a cache the worker has no queue of its own that would have to be missed first.
        async with Worker(
            client,
            task_queue=queue,
            workflows=[Asks],
            workflow_runner=runner,
            max_cached_workflows=0,
        ):
            await all_saw(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        queries = [group.create_task(job.query(Asks.status)) for job in jobs]
        await asyncio.sleep(SENT)
        async with Worker(client, task_queue=queue, activities=[look]):
            await all_saw(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
            decisions = [group.create_task(job.execute_update(Asks.decide)) for job in jobs]
            await asyncio.sleep(SENT)
            async with Worker(client, task_queue=queue, workflows=[Asks], workflow_runner=runner):
                await asyncio.wait([*queries, *decisions], timeout=SOON.total_seconds())
    return jobs


async def _saw(job: WorkflowHandle[Asks, None], wanted: EventType.ValueType) -> None:
    async with asyncio.timeout(SOON.total_seconds()):
        async for event in job.fetch_history_events(wait_new_event=True):
            if event.event_type == wanted:
                return


async def _replayed(job: WorkflowHandle[Asks, None]) -> str:
    """Why the history cannot be replayed; empty if it can."""
    replayer = Replayer(workflows=[Asks], workflow_runner=UnsandboxedWorkflowRunner())
    history = await job.fetch_history()
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return str(result.replay_failure or "")


async def test_the_sdk_alone_leaves_histories_that_nobody_can_replay(
    dev_env: WorkflowEnvironment,
) -> None:
    """When this fails, the SDK is mended: ``OneTaskAtATime`` can go."""
    for _ in range(ROUNDS):
        jobs = await _played(dev_env.client, UnsandboxedWorkflowRunner())
        if any("Nondeterminism" in said for said in [await _replayed(job) for job in jobs]):
            return
    pytest.fail("every history replays")


async def test_a_task_that_a_query_ran_ahead_of_is_taken_up_anew(
    dev_env: WorkflowEnvironment,
) -> None:
    client = dev_env.client
    for _ in range(ROUNDS):
        jobs = await _played(client, OneTaskAtATime())
        assert [await _replayed(job) for job in jobs] == [""] * JOBS
        said = [one.failure.message for job in jobs for one in await failed_tasks(client, job.id)]
        assert set(said) <= {AHEAD}
        if said:
            return
    pytest.fail("no query ran ahead of its workflow task")
