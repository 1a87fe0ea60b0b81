"""Whatever is asked, goes wrong and is said, at whatever moment: every job ends, and ends well.

Hypothesis draws deployments with batches of jobs; each batch runs on a time-skipping server of its
own. A small batch is played by ``make test``, larger ones by ``make test-system``, where
``QSAGA_LIFECYCLE_EXAMPLES=50`` draws other ones, and more of them.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import select
from temporalio.testing import WorkflowEnvironment

from adapters.sql._tables import transitions as transitions_table
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.results import Transition
from qsaga.core.runs import RunReport
from qsaga.core.states import HARDWARE_RUNGS, JobState, may_follow
from tests.support.clock_bridge import ClockBridge
from tests.support.estimators import NAME, installed
from tests.support.freed_clock import FreedClock
from tests.support.lifecycle_batch import Batch, Ended
from tests.support.lifecycle_plans import BACKENDS, World, worlds
from tests.support.stack import Stack, abilene, running_stack
from tests.workflows.conftest import _started
from workflows.job_log import JobLog

pytestmark = pytest.mark.timeout(3600)

EXAMPLES = int(os.environ.get("QSAGA_LIFECYCLE_EXAMPLES", "0"))
FEW = 8
FEWEST, MOST = 8, 16
"""Jobs of a batch."""
SLACK = 20.0
"""Virtual seconds beyond the deadline: while a step of any job runs, the clock goes on for all."""
DUPLICATES = ("answer", "drop")
"""Faults of a submission that may leave a second remote job, whose charge no budget foresaw."""


@pytest.fixture(scope="module")
def machines(bridge: ClockBridge) -> Iterator[EmulatorProcess]:
    """An account with two machines, on the time-skipping server's clock."""
    names = [f"{BACKENDS[0]}=torino", f"{BACKENDS[1]}=fez"]
    with EmulatorProcess(noise="none", clock_url=bridge.url, backend=names) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An estimator is installed, and a read that fails is repeated without a pause in real time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed(tmp_path_factory.mktemp("estimator")))
        patch.setattr("adapters.ibm._wire.GET_BACKOFF", 0.0)
        yield


ONE_BATCH = settings(
    max_examples=1,
    derandomize=True,
    deadline=None,
    database=None,
    # A batch takes seconds: what it found is told as it is, unless there is time to make it small.
    phases=[Phase.generate, *([Phase.shrink] if "QSAGA_LIFECYCLE_SHRINK" in os.environ else [])],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.asyncio(loop_scope="session")
@ONE_BATCH
@given(world=worlds(FEW, FEW))
async def test_a_few_jobs_end_and_end_well(
    machines: EmulatorProcess, bridge: ClockBridge, world: World
) -> None:
    await played(machines, bridge, world)


@pytest.mark.system
@pytest.mark.asyncio(loop_scope="session")
@settings(ONE_BATCH, max_examples=EXAMPLES or 2, derandomize=not EXAMPLES)
@given(world=worlds(FEWEST, MOST))
async def test_every_job_ends_and_ends_well(
    machines: EmulatorProcess, bridge: ClockBridge, world: World
) -> None:
    await played(machines, bridge, world)


async def played(machines: EmulatorProcess, bridge: ClockBridge, world: World) -> None:
    """Play a batch, and judge it."""
    async with await _started(tries=10) as env:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "policy.toml").write_text(world.policy())
            await asyncio.to_thread(bridge.follow, env.client.service_client.config.target_host)
            await asyncio.to_thread(machines.control.reset)
            changes = {"policy_file": folder / "policy.toml", "estimator": NAME}
            clock = FreedClock(env)
            of_clock = WorkflowEnvironment.from_client(clock.client)
            async with running_stack(of_clock, machines, folder, changes=changes) as stack:
                every = await Batch(stack, world, clock).play()
                for ended in every:
                    judge(ended)
                    await same_in_the_table(stack, ended)
                sessions_agree(machines.control.sessions(), every)
                await stack.books_are_clean()
                left = {job["state"] for job in machines.control.jobs()}
                assert left <= {"Completed", "Cancelled", "Failed"}


def test_a_run_cannot_say_that_its_job_has_ended() -> None:
    began = datetime(2026, 11, 21, tzinfo=UTC)
    log = JobLog(abilene(), "default/k", began)
    for state in (JobState.ADMITTED, JobState.ENCODED):
        log.enter(state, began)
    said = tuple(Transition(state=state, at=began) for state in JobState)
    log.heard(RunReport(run_id="qsaga:0", outcome="failed", transitions=said))
    assert log.state is JobState.RUNNING
    log.enter(JobState.ENCODED, began)
    lawful(log.transitions)


