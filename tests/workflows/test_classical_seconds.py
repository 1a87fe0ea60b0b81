"""Seconds of solvers and simulators are booked also where no answer of theirs is served."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

import worker
from adapters.annealing import NealSolver
from composition.workers import workers
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import QsagaClient
from qsaga.connection import register_search_attributes
from qsaga.core.ledger import Tenant, Unit
from qsaga.core.results import JobResult
from qsaga.core.roles import WorkerRole
from qsaga.core.states import JobState, Rung
from qsaga.payloads import data_converter
from qsaga.settings import TemporalSettings
from tests.support.databases import put_at_head
from tests.support.ladders import answered, with_policy
from tests.support.stack import Stack, abilene, bell, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

LADDERS = {"optimise": ["hardware", "annealing"]}
HEDGE = "[hedge]\nafter = 0.1\nseconds = 3600"


class Solver:
    """Solves until it is told to stop, or for as long as the test."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def solve(self, *_: object, **given: Any) -> bytes:
        self.begun.set()
        while not (given["should_stop"]() or self.released.wait(0.05)):
            pass
        return b""


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Solver]:
    found = Solver()
    monkeypatch.setattr(NealSolver, "solve", lambda _, *given, **more: found.solve(*given, **more))
    yield found
    found.released.set()


async def booked(stack: Stack, result: JobResult, least: float) -> float:
    """What the job says and the ledger has: at least that, and at most what the job took."""
    seconds = result.cost.classical_seconds
    took = (result.transitions[-1].at - result.transitions[0].at).total_seconds()
    assert least <= seconds <= took
    await stack.settled(result)
    await stack.books_are_clean()
    now = datetime.now(UTC)
    await stack.parts.ledger.put_tenant(Tenant(name=result.tenant), now)
    statement = await stack.parts.ledger.statement(result.tenant, now)
    (spent,) = (one.spent for one in statement.lines if one.unit is Unit.CLASSICAL_SECONDS)
    assert float(spent) == pytest.approx(seconds)
    return seconds


async def test_a_hedge_that_the_answer_of_hardware_ended(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path, solver: Solver
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, HEDGE) as stack:
        emulator.control.set_queue(2, 1.0)
        result = await stack.run(abilene())
        assert solver.begun.is_set()
        assert answered(result) == [(Rung.HARDWARE, "answered")]
        await booked(stack, result, 0.3)


async def test_a_hedge_of_a_job_that_was_cancelled(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path, solver: Solver
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, HEDGE) as stack:
        emulator.control.set_queue(1000, 1000)
        handle = await stack.client.start(abilene())
        assert await asyncio.to_thread(solver.begun.wait, 20.0)
        await handle.cancel()
        result = await handle.result()
        assert result.state is JobState.CANCELLED
        await booked(stack, result, 0.001)


async def test_a_solver_that_ran_out_of_time(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path, solver: Solver
) -> None:
    """Not the slack that it has to hand over what it found."""
    async with with_policy(dev_env, emulator, tmp_path, {"optimise": ["annealing"]}) as stack:
        result = await stack.run(abilene(route=None, budgets={"deadline": 5.0, "solve": 0.5}))
        assert answered(result) == [(Rung.ANNEALING, "timed_out")]
        assert await booked(stack, result, 0.5) == 0.5


@pytest.mark.parametrize("expected", [0.4, 0.9])
async def test_the_simulation_of_the_gate(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path, expected: float
) -> None:
    """Whether the circuit passes, as half of the shots agree, or not."""
    ladders = {"sample": ["hardware"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "[gate]") as stack:
        result = await stack.run(bell(route="hardware", expect_peak=expected))
        outcome = "answered" if expected < 0.5 else "failed"
        assert answered(result) == [(Rung.HARDWARE, outcome)]
        await booked(stack, result, 0.001)


async def test_what_no_worker_began_costs_nothing(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    queue = TemporalSettings(task_queue=f"qsaga-{uuid4().hex[:8]}", role_queues=True)
    settings = settings_for(tmp_path, emulator.url, {"temporal": queue})
    config = dev_env.client.config()
    config["data_converter"] = data_converter(settings)
    client = Client(**config)
    await register_search_attributes(client)
    put_at_head(settings.data_dir / "qsaga.db")
    parts = await worker.build(settings)
    crew = [
        one
        for one in workers(client, settings, parts)
        if one.task_queue != settings.temporal.queues[WorkerRole.SOLVE]
    ]
    async with AsyncExitStack() as at_work:
        for one in crew:
            await at_work.enter_async_context(one)
        request = abilene(route="annealing", budgets={"deadline": 4.0, "solve": 0.3})
        result = await QsagaClient(client, settings).run(request)
        assert (Rung.ANNEALING, "timed_out") in answered(result)
        assert result.cost.classical_seconds == 0
    await parts.engine.dispose()
