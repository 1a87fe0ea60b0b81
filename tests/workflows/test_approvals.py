"""A person's yes, no, or silence: on the time-skipping server, with real books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.approval import DECIDE
from qsaga.core.errors import PolicyRefused
from qsaga.core.ledger import Budget, Period, Tenant
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Layer, Rung
from tests.support.clock_bridge import ClockBridge
from tests.support.people import ASK, DEAR, waiting
from tests.support.stack import Stack, abilene, running_stack

Asking = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def asking(
    skipping_env: WorkflowEnvironment,
    bridge: ClockBridge,
    following_emulator: EmulatorProcess,
    tmp_path: Path,
) -> Asking:
    """A stack whose policy asks, with more lines for its approval rule."""

    @asynccontextmanager
    async def stack(more: str = "", **changes: Any) -> AsyncIterator[Stack]:
        target = skipping_env.client.service_client.config.target_host
        await asyncio.to_thread(bridge.follow, target)
        await asyncio.to_thread(following_emulator.control.reset)
        policy = tmp_path / "policy.toml"
        policy.write_text(ASK + DEAR + more)
        given = {"policy_file": policy} | changes
        async with running_stack(skipping_env, following_emulator, tmp_path, "", given) as one:
            yield one

    return stack


async def settled(stack: Stack, handle: JobHandle) -> JobResult:
    """The result, once every account of the job is closed."""
    result = await stack.result(handle)
    await stack.settled(result)
    await stack.books_are_clean()
    return result


async def virtually(stack: Stack, seconds: float) -> None:
    """Let so much of the server's time pass."""
    await stack.env.sleep(seconds)


