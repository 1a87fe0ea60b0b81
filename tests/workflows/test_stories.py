"""Whole jobs in virtual time: hours of queue in about a second."""

from __future__ import annotations

import asyncio
import time

import pytest

from qsaga.core.errors import InvalidRequest
from qsaga.core.results import JobResult, OptimiseAnswer
from qsaga.core.states import JobState, Layer, Rung
from tests.support.stack import Stack, abilene, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")


def run_of(result: JobResult) -> str:
    run_id = next(attempt.run_id for attempt in result.attempts if attempt.run_id)
    assert run_id is not None
    return run_id


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
    (remote,) = skipping.remote(run_of(result))
    assert remote["charged_seconds"] == result.cost.quantum_seconds
    (charge,) = skipping.record(result.job_id).charges
    assert charge.provider_job_id == remote["id"]
    job = await skipping.keep_history("completed.job", result.job_id)
    run = await skipping.keep_history("completed.run", run_of(result))
    assert job + run <= 60 + 8, f"{job} + {run} events"


async def test_eight_hours_of_queue_cost_no_events_and_about_a_second(skipping: Stack) -> None:
    baseline = await skipping.run(abilene())
    short = await skipping.keep_history("short", run_of(baseline))
    skipping.emulator.control.set_queue(8, 3600.0)
    request = abilene(budgets={"queue": 10 * 3600, "solve": 0.3, "deadline": 86400})
    began = time.perf_counter()
    result = await skipping.run(request)
    took = time.perf_counter() - began
    assert result.state is JobState.COMPLETED
    queue = next(t.seconds for t in result.timings if t.layer is Layer.QUEUE)
    assert queue == pytest.approx(8 * 3600, rel=0.05)
    assert await skipping.keep_history("queued.run", run_of(result)) <= short + 6
    assert took < 15


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
    (remote,) = skipping.remote(run_of(result))
    assert (remote["state"], remote["charged_seconds"]) == ("Cancelled", 0)
    record = skipping.record(result.job_id)
    assert record.open_runs == ()
    assert sum(charge.cost.quantum_seconds for charge in record.charges) == 0
    account = await handle.account()
    assert account.closed
    await skipping.keep_history("degraded_waiting.job", result.job_id)
    await skipping.keep_history("degraded_waiting.run", run_of(result))


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
    (remote,) = skipping.remote(run_of(result))
    assert remote["state"] == "Completed"
    record = skipping.record(result.job_id)
    assert record.late_results
    assert (
        sum(charge.cost.quantum_seconds for charge in record.charges)
        == remote["charged_seconds"]
        > 0
    )
    await skipping.keep_history("late.job", result.job_id)
    await skipping.keep_history("late.run", run_of(result))


async def test_a_failed_remote_job_falls_back(skipping: Stack) -> None:
    skipping.emulator.control.set_faults(fail_next={"count": 1, "reason": "laser on fire"})
    result = await skipping.run(abilene())
    assert result.state is JobState.DEGRADED
    assert "laser on fire" in result.attempts[0].reason
    await skipping.settled(result)
    await skipping.keep_history("failed_remote.job", result.job_id)
    await skipping.keep_history("failed_remote.run", run_of(result))


async def test_cancelled_while_queued(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 7200.0)
    handle = await skipping.client.start(abilene(budgets={"queue": 7200, "solve": 0.3}))
    async for progress in handle.watch(0.05):
        if progress.run is not None and progress.run.state is JobState.QUEUED:
            break
    await handle.cancel()
    result = await skipping.result(handle)
    assert result.state is JobState.CANCELLED
    assert result.answer is None
    assert result.unanswered is not None
    await skipping.settled(result)
    (remote,) = skipping.remote(run_of(result))
    assert (remote["state"], remote["charged_seconds"]) == ("Cancelled", 0)
    await handle.cancel()
    assert (await skipping.result(handle)).state is JobState.CANCELLED
    await skipping.keep_history("cancelled.job", result.job_id)
    await skipping.keep_history("cancelled.run", run_of(result))


@pytest.mark.parametrize("layer", [Layer.COMPILE, Layer.SUBMIT])
async def test_a_layer_out_of_time_falls_back_under_its_name(skipping: Stack, layer: Layer) -> None:
    result = await skipping.run(abilene(budgets={layer.value: 0.001, "solve": 0.3}))
    assert result.state is JobState.DEGRADED
    assert (result.attempts[0].outcome, result.attempts[0].layer) == ("timed_out", layer)
    await skipping.settled(result)
    assert all(r["charged_seconds"] == 0 for r in skipping.remote(run_of(result)))
    assert skipping.record(result.job_id).open_runs == ()
    await skipping.keep_history(f"timed_out_{layer.value}.job", result.job_id)
    await skipping.keep_history(f"timed_out_{layer.value}.run", run_of(result))


async def test_an_execution_that_takes_too_long_falls_back(skipping: Stack) -> None:
    skipping.emulator.control.set_execution(overhead_seconds=5000.0)
    result = await skipping.run(abilene(budgets={"execution": 60, "solve": 0.3}))
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].layer is Layer.EXECUTION
    await skipping.settled(result)
    await skipping.keep_history("timed_out_execution.job", result.job_id)
    await skipping.keep_history("timed_out_execution.run", run_of(result))


@pytest.mark.parametrize("layer", [Layer.ADMIT, Layer.ENCODE, Layer.POSTPROCESS])
async def test_without_this_layer_there_is_no_answer(skipping: Stack, layer: Layer) -> None:
    edges = [[f"v{i}", f"v{(i * step) % 701}"] for i in range(1, 701) for step in range(2, 12)]
    problem = {"name": "maxcut", "data": {"edges": edges}}
    result = await skipping.run(
        abilene(
            route=None,
            workload={"kind": "optimise", "problem": problem},
            budgets={layer.value: 0.001, "solve": 0.1},
        )
    )
    assert result.state is JobState.TIMED_OUT
    assert result.unanswered is not None
    assert result.unanswered.layer is layer
    await skipping.keep_history(f"timed_out_{layer.value}.job", result.job_id)


async def test_the_deadline_is_kept_whatever_the_queue(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 7200.0)
    result = await skipping.run(abilene(budgets={"deadline": 100, "queue": 100, "solve": 0.3}))
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].layer is Layer.DEADLINE
    total = (result.transitions[-1].at - result.transitions[0].at).total_seconds()
    assert total <= 100
    await skipping.settled(result)
    assert skipping.record(result.job_id).open_runs == ()
    await skipping.keep_history("deadline.job", result.job_id)
    await skipping.keep_history("deadline.run", run_of(result))


async def test_every_rung_failing_ends_with_a_reason(skipping: Stack) -> None:
    skipping.emulator.control.set_faults(fail_next={"count": 1, "reason": "laser on fire"})
    result = await skipping.run(bell(route="hardware", budgets={"simulate": 0.001}))
    assert result.state is JobState.TIMED_OUT
    assert result.unanswered is not None
    assert result.unanswered.layer is Layer.SIMULATE
    assert [attempt.rung for attempt in result.attempts] == [Rung.HARDWARE, Rung.SIMULATOR]
    await skipping.keep_history("timed_out_simulate.job", result.job_id)


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
    assert len(skipping.remote(run_of(result))) == 1


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
    assert skipping.parts.records.get(handle.id) is None
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
