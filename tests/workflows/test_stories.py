"""Whole jobs in virtual time: hours of queue in about a second."""

from __future__ import annotations

import asyncio
import time

import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.results import OptimiseAnswer
from qsaga.core.states import JobState, Layer, Rung
from tests.support.stack import Stack, abilene

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_completed_on_hardware(skipping: Stack) -> None:
    handle = await skipping.client.start(abilene())
    result = await skipping.result(handle)
    assert result.state is JobState.COMPLETED
    assert isinstance(result.answer, OptimiseAnswer)
    assert result.answer.quality.feasible
    assert result.provenance is not None
    assert result.provenance.source is Rung.HARDWARE
    assert result.provenance.circuit is not None
    assert result.cost.quantum_seconds > 0
    (remote,) = skipping.remote(skipping.run_id(result))
    assert remote["charged_seconds"] == result.cost.quantum_seconds
    (charge,) = (await skipping.record(result.job_id)).charges
    assert charge.provider_job_id == remote["id"]
    job = await skipping.keep_history("completed.job", result.job_id)
    run = await skipping.keep_history("completed.run", skipping.run_id(result))
    assert job + run <= 61, f"{job} + {run} events"


async def test_eight_hours_of_queue_cost_no_events_and_no_hours(skipping: Stack) -> None:
    baseline = await skipping.run(abilene())
    short = await skipping.keep_history("short", skipping.run_id(baseline))
    skipping.emulator.control.set_queue(8, 3600.0)
    request = abilene(budgets={"queue": 10 * 3600, "solve": 0.3, "deadline": 86400})
    began = time.perf_counter()
    result = await skipping.run(request)
    took = time.perf_counter() - began
    assert result.state is JobState.COMPLETED
    queue = next(t.seconds for t in result.timings if t.layer is Layer.QUEUE)
    assert queue == pytest.approx(8 * 3600, rel=0.05)
    # At its expected start it looks by itself or, where the watcher was quicker, is told by signal.
    assert await skipping.keep_history("queued.run", skipping.run_id(result)) <= short + 16
    # Wide, since other tests share the machine.
    assert took < 60


async def test_degraded_by_forecast_submits_nothing(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(500, 60.0)
    result = await skipping.run(abilene(budgets={"queue": 60, "solve": 0.3}))
    assert result.state is JobState.DEGRADED
    assert result.provenance is not None
    assert result.provenance.source is Rung.ANNEALING
    assert result.decision is not None
    assert "over the budget" in result.decision.reason
    assert skipping.emulator.control.summary()["created"] == 0
    await skipping.keep_history("degraded_forecast.job", result.job_id)


async def test_degraded_while_waiting_cancels_and_settles(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 7200.0)
    handle = await skipping.client.start(abilene(budgets={"queue": 600, "solve": 0.3}))
    result = await skipping.result(handle)
    assert result.state is JobState.DEGRADED
    (hardware, annealing) = result.attempts
    assert (hardware.outcome, hardware.layer) == ("timed_out", Layer.QUEUE)
    assert annealing.outcome == "answered"
    queue = next(t.seconds for t in result.timings if t.layer is Layer.QUEUE)
    assert queue == pytest.approx(600, abs=2)
    await skipping.settled(result)
    (remote,) = skipping.remote(skipping.run_id(result))
    assert (remote["state"], remote["charged_seconds"]) == ("Cancelled", 0)
    record = await skipping.record(result.job_id)
    assert record.open_runs == ()
    assert sum(charge.cost.quantum_seconds for charge in record.charges) == 0
    account = await handle.account()
    assert account.closed
    await skipping.keep_history("degraded_waiting.job", result.job_id)
    await skipping.keep_history("degraded_waiting.run", skipping.run_id(result))


async def test_a_late_result_is_recorded_compared_and_paid(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 7200.0)
    skipping.emulator.control.set_faults(cancel_loses_race={"enabled": True})
    handle = await skipping.client.start(abilene(budgets={"queue": 600, "solve": 0.3}))
    result = await skipping.result(handle)
    assert result.state is JobState.DEGRADED
    await skipping.settled(result)
    account = await handle.account()
    (late,) = account.late_results
    assert late.objective is not None
    assert late.difference is not None
    assert "annealing" in late.comparison
    (remote,) = skipping.remote(skipping.run_id(result))
    assert remote["state"] == "Completed"
    record = await skipping.record(result.job_id)
    assert record.late_results
    assert (
        sum(charge.cost.quantum_seconds for charge in record.charges)
        == remote["charged_seconds"]
        > 0
    )
    await skipping.keep_history("late.job", result.job_id)
    await skipping.keep_history("late.run", skipping.run_id(result))


async def test_a_failed_remote_job_falls_back(skipping: Stack) -> None:
    skipping.emulator.control.set_faults(fail_next={"count": 1, "reason": "laser on fire"})
    result = await skipping.run(abilene())
    assert result.state is JobState.DEGRADED
    assert "laser on fire" in result.attempts[0].reason
    await skipping.settled(result)
    await skipping.keep_history("failed_remote.job", result.job_id)
    await skipping.keep_history("failed_remote.run", skipping.run_id(result))


async def test_an_execution_that_takes_too_long_falls_back(skipping: Stack) -> None:
    skipping.emulator.control.set_execution(overhead_seconds=5000.0)
    result = await skipping.run(abilene(budgets={"execution": 60, "solve": 0.3}))
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].layer is Layer.EXECUTION
    await skipping.settled(result)
    await skipping.keep_history("timed_out_execution.job", result.job_id)
    await skipping.keep_history("timed_out_execution.run", skipping.run_id(result))


