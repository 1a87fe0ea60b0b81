"""Budgets, prices and backends that change while a job waits; books that cannot be written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.admission import Admit
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.admission import Admission, AdmitInput
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Rung
from tests.support.crew import Crewed
from tests.support.people import (
    ASK,
    DEAR,
    asking_stack,
    charged,
    dear,
    ended,
    locked,
    reached,
    spent,
    tenant,
    waiting,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALWAYS = """
[[approvals]]
name = "everything"
always = true
because = "somebody looks at everything"
"""


@pytest_asyncio.fixture(loop_scope="session")
async def stack(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Crewed]:
    """One whose policy asks where it gets dear, and knows how long a queue takes."""
    paced = ASK.replace("[hardware]", "[hardware]\nseconds_per_queued_job = 60")
    async with asking_stack(dev_env, emulator, tmp_path, paced + DEAR) as one:
        yield one


def admission_of(stack: Crewed) -> Admit:
    """The activities by which jobs are admitted, as a worker holds them."""
    admit = stack.parts.activities[0].__self__  # type: ignore[attr-defined]
    assert isinstance(admit, Admit)
    return admit


async def answered_in_the_house(stack: Crewed, handle: JobHandle, reason: str) -> JobResult:
    """The job is approved, and yet no hardware gets it, for a reason."""
    await handle.approve("yes", by="bob")
    (result,) = await ended(stack, handle)
    assert result.state is JobState.DEGRADED, result.unanswered
    assert result.decision is not None
    assert reason in next(r.reason for r in result.decision.refused if r.rung is Rung.HARDWARE)
    assert stack.emulator.control.summary()["posts"] == 0
    return result


async def asked(stack: Crewed, **changes: Any) -> JobHandle:
    """A job that waits for a person."""
    handle = await stack.client.start(dear(**changes))
    await waiting(handle)
    return handle


async def test_the_queue_grew_while_a_person_was_asked(stack: Crewed) -> None:
    handle = await asked(stack)
    stack.emulator.control.set_queue(1000, 60.0)
    await answered_in_the_house(stack, handle, "expected queue 60000 s is over the budget")


async def test_the_provider_went_away_while_a_person_was_asked(stack: Crewed) -> None:
    handle = await asked(stack, backend="ibm_torino")
    stack.emulator.control.set_faults(outage=True)
    await answered_in_the_house(stack, handle, "the provider cannot be reached")


@pytest.mark.parametrize(
    ("was", "becomes", "reason"),
    [
        ('"1.60"', '"160.00"', "the budget is 16.00"),
        ('"1.60"', '"1.60"\ncurrency = "EUR"', "priced in EUR, the budget is in USD"),
    ],
    ids=["a hundred times the price", "another currency"],
)
async def test_the_price_changed_while_a_person_was_asked(
    stack: Crewed, was: str, becomes: str, reason: str
) -> None:
    handle = await asked(stack)
    await stack.replace((ASK + DEAR).replace(was, becomes))
    await answered_in_the_house(stack, handle, reason)


async def test_a_higher_price_buys_no_more_than_what_was_approved(stack: Crewed) -> None:
    handle = await asked(stack)
    await stack.replace((ASK + DEAR).replace('"1.60"', '"5.00"'))
    await handle.approve("yes", by="bob")
    (result,) = await ended(stack, handle)
    assert result.state is JobState.COMPLETED
    assert result.decision is not None and result.decision.max_seconds == 3
    assert result.cost.money <= 16


async def test_hardware_that_nobody_was_asked_about_is_not_approved(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with asking_stack(dev_env, emulator, tmp_path, ASK + ALWAYS) as stack:
        emulator.control.set_faults(outage=True)
        handle = await asked(stack)
        approval = await handle.approval()
        assert approval is not None and approval.request.ceiling is None
        emulator.control.set_faults(outage=False)
        await answered_in_the_house(stack, handle, "not part of what was approved")


async def test_who_is_asked_for_something_else_does_not_approve_the_hardware_behind_it(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with asking_stack(dev_env, emulator, tmp_path, ASK + DEAR + ALWAYS) as stack:
        handle = await asked(stack, route="annealing")
        approval = await handle.approval()
        assert approval is not None
        assert (approval.request.terms.rule, approval.request.ceiling) == ("everything", None)
        await handle.approve("an annealer may have it", by="bob")
        (result,) = await ended(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.decision is not None and result.decision.ladder == (Rung.ANNEALING,)


@pytest.mark.parametrize("lower", [{"quantum_seconds": 0.4}, {"money": 0}])
async def test_a_budget_that_pays_for_no_hardware_gives_it_back(
    stack: Crewed, lower: dict[str, Any]
) -> None:
    await tenant(stack, "acme", quantum_seconds=10, money=16)
    handle = await asked(stack, tenant="acme")
    await handle.approve("only what is free", by="bob", **lower)
    (result,) = await ended(stack, handle)
    assert result.state is JobState.DEGRADED
    (again,) = await ended(stack, await _approved(stack, tenant="acme"))
    assert again.state is JobState.COMPLETED


async def _approved(stack: Crewed, **changes: Any) -> JobHandle:
    handle = await asked(stack, **changes)
    await handle.approve("yes", by="bob")
    return handle


async def test_for_the_last_of_the_budget_the_first_job_comes_first(stack: Crewed) -> None:
    await tenant(stack, "acme", quantum_seconds=15, when_spent="fallback")
    first = await asked(stack, tenant="acme")
    second = await stack.client.start(dear(tenant="acme"))
    (fell_back,) = await ended_but_for(stack, second)
    assert fell_back.state is JobState.DEGRADED and fell_back.approval is None
    await tenant(stack, "acme", quantum_seconds=0, when_spent="fallback")
    await first.approve("it was held for it", by="bob")
    (result,) = await ended(stack, first)
    assert result.state is JobState.COMPLETED
    assert await spent(stack, "acme") == charged(stack) > 0


async def ended_but_for(stack: Crewed, *handles: JobHandle) -> list[JobResult]:
    """The results of jobs beside which others still hold something."""
    results = [await handle.result() for handle in handles]
    for result in results:
        kept = await stack.parts.ledger.reservations(result.job_id)
        assert {one.state for one in kept} <= {"settled", "released"}
    return results


async def test_a_slot_is_free_again_when_the_job_before_ends(stack: Crewed) -> None:
    await tenant(stack, "acme", jobs=1)
    first = await asked(stack, tenant="acme")
    second = await stack.client.start(dear(tenant="acme"))
    (refused,) = await ended_but_for(stack, second)
    assert refused.state is JobState.REJECTED
    assert refused.unanswered is not None
    assert "tenant 'acme' has 1 of 1 jobs at work" in refused.unanswered.reason
    await first.reject("make room", by="bob")
    await ended(stack, first)
    (third,) = await ended(stack, await _approved(stack, tenant="acme"))
    assert third.state is JobState.COMPLETED


async def test_a_refusal_whose_reply_was_lost_is_a_refusal_again(stack: Crewed) -> None:
    await tenant(stack, "acme", quantum_seconds=5)
    request = dear(tenant="acme", key="lost")
    given = AdmitInput(request=request, job_id=request.job_id, at=datetime.now(UTC), account="lost")
    for attempt in (1, 2):
        env = ActivityEnvironment()
        env.info = env.default_info().__class__(**{**vars(env.info), "attempt": attempt})
        admitted: Admission = await env.run(admission_of(stack).admit, given)
        assert "10 quantum seconds wanted" in admitted.refused
    assert await stack.parts.ledger.held() == ()


@pytest.mark.parametrize("way", ["completed", "rejected", "cancelled", "refused"])
async def test_an_attempt_that_reserves_after_the_end_holds_nothing(
    stack: Crewed, way: str
) -> None:
    await tenant(stack, "acme", quantum_seconds=5 if way == "refused" else 100)
    request = dear(tenant="acme")
    handle = await stack.client.start(request)
    if way != "refused":
        await waiting(handle)
    match way:
        case "completed":
            await handle.approve("yes", by="bob")
        case "rejected":
            await handle.reject("no", by="bob")
        case "cancelled":
            await handle.cancel()
    (result,) = await ended(stack, handle)
    assert result.decision is not None
    job = await stack.temporal.get_workflow_handle(handle.job_id).describe()
    late = Admission(decision=result.decision, deployment="test", account=str(job.run_id))
    await tenant(stack, "acme", quantum_seconds=1000)
    await admission_of(stack)._budget.reserve(request, late, None, datetime.now(UTC))
    await stack.books_are_clean()


async def test_books_that_cannot_be_written_for_a_while_lose_nothing(stack: Crewed) -> None:
    stack.emulator.control.set_queue(1, 1.0)
    async with locked(stack):
        handle = await stack.client.start(dear())
        await reached(handle, JobState.RECEIVED)
    await waiting(handle)
    await handle.approve("yes", by="bob")
    await reached(handle, JobState.QUEUED)
    async with locked(stack):
        # Beyond the local tries to settle, and those to close.
        await reached(handle, JobState.COMPLETED)
        result = await handle.progress()
        assert result.job.state is JobState.COMPLETED
    (final,) = await ended(stack, handle)
    assert final.state is JobState.COMPLETED
    assert charged(stack) > 0


@pytest.mark.parametrize("run", ["goes on", "has ended"])
async def test_a_job_that_was_terminated_and_asked_for_again_is_charged_once(
    stack: Crewed, run: str
) -> None:
    await tenant(stack, "acme", quantum_seconds=100, money=1000)
    request = dear(tenant="acme")
    stack.emulator.control.set_queue(1, 1.5)
    handle = await stack.client.start(request)
    await waiting(handle)
    await handle.approve("yes", by="bob")
    await reached(handle, JobState.QUEUED)
    tag = (await handle.progress()).job.run_id
    assert tag is not None
    await stack.temporal.get_workflow_handle(handle.job_id).terminate("by hand")
    if run == "has ended":
        await stack.temporal.get_workflow_handle(tag).result()
    again = await stack.client.start(request)
    await waiting(again)
    await again.approve("yes", by="bob")
    result = await again.result()
    assert result.state is JobState.COMPLETED
    await stack.settled(result)
    assert await spent(stack, "acme") == charged(stack) > 0
    # What the terminated job held for itself is left to an operator; of the second nothing is.
    (left,) = await stack.parts.ledger.held()
    assert left.key.startswith(request.job_id)
    assert left.held.quantum_seconds == 0
