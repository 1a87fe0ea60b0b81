"""The database cannot be written or read: an answer comes by the deadline all the same."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from activities.holding import HoldRun
from activities.rungs import Cached, Take
from adapters.annealing import NealSolver
from adapters.sql import SqlJobRecords, SqlLoopRecords
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.approval import ApprovalDecision, Verdict
from qsaga.core.jobs import JobRequest
from qsaga.core.operations import Reconcile, Reconciliation
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.supplied import SuppliedAnswer
from tests.support.ladders import answered, estimate, with_policy
from tests.support.loops import loop
from tests.support.people import reached
from tests.support.scheduled import until
from tests.support.stack import Stack, abilene, bell

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

COUNTS = {"c": {"00": 3, "11": 2}}


LATE = 1.0
"""Seconds by which the server may be late to say that an activity's time is up."""


async def in_time(stack: Stack, request: JobRequest, late: float = 0.0) -> bool:
    """Whether its result was there by the deadline, by the server's clock."""
    described = await stack.temporal.get_workflow_handle(request.job_id).describe()
    assert described.close_time is not None
    taken = (described.close_time - described.start_time).total_seconds()
    return taken <= request.budgets.seconds(Layer.DEADLINE) + late


async def reconciled(stack: Stack, *, repair: bool) -> Reconciliation:
    found = (await stack.client.operate(Reconcile(repair=repair))).reconciliation
    assert found is not None
    return found


