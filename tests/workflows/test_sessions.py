"""Provider sessions that jobs share: opened once, closed when nobody uses them, accounted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag
from qsaga.core.operations import Reconcile
from qsaga.core.results import JobResult
from qsaga.core.sessions import PROVIDER_SESSION, SessionReport, SessionRequest, session_id
from qsaga.core.states import JobState, Rung
from tests.support.people import tenant
from tests.support.stack import Stack, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")

BACKEND = "ibm_torino"


def sharing(key: str, **terms: Any) -> JobRequest:
    """A job that takes part in the session of that key."""
    return bell(
        route="hardware",
        session={"key": key, "idle_seconds": 1.0, **terms},
        budgets={"deadline": 86400, "queue": 36000},
    )


def owner(key: str, whose: str = "default") -> str:
    """Workflow id of the session."""
    return session_id(deployment_tag("test"), whose, key, BACKEND)


async def ended(stack: Stack, key: str, whose: str = "default") -> SessionReport:
    """The session's report, once it is closed."""
    handle = stack.temporal.get_workflow_handle(owner(key, whose), result_type=SessionReport)
    async with stack.skipping_time():
        report: SessionReport = await handle.result()
    return report


def truth(stack: Stack) -> list[dict[str, Any]]:
    """The sessions that the provider knows of."""
    return stack.emulator.control.sessions()


async def charges(stack: Stack, result: JobResult) -> dict[str, float]:
    """Quantum seconds by role."""
    record = await stack.record(result.job_id)
    return {charge.role: charge.cost.quantum_seconds for charge in record.charges}


async def test_jobs_of_one_key_share_a_batch_that_is_closed_when_it_is_idle(
    skipping: Stack,
) -> None:
    requests = [sharing("night"), sharing("night")]
    handles = [await skipping.client.start(request) for request in requests]
    results = [await skipping.result(handle) for handle in handles]
    assert [result.state for result in results] == [JobState.COMPLETED] * 2
    report = await ended(skipping, "night")
    (session,) = truth(skipping)
    assert report.provider_session_id == session["id"]
    assert session["closed"] is not None
    assert {job["session_id"] for job in skipping.emulator.control.jobs()} == {session["id"]}
    assert sorted(report.members) == sorted(skipping.run_id(result) for result in results)
    jobs = skipping.emulator.control.jobs()
    assert report.seconds == sum(job["charged_seconds"] for job in jobs)
    assert [await charges(skipping, result) for result in results] == [
        {"run": job["charged_seconds"]} for job in jobs
    ]
    await skipping.books_are_clean()
    await skipping.keep_history("shared.session", owner("night"))
    await skipping.keep_history("shared.run", skipping.run_id(results[0]))


async def test_a_worker_that_dies_on_a_session_is_missed_before_its_jobs_run_out_of_time(
    skipping: Stack,
) -> None:
    await skipping.run(sharing("dusk"))
    await ended(skipping, "dusk")
    history = await skipping.temporal.get_workflow_handle(owner("dusk")).fetch_history()
    steps = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [step.activity_type.name for step in steps] == ["open_session", "close_session"]
    assert all(0 < step.heartbeat_timeout.ToSeconds() <= 10 for step in steps)


async def test_what_a_dedicated_session_costs_beyond_its_job_is_reserved_and_booked(
    skipping: Stack,
) -> None:
    await tenant(skipping, "labs", quantum_seconds=500)
    request = sharing("solo", mode="dedicated", max_seconds=120).model_copy(
        update={"tenant": "labs"}
    )
    handle = await skipping.client.start(request)
    result = await skipping.result(handle)
    assert result.state is JobState.COMPLETED
    held = {
        one.key.partition("#")[0]: one.held.quantum_seconds
        for one in await skipping.parts.ledger.held("labs")
    }
    assert held.get(owner("solo", "labs")) == 120, "its whole length, until it is closed"
    report = await ended(skipping, "solo", "labs")
    (session,) = truth(skipping)
    assert report.seconds == session["charged_seconds"]
    booked = await charges(skipping, result)
    assert sum(booked.values()) == pytest.approx(session["charged_seconds"])
    assert booked["session"] > 0
    await skipping.books_are_clean()
    statement = await skipping.parts.ledger.statement("labs", result.transitions[-1].at)
    assert session["charged_seconds"] in [float(line.spent) for line in statement.lines]


