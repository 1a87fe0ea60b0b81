"""Each role in a process of its own."""

from __future__ import annotations

import asyncio

import pytest
from temporalio import activity

from qsaga.core.roles import ALL_ROLES, ROLE_OF, WorkerRole
from qsaga.core.states import JobState
from tests.roles.team import Team, done_by
from tests.support.stack import abilene, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF_STEP = {
    activity._Definition.must_from_callable(step).name: role for step, role in ROLE_OF.items()
}


async def test_each_step_is_done_by_a_worker_of_its_role(team: Team) -> None:
    members = {role: team.begin("--role", role) for role in ALL_ROLES}
    team.ready(*members.values())
    client = await team.client()
    handles = [
        await client.start(request)
        for request in (abilene(), abilene(route="annealing"), bell(route="simulator"))
    ]
    results = [await handle.result() for handle in handles]
    assert [result.state for result in results] == [JobState.COMPLETED] * 3
    (run,) = (attempt.run_id for attempt in results[0].attempts if attempt.run_id)
    await client.temporal.get_workflow_handle(run).result()
    seen = set()
    for workflow_id in (*(handle.job_id for handle in handles), run):
        for step, pids in (await done_by(client.temporal, workflow_id)).items():
            role = OF_STEP.get(step, WorkerRole.PROVIDER)
            if step == "workflow":
                role = WorkerRole.WORKFLOW
            assert pids == {members[role].pid}, step
            seen.add(step)
    assert {"submit", "settle", "admit", "encode", "compile", "solve", "simulate"} <= seen


async def test_all_roles_in_one_process_serve_all_queues(team: Team) -> None:
    team.hire()
    client = await team.client()
    result = await (await client.start(abilene())).result()
    assert result.state is JobState.COMPLETED


async def test_jobs_from_before_the_queues_end_on_a_worker_of_all_roles(team: Team) -> None:
    one_queue = team.hire(QSAGA_TEMPORAL__ROLE_QUEUES="false")
    client = await team.client()
    await asyncio.to_thread(team.emulator.control.set_queue, 1, 60.0)
    handle = await client.start(abilene(budgets={"queue": 600, "solve": 0.3, "deadline": 900}))
    while not team.emulator.control.jobs():  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.05)
    assert one_queue.end(10) == 0
    team.hire()
    await asyncio.to_thread(team.emulator.control.set_queue, 0)
    assert (await handle.result()).state is JobState.COMPLETED
