"""Jobs that ask people and spend a tenant's budget, and what must be true when all has ended."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.approval import Verdict
from qsaga.core.jobs import JobRequest
from qsaga.core.ledger import Budget, Period, Tenant, Unit
from qsaga.core.results import JobResult
from qsaga.core.states import JobState
from tests.support.crew import Crewed, crewed_stack
from tests.support.stack import Stack, abilene

ASK = """
version = "test"
[ladders]
optimise = ["hardware", "annealing"]
sample = ["hardware", "simulator"]
estimate = ["hardware", "simulator"]
[hardware]
optimise_max_qubits = 100
quantum_seconds_overhead = 0.5
[hardware.prices.default]
per_quantum_second = "1.60"
[[rules]]
name = "hardware"
route = "hardware"
because = "a test"
"""
DEAR = """
[[approvals]]
name = "dear"
money_above = 1
because = "it costs more than 1 USD"
"""


@asynccontextmanager
async def asking_stack(
    env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    folder: Path,
    policy: str = ASK + DEAR,
    **changes: Any,
) -> AsyncIterator[Crewed]:
    """A stack under a policy of its own, on an emulator whose jobs take a fifth of a second."""
    await asyncio.to_thread(emulator.control.reset)
    await asyncio.to_thread(emulator.control.set_execution, 0.2)
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(policy)
    given = {"policy_file": folder / "policy.toml", "user": "alice"} | changes
    async with crewed_stack(env, emulator, folder, given) as stack:
        yield stack


def dear(**changes: Any) -> JobRequest:
    """A job of alice that may be charged ten seconds, 16 USD."""
    budgets = {"solve": 0.1, "quantum_seconds": 10.0} | changes.pop("budgets", {})
    base: dict[str, Any] = {"route": None, "requested_by": "alice", "budgets": budgets}
    return abilene(**(base | changes))


async def tenant(stack: Stack, name: str, **changes: Any) -> None:
    """Set a tenant up; numbers are budgets of a month."""
    numbers = {
        unit: Budget(limit=Decimal(value), period=Period.MONTH)
        for unit, value in changes.items()
        if unit in ("quantum_seconds", "money", "classical_seconds")
    }
    given = Tenant.model_validate({"name": name, **changes, **numbers})
    await stack.parts.ledger.put_tenant(given, datetime.now(UTC))


async def waiting(handle: JobHandle) -> None:
    """Until the job waits for a person."""
    await reached(handle, JobState.AWAITING_APPROVAL)


async def reached(handle: JobHandle, state: JobState) -> None:
    """Until the job or its run is in the state."""
    progress = await handle.progress()
    for _ in range(1200):
        if state in (progress.job.state, progress.run and progress.run.state):
            return
        assert not progress.job.state.final, progress.job
        await asyncio.sleep(0.02)
        progress = await handle.progress()
    raise AssertionError(f"{handle.job_id} is not {state.value}: {progress.job}")


async def ended(stack: Stack, *handles: JobHandle) -> list[JobResult]:
    """The results, once every run has ended; what must hold then of people and of money does."""
    results = await asyncio.gather(*(stack.result(handle) for handle in handles))
    for result in results:
        await stack.settled(result)
        await _all_in_order(stack, result)
    await stack.books_are_clean()
    jobs = stack.emulator.control.jobs()
    assert not [job for job in jobs if job["state"] in ("Queued", "Running")]
    assert await stack.parts.audit.broken() == ""
    return results


async def _all_in_order(stack: Stack, result: JobResult) -> None:
    assert result.state.final
    assert (result.answer is None) is (result.unanswered is not None)
    record = await stack.record(result.job_id)
    assert record.result == result, (record.result, result)
    assert record.open_runs == ()
    for attempt in result.attempts:
        if attempt.run_id:
            run = await stack.temporal.get_workflow_handle(attempt.run_id).describe()
            assert run.status is WorkflowExecutionStatus.COMPLETED
    truth = [job for run in record.runs for job in stack.remote(run)]
    assert {c.provider_job_id: c.cost.quantum_seconds for c in record.charges} == {
        job["id"]: job["charged_seconds"] for job in truth
    }
    kept = await stack.parts.ledger.reservations(result.job_id)
    spent = sum(one.spent.quantum_seconds for one in kept)
    assert float(spent) == sum(float(str(job["charged_seconds"])) for job in truth), kept
    if result.approval is not None:
        _one_outcome(result)


def _one_outcome(result: JobResult) -> None:
    approval = result.approval
    assert approval is not None and approval.outcome != "waiting"
    said = [d.decision.verdict for d in approval.counted]
    assert (approval.outcome == "rejected") is (Verdict.REJECT in said)
    assert Verdict.REJECT not in said[:-1], "something counted after a no"
    if approval.outcome == "approved":
        assert len(said) == approval.request.terms.approvals
        assert len({d.by for d in approval.counted}) == len(said)
    elif result.attempts:
        assert (approval.outcome, result.attempts[0].run_id) == ("expired", None)
    if approval.request.terms.four_eyes:
        assert approval.request.submitter not in {d.by for d in approval.counted}


async def spent(stack: Stack, name: str) -> float:
    """Quantum seconds that the ledger says the tenant has used."""
    statement = await stack.parts.ledger.statement(name, datetime.now(UTC))
    return float(next(x.spent for x in statement.lines if x.unit is Unit.QUANTUM_SECONDS))


def charged(stack: Stack) -> float:
    """Quantum seconds that the emulator charged for all jobs."""
    return float(sum(job["charged_seconds"] for job in stack.emulator.control.jobs()))


@asynccontextmanager
async def locked(stack: Stack) -> AsyncIterator[None]:
    """Nobody else can write to the database meanwhile."""
    path = stack.settings.data_dir / "qsaga.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA busy_timeout = 30000")
    # In a thread: whoever writes just now may need this loop to come to an end.
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