def hangs(monkeypatch: pytest.MonkeyPatch, steps: type, name: str) -> None:
    """As a step does whose database does not reply."""

    async def never(_self: object, _given: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(steps, name, activity.defn(name=name)(never))


def refuses(monkeypatch: pytest.MonkeyPatch, table: type, name: str) -> asyncio.Event:
    """Have a table refuse what is written to it, for as long as the event is set."""
    down, write = asyncio.Event(), getattr(table, name)

    async def refused(self: object, *args: Any) -> None:
        if down.is_set():
            raise OSError("connection refused")
        await write(self, *args)

    monkeypatch.setattr(table, name, refused)
    return down


def annealed() -> JobRequest:
    return abilene(route="annealing", budgets={"deadline": 5.0, "solve": 0.3})


def solving(monkeypatch: pytest.MonkeyPatch, begun: Callable[[], object]) -> None:
    """Have something happen as a solver begins."""
    solve = NealSolver.solve

    def then(self: NealSolver, *args: Any, **given: Any) -> bytes:
        begun()
        return solve(self, *args, **given)

    monkeypatch.setattr(NealSolver, "solve", then)


async def written_down(stack: Stack, result: JobResult) -> None:
    """By a reconciliation, and nothing is left for another one."""
    await reconciled(stack, repair=True)
    record = await stack.record(result.job_id)
    assert record.result == result
    assert record.closed == result.transitions[-1].at
    kept = await stack.parts.ledger.reservations(result.job_id)
    (spent,) = [float(one.spent.classical_seconds) for one in kept if one.state == "settled"]
    assert spent == result.cost.classical_seconds > 0
    await stack.books_are_clean()
    found = await reconciled(stack, repair=True)
    assert (found.unwritten, found.repaired, found.orphans) == ((), (), ())


async def test_an_answer_that_cannot_be_written_down_comes_in_time_and_is_written_later(
    dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = refuses(monkeypatch, SqlJobRecords, "close")
    request = annealed()
    solving(monkeypatch, down.set)
    result = await dev.run(request)
    assert result.state is JobState.COMPLETED
    assert await in_time(dev, request)
    down.clear()
    found = await reconciled(dev, repair=False)
    assert (found.unwritten, found.lost, found.repaired) == ((result.job_id,), (), ())
    assert (await dev.record(result.job_id)).closed is None
    await written_down(dev, result)
    rows = await dev.parts.audit.entries(subject=result.job_id)
    said = [row.entry.reason for row in rows if row.entry.action == "repair"]
    assert any(f"job {result.job_id} written down as completed" in line for line in said)


async def test_a_locked_database_writes_the_answer_down_after_it_was_given(
    dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(
        dev.settings.data_dir / "qsaga.db", isolation_level=None, check_same_thread=False
    )
    solving(monkeypatch, lambda: other.execute("BEGIN IMMEDIATE"))
    request = annealed()
    try:
        result = await dev.run(request)
    finally:
        other.close()
    assert await in_time(dev, request)
    await dev.keep_history("unwritten.job", result.job_id)

    async def closed() -> bool:
        return (await dev.record(result.job_id)).closed is not None

    await until("the try that nobody waited for is through", closed)
    await written_down(dev, result)


async def test_a_loop_that_cannot_be_written_down_answers_in_time_and_is_written_later(
    dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = refuses(monkeypatch, SqlLoopRecords, "close")
    down.set()
    request = loop(
        optimiser={"name": "spsa", "iterations": 1, "options": {"a": 1.0}},
        budgets={"deadline": 14.0},
        point={"deadline": 7.0},
    )
    result = await (await dev.client.submit_loop(request)).result(60)
    assert result.answer is not None
    assert await in_time(dev, request)
    down.clear()
    loops = SqlLoopRecords(dev.parts.engine)
    found = await reconciled(dev, repair=False)
    assert (found.unwritten, found.repaired) == ((result.loop_id,), ())
    assert await loops.get(result.loop_id) is None
    found = await reconciled(dev, repair=True)
    told = f"loop {result.loop_id} written down as completed: so it had ended"
    assert told in found.repaired
    assert await loops.get(result.loop_id) == result
    assert (await reconciled(dev, repair=True)).unwritten == ()


async def test_an_account_that_cannot_be_booked_does_not_hold_up_the_answer(
    dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = refuses(monkeypatch, SqlJobRecords, "settle_run")
    down.set()
    request = bell(route="hardware", budgets={"deadline": 30.0})
    result = await dev.run(request)
    assert result.state is JobState.COMPLETED
    assert not result.cost.settled
    (left,) = result.compensations
    assert left.state == "in_progress"
    down.clear()
    await dev.settled(result)
    assert (await dev.record(result.job_id)).open_runs == ()
    await dev.books_are_clean()


async def test_a_top_up_for_which_nothing_can_be_reserved_leaves_the_answer_in_time(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs(monkeypatch, HoldRun, "hold_run")
    ladders = {"estimate": ["hardware"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "top_ups = 1") as stack:
        request = estimate(budgets={"deadline": 8.0})
        result = await stack.run(request)
        assert result.state is JobState.COMPLETED
        assert answered(result) == [(Rung.HARDWARE, "answered"), (Rung.HARDWARE, "timed_out")]
        assert await in_time(stack, request, LATE)


async def test_a_person_is_asked_in_time_although_no_earlier_answer_can_be_looked_up(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs(monkeypatch, Cached, "cached")
    ladders = {"sample": ["hardware", "manual"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, hardware=False) as stack:
        request = bell(budgets={"deadline": 10.0})
        handle = await stack.client.start(request)
        await reached(handle, JobState.AWAITING_APPROVAL)
        await handle.decide(yes())
        result = await stack.result(handle)
        assert answered(result) == [(Rung.MANUAL, "answered")]
        assert await in_time(stack, request, LATE)


async def test_a_person_s_answer_that_cannot_be_taken_ends_the_job_in_time(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs(monkeypatch, Take, "take")
    ladders = {"sample": ["hardware", "manual"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, hardware=False) as stack:
        request = bell(budgets={"deadline": 6.0})
        handle = await stack.client.start(request)
        await reached(handle, JobState.AWAITING_APPROVAL)
        await handle.decide(yes())
        result = await stack.result(handle)
        assert result.state is JobState.TIMED_OUT
        assert await in_time(stack, request, LATE)


def yes() -> ApprovalDecision:
    answer = SuppliedAnswer(counts=COUNTS)
    return ApprovalDecision(verdict=Verdict.APPROVE, by="ann", why="counted", answer=answer)
