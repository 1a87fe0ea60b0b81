"""What operators and auditors ask for, on the dev server with real books and a real emulator."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from qsaga.core.errors import InvalidRequest, KeyConflict, NoSuchJob, PolicyRefused
from qsaga.core.ledger import Budget, Period, Tenant, Unit
from qsaga.core.operations import (
    CheckBooks,
    Forget,
    GetAudit,
    GetHistory,
    GetRecord,
    GetStatement,
    PutTenant,
    Rebuild,
    Reconcile,
    Reproduce,
    Retain,
    Tenants,
)
from qsaga.core.records import HistoryQuery
from qsaga.core.results import JobResult
from qsaga.core.runs import RunReport
from qsaga.core.states import JobState, Rung
from tests.support.erased import compacted, gone, mentions, visible
from tests.support.stack import Stack, abilene, bell

TABLES = (
    *("late_results", "charges", "runs", "transitions", "attempts", "timings", "approvals"),
    *("lineage", "job_artefacts", "jobs"),
)


async def ended(stack: Stack, result: JobResult) -> JobResult:
    """The result once the accounts are closed and the books clean."""
    await stack.settled(result)
    await stack.books_are_clean()
    return result


async def test_a_tenant_s_budget_is_used_up_by_what_was_charged(dev: Stack) -> None:
    tenant = Tenant(
        name="acme",
        quantum_seconds=Budget(limit=Decimal(100), period=Period.MONTH),
        money=Budget(limit=Decimal(200)),
        jobs=3,
    )
    report = await dev.client.operate(PutTenant(tenant=tenant), by="ops")
    assert report.statements[0].tenant == tenant
    result = await ended(dev, await dev.run(abilene(tenant="acme")))
    assert result.state is JobState.COMPLETED
    charged = sum(job["charged_seconds"] for job in dev.emulator.control.jobs())
    (statement,) = (await dev.client.operate(GetStatement(tenant="acme"))).statements
    lines = {line.unit: line for line in statement.lines}
    assert float(lines[Unit.QUANTUM_SECONDS].spent) == charged > 0
    assert lines[Unit.QUANTUM_SECONDS].left == Decimal(100) - lines[Unit.QUANTUM_SECONDS].spent
    assert lines[Unit.MONEY].spent == result.cost.money
    assert lines[Unit.JOBS].held == 0
    assert (await dev.client.operate(CheckBooks())).text == "the books close"
    listed = (await dev.client.operate(Tenants())).statements
    assert [one.tenant.name for one in listed] == ["acme"]


async def test_a_tenant_who_falls_back_is_answered_without_hardware(dev: Stack) -> None:
    poor = Tenant(name="poor", money=Budget(limit=Decimal(1)), when_spent="fallback")
    await dev.client.operate(PutTenant(tenant=poor))
    result = await ended(dev, await dev.run(abilene(tenant="poor")))
    assert result.state is JobState.DEGRADED
    assert result.decision is not None
    assert "96 USD wanted, tenant 'poor' has 1 of 1 left" in result.decision.reason
    assert dev.emulator.control.jobs() == []


async def test_hardware_behind_another_rung_needs_no_budget(dev: Stack) -> None:
    poor = Tenant(name="poorer", money=Budget(limit=Decimal(1)))
    await dev.client.operate(PutTenant(tenant=poor))
    request = abilene(tenant="poorer", route="annealing", budgets={"solve": 0.1})
    result = await ended(dev, await dev.run(request))
    assert result.state is JobState.COMPLETED
    assert result.decision is not None
    assert Rung.HARDWARE not in result.decision.ladder
    refused = await dev.run(abilene(tenant="poorer"))
    assert refused.state is JobState.REJECTED


async def test_unknown_things_are_named(dev: Stack) -> None:
    with pytest.raises(InvalidRequest, match="tenant"):
        await dev.client.operate(GetStatement(tenant="nobody"))
    with pytest.raises(NoSuchJob):
        await dev.client.operate(GetRecord(job_id="acme/none"))
    with pytest.raises(NoSuchJob):
        await dev.client.operate(Forget(job_id="acme/none", why="x"))


async def test_history_and_record(dev: Stack) -> None:
    first = await ended(dev, await dev.run(abilene(experiment="e1", requested_by="alice")))
    second = await ended(dev, await dev.run(bell(route="simulator", experiment="e1")))
    await ended(dev, await dev.run(bell(route="simulator")))
    query = HistoryQuery(experiment="e1")
    rows = (await dev.client.operate(GetHistory(query=query))).history
    assert [row.job_id for row in rows] == [second.job_id, first.job_id]
    assert rows[1].submitter == "alice"
    assert rows[1].quantum_seconds == first.cost.quantum_seconds > 0
    record = (await dev.client.operate(GetRecord(job_id=first.job_id))).record
    assert record is not None
    assert record.result == first
    assert record.request is not None and record.request.experiment == "e1"
    assert first.lineage is not None
    assert first.lineage.formulation and first.lineage.calibration and first.lineage.machine


async def test_the_same_circuit_and_counts_again(dev: Stack) -> None:
    sampled = await ended(dev, await dev.run(bell(route="simulator")))
    again = (await dev.client.operate(Reproduce(job_id=sampled.job_id))).reproduction
    assert again is not None and again.same, again
    solved = await ended(dev, await dev.run(abilene()))
    again = (await dev.client.operate(Reproduce(job_id=solved.job_id))).reproduction
    assert again is not None and again.same, again
    assert any("circuit" in check.what and check.same for check in again.checks)


async def test_what_the_table_lost_is_written_again(dev: Stack) -> None:
    hardware = await ended(dev, await dev.run(abilene(tenant="acme")))
    annealed = await ended(dev, await dev.run(abilene(route="annealing", budgets={"solve": 0.1})))
    before = [await dev.record(one.job_id) for one in (hardware, annealed)]
    books = await dev.parts.ledger.books()
    async with dev.parts.engine.begin() as connection:
        for table in TABLES:
            await connection.execute(text(f"DELETE FROM {table}"))
    assert await dev.parts.records.get(hardware.job_id) is None
    await visible(dev, 3)
    report = await dev.client.operate(Rebuild(), by="ops")
    assert "2 jobs, 1 hardware runs and 0 loops are written" in report.text
    after = [await dev.record(one.job_id) for one in (hardware, annealed)]
    for old, new in zip(before, after, strict=True):
        assert new.result == old.result
        assert new.charges == old.charges
        assert new.request == old.request
        assert new.open_runs == ()
    assert await dev.parts.ledger.books() == books
    await dev.client.operate(Rebuild())
    assert [await dev.record(one.job_id) for one in (hardware, annealed)] == after


async def test_forgotten_is_forgotten_everywhere(dev: Stack) -> None:
    names = ["zaphod", "trillian", "arthur", "ford"]
    edges = [[a, b] for i, a in enumerate(names) for b in names[i + 1 :]]
    problem = {"name": "maxcut", "data": {"edges": edges}}
    request = abilene(workload={"kind": "optimise", "problem": problem, "shots": 64})
    await dev.client.plan(request)
    result = await ended(dev, await dev.run(request))
    await dev.client.operate(GetRecord(job_id=result.job_id))
    other = await ended(dev, await dev.run(abilene()))
    await visible(dev, 6)
    await dev.keep_histories(PlanJob="planned.plan", Operation="told.operation")
    folder = dev.settings.data_dir
    assert mentions(folder, "zaphod")
    report = await dev.client.operate(Forget(job_id=result.job_id, why="asked by the owner"))
    assert report.forgotten == (result.job_id,)
    assert report.text == f"job {result.job_id} is forgotten"
    await compacted(dev)
    assert not mentions(folder, "zaphod")
    for workflow_id in (result.job_id, dev.run_id(result)):
        await gone(dev, workflow_id)
    for begin in ("plan", "operation/record"):
        await _unlisted(dev, f"{begin}/{result.job_id}/")
    record = await dev.record(result.job_id)
    assert record.result is None and record.request is None and record.forgotten is not None
    assert record.charges, "what was paid stays accountable"
    (entry,) = [
        row.entry
        for row in (await dev.client.operate(GetAudit(subject=result.job_id))).audit
        if row.entry.action == "forget"
    ]
    assert entry.detail["why"] == "asked by the owner"
    # the other one is whole
    assert (await dev.record(other.job_id)).result == other
    again = (await dev.client.operate(Reproduce(job_id=other.job_id))).reproduction
    assert again is not None and again.same
    # and the key stays taken
    with pytest.raises(KeyConflict, match="forgotten"):
        await dev.run(request)
    await dev.client.operate(Forget(job_id=result.job_id, why="once more"))


async def _unlisted(stack: Stack, begin: str) -> None:
    for _ in range(400):
        query = f"WorkflowId STARTS_WITH '{begin}'"
        if (await stack.temporal.count_workflows(query)).count == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{begin} is still there")


async def test_a_job_at_work_is_not_forgotten(dev: Stack) -> None:
    dev.emulator.control.set_queue(50, 3600.0)
    try:
        handle = await dev.client.start(abilene())
        await _state(dev, handle.job_id, JobState.QUEUED)
        with pytest.raises(PolicyRefused, match="at work"):
            await dev.client.operate(Forget(job_id=handle.job_id, why="too early"))
        await handle.cancel()
        await ended(dev, await dev.result(handle))
    finally:
        dev.emulator.control.set_queue(0, 1.0)


async def _state(stack: Stack, job_id: str, state: JobState) -> None:
    handle = stack.client.job(job_id)
    for _ in range(600):
        progress = await handle.progress()
        if state in (progress.job.state, progress.run.state if progress.run else None):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{job_id} never was {state}")


async def test_retention_forgets_what_is_too_old(dev: Stack) -> None:
    kept = await ended(dev, await dev.run(bell(route="simulator")))
    old = await ended(dev, await dev.run(bell(route="simulator")))
    async with dev.parts.engine.begin() as connection:
        await connection.execute(
            text("UPDATE jobs SET closed = '2020-01-01 00:00:00.000000' WHERE job_id = :id"),
            {"id": old.job_id},
        )
    report = await dev.client.operate(Retain(days=30))
    assert report.forgotten == (old.job_id,)
    assert (await dev.record(kept.job_id)).forgotten is None
    assert (await dev.client.operate(Retain())).forgotten == ()


async def test_reconciled_with_the_provider(dev: Stack) -> None:
    result = await ended(dev, await dev.run(abilene()))
    report = (await dev.client.operate(Reconcile())).reconciliation
    assert report is not None
    assert report.differences == ()
    assert report.remote_jobs == 1
    assert report.booked == report.charged > 0
    assert report.account_consumed is not None
    async with dev.parts.engine.begin() as connection:
        await connection.execute(text("UPDATE charges SET quantum_seconds = quantum_seconds + 1"))
    report = (await dev.client.operate(Reconcile())).reconciliation
    assert report is not None
    said = " ".join(one.text for one in report.differences)
    assert "quantum seconds charged" in said and f"job {result.job_id}" in said
    wrong = (await dev.record(result.job_id)).charges[0].cost.quantum_seconds
    assert wrong == result.cost.quantum_seconds + 1, "a difference is never corrected"


async def test_a_job_that_was_terminated_leaves_nothing_after_repair(dev: Stack) -> None:
    dev.emulator.control.set_queue(50, 3600.0)
    try:
        handle = await dev.client.start(abilene())
        await _state(dev, handle.job_id, JobState.QUEUED)
        run_id = (await handle.progress()).job.run_id
        assert run_id is not None
        for workflow_id in (handle.job_id, run_id):
            await dev.temporal.get_workflow_handle(workflow_id).terminate("by hand")
        assert len(await dev.parts.ledger.held()) == 2
        first = (await dev.client.operate(Reconcile())).reconciliation
        assert first is not None
        assert len(first.orphans) == 2 and first.released == ()
        assert len(await dev.parts.ledger.held()) == 2
        second = (await dev.client.operate(Reconcile(repair=True))).reconciliation
        assert second is not None and len(second.released) == 2
        assert first.lost == second.lost == (handle.job_id,)
        await dev.books_are_clean()
        rows = (await dev.client.operate(GetAudit(subject=handle.job_id))).audit
        # Two reservations, the job, its remote job.
        assert [row.entry.action for row in rows] == ["repair"] * 4
        (remote,) = dev.remote(run_id)
        assert remote["state"] == "Cancelled"
        assert (await dev.record(handle.job_id)).open_runs == ()
        closed = (await dev.record(handle.job_id)).result
        assert closed is not None and closed.state is JobState.FAILED
        assert closed.unanswered is not None
        assert closed.unanswered.reason == "the job was ended from outside"
        third = (await dev.client.operate(Reconcile())).reconciliation
        assert third is not None and third.lost == () and third.orphans == ()
    finally:
        dev.emulator.control.set_queue(0, 1.0)


async def test_a_run_in_work_keeps_its_reservation(dev: Stack) -> None:
    dev.emulator.control.set_queue(50, 3600.0)
    try:
        handle = await dev.client.start(abilene())
        await _state(dev, handle.job_id, JobState.QUEUED)
        report = (await dev.client.operate(Reconcile(repair=True))).reconciliation
        assert report is not None and report.orphans == ()
        await handle.cancel()
        result = await ended(dev, await dev.result(handle))
        run: RunReport = await dev.temporal.get_workflow_handle(
            dev.run_id(result), result_type=RunReport
        ).result()
        assert run.account is not None
        assert result.attempts[0].rung is Rung.HARDWARE
    finally:
        dev.emulator.control.set_queue(0, 1.0)
