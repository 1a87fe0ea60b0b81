"""One key, one job; one submission, one remote job: whatever callers, wire and machines do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.common import WorkflowIDReusePolicy
from temporalio.testing import WorkflowEnvironment

from activities import submitting
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core import submission
from qsaga.core.errors import KeyConflict
from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag
from qsaga.core.results import JobResult
from qsaga.core.runs import QUANTUM_JOB
from qsaga.core.states import JobState
from tests.adapters.ibm_wire import Wire
from tests.support.stack import Stack, abilene, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def wire(emulator: EmulatorProcess) -> Iterator[Wire]:
    """A proxy before the emulator."""
    emulator.control.reset()
    proxy = Wire(emulator.url)
    yield proxy
    proxy.close()


def charged(stack: Stack) -> dict[object, object]:
    """What the emulator charged, by remote job."""
    return {job["id"]: job["charged_seconds"] for job in stack.emulator.control.jobs()}


async def booked(stack: Stack, result: JobResult) -> dict[object, object]:
    """What the job's record says was charged, by remote job."""
    return {
        c.provider_job_id: c.cost.quantum_seconds
        for c in (await stack.record(result.job_id)).charges
    }


async def test_twenty_callers_with_one_key_get_one_job(dev: Stack) -> None:
    request = abilene()
    handles = await asyncio.gather(*(dev.client.start(request) for _ in range(20)))
    results = await asyncio.gather(*(dev.result(handle) for handle in handles))
    assert all(result == results[0] for result in results)
    assert dev.emulator.control.summary()["created"] == 1
    again = await dev.run(request)
    assert again == results[0]
    assert dev.emulator.control.summary()["created"] == 1


async def test_a_key_with_another_payload_is_a_conflict(dev: Stack) -> None:
    request = abilene(route=None)
    other = request.model_copy(update={"seed": 8})
    handle = await dev.client.start(request)
    with pytest.raises(KeyConflict, match="another payload"):
        await dev.client.start(other)
    result = await dev.result(handle)
    with pytest.raises(KeyConflict, match="another payload"):
        await dev.client.start(other)
    assert result.state is JobState.COMPLETED


@pytest.mark.parametrize(
    "fault",
    [
        {"forward": True, "drop": True},
        {"forward": True, "status": 504},
        {"drop": True},
        {"status": 503},
    ],
    ids=["reply lost", "accepted, then 504", "request lost", "refused with 503"],
)
async def test_a_submission_whose_reply_is_lost_makes_one_remote_job(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    wire: Wire,
    tmp_path: Path,
    fault: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What never came is sent again after that and two time-outs, in real seconds.
    for module in (submission, submitting):
        monkeypatch.setattr(module, "SEND_WINDOW", 2.0)
    async with running_stack(dev_env, emulator, tmp_path, proxy=wire.url, call_timeout=2.0) as dev:
        wire.add("POST", "/jobs$", times=1, **fault)
        result = await dev.run(abilene())
        assert result.state is JobState.COMPLETED
        assert emulator.control.summary()["created"] == 1
        assert await booked(dev, result) == charged(dev)
        if "forward" in fault and "drop" in fault:
            await dev.keep_history("adopted.run", dev.run_id(result))


async def test_duplicates_that_exist_are_cancelled_and_booked(dev: Stack) -> None:
    # What a wire that repeats a POST would leave: three jobs under the tag of the first submission.
    request = abilene(budgets={"queue": 600, "solve": 0.3})
    tag = submission_tag("test", request.job_id, 0)
    dev.emulator.control.set_queue(1, 3.0)
    provider = dev.parts.provider
    assert provider is not None
    handle = await dev.client.start(request)
    await _until_submitted(dev, tag)
    await asyncio.to_thread(_copies_of, dev, tag)
    result = await dev.result(handle)
    await dev.settled(result)
    jobs = dev.emulator.control.jobs(tag=tag)
    assert len(jobs) == 3
    assert all(job["state"] in ("Completed", "Cancelled") for job in jobs)
    assert await booked(dev, result) == charged(dev)
    roles = sorted(charge.role for charge in (await dev.record(result.job_id)).charges)
    assert roles == ["extra", "extra", "run"]


async def _until_submitted(dev: Stack, tag: str) -> None:
    while not dev.emulator.control.jobs(tag=tag):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.05)


def _copies_of(dev: Stack, tag: str) -> None:
    """Two more jobs under the tag, as another client would send them."""
    from qiskit import QuantumCircuit
    from qiskit_ibm_runtime import SamplerV2

    service = dev.emulator.service()
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    sampler = SamplerV2(service.backend("ibm_torino"))
    sampler.options.environment.job_tags = [deployment_tag("test"), tag]
    for _ in range(2):
        sampler.run([circuit], shots=100)


async def test_the_emulator_dies_while_the_job_waits(
    dev_env: WorkflowEnvironment, tmp_path: Path
) -> None:
    waiting: dict[str, Any] = {"queue_length": 1, "seconds_per_job": 3, "overhead_seconds": 0.2}
    with EmulatorProcess(tmp_path / "ibm", noise="none", **waiting) as own:
        async with running_stack(dev_env, own, tmp_path / "qsaga") as dev:
            request = abilene()
            handle = await dev.client.start(request)
            await _until_submitted(dev, submission_tag("test", request.job_id, 0))
            own.kill()
            own.start()
            result = await dev.result(handle)
            assert result.state is JobState.COMPLETED, result.attempts
            assert own.control.summary()["created"] == 1
            assert await booked(dev, result) == charged(dev)


async def test_a_run_that_an_operator_terminates_is_closed_all_the_same(dev: Stack) -> None:
    dev.emulator.control.set_queue(2, 3600.0)
    request = abilene(budgets={"queue": 7200, "solve": 0.3})
    tag = submission_tag("test", request.job_id, 0)
    handle = await dev.client.start(request)
    await _until_submitted(dev, tag)
    await dev.temporal.get_workflow_handle(tag).terminate("by hand")
    result = await dev.result(handle)
    assert result.state is JobState.DEGRADED
    await dev.settled(result)
    assert [job["state"] for job in dev.emulator.control.jobs()] == ["Cancelled"]
    assert (await dev.record(result.job_id)).open_runs == ()
    await dev.keep_history("terminated.job", result.job_id)
    await dev.keep_history("terminated_then_closed.run", tag)


async def test_a_job_that_temporal_forgot_is_answered_from_its_record(dev: Stack) -> None:
    request = abilene(route=None)
    result = await dev.run(request)

    async def again(given: JobRequest) -> JobResult:
        # The id may be used once more, as it may when the retention has ended.
        await dev.temporal.start_workflow(
            QUANTUM_JOB,
            given,
            id=given.job_id,
            task_queue=dev.settings.temporal.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
        return await dev.result(dev.client.job(given.job_id))

    with pytest.raises(KeyConflict, match="another payload"):
        await again(request.model_copy(update={"seed": 8}))
    assert await again(request) == result
