"""Starts a batch of jobs on real servers, does to it what a plan says, and waits for all to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from qsaga.client import JobHandle
from qsaga.core.approval import DECIDE, ApprovalDecision, Verdict
from qsaga.core.attributes import STATE
from qsaga.core.errors import KeyConflict, QsagaError
from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag
from qsaga.core.operations import Reconcile
from qsaga.core.records import JobRecord
from qsaga.core.results import JobResult, Transition
from qsaga.core.runs import GIVE_UP, LOOK, RUN_REPORTED, RunReport
from qsaga.core.sessions import session_id
from qsaga.core.states import JobState
from tests.support.failed_tasks import failed_tasks, faults
from tests.support.freed_clock import FreedClock
from tests.support.lifecycle_plans import (
    ANSWERS,
    BACKENDS,
    SESSIONS,
    TENANTS,
    WORKLOADS,
    Act,
    JobPlan,
    World,
)
from tests.support.people import tenant
from tests.support.stack import Stack

RUNS = 5
"""More hardware runs than any job begins."""
STUCK = 300.0
"""Real seconds after which a batch counts as one that does not end."""


@dataclass(frozen=True)
class Ended:
    """A job that has ended, with all that is known of it."""

    plan: JobPlan
    result: JobResult
    record: JobRecord
    published: str | None
    remote: list[dict[str, Any]]
    spent: float
    faults: list[str]


class Batch:
    """The jobs of a world."""

    def __init__(self, stack: Stack, world: World, clock: FreedClock) -> None:
        self._stack, self._world, self._clock = stack, world, clock
        self._requests = [_request(world, number) for number in range(len(world.jobs))]
        self._handles = [stack.client.job(request.job_id) for request in self._requests]
        self._said: list[asyncio.Task[None]] = []

    async def play(self) -> list[Ended]:
        """Start the jobs, let happen what is planned, see everything to its end.

        Left out of what is returned are jobs that the server has lost; they are closed as failed.
        """
        await self._prepare()
        async with asyncio.timeout(STUCK):
            began = await self._clock.now()
            for at, happening in self._happenings():
                if (wait := began + at - await self._clock.now()) > 0:
                    await self._clock.sleep(wait)
                await happening()
            async with self._clock.skipping():
                for request in self._requests:
                    await self._ended(request.job_id)
                lost = await self._lost([request.job_id for request in self._requests])
                results = [
                    None if request.job_id in lost else await handle.result()
                    for request, handle in zip(self._requests, self._handles, strict=True)
                ]
                await asyncio.gather(*self._said)
                begun = [await self._runs_closed(request) for request in self._requests]
                await self._sessions_closed()
                await self._repaired(lost, [tag for tags in begun for tag in tags])
                every = zip(self._world.jobs, results, begun, strict=True)
                return [
                    await self._all_of(plan, result, tags)
                    for plan, result, tags in every
                    if result is not None
                ]

    def _happenings(self) -> list[tuple[float, Callable[[], Awaitable[None]]]]:
        every: list[tuple[float, Callable[[], Awaitable[None]]]] = []
        for number, (plan, request) in enumerate(
            zip(self._world.jobs, self._requests, strict=True)
        ):
            every.append((plan.starts, partial(self._start, request)))
            every += [(plan.starts + act.at, partial(self._do, number, act)) for act in plan.acts]
        return sorted(every, key=lambda one: one[0])

    async def _prepare(self) -> None:
        control, world = self._stack.emulator.control, self._world
        for backend, (ahead, seconds) in world.queues.items():
            control.set_queue(ahead, seconds, backend=backend)
        control.set_execution(world.execution)
        rules = [
            fault | {"tag": self._tag(request.job_id, number)}
            for request, plan in zip(self._requests, world.jobs, strict=True)
            for number, fault in enumerate(plan.faults)
            if fault is not None
        ]
        control.set_plan(*world.outages, *rules)
        await tenant(self._stack, "free", quantum_seconds=10**6)
        await tenant(self._stack, "asked", quantum_seconds=10**6)
        await tenant(self._stack, "poor", quantum_seconds=10, when_spent="fallback")

    async def _start(self, request: JobRequest) -> None:
        await self._stack.begin(request)

    def _tag(self, job_id: str, number: int) -> str:
        return submission_tag(self._stack.settings.deployment, job_id, number)

    # --- what happens ----------------------------------------------------------------------------

    async def _do(self, number: int, act: Act) -> None:
        request, handle = self._requests[number], self._handles[number]
        match act.kind:
            case "cancel":
                with suppress(QsagaError):
                    await handle.cancel()
            case "repeat":
                assert (await self._stack.client.start(request)).job_id == request.job_id
            case "another":
                other = request.model_copy(update={"seed": request.seed + 1})
                with suppress(KeyConflict):
                    await self._stack.client.start(other)
                    raise AssertionError("another payload was taken under the same key")
            case "approve" | "lower" | "reject" | "supply":
                said = _decide(handle, _decision(self._world.jobs[number], act))
                self._said.append(asyncio.create_task(said))
            case _:
                await self._signal(number, act)

    async def _signal(self, number: int, act: Act) -> None:
        request = self._requests[number]
        first = self._tag(request.job_id, 0)
        signals: dict[str, tuple[str, str, Any]] = {
            "signal_yes": (request.job_id, DECIDE, _decision(self._world.jobs[number], act)),
            "junk": (request.job_id, DECIDE, None if act.fits else {"verdict": "perhaps"}),
            "give_up": (first, GIVE_UP, "a stranger says so"),
            "look": (first, LOOK, None),
            "forge": (request.job_id, RUN_REPORTED, _forged(first if act.fits else "qsaga:0")),
        }
        target, name, given = signals[act.kind]
        with suppress(RPCError):  # it has ended, or was never begun
            to = self._stack.temporal.get_workflow_handle(target)
            await (to.signal(name) if name == LOOK else to.signal(name, given))

    async def _ended(self, workflow_id: str) -> None:
        """Until it has. A long poll of a time-skipping server ends when much time is skipped."""
        handle = self._stack.temporal.get_workflow_handle(workflow_id)
        while (  # noqa: ASYNC110 - on a server
            await handle.describe()
        ).status is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.1)

    async def _runs_closed(self, request: JobRequest) -> list[str]:
        """The hardware runs that the job has begun, once all have closed their accounts."""
        begun = []
        for number in range(RUNS):
            with suppress(RPCError):
                await self._ended(tag := self._tag(request.job_id, number))
                begun.append(tag)
        return begun

    async def _lost(self, workflow_ids: list[str]) -> list[str]:
        """Those that the server has lost.

        A time-skipping server turns down a workflow task that cancels an activity whose result has
        just come, or a timer that has just fired, gives out no other one, and ends the workflow
        after ten years (docs/decisions/0005). No workflow of ours has a time-out.
        """
        lost = []
        for name in workflow_ids:
            described = await self._stack.temporal.get_workflow_handle(name).describe()
            if described.status is WorkflowExecutionStatus.TIMED_OUT:
                lost.append(name)
        return lost

    async def _repaired(self, lost: list[str], begun: list[str]) -> None:
        """Have the reconciliation see to what jobs and runs left that the server has lost."""
        if not lost and not await self._lost(begun):
            return
        await self._stack.client.operate(Reconcile(repair=True))
        for job_id in lost:
            record = await self._stack.parts.records.get(job_id)
            assert record is None or record.closed is not None, job_id

    async def _sessions_closed(self) -> None:
        tag = deployment_tag(self._stack.settings.deployment)
        for whose, key, backend in product(TENANTS, SESSIONS, BACKENDS):
            with suppress(RPCError):  # nobody has asked for it
                await self._ended(owner := session_id(tag, whose, key, backend))
                assert not faults(await failed_tasks(self._stack.temporal, owner))

    # --- what has come of it ---------------------------------------------------------------------

    async def _all_of(self, plan: JobPlan, result: JobResult, begun: list[str]) -> Ended:
        temporal, job_id = self._stack.temporal, result.job_id
        failed = [one for at in (job_id, *begun) for one in await failed_tasks(temporal, at)]
        described = await temporal.get_workflow_handle(job_id).describe()
        assert described.status is WorkflowExecutionStatus.COMPLETED
        kept = await self._stack.parts.ledger.reservations(job_id)
        return Ended(
            plan=plan,
            result=result,
            record=await self._stack.record(job_id),
            published=next(
                (str(pair.value) for pair in described.typed_search_attributes
                 if pair.key.name == STATE), None
            ),
            remote=[
                job
                for number in range(RUNS)
                for job in self._stack.remote(self._tag(job_id, number))
            ],
            spent=float(sum(one.spent.quantum_seconds for one in kept)),
            faults=faults(failed),
        )  # fmt: skip


def _request(world: World, number: int) -> JobRequest:
    plan = world.jobs[number]
    key = plan.session
    return JobRequest.model_validate(
        {
            "tenant": plan.tenant,
            "key": f"job-{number}",
            "workload": WORKLOADS[plan.verb],
            "budgets": plan.budgets,
            "route": plan.route,
            "backend": plan.backend,
            "session": None if key is None else {"key": key} | world.sessions[key],
            "requested_by": "ann",
        }
    )


def _decision(plan: JobPlan, act: Act) -> ApprovalDecision:
    given: dict[str, Any] = {"verdict": Verdict.APPROVE, "by": act.who, "why": act.kind}
    if act.kind == "reject":
        given["verdict"] = Verdict.REJECT
    elif act.kind == "lower":
        given["money"] = "6.40"
    elif act.kind == "supply":
        other = "sample" if plan.verb == "estimate" else "estimate"
        given["answer"] = ANSWERS[plan.verb if act.fits else other]
    return ApprovalDecision.model_validate(given)


async def _decide(handle: JobHandle, decision: ApprovalDecision) -> None:
    with suppress(QsagaError):
        await handle.decide(decision)


def _forged(run_id: str) -> RunReport:
    ended = Transition(state=JobState.CANCELLED, at=datetime(1970, 1, 1, tzinfo=UTC))
    return RunReport(
        run_id=run_id, outcome="failed", reason="a stranger says so", transitions=(ended,)
    )