async def test_approved_by_signal_runs_on_hardware(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene(requested_by="alice"))
        await waiting(handle)
        asked = (await handle.progress()).job.approval
        assert asked is not None
        request = asked.request
        assert request.submitter == "alice"
        assert request.expected_money is not None and request.expected_money > 1
        assert request.ceiling is not None and request.ceiling.money == Decimal("96.00")
        assert [one.rung for one in request.alternatives] == ["annealing"]
        raw: Any = stack.temporal.get_workflow_handle(handle.job_id)
        await raw.signal(DECIDE, {"verdict": "approve", "by": "bob", "why": "worth it"})
        result = await settled(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.approval is not None and result.approval.outcome == "approved"
        assert [d.by for d in result.approval.counted] == ["bob"]
        assert [t.state for t in result.transitions][:3] == [
            JobState.RECEIVED,
            JobState.AWAITING_APPROVAL,
            JobState.ADMITTED,
        ]
        record = await stack.record(result.job_id)
        assert record.approval == result.approval
        (row,) = await stack.parts.audit.entries(subject=result.job_id)
        assert (row.entry.who, row.entry.action) == ("bob", "approve")
        await stack.keep_history("approved.job", handle.job_id)


async def test_rejected_ends_the_job_and_gives_everything_back(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        assert len(await stack.parts.ledger.held()) == 2
        decided = await handle.reject("too dear", by="bob")
        assert decided.refused == ""
        result = await settled(stack, handle)
        assert result.state is JobState.REJECTED
        assert result.unanswered is not None
        assert result.unanswered.reason == "rejected by bob: too dear"
        assert stack.emulator.control.jobs() == []
        await stack.keep_history("rejected.job", handle.job_id)


async def test_a_lower_budget_is_what_the_job_gets(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        await handle.approve("at most ten seconds", by="bob", quantum_seconds=10.0)
        result = await settled(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.decision is not None and result.decision.max_seconds == 10
        (job,) = stack.emulator.control.jobs()
        assert job["charged_seconds"] is not None


async def test_a_budget_too_low_for_hardware_leaves_the_rest_of_the_ladder(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        await handle.approve("only if free", by="bob", money=Decimal("0.50"))
        result = await settled(stack, handle)
        assert result.state is JobState.DEGRADED
        assert result.provenance is not None
        assert result.provenance.source is Rung.ANNEALING
        assert stack.emulator.control.jobs() == []


async def test_silence_ends_the_job_by_name(asking: Asking) -> None:
    async with asking("expires = 3600\nremind = 600\n") as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        result = await settled(stack, handle)
        assert result.state is JobState.TIMED_OUT
        assert result.unanswered is not None
        assert result.unanswered.layer is Layer.APPROVAL
        assert result.approval is not None
        assert result.approval.outcome == "expired"
        assert result.approval.reminded is not None
        assert stack.emulator.control.jobs() == []
        await stack.keep_history("expired.job", handle.job_id)


async def test_silence_may_leave_the_rest_of_the_ladder(asking: Asking) -> None:
    async with asking('expires = 3600\non_expiry = "fallback"\n') as stack:
        handle = await stack.client.start(abilene())
        result = await settled(stack, handle)
        assert result.state is JobState.DEGRADED
        assert result.provenance is not None
        assert result.provenance.source is Rung.ANNEALING
        assert result.decision is not None
        assert "nobody decided within 3600 s" in result.decision.reason


async def test_the_deadline_is_kept_while_a_person_is_waited_for(asking: Asking) -> None:
    async with asking('on_expiry = "fallback"\n') as stack:
        request = abilene(budgets={"deadline": 1200, "solve": 0.3, "queue": 600})
        result = await settled(stack, await stack.client.start(request))
        assert result.state is JobState.DEGRADED
        took = result.transitions[-1].at - result.transitions[0].at
        assert took < timedelta(seconds=1200)


async def test_four_eyes(asking: Asking) -> None:
    async with asking("four_eyes = true\n") as stack:
        handle = await stack.client.start(abilene(requested_by="alice"))
        await waiting(handle)
        with pytest.raises(PolicyRefused, match="four eyes: 'alice' submitted the job"):
            await handle.approve("I need it", by="alice")
        raw: Any = stack.temporal.get_workflow_handle(handle.job_id)
        await raw.signal(DECIDE, {"verdict": "approve", "by": "alice", "why": "by signal"})
        await handle.approve("fine", by="bob")
        result = await settled(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.approval is not None
        refused = [d for d in result.approval.decided if d.refused]
        assert [d.by for d in refused] == ["alice"]
        rows = await stack.parts.audit.entries(subject=handle.job_id)
        assert [(r.entry.who, r.entry.action) for r in rows] == [
            ("alice", "refused"),
            ("bob", "approve"),
        ]


async def test_two_approvers_and_nobody_twice(asking: Asking) -> None:
    async with asking("approvals = 2\n") as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        await handle.approve("yes", by="bob")
        with pytest.raises(PolicyRefused, match="already approved by 'bob'"):
            await handle.approve("yes again", by="bob")
        assert (await handle.progress()).job.state is JobState.AWAITING_APPROVAL
        await handle.approve("yes", by="carol")
        result = await settled(stack, handle)
        assert result.state is JobState.COMPLETED


async def test_escalation_asks_a_second_approver(asking: Asking) -> None:
    more = 'approvers = ["bob"]\nescalate_to = ["dora"]\nescalate = 600\nexpires = 7200\n'
    async with asking(more) as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        with pytest.raises(PolicyRefused, match=r"'dora' is not asked \(allowed: bob\)"):
            await handle.approve("yes", by="dora")
        await virtually(stack, 900)
        await handle.approve("yes", by="dora")
        result = await settled(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.approval is not None and result.approval.escalated is not None


async def test_decisions_that_come_too_late_are_refused(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        await handle.approve("yes", by="bob")
        result = await settled(stack, handle)
        assert result.state is JobState.COMPLETED
        with pytest.raises(PolicyRefused, match="has ended: completed"):
            await handle.reject("changed my mind", by="bob")


async def test_a_job_that_asks_nobody_refuses_decisions(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene(route="annealing", budgets={"solve": 2}))
        with pytest.raises(PolicyRefused, match="no approval is asked for this job"):
            await handle.approve("yes", by="bob")
        result = await settled(stack, handle)
        assert result.decision is not None
        assert [one.rung for one in result.decision.refused] == [Rung.HARDWARE]
        assert "would need approval" in result.decision.refused[0].reason


async def test_nonsense_by_signal_leaves_the_job_unharmed(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        raw: Any = stack.temporal.get_workflow_handle(handle.job_id)
        for nonsense in (
            {"verdict": "maybe", "by": "bob", "why": "x"},
            {"verdict": "approve", "by": "bob", "why": "x", "money": -1},
            {"verdict": "approve", "by": "bob", "why": ""},
            "yes",
            None,
            {},
        ):
            await raw.signal(DECIDE, nonsense)
        assert (await handle.progress()).job.state is JobState.AWAITING_APPROVAL
        await handle.reject("enough", by="bob")
        assert (await settled(stack, handle)).state is JobState.REJECTED


async def test_cancelled_while_a_person_is_waited_for(asking: Asking) -> None:
    async with asking() as stack:
        handle = await stack.client.start(abilene())
        await waiting(handle)
        await handle.cancel()
        result = await settled(stack, handle)
        assert result.state is JobState.CANCELLED
        assert result.approval is not None and result.approval.outcome == "withdrawn"


async def test_no_budget_no_question(asking: Asking) -> None:
    async with asking() as stack:
        await stack.parts.ledger.put_tenant(
            Tenant(name="poor", money=Budget(limit=Decimal(5), period=Period.MONTH)),
            datetime.now(UTC),
        )
        result = await settled(stack, await stack.client.start(abilene(tenant="poor")))
        assert result.state is JobState.REJECTED
        assert result.unanswered is not None
        assert "96 USD wanted, tenant 'poor' has 5 of 5 left this month" in result.unanswered.reason
        assert "renews" in result.unanswered.reason
        assert result.approval is None
        await stack.keep_history("refused_budget.job", result.job_id)