def judge(ended: Ended) -> None:
    """All that must be true of one job."""
    result = ended.result
    where = f"{result.job_id} {ended.plan}\n{result.model_dump_json()}"
    assert not ended.faults, (ended.faults, where)
    lawful(result.transitions)
    assert result.transitions[-1].state is result.state, where
    assert result.state.final, where
    assert sum(step.state.final for step in result.transitions) == 1, where
    taken = result.transitions[-1].at - result.transitions[0].at
    assert taken.total_seconds() <= ended.plan.budgets["deadline"] + SLACK, where
    assert (result.answer is None) is (result.unanswered is not None), where
    attempts_agree(ended, where)
    for record in (result.approval, result.review):
        assert record is None or record.outcome != "waiting", where
    assert ended.published == result.state, where
    assert ended.record.result == result, where
    assert ended.record.open_runs == (), where
    charges_agree(ended, where)


def lawful(steps: Sequence[Transition]) -> None:
    """Each state may follow the one before, and time does not go back."""
    assert steps[0].state is JobState.RECEIVED
    for before, then in pairwise(steps):
        assert may_follow(before.state, then.state), (before, then)
        assert before.at <= then.at, (before, then)


def attempts_agree(ended: Ended, where: str) -> None:
    """The state is what the attempts amount to."""
    result = ended.result
    answered = {attempt.rung for attempt in result.attempts if attempt.outcome == "answered"}
    if result.decision is None:
        assert not result.attempts, where
        return
    assert {attempt.rung for attempt in result.attempts} <= set(result.decision.ladder), where
    wanted = result.decision.wanted
    family = HARDWARE_RUNGS if wanted in HARDWARE_RUNGS else {wanted}
    if result.answer is not None:
        as_wanted = not family.isdisjoint(answered)
        assert answered, where
        assert result.state is (JobState.COMPLETED if as_wanted else JobState.DEGRADED), where
        assert result.provenance is not None
        assert result.provenance.source in answered, where
    else:
        assert not answered or result.state is JobState.CANCELLED, where
        assert result.provenance is None, where


def charges_agree(ended: Ended, where: str) -> None:
    """What was charged was booked, once, and within the budget."""
    truth = {job["id"]: job["charged_seconds"] for job in ended.remote}
    charges = ended.record.charges
    booked = {c.provider_job_id: c.cost.quantum_seconds for c in charges if c.role != "session"}
    assert booked == truth, (booked, truth, where)
    # Of a session that the job opened, what it cost beyond its jobs.
    beyond = sum(c.cost.quantum_seconds for c in charges if c.role == "session")
    assert ended.spent == pytest.approx(sum(truth.values()) + beyond), where
    if ended.result.cost.settled:
        assert ended.result.cost.quantum_seconds == sum(truth.values()), where
    if not any(fault and fault["do"] in DUPLICATES for fault in ended.plan.faults):
        assert sum(truth.values()) <= ended.plan.budgets["quantum_seconds"], where


def sessions_agree(sessions: Sequence[dict[str, Any]], every: Sequence[Ended]) -> None:
    """Every session was closed, and what it was charged beyond its jobs was booked, once."""
    beyond: defaultdict[str, float] = defaultdict(float)
    for ended in every:
        for charge in ended.record.charges:
            if charge.role == "session":
                beyond[charge.provider_job_id] += charge.cost.quantum_seconds
    for session in sessions:
        assert session["closed"] is not None, session
        jobs = sum(job["charged_seconds"] for job in session["jobs"])
        # A session may be shorter than what its jobs are charged, which are whole seconds.
        expected = max(0.0, session["charged_seconds"] - jobs)
        assert beyond.pop(session["id"], 0.0) == pytest.approx(expected), session
    assert not beyond, "a charge for a session that there never was"


async def same_in_the_table(stack: Stack, ended: Ended) -> None:
    """The rows of the transitions are those of the result."""
    kept = (
        select(transitions_table.c.state, transitions_table.c.at)
        .where(transitions_table.c.job_id == ended.result.job_id)
        .order_by(transitions_table.c.position)
    )
    async with stack.parts.engine.connect() as connection:
        rows = [tuple(row) for row in await connection.execute(kept)]
    assert rows == [(step.state.value, step.at) for step in ended.result.transitions]
