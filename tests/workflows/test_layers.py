"""Layers that run out of real time: each by its name, none leaving work behind.

On the dev server, since an activity that times out while it runs stops the time-skipping
server's clock for good. The dev server's time-outs have a resolution of about a second, so what
is to time out is held up on the wire or made large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from activities.answering import Verify
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import JobRequest
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Layer, Rung
from tests.adapters.ibm_wire import Wire
from tests.support.ladders import with_policy
from tests.support.stack import Stack, abilene, bell, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD_UP = {
    Layer.COMPILE: ("GET", "/properties"),
    Layer.SUBMIT: ("POST", "/jobs$"),
    Layer.RETRIEVAL: ("GET", "/results$"),
}


@pytest.fixture
def wire(emulator: EmulatorProcess) -> Iterator[Wire]:
    """A proxy before the emulator."""
    emulator.control.reset()
    proxy = Wire(emulator.url)
    yield proxy
    proxy.close()


def ring(size: int, steps: int, **changes: object) -> JobRequest:
    """MaxCut on a circulant graph."""
    edges = [[f"v{i}", f"v{(i + step) % size}"] for i in range(size) for step in range(1, steps)]
    problem = {"name": "maxcut", "data": {"edges": edges}}
    workload = {"kind": "optimise", "problem": problem} | changes.pop("workload")  # type: ignore[operator]
    return abilene(workload=workload, **changes)


@pytest.mark.parametrize("layer", list(HELD_UP))
async def test_a_layer_out_of_time_falls_back_under_its_name(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    wire: Wire,
    tmp_path: Path,
    layer: Layer,
) -> None:
    async with running_stack(dev_env, emulator, tmp_path, proxy=wire.url, call_timeout=2.0) as dev:
        await dev.run(abilene())  # what is cached is cached
        method, path = HELD_UP[layer]
        fault = wire.add(method, path, hang=6.0, forward=layer is Layer.RETRIEVAL)
        if layer is Layer.COMPILE:
            emulator.control.set_queue(1, 0.1)
        result = await dev.run(abilene(budgets={layer.value: 2.0, "solve": 0.3}))
        assert result.state is JobState.DEGRADED
        assert (result.attempts[0].outcome, result.attempts[0].layer) == ("timed_out", layer)
        fault.times = 0
        await dev.settled(result)
        await assert_books_agree(dev, result)
        await dev.keep_history(f"timed_out_{layer.value}.job", result.job_id)
        await dev.keep_history(f"timed_out_{layer.value}.run", dev.run_id(result))


async def assert_books_agree(stack: Stack, result: JobResult) -> None:
    """What is recorded of the job is what the emulator knows to be charged."""
    record = await stack.record(result.job_id)
    assert record.open_runs == ()
    charged = {c.provider_job_id: c.cost.quantum_seconds for c in record.charges}
    remote = {j["id"]: j["charged_seconds"] for j in stack.remote(stack.run_id(result))}
    assert charged == remote
    assert all(j["state"] in ("Completed", "Cancelled") for j in stack.remote(stack.run_id(result)))


async def test_encoding_out_of_time_ends_the_job(dev: Stack) -> None:
    # A circuit of 200,000 gates.
    workload = {"algorithm": {"depth": 40}}
    result = await dev.run(ring(99, 50, workload=workload, budgets={"encode": 0.3}))
    assert result.state is JobState.TIMED_OUT
    assert result.unanswered is not None
    assert result.unanswered.layer is Layer.ENCODE
    await dev.keep_history("timed_out_encode.job", result.job_id)


async def test_postprocessing_out_of_time_falls_back(dev: Stack) -> None:
    # Hundreds of thousands of distinct samples to polish: seconds.
    workload = {"algorithm": {"depth": 1}, "shots": 400_000}
    budgets = {"postprocess": 0.6, "solve": 0.3}
    result = await dev.run(ring(22, 6, workload=workload, route="simulator", budgets=budgets))
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].rung is Rung.SIMULATOR
    assert (result.attempts[0].outcome, result.attempts[0].layer) == (
        "timed_out",
        Layer.POSTPROCESS,
    )
    await dev.keep_history("timed_out_postprocess.job", result.job_id)


async def test_a_step_that_is_tried_here_first_has_its_budget_once(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(_self: object, _given: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Verify, "verify", activity.defn(name="verify")(never))
    async with with_policy(dev_env, emulator, tmp_path, {}) as dev:
        result = await dev.run(bell(budgets={"postprocess": 2.0}))
        history = await dev.temporal.get_workflow_handle(result.job_id).fetch_history()
    assert (result.attempts[0].outcome, result.attempts[0].layer) == (
        "timed_out",
        Layer.POSTPROCESS,
    )
    assert any(event.HasField("marker_recorded_event_attributes") for event in history.events)
    (taken,) = [one.seconds for one in result.timings if one.layer is Layer.POSTPROCESS]
    # The server may be late to say that the time is up.
    assert 2.0 <= taken < 3.0


async def test_admission_out_of_time_ends_the_job(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, wire: Wire, tmp_path: Path
) -> None:
    async with running_stack(dev_env, emulator, tmp_path, proxy=wire.url, call_timeout=20.0) as dev:
        wire.add("GET", "/backends", hang=6.0)
        result = await dev.run(abilene(route=None, budgets={"admit": 1.0}))
        assert result.state is JobState.TIMED_OUT
        assert result.unanswered is not None
        assert result.unanswered.layer is Layer.ADMIT
        assert (await dev.record(result.job_id)).result == result
        await dev.keep_history("timed_out_admit.job", result.job_id)


async def test_every_rung_failing_ends_with_a_reason(dev: Stack) -> None:
    gates = "\n".join(f"h q[{i % 22}]; cx q[{i % 22}], q[{(i + 1) % 22}];" for i in range(300))
    head = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[22] q;\nbit[22] c;\n'
    source = f"{head}{gates}\nc = measure q;\n"
    dev.emulator.control.set_faults(fail_next={"count": 1, "reason": "laser on fire"})
    result = await dev.run(
        abilene(
            workload={"kind": "sample", "circuit": {"source": source}, "shots": 100},
            budgets={"simulate": 0.5},
        )
    )
    assert [attempt.rung for attempt in result.attempts] == [Rung.HARDWARE, Rung.SIMULATOR]
    assert "laser on fire" in result.attempts[0].reason
    assert result.state is JobState.TIMED_OUT
    assert result.unanswered is not None
    assert result.unanswered.layer is Layer.SIMULATE
    await dev.keep_history("timed_out_simulate.job", result.job_id)


async def test_cancelled_while_queued(dev: Stack) -> None:
    dev.emulator.control.set_queue(2, 7200.0)
    handle = await dev.client.start(abilene(budgets={"queue": 7200, "solve": 0.3}))
    async for progress in handle.watch(0.05):
        if progress.run is not None and progress.run.state is JobState.QUEUED:
            break
    await handle.cancel()
    result = await dev.result(handle)
    assert result.state is JobState.CANCELLED
    assert result.answer is None
    assert result.unanswered is not None
    await dev.settled(result)
    (remote,) = dev.remote(dev.run_id(result))
    assert (remote["state"], remote["charged_seconds"]) == ("Cancelled", 0)
    await handle.cancel()
    assert (await dev.result(handle)).state is JobState.CANCELLED
    await dev.keep_history("cancelled.job", result.job_id)
    await dev.keep_history("cancelled.run", dev.run_id(result))
