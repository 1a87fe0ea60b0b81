"""Loops of which people are asked: once, for all that they may use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core import loops
from qsaga.core.errors import PolicyRefused
from qsaga.core.jobs import JobRequest
from qsaga.core.loop_rules import point_key, points
from qsaga.core.loops import JobInput, LoopGrant, LoopRequest, LoopResult
from qsaga.core.runs import QUANTUM_JOB
from qsaga.core.states import JobState, Rung
from qsaga.loop_handle import LoopHandle
from tests.support import people
from tests.support.loops import loop
from tests.support.people import ASK, asking_stack
from tests.support.stack import Stack, bell
from tests.workflows.test_guarded import client_with, guarded, token
from tests.workflows.test_loops import until
from workflows.identified import IdentifiedWorkflows

__all__ = ["guarded"]

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

SUM = """
[[approvals]]
name = "dear"
money_above = 5
because = "it costs more than 5 USD"
"""
"""A point is expected to cost 1.44 USD, the loops of these tests four times that at least."""


def asked(iterations: int = 1, **changes: Any) -> LoopRequest:
    """A loop of alice on hardware: two points an iteration, two more at the end."""
    given = {
        "route": "hardware",
        "optimiser": {"name": "spsa", "iterations": iterations, "options": {"a": 1.0}},
        "precision": 0.05,
        "initial": [2.9],
        "requested_by": "alice",
    }
    return loop(**(given | changes))


@pytest_asyncio.fixture(loop_scope="session")
async def stack(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Stack]:
    """Under a policy that asks about what costs more than 5 USD."""
    async with asking_stack(dev_env, emulator, tmp_path, ASK + SUM) as one:
        yield one


async def waiting(handle: LoopHandle) -> None:
    """Until the loop waits for a person."""
    await until(handle, lambda status: status.state is JobState.AWAITING_APPROVAL)


async def of_a_loop(stack: Stack, result: LoopResult) -> None:
    """Nobody was asked about any of its points."""
    assert points(result.iterations)
    for point in points(result.iterations):
        record = await stack.record(point.job_id)
        assert record.approval is None
        assert record.decision is not None and record.decision.facts.loop == result.loop_id


async def test_many_cheap_points_do_not_pass_a_limit_that_their_sum_breaks(stack: Stack) -> None:
    handle = await stack.client.submit_loop(asked())
    await waiting(handle)
    assert stack.emulator.control.jobs() == []
    (record,) = await stack.client.inbox()
    request = record.request
    assert request.job_id == handle.loop_id
    assert request.submitter == "alice"
    assert request.plan.startswith("loop of up to 4 evaluations, each an estimate of 2 qubits")
    assert request.expected_money == Decimal("5.76")
    assert request.ceiling is not None and request.ceiling.quantum_seconds == 600
    await handle.approve("worth it", by="bob")
    result = await handle.result(120)
    assert result.state is JobState.COMPLETED, result.reason
    assert result.sources == {Rung.HARDWARE: 4}
    assert result.approval is not None and result.approval.outcome == "approved"
    await of_a_loop(stack, result)
    entries = await stack.parts.audit.entries(subject=handle.loop_id)
    assert [(one.entry.who, one.entry.action) for one in entries] == [("bob", "approve")]
    assert await stack.client.inbox() == []
    await stack.books_are_clean()
    await stack.keep_history("approved.loop", handle.loop_id)


async def test_a_no_ends_the_loop_before_anything_is_sent(stack: Stack) -> None:
    handle = await stack.client.submit_loop(asked())
    await waiting(handle)
    await handle.reject("too dear", by="bob")
    result = await handle.result(60)
    assert (result.state, result.stopped) == (JobState.REJECTED, "rejected")
    assert result.unanswered is not None
    assert result.unanswered.reason == "rejected by bob: too dear"
    assert result.iterations == ()
    assert stack.emulator.control.jobs() == []
    with pytest.raises(PolicyRefused, match="has ended"):
        await handle.approve("after all", by="bob")


async def test_a_lower_budget_is_what_the_whole_loop_gets(stack: Stack) -> None:
    handle = await stack.client.submit_loop(asked(iterations=3))
    await waiting(handle)
    await handle.approve("at most five dollars", by="bob", money=Decimal(5))
    result = await handle.result(120)
    assert (result.state, result.stopped) == (JobState.DEGRADED, "budget"), result.reason
    shares = [point.share.money for point in result.iterations[0].points]
    assert shares == [Decimal("2.5"), Decimal("2.5")]
    charged = sum(job["charged_seconds"] for job in stack.emulator.control.jobs())
    assert Decimal(str(charged)) * Decimal("1.60") <= 5
    await stack.books_are_clean()


async def test_nobody_is_asked_about_what_is_cheap_in_all(stack: Stack) -> None:
    budgets = {"deadline": 600, "quantum_seconds": 600, "money": 4}
    result = await (await stack.client.submit_loop(asked(budgets=budgets))).result(120)
    # A loop that may cost no more than 4 USD is not expected to cost more.
    assert result.approval is None
    assert result.sources[Rung.HARDWARE] >= 2
    await of_a_loop(stack, result)


async def test_a_rule_about_every_job_asks_once(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Also in the runs after the first what was said holds.
    monkeypatch.setattr(loops, "POINTS_PER_RUN", 3)
    always = '[[approvals]]\nname = "all"\nalways = true\nbecause = "we look at everything"\n'
    async with asking_stack(dev_env, emulator, tmp_path, ASK + always) as stack:
        handle = await stack.client.submit_loop(asked(iterations=2))
        await waiting(handle)
        await handle.approve("fine", by="bob")
        result = await handle.result(120)
        assert result.state is JobState.COMPLETED, result.reason
        assert result.approval is not None and result.approval.approvals == 1
        await of_a_loop(stack, result)


async def test_an_expired_question_leaves_what_is_no_hardware(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    goes_on = SUM + 'on_expiry = "fallback"\n'
    async with asking_stack(dev_env, emulator, tmp_path, ASK + goes_on) as stack:
        budgets = {"deadline": 600, "quantum_seconds": 600, "approval": 1}
        handle = await stack.client.submit_loop(asked(budgets=budgets))
        result = await handle.result(120)
        assert result.state is JobState.DEGRADED
        assert result.approval is not None and result.approval.outcome == "expired"
        assert set(result.sources) == {Rung.SIMULATOR}
        assert stack.emulator.control.jobs() == []


async def test_an_expired_question_ends_the_loop(stack: Stack) -> None:
    budgets = {"deadline": 600, "quantum_seconds": 600, "approval": 1}
    result = await (await stack.client.submit_loop(asked(budgets=budgets))).result(60)
    assert (result.state, result.stopped) == (JobState.TIMED_OUT, "expired")
    assert stack.emulator.control.jobs() == []


async def test_hardware_that_was_not_there_when_it_was_judged_is_judged_when_it_comes(
    stack: Stack,
) -> None:
    control = stack.emulator.control
    control.set_plan({"do": "answer", "on": "backends", "status": 503})
    handle = await stack.client.submit_loop(asked(iterations=40))
    await until(handle, lambda status: status.iteration >= 1)
    control.clear_plan()
    await waiting(handle)
    assert control.jobs() == []
    await handle.cancel()
    result = await handle.result(60)
    assert set(result.sources) == {Rung.SIMULATOR}
    assert result.approval is not None and result.approval.outcome == "withdrawn"


async def test_a_grant_is_heeded_of_the_loop_that_started_the_job_only(stack: Stack) -> None:
    key = point_key("forged", 0, 0)
    workload = bell().workload.model_dump() | {"shots": 20_000}
    request = JobRequest.model_validate({"key": key, "workload": workload})
    await stack.temporal.start_workflow(
        QUANTUM_JOB,
        JobInput.granted(request, LoopGrant(loop_id="default/loop/forged")),
        id=request.job_id,
        task_queue=stack.settings.temporal.task_queue,
    )
    handle = stack.client.job(request.job_id)
    await people.waiting(handle)
    await handle.reject("no", by="bob")


async def test_where_identity_is_on_only_approvers_decide_on_a_loop(guarded: Stack) -> None:
    alice = client_with(guarded, token("alice", "submitter"))
    request = asked(tenant="acme", requested_by=None)
    handle = await alice.submit_loop(request)
    await waiting(handle)
    for refused in (token("alice", "submitter", "approver"), token("carol", "submitter"), None):
        with pytest.raises(Exception, match=r"four eyes|role|token"):
            await client_with(guarded, refused).loop(handle.loop_id).approve("mine", by="alice")
    bob = client_with(guarded, token("bob", "approver"))
    await bob.asked(handle.loop_id).approve("fine", by="bob")
    result = await handle.result(120)
    assert result.state is JobState.COMPLETED, result.reason
    assert set(result.sources) == {Rung.HARDWARE}
    for point in points(result.iterations):
        assert await guarded.parts.records.guarded(point.job_id)
    await of_a_loop(guarded, result)
    rows = await guarded.parts.audit.entries(subject=handle.loop_id)
    assert ("bob", "approve") in [(one.entry.who, one.entry.action) for one in rows]


@workflow.defn(name="HybridLoop", sandboxed=False)
class Stranger:
    """Somebody's own workflow under the id of a loop: it grants what nobody has judged."""

    @workflow.run
    async def run(self, given: list[Any]) -> Any:
        """Start the job on the deployment's queue, with the caller's own token."""
        queue, request, grant = given
        return await workflow.execute_child_workflow(
            QUANTUM_JOB,
            request | {"grant": grant},
            id=f"{request['tenant']}/{request['key']}",
            task_queue=queue,
        )


