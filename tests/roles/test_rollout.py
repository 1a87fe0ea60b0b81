"""A new version of the workers takes over while jobs of the old one are under way."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest
from temporalio import workflow
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from composition.rollout import become_current_if_first
from qsaga.core.jobs import submission_tag
from qsaga.core.states import JobState
from tests.roles.team import CHANGED, Team, done_by
from tests.support.stack import abilene
from tools.servers import resolve
from tools.stage import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUDGETS = {"queue": 600, "solve": 0.3, "deadline": 900}
NAME = "qsaga-team"


def asked(team: Team, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``temporal worker deployment …``, as docs/operations.md says."""
    return subprocess.run(
        [resolve().cli, "worker", "deployment", *arguments, "--deployment-name", NAME]
        if arguments[0] != "describe"
        else [resolve().cli, "worker", "deployment", *arguments, "--name", NAME],
        env={"TEMPORAL_ADDRESS": team.temporal_address, "HOME": str(team.folder)},
        capture_output=True,
        text=True,
    )


def temporal(team: Team, *arguments: str) -> str:
    """What it prints."""
    done = asked(team, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_job_ends_on_the_version_that_began_it(versioned: Team) -> None:
    old = versioned.hire(QSAGA_TEMPORAL__BUILD_ID="a")
    wait_until(lambda: old.told("version a is the first"), "the first version is current")
    client = await versioned.client()
    await asyncio.to_thread(versioned.emulator.control.set_queue, 1, 60.0)
    first = await client.start(abilene(budgets=BUDGETS))
    while not versioned.emulator.control.jobs():  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.05)

    new = versioned.hire(QSAGA_TEMPORAL__BUILD_ID="b", script=CHANGED)
    wait_until(lambda: new.told("version b waits to be made current; a is"), "b waits")
    before = await client.start(abilene("independent_set", route="annealing"))
    assert (await before.result()).state is JobState.COMPLETED
    temporal(versioned, "set-current-version", "--build-id", "b", "--yes")
    second = await client.start(abilene(route="annealing"))
    assert (await second.result()).state is JobState.COMPLETED
    third = await client.start(abilene("independent_set", budgets=BUDGETS))

    await asyncio.to_thread(versioned.emulator.control.set_queue, 0)
    for handle, member in ((first, old), (before, old), (second, new), (third, new)):
        assert (await handle.result()).state is JobState.COMPLETED
        for step, pids in (await done_by(client.temporal, handle.job_id)).items():
            assert pids == {member.pid}, (handle.job_id, step)
    for handle, member in ((first, old), (third, new)):
        run = submission_tag(versioned.deployment, handle.job_id, 0)
        await client.temporal.get_workflow_handle(run).result()
        steps = await done_by(client.temporal, run)
        assert {"compile", "submit", "follow", "settle"} <= set(steps)
        assert set.union(*steps.values()) == {member.pid}

    def drained() -> bool:
        found = asked(versioned, "describe-version", "--build-id", "a", "-o", "json")
        # Now and then the server does not find a version for a moment.
        if found.returncode != 0:
            return False
        status: str = json.loads(found.stdout)["drainageInfo"]["drainageStatus"]
        return status == "drained"

    wait_until(drained, "the old version has no open job", seconds=40, pause=0.3)
    assert await asyncio.to_thread(old.end, 10) == 0
    last = await client.start(abilene(route="annealing"))
    assert (await last.result()).state is JobState.COMPLETED
    assert await asyncio.to_thread(new.end, 10) == 0


@workflow.defn(sandboxed=False, versioning_behavior=VersioningBehavior.PINNED)
class Nothing:
    """Asked for work of, and no more."""

    @workflow.run
    async def run(self) -> None:
        """Do it."""


async def test_a_version_becomes_current_however_late_the_server_hears_of_it(
    versioned: Team, caplog: pytest.LogCaptureFixture
) -> None:
    client = (await versioned.client()).temporal
    own = WorkerDeploymentVersion("qsaga-late", "a")
    versioned.kill_temporal()
    looks = asyncio.create_task(become_current_if_first(client, own, pause=0.01))
    while "version a is not current yet: the server says UNAVAILABLE" not in caplog.text:
        assert not looks.done()
        await asyncio.sleep(0.01)
    await asyncio.to_thread(versioned.start_temporal)
    worker = Worker(
        client,
        task_queue="late",
        workflows=[Nothing],
        deployment_config=WorkerDeploymentConfig(own, use_worker_versioning=True),
    )
    async with worker:
        assert await asyncio.wait_for(looks, 60)
