"""Variational loops, each point of which is a job of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from qsaga.core import loops
from qsaga.core.errors import InvalidRequest, KeyConflict
from qsaga.core.loop_rules import points
from qsaga.core.loops import LoopRequest, LoopResult, LoopStatus
from qsaga.core.states import JobState, Rung
from qsaga.loop_handle import LoopHandle
from tests.support.loops import GROUND, ONE_ANGLE, TWO_ANGLES, ising_chain, loop, lowest
from tests.support.people import tenant
from tests.support.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

SPSA = {"name": "spsa", "iterations": 3, "options": {"a": 1.0}}


def on_hardware(**changes: Any) -> LoopRequest:
    """Two points an iteration, three iterations, a confirmation."""
    given = {"route": "hardware", "optimiser": SPSA, "precision": 0.05, "initial": [2.9]}
    return loop(**(given | changes))


async def ended(stack: Stack, request: LoopRequest) -> LoopResult:
    """Start it and wait."""
    return await (await stack.client.submit_loop(request)).result(120)


async def until(handle: LoopHandle, holds: Callable[[LoopStatus], bool]) -> LoopStatus:
    """The first status of which that holds."""
    async with asyncio.timeout(60):
        while not holds(status := await handle.progress()):
            assert not status.state.final, "it ended before"
            await asyncio.sleep(0.05)
    return status


def dear(stack: Stack) -> None:
    """Points that take two quantum seconds each, as the policy expects; two run at a time."""
    stack.emulator.control.set_execution(overhead_seconds=2.0)
    stack.emulator.control.set_queue(slots=2)


def remote(stack: Stack) -> list[dict[str, Any]]:
    """Every remote job that there ever was."""
    return stack.emulator.control.jobs()


def each_measured_once(stack: Stack, result: LoopResult) -> bool:
    """Whether the provider had exactly one job for each point, and charged no other."""
    claimed = Counter(job for point in points(result.iterations) for job in point.provider_job_ids)
    return claimed == Counter({job["id"]: 1 for job in remote(stack)})


# --- what it answers -----------------------------------------------------------------------------


async def test_the_energy_of_hydrogen_on_the_simulator(dev: Stack) -> None:
    request = loop(optimiser={"name": "adam", "iterations": 8, "options": {"rate": 0.3}})
    result = await ended(dev, request)
    assert (result.state, result.stopped) == (JobState.COMPLETED, "iterations")
    assert result.answer is not None
    assert result.answer.confirmed
    assert result.answer.value == pytest.approx(GROUND, abs=2e-3)
    assert [len(one.points) for one in result.iterations[:-1]] == [3] * 8
    assert result.sources == {Rung.SIMULATOR: len(points(result.iterations))}
    assert result.cost.quantum_seconds == 0
    assert result.parameters == ("theta",)
    assert result.software["optimiser"] == "adam/2"


async def test_a_magnet_on_the_simulator_by_cma_es(dev: Stack) -> None:
    chain = ising_chain(2, 1.0)
    request = loop(
        source=TWO_ANGLES,
        observable=chain,
        initial=[0.3, 0.9],
        parameters=["zeta", "alpha"],
        optimiser={"name": "cma_es", "iterations": 12, "options": {"sigma": 0.4}},
    )
    result = await ended(dev, request)
    assert result.answer is not None
    assert result.answer.value == pytest.approx(lowest(chain), abs=0.05)
    assert set(result.answer.parameters) == {"zeta", "alpha"}


async def test_a_loop_that_gets_no_lower_stops(dev: Stack) -> None:
    request = loop(
        initial=[2.92],
        optimiser={
            "name": "adam",
            "iterations": 50,
            "options": {"rate": 0.001},
            "tolerance": 0.01,
            "patience": 2,
        },
    )
    result = await ended(dev, request)
    assert (result.state, result.stopped) == (JobState.COMPLETED, "converged")
    assert len(result.iterations) == 4 + 1, "twice the patience, and the confirmation"


async def test_the_same_request_is_the_same_loop(dev: Stack) -> None:
    request = loop(optimiser={"name": "adam", "iterations": 1})
    first = await ended(dev, request)
    assert await ended(dev, request) == first
    other = request.model_copy(update={"initial": (1.0,)})
    with pytest.raises(KeyConflict):
        await dev.client.submit_loop(other)


# --- on hardware ---------------------------------------------------------------------------------


async def test_on_hardware_all_points_share_a_session_and_each_is_measured_once(
    dev: Stack,
) -> None:
    result = await ended(dev, on_hardware())
    assert result.state is JobState.COMPLETED
    assert result.sources == {Rung.HARDWARE: len(points(result.iterations))}
    assert each_measured_once(dev, result)
    assert len(remote(dev)) == 3 * 2 + len(result.iterations[-1].points)
    assert len({job["session_id"] for job in remote(dev)}) == 1
    charged = sum(job["charged_seconds"] for job in remote(dev))
    assert result.cost.quantum_seconds == pytest.approx(charged)
    assert result.answer is not None
    assert result.answer.standard_error > 0
    await dev.keep_history("completed.loop", result.loop_id)


async def test_a_session_that_the_provider_closes_is_opened_anew(dev: Stack) -> None:
    handle = await dev.client.submit_loop(on_hardware())
    await until(handle, lambda status: status.iteration >= 1)
    provider = dev.parts.provider
    assert provider is not None
    (session,) = dev.emulator.control.sessions()
    await provider.close_session(session["id"])
    result = await handle.result(120)
    assert result.state is JobState.COMPLETED
    assert result.sources == {Rung.HARDWARE: len(points(result.iterations))}
    assert each_measured_once(dev, result)
    assert len(dev.emulator.control.sessions()) == 2


async def test_a_session_is_not_forced_on_anybody(dev: Stack) -> None:
    result = await ended(dev, on_hardware(share_session=False))
    assert result.state is JobState.COMPLETED
    assert dev.emulator.control.sessions() == []


async def test_a_loop_that_was_terminated_begins_again_where_it_was(dev: Stack) -> None:
    request = on_hardware()
    handle = await dev.client.submit_loop(request)
    await until(handle, lambda status: status.iteration >= 2)
    await dev.temporal.get_workflow_handle(handle.loop_id).terminate("by hand")
    result = await ended(dev, request)
    assert result.state is JobState.COMPLETED
    assert each_measured_once(dev, result)


# --- where it ends -------------------------------------------------------------------------------


async def test_the_budget_ends_the_loop_with_the_best_so_far(dev: Stack) -> None:
    dear(dev)
    spec = SPSA | {"iterations": 50}
    result = await ended(
        dev, on_hardware(optimiser=spec, budgets={"deadline": 600, "quantum_seconds": 14})
    )
    assert (result.state, result.stopped) == (JobState.DEGRADED, "budget")
    assert "quantum seconds are left" in result.reason
    assert result.answer is not None
    assert not result.answer.confirmed
    assert 1 <= len(result.iterations) < 50
    assert result.cost.quantum_seconds <= 14
    assert result.answer.value == min(point.value or 0 for point in points(result.iterations))


async def test_the_money_ends_it_as_well(dev: Stack) -> None:
    dear(dev)
    spec = SPSA | {"iterations": 50}
    budgets = {"deadline": 600, "quantum_seconds": 600, "money": "22"}
    result = await ended(dev, on_hardware(optimiser=spec, budgets=budgets))
    assert (result.state, result.stopped) == (JobState.DEGRADED, "budget")
    assert "USD is left" in result.reason
    assert 0 < result.cost.money <= 22


async def test_the_deadline_ends_the_loop_with_the_best_so_far(dev: Stack) -> None:
    spec = SPSA | {"iterations": 10_000}
    result = await ended(dev, loop(optimiser=spec, budgets={"deadline": 8}))
    assert (result.state, result.stopped) == (JobState.DEGRADED, "deadline")
    assert result.answer is not None
    assert (result.ended - result.began).total_seconds() < 12


async def test_where_nothing_was_measured_by_the_deadline_it_says_so(dev: Stack) -> None:
    result = await ended(dev, loop(budgets={"deadline": 0.01}))
    assert result.answer is None
    assert result.unanswered is not None
    assert result.unanswered.reason == result.reason
    assert (result.state, result.stopped) == (JobState.TIMED_OUT, "deadline")


async def test_a_tenant_without_budget_is_told(dev: Stack) -> None:
    await tenant(dev, "poor", quantum_seconds=1)
    result = await ended(dev, on_hardware(tenant="poor"))
    assert result.answer is None
    assert (result.state, result.stopped) == (JobState.REJECTED, "budget")
    assert "poor" in result.reason
    assert remote(dev) == []


async def test_a_cancelled_loop_ends_its_jobs_and_answers_the_best_so_far(dev: Stack) -> None:
    # Time to close the queue behind an iteration that is under way.
    dev.emulator.control.set_execution(overhead_seconds=2.0)
    handle = await dev.client.submit_loop(on_hardware(optimiser=SPSA | {"iterations": 50}))
    await until(handle, lambda status: status.iteration >= 1)
    dev.emulator.control.set_queue(length=2, seconds_per_job=100)
    status = await until(handle, lambda _: dev.emulator.control.summary()["pending"] == 2)
    await handle.cancel()
    result = await handle.result(60)
    assert (result.state, result.stopped) == (JobState.CANCELLED, "cancelled")
    assert result.answer is not None
    last = [await dev.client.job(job_id).result(30) for job_id in status.running]
    assert {job.state for job in last} == {JobState.CANCELLED}
    for job in last:
        await dev.settled(job)
    ended_remotely = dev.emulator.control.summary()
    assert ended_remotely["pending"] == 0
    assert ended_remotely["cancelled"] == 2
    await dev.keep_history("cancelled.loop", result.loop_id)


async def test_a_long_loop_goes_on_in_a_new_run(
    dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "POINTS_PER_RUN", 4)
    request = on_hardware(optimiser=SPSA | {"iterations": 5})
    handle = await dev.client.submit_loop(request)
    first = (await dev.temporal.get_workflow_handle(handle.loop_id).describe()).run_id
    result = await handle.result(120)
    last = (await dev.temporal.get_workflow_handle(handle.loop_id).describe()).run_id
    assert first != last
    assert result.state is JobState.COMPLETED
    assert [one.number for one in result.iterations] == list(range(6))
    assert each_measured_once(dev, result)
    history = await dev.temporal.get_workflow_handle(handle.loop_id, run_id=first).fetch_history()
    assert history.events[-1].HasField("workflow_execution_continued_as_new_event_attributes")
    whole = await ended(dev, request.model_copy(update={"key": "in-one"}))
    asked = [[point.parameters for point in one.points] for one in result.iterations[:1]]
    assert asked == [[point.parameters for point in one.points] for one in whole.iterations[:1]]


# --- what is refused -----------------------------------------------------------------------------

MEASURED = ONE_ANGLE + "bit[2] c;\nc = measure q;\n"
BENT = ONE_ANGLE.replace("x q[1]", "rz(theta * theta) q[1]")
PLAIN = ONE_ANGLE.replace("input float theta;", "").replace("ry(theta)", "ry(1.0)")


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"optimiser": {"name": "newton"}}, "optimiser.name", "unknown optimiser 'newton'"),
        ({"optimiser": {"options": {"speed": 3}}}, "optimiser.options.speed", "no such field"),
        ({"initial": [1.0, 2.0]}, "initial", "2 values"),
        ({"parameters": ["phi"]}, "parameters", "not there: theta"),
        ({"parameters": ["theta", "phi"], "initial": [1, 2]}, "parameters", "phi"),
        ({"observable": {"XXX": 1.0}}, "workload.observables.0.XXX", "3 letters"),
        ({"source": MEASURED}, "workload.circuit.source", "classical bits"),
        ({"source": PLAIN, "initial": []}, "workload.circuit.source", "no parameters"),
        ({"source": "input float x;"}, "workload.circuit.source", "no qubits"),
        ({"source": "input float x"}, "workload.circuit.source", "OpenQASM 3"),
        ({"source": BENT}, "optimiser.name", "no parameter-shift rule is known"),
        ({"optimiser": {"name": "cma_es"}}, "optimiser.name", "two parameters"),
        ({"backend": "nowhere", "route": "hardware"}, "backend", "nowhere"),
    ],
)
async def test_what_the_worker_refuses_costs_nothing(
    dev: Stack, changes: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        await ended(dev, loop(**changes))
    assert refused.value.field == field
    assert remote(dev) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "arguments"),
        ([None], "request: missing"),
        (["nonsense"], "request: Input should be an object"),
        ([{"key": "a"}], "workload"),
        ([loop(key="another")], "workflow id: must be tenant/loop/key"),
    ],
    ids=["nothing", "null", "a text", "half of it", "under another id"],
)
async def test_a_start_with_what_is_no_request_fails_at_once(
    dev: Stack, given: list[Any], words: str
) -> None:
    handle = await dev.temporal.start_workflow(
        loops.HYBRID_LOOP,
        args=given,
        id=f"default/loop/{uuid4().hex}",
        task_queue=dev.settings.temporal.task_queue,
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), 20)
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "InvalidRequest"
    assert words in failed.value.cause.message