@pytest.mark.parametrize("sealed", [True, False])
async def test_where_identity_is_on_a_stranger_grants_nothing(
    guarded: Stack, *, sealed: bool
) -> None:
    key = f"forged-{uuid4().hex[:8]}"
    mallory = client_with(guarded, token("mallory", "submitter")).temporal
    workload = bell().workload.model_dump(mode="json") | {"shots": 20_000}
    request = {"key": point_key(key, 0, 0), "tenant": "acme", "workload": workload}
    grant = {"loop_id": f"acme/loop/{key}", "guarded": sealed}
    given = [guarded.settings.temporal.task_queue, request, grant]
    passes_tokens = [IdentifiedWorkflows(None, None)]
    queue = f"stranger-{uuid4().hex[:8]}"
    async with Worker(mallory, task_queue=queue, workflows=[Stranger], interceptors=passes_tokens):
        loop_handle = await mallory.start_workflow(
            Stranger.run, given, id=f"acme/loop/{key}", task_queue=queue
        )
        job = client_with(guarded, token("bob", "approver")).job(f"acme/{request['key']}")
        if sealed:
            with pytest.raises(WorkflowFailureError) as failed:
                await loop_handle.result()
            assert "parent: must be the guarded job" in repr(failed.value.cause.__cause__)
            return
        async with asyncio.timeout(60):
            while not await guarded.parts.records.get(job.job_id):  # noqa: ASYNC110 - of a worker
                await asyncio.sleep(0.05)
        await people.waiting(job)
        await job.reject("no", by="bob")
        assert (await loop_handle.result())["state"] == "rejected"
    assert guarded.emulator.control.jobs() == []
