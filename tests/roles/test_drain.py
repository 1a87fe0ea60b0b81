"""SIGTERM to a worker in the middle of something."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from qsaga.core.jobs import submission_tag
from qsaga.core.results import OptimiseAnswer
from qsaga.core.states import JobState
from tests.roles.team import DRAIN, Member, Team, done_by, under_way
from tests.support.stack import abilene
from worker import LAST_WORDS

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANNEALING = {"route": "annealing", "budgets": {"solve": 10, "deadline": 300}}


def both(team: Team) -> dict[int, Member]:
    """Two workers of all roles."""
    members = [team.begin(), team.begin()]
    team.ready(*members)
    return {member.pid: member for member in members}


async def ended(member: Member) -> float:
    """Seconds from SIGTERM to the orderly end of a worker."""
    began = time.monotonic()
    assert await asyncio.to_thread(member.end, DRAIN + LAST_WORDS) == 0
    return time.monotonic() - began


async def test_a_solver_is_stopped_and_another_worker_goes_on(team: Team) -> None:
    members = both(team)
    client = await team.client()
    handle = await client.start(abilene(**ANNEALING))
    job = client.temporal.get_workflow_handle(handle.job_id)
    first = members.pop(await under_way(job, "solve"))
    assert await ended(first) < DRAIN + LAST_WORDS / 2, "the solver is told at once"
    result = await handle.result()
    assert result.state is JobState.COMPLETED
    assert isinstance(result.answer, OptimiseAnswer)
    assert result.answer.quality.objective == 12
    assert (await done_by(client.temporal, handle.job_id))["solve"] == set(members)
    (solve,) = (one.seconds for one in result.timings if one.layer == "solve")
    assert solve == pytest.approx(10, abs=2), "the other had what was left of the time"


async def test_a_solver_that_does_not_listen_is_left_behind(team: Team) -> None:
    deaf = team.hire(script=Path(__file__).parent / "deaf_worker.py")
    client = await team.client()
    handle = await client.start(abilene(**ANNEALING))
    job = client.temporal.get_workflow_handle(handle.job_id)
    assert await under_way(job, "solve") == deaf.pid
    other = team.begin()
    assert await ended(deaf) >= DRAIN
    team.ready(other)
    result = await handle.result()
    assert result.state is JobState.COMPLETED
    assert (await done_by(client.temporal, handle.job_id))["solve"] == {other.pid}


async def test_a_submission_under_way_is_handed_back(team: Team) -> None:
    members = both(team)
    # The reply takes longer than the drain: the job is accepted, and nobody has heard of it.
    stall = {"do": "stall", "when": "after", "seconds": 4 * DRAIN, "on": "submit", "count": 1}
    team.emulator.control.set_plan(stall)
    client = await team.client()
    handle = await client.start(abilene())
    run = client.temporal.get_workflow_handle(submission_tag(team.deployment, handle.job_id, 0))
    first = members.pop(await under_way(run, "submit"))
    assert await ended(first) >= DRAIN
    result = await handle.result()
    assert result.state is JobState.COMPLETED
    assert (await done_by(client.temporal, run.id))["submit"] == set(members)
    assert len(team.emulator.control.jobs(tag=run.id)) == 1
