"""What terminated and reset workflows leave is found and put right by a schedule."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    ResetWorkflowExecutionRequest,
)
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import deployment_tag
from qsaga.core.operations import Reconcile, Reconciliation
from qsaga.core.sessions import session_id
from qsaga.core.states import JobState
from tests.support.people import reached
from tests.support.scheduled import (
    deployment,
    make_old,
    nothing_is_left,
    queued,
    reconciled,
    scheduled,
    slow,
    terminate,
    until,
)
from tests.support.stack import Stack, abilene, bell

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

BACKEND = "ibm_torino"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def one(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    """A deployment for all tests of this file."""
    emulator.control.reset()
    async with deployment(dev_env, emulator, tmp_path_factory.mktemp("one")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def slow_queue(emulator: EmulatorProcess) -> None:
    """Nothing starts by itself."""
    slow(emulator)


async def test_job_and_run_terminated_while_the_remote_job_waits(one: Stack) -> None:
    handle, run_id = await queued(one, abilene())
    await terminate(one, handle.job_id, run_id)
    found = await reconciled(one)
    (remote,) = one.remote(run_id)
    assert (remote["state"], remote["charged_seconds"]) == ("Cancelled", 0)
    assert found.lost == (handle.job_id,) and len(found.released) == 2
    assert [text.split()[0] for text in found.repaired] == [
        *("remote", "reservation", "reservation", "job")
    ]
    rows = await one.parts.audit.entries(subject=handle.job_id)
    assert {row.entry.reason for row in rows if row.entry.action == "repair"} == set(found.repaired)
    assert (await one.client.last_scheduled("reconcile")).reconciliation == found
    await nothing_is_left(one, handle.job_id)


async def test_what_ran_after_both_were_terminated_is_booked(one: Stack) -> None:
    handle, run_id = await queued(one, abilene())
    await terminate(one, handle.job_id, run_id)
    one.emulator.control.set_queue(0, 0.0)

    async def ran() -> bool:
        return one.remote(run_id)[0]["state"] == "Completed"

    await until("the remote job has run", ran)
    found = await reconciled(one)
    (remote,) = one.remote(run_id)
    (charge,) = (await one.record(handle.job_id)).charges
    assert charge.cost.quantum_seconds == remote["charged_seconds"] > 0
    assert charge.role == "run"
    assert found.booked == found.charged
    await nothing_is_left(one, handle.job_id)


async def test_a_job_terminated_alone_leaves_its_run_to_close_the_account(one: Stack) -> None:
    handle, run_id = await queued(one, abilene())
    await terminate(one, handle.job_id)
    found = await reconciled(one)
    assert found.lost == (handle.job_id,) and len(found.released) == 1
    (held,) = await one.parts.ledger.held()
    assert held.key.partition("#")[0] == run_id, "the run that is at work keeps what it holds"
    assert one.remote(run_id)[0]["state"] == "Queued"
    one.emulator.control.set_queue(0, 0.0)
    await one.temporal.get_workflow_handle(run_id).result()
    assert one.remote(run_id)[0]["state"] == "Completed"
    await nothing_is_left(one, handle.job_id)


async def test_a_run_terminated_before_its_job_is_listed(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with deployment(dev_env, emulator, tmp_path / "two") as two:
        sent, sent_run = await queued(two, abilene())
        unsent, unsent_run = await queued(two, abilene())
        await terminate(two, sent.job_id, sent_run, unsent.job_id, unsent_run)
        emulator.control.set_plan({"do": "list_missing"})
        # What a run leaves that died between opening its account and the request.
        await _intent(two, unsent_run, "sends = 0, last_sent_at = NULL")
        found = await reconciled(two)
        assert any("may still be listed" in line for line in found.left)
        assert any(unsent_run in line and "no job is left" in line for line in found.repaired)
        assert set(await two.parts.records.open_accounts()) == {sent_run}
        (held,) = await two.parts.ledger.held()
        assert held.key.partition("#")[0] == sent_run, "what it may still cost stays held"
        emulator.control.set_plan()
        found = await reconciled(two)
        assert len([line for line in found.repaired if line.startswith("remote job")]) == 2
        await nothing_is_left(two, sent.job_id, unsent.job_id)


async def _intent(stack: Stack, run_id: str, values: str) -> None:
    async with stack.parts.engine.begin() as connection:
        statement = text(f"UPDATE runs SET {values} WHERE run_id = :id")
        await connection.execute(statement, {"id": run_id})


async def test_a_job_terminated_between_its_reservation_and_its_run(one: Stack) -> None:
    handle = await one.client.start(abilene(tenant="asked"))
    await reached(handle, JobState.AWAITING_APPROVAL)
    assert len(await one.parts.ledger.held()) == 2
    untouched = await reconciled(one)
    assert untouched.orphans == () and untouched.repaired == ()
    await terminate(one, handle.job_id)
    found = await reconciled(one)
    assert len(found.released) == 2 and found.lost == (handle.job_id,)
    await nothing_is_left(one, handle.job_id)


async def test_a_session_without_its_owner_is_closed_when_nobody_is_in_it(one: Stack) -> None:
    terms = {"key": f"s-{uuid4().hex[:8]}", "idle_seconds": 3000.0}
    handle, run_id = await queued(one, bell(route="hardware", session=terms))
    tag = deployment_tag(one.settings.deployment)
    owner = session_id(tag, "default", terms["key"], BACKEND)
    await terminate(one, owner)
    found = await reconciled(one)
    assert any("runs at work use it" in line for line in found.left)
    assert one.emulator.control.sessions()[-1]["closed"] is None
    assert one.remote(run_id)[0]["state"] == "Queued", "a healthy job keeps its session"
    one.emulator.control.set_queue(0, 0.0)
    result = await one.result(handle)
    assert result.state is JobState.COMPLETED
    await one.settled(result)
    found = await reconciled(one)
    assert any(line.startswith("session") for line in found.repaired)
    assert one.emulator.control.sessions()[-1]["closed"] is not None
    await nothing_is_left(one, handle.job_id)


async def test_what_a_dedicated_session_cost_is_no_difference(one: Stack) -> None:
    one.emulator.control.set_queue(0, 0.0)
    terms = {"key": f"s-{uuid4().hex[:8]}", "mode": "dedicated", "max_seconds": 60}
    request = bell(route="hardware", session=terms | {"idle_seconds": 0.5})
    result = await one.run(request)
    await one.settled(result)
    tag = deployment_tag(one.settings.deployment)
    owner = session_id(tag, "default", terms["key"], BACKEND)
    await one.temporal.get_workflow_handle(owner).result()
    roles = {charge.role for charge in (await one.record(result.job_id)).charges}
    assert roles == {"run", "session"}
    found = await reconciled(one)
    assert found.differences == () and found.booked == found.charged


async def test_a_job_that_was_reset_leaves_nothing(one: Stack) -> None:
    handle, run_id = await queued(one, abilene(budgets={"solve": 0.1, "deadline": 86400}))
    described = await one.temporal.get_workflow_handle(handle.job_id).describe()
    await one.temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=one.temporal.namespace,
            workflow_execution=WorkflowExecution(
                workflow_id=handle.job_id, run_id=described.run_id
            ),
            reason="a test",
            workflow_task_finish_event_id=3,
            request_id=uuid4().hex,
        )
    )
    found = await reconciled(one)
    assert (found.lost, found.repaired) == ((), ()), "the job and its run are at work"
    await reached(handle, JobState.QUEUED)
    one.emulator.control.set_queue(0, 0.0)
    result = await one.result(handle)
    assert result.state is JobState.COMPLETED
    await one.temporal.get_workflow_handle(run_id).result()
    await reconciled(one)  # releases what the first start of the job held, if anything
    assert len(one.remote(run_id)) == 1
    await nothing_is_left(one, handle.job_id)


async def test_healthy_jobs_in_every_stage_are_let_alone(one: Stack) -> None:
    one.emulator.control.set_queue(1, 0.3)
    terms = {"key": f"s-{uuid4().hex[:8]}", "idle_seconds": 0.3}
    requests = [
        *(abilene(budgets={"solve": 0.1}) for _ in range(3)),
        abilene(budgets={"solve": 0.1, "queue": 0.4}),
        abilene(route="annealing", budgets={"solve": 0.1}),
        bell(route="simulator"),
        bell(route="hardware", session=terms),
    ]
    asked = await one.client.start(abilene(tenant="asked", budgets={"solve": 0.1}))
    ended = asyncio.Event()

    async def again_and_again() -> list[Reconciliation]:
        found = []
        while not ended.is_set():
            report = (await one.client.operate(Reconcile(repair=True))).reconciliation
            assert report is not None
            found.append(report)
        return found

    looking = asyncio.create_task(again_and_again())
    try:
        results = await asyncio.gather(*(one.run(request) for request in requests))
        await reached(asked, JobState.AWAITING_APPROVAL)
        await asked.approve("yes", by="bob")
        results = [*results, await one.result(asked)]
        for result in results:
            await one.settled(result)
    finally:
        ended.set()
    reports = await looking
    assert len(reports) > 5
    for report in reports:
        assert (report.repaired, report.released, report.lost) == ((), (), ())
        assert report.differences == (), report.differences
    assert all(result.answer is not None for result in results)
    owner = session_id(deployment_tag(one.settings.deployment), "default", terms["key"], BACKEND)
    await one.temporal.get_workflow_handle(owner).result()
    await nothing_is_left(one, *(result.job_id for result in results))


async def test_another_deployment_on_the_same_account_is_not_touched(
    one: Stack, dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with deployment(dev_env, emulator, tmp_path / "two") as two:
        theirs, their_run = await queued(two, abilene(tenant="theirs"))
        lost, lost_run = await queued(two, abilene(tenant="theirs"))
        await terminate(two, lost.job_id, lost_run)  # theirs to find, not ours
        handle, run_id = await queued(one, abilene())
        await terminate(one, handle.job_id, run_id)
        before = [*await two.parts.ledger.held()], await two.parts.records.open_accounts()
        make_old(two.settings.data_dir)
        await reconciled(one)
        await scheduled(one, "sweep")
        assert one.remote(run_id)[0]["state"] == "Cancelled"
        for tag in (their_run, lost_run):
            assert emulator.control.jobs(tag=tag)[0]["state"] == "Queued"
        assert ([*await two.parts.ledger.held()], await two.parts.records.open_accounts()) == before
        await nothing_is_left(one, handle.job_id)
        found = await reconciled(two)
        assert found.lost == (lost.job_id,)
        assert emulator.control.jobs(tag=their_run)[0]["state"] == "Queued"
        emulator.control.set_queue(0, 0.0)
        result = await two.result(theirs)
        assert result.state is JobState.COMPLETED
        await two.settled(result)
        await nothing_is_left(two, theirs.job_id, lost.job_id)


# --- differences ------------------------------------------------------------------------------


async def test_a_difference_is_told_with_what_to_do(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator.control.set_queue(0, 0.0)
    async with deployment(dev_env, emulator, tmp_path / "two") as two:
        result = await two.run(abilene())
        await two.settled(result)
        async with two.parts.engine.begin() as connection:
            await connection.execute(text("UPDATE charges SET quantum_seconds = 40"))
        with caplog.at_level(logging.ERROR, "qsaga.reconcile"):
            found = await reconciled(two)
        assert len(found.differences) == 2
        assert all(one.advice for one in found.differences)
        said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert any("40" in line and "invoice" in line for line in said)
        assert any(f"qsaga show {result.job_id}" in line for line in said)
        assert await two.parts.ledger.books()
        (charge,) = (await two.record(result.job_id)).charges
        assert charge.cost.quantum_seconds == 40, "a difference is never corrected"