async def test_an_outage_while_waiting_is_waited_out(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 1800.0)
    handle = await skipping.client.start(abilene(budgets={"queue": 7200, "solve": 0.3}))
    async for progress in handle.watch(0.05):
        if progress.run is not None and progress.run.state is JobState.QUEUED:
            break
    skipping.emulator.control.set_faults(outage=True)
    waiting = asyncio.ensure_future(skipping.result(handle))
    await asyncio.sleep(0.5)
    skipping.emulator.control.set_faults(outage=False)
    result = await waiting
    assert len(skipping.remote(skipping.run_id(result))) == 1


async def test_the_worker_refuses_what_a_plain_client_sends(skipping: Stack) -> None:
    bad = abilene().model_dump(mode="json")
    bad["workload"]["problem"]["data"]["edges"].append(["Denver", "Denver"])
    handle = await skipping.temporal.start_workflow(
        "QuantumJob",
        bad,
        id=f"default/{bad['key']}",
        task_queue=skipping.settings.temporal.task_queue,
    )
    with pytest.raises(InvalidRequest) as refused:
        await skipping.client.job(handle.id).result()
    assert refused.value.field.startswith("workload.problem.data.edges")
    assert await skipping.parts.records.get(handle.id) is None
    assert skipping.emulator.control.summary()["created"] == 0
    await skipping.keep_history("refused.job", handle.id)


@pytest.mark.parametrize("payload", [{"key": "x"}, "nonsense", [1, 2], {"colour": 1}, None])
async def test_a_payload_that_is_no_request_fails_the_workflow_at_once(
    skipping: Stack, payload: object
) -> None:
    handle = await skipping.temporal.start_workflow(
        "QuantumJob",
        payload,
        id=f"default/raw-{time.monotonic_ns()}",
        task_queue=skipping.settings.temporal.task_queue,
    )
    with pytest.raises(InvalidRequest):
        await skipping.client.job(handle.id).result(10)


async def test_the_deadline_is_kept_whatever_the_queue(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 7200.0)
    result = await skipping.run(abilene(budgets={"deadline": 100, "queue": 100, "solve": 0.3}))
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].layer is Layer.DEADLINE
    total = (result.transitions[-1].at - result.transitions[0].at).total_seconds()
    assert total <= 100
    await skipping.settled(result)
    assert (await skipping.record(result.job_id)).open_runs == ()
    await skipping.keep_history("deadline.job", result.job_id)
    await skipping.keep_history("deadline.run", skipping.run_id(result))