async def test_without_the_budget_for_it_no_session_is_opened(skipping: Stack) -> None:
    await tenant(skipping, "poor", quantum_seconds=60)
    request = sharing("dear", mode="dedicated", max_seconds=600).model_copy(
        update={"tenant": "poor"}
    )
    result = await skipping.run(request)
    assert result.state is JobState.DEGRADED
    assert result.provenance is not None
    assert result.provenance.source is Rung.SIMULATOR
    assert "poor" in result.attempts[0].reason
    assert truth(skipping) == []
    await ended(skipping, "dear", "poor")
    await skipping.books_are_clean()


async def test_a_session_that_the_provider_has_ended_is_replaced(skipping: Stack) -> None:
    first = await skipping.run(sharing("long", idle_seconds=3000))
    (session,) = truth(skipping)
    before = await skipping.temporal.get_workflow_handle(owner("long")).describe()
    provider = skipping.parts.provider
    assert provider is not None
    await provider.close_session(session["id"])
    second = await skipping.run(sharing("long", idle_seconds=1.0))
    assert [first.state, second.state] == [JobState.COMPLETED] * 2
    await ended(skipping, "long")
    assert len(truth(skipping)) == 2
    assert all(one["closed"] is not None for one in truth(skipping))
    await skipping.books_are_clean()
    await skipping.keep_history("replaced.session", owner("long"), before.run_id)


async def test_a_session_that_ended_before_its_jobs_were_accounted_is_booked_once(
    dev: Stack,
) -> None:
    request = sharing("torn", mode="dedicated", max_seconds=120, idle_seconds=3000)
    run_id = submission_tag("test", request.job_id, 0)
    # It is sent, and then its account cannot be closed; others go on.
    dev.emulator.control.set_plan({"do": "outage", "on": "list", "tag": run_id, "after": 1})
    first = await dev.run(request)
    provider = dev.parts.provider
    assert provider is not None
    await provider.close_session(truth(dev)[0]["id"])
    handle = await dev.client.start(sharing("torn", mode="dedicated", max_seconds=120))
    await closing(dev, first)
    assert (await dev.record(first.job_id)).open_runs == (run_id,)
    dev.emulator.control.clear_plan()
    second = await dev.result(handle)
    assert [first.state, second.state] == [JobState.COMPLETED] * 2
    await ended(dev, "torn")
    booked = 0.0
    for result in (first, second):
        await dev.settled(result)
        booked += sum((await charges(dev, result)).values())
    assert booked == pytest.approx(sum(one["charged_seconds"] for one in truth(dev)))
    assert len(truth(dev)) == 2
    await dev.books_are_clean()


async def closing(stack: Stack, opener: JobResult) -> None:
    """Until closing the session has failed once, or is done and booked."""
    handle = stack.temporal.get_workflow_handle(owner("torn"))
    for _ in range(1200):
        pending = (await handle.describe()).raw_description.pending_activities
        failed = [one for one in pending if one.activity_type.name == "close_session"]
        if any(one.attempt > 1 for one in failed) or "session" in await charges(stack, opener):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nobody closes the session")


async def test_a_session_whose_owner_was_ended_from_outside_is_closed_by_repair(
    dev: Stack,
) -> None:
    result = await dev.run(sharing("left", idle_seconds=3000))
    await dev.temporal.get_workflow_handle(owner("left")).terminate("by hand")
    (session,) = truth(dev)
    assert session["closed"] is None
    await dev.client.operate(Reconcile(repair=True), by="olga")
    assert truth(dev)[0]["closed"] is not None
    assert (await dev.record(result.job_id)).open_runs == ()
    await dev.books_are_clean()


async def test_nobody_opens_a_session_that_no_job_asked_for(dev: Stack) -> None:
    request = SessionRequest.model_validate(
        {"session_id": "session/none", "backend": BACKEND, "terms": {"key": "x"}}
    )
    handle = await dev.temporal.start_workflow(
        PROVIDER_SESSION,
        request,
        id="session/none",
        task_queue=dev.settings.temporal.task_queue,
        result_type=SessionReport,
    )
    report = await asyncio.wait_for(handle.result(), 20)
    assert "no job has asked" in report.failed
    assert truth(dev) == []
