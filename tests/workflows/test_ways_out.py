"""Whatever people, clocks, budgets and machines do to a job: it ends, and its books close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Literal, get_args

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.approval import Decided
from qsaga.core.errors import PolicyRefused, Unreachable
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Rung
from tests.support.crew import Crewed
from tests.support.people import ASK, DEAR, asking_stack, charged, dear, ended, spent, tenant

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

WATCHED = """four_eyes = true
approvers = ["alice", "bob", "carol"]
escalate_to = ["dora"]
remind = 0.2
escalate = 0.4
expires = 1.2
"""
NOT_COUNTED = (PolicyRefused, Unreachable)
"""A decision that was refused, or of which nobody could be told what came of it."""
ONE_JOB = 10
"""Quantum seconds that one job holds."""

Act = Literal[
    "approve", "approve less", "approve next to nothing", "approve by dora", "approve own",
    "reject", "cancel", "wait", "lose the worker", "another job", "raise", "lower", "zero",
]  # fmt: skip


@dataclass
class World:
    """One tenant, his jobs, and what their approvers were told."""

    stack: Crewed
    name: str
    when_spent: str
    handles: list[JobHandle] = field(default_factory=list)
    counted: dict[str, list[Decided]] = field(default_factory=dict)

    async def budget(self, seconds: float) -> None:
        """Give the tenant so many quantum seconds."""
        await tenant(
            self.stack, self.name, quantum_seconds=seconds, when_spent=self.when_spent, jobs=2
        )

    async def start(self) -> None:
        """One more job; its patience with the queue is short."""
        request = dear(tenant=self.name, budgets={"queue": 0.4})
        self.handles.append(await self.stack.client.start(request))

    async def do(self, act: Act, which: int) -> None:
        """One event."""
        handle = self.handles[which % len(self.handles)]
        match act:
            case "approve":
                await self._said(handle, handle.approve("yes", by="bob"))
            case "approve less":
                await self._said(handle, handle.approve("a bit", by="carol", quantum_seconds=2.0))
            case "approve next to nothing":
                await self._said(handle, handle.approve("free", by="bob", money=Decimal("0.1")))
            case "approve by dora":
                await self._said(handle, handle.approve("at last", by="dora"))
            case "approve own":
                with pytest.raises(NOT_COUNTED):
                    await handle.approve("I need it", by="alice")
            case "reject":
                await self._said(handle, handle.reject("no", by="carol"))
            case "cancel":
                await handle.cancel()
            case "wait":
                await asyncio.sleep(0.45)
            case "lose the worker":
                await self.stack.replace()
            case "another job":
                await self.start()
            case "raise" | "lower" | "zero":
                await self.budget({"raise": 50, "lower": ONE_JOB / 2, "zero": 0}[act])

    async def _said(self, handle: JobHandle, word: Awaitable[Decided]) -> None:
        with suppress(*NOT_COUNTED):
            self.counted.setdefault(handle.job_id, []).append(await word)

    async def live(self, groups: list[list[tuple[Act, int]]], budget: float) -> None:
        """A first job, and then whatever happens; of a group, at the same time."""
        await self.budget(budget)
        await self.start()
        for group in groups:
            await asyncio.gather(*(self.do(act, which) for act, which in group))

    def check(self, results: dict[str, JobResult]) -> None:
        """All that must hold at the end."""
        for handle in self.handles:
            result = results[handle.job_id]
            counted = self.counted.get(result.job_id, [])
            kept = result.approval.counted if result.approval else ()
            assert set(counted) <= set(kept), "one was told that his word counted, and it did not"
            if result.state is JobState.COMPLETED:
                assert result.approval is not None and result.approval.outcome == "approved"
            if result.provenance is not None and result.provenance.source is Rung.HARDWARE:
                assert result.cost.quantum_seconds > 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Crewed]:
    """One whose policy asks, under four eyes, and does not wait long."""
    folder = tmp_path_factory.mktemp("ways-out")
    async with asking_stack(dev_env, emulator, folder, ASK + DEAR + WATCHED) as one:
        yield one


NUMBERS = count()

acts = st.tuples(st.sampled_from(get_args(Act)), st.integers(0, 1))
lives = st.tuples(
    # What stands in one group happens at the same time.
    st.lists(st.lists(acts, min_size=1, max_size=3), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["refuse", "fallback"]),
)


@settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    # Side by side, since most of a life is waiting; the workers that are lost are those of all.
    tenants=st.lists(lives, min_size=4, max_size=4),
    queue=st.sampled_from([0.0, 0.0, 1.2]),
    cancel_loses=st.booleans(),
)
async def test_every_way_out_leaves_clean_books(
    stack: Crewed,
    tenants: list[tuple[list[list[tuple[Act, int]]], bool, str]],
    queue: float,
    cancel_loses: bool,
) -> None:
    control = stack.emulator.control
    control.reset()
    control.set_execution(0.2)
    control.set_faults(cancel_loses_race=cancel_loses)
    control.set_queue(1 if queue else 0, queue)
    worlds = [World(stack, f"t{next(NUMBERS)}", when_spent) for _, _, when_spent in tenants]
    await asyncio.gather(
        *(
            world.live(groups, ONE_JOB * (2.5 if rich else 1.5))
            for world, (groups, rich, _) in zip(worlds, tenants, strict=True)
        )
    )
    handles = [handle for world in worlds for handle in world.handles]
    results = {result.job_id: result for result in await ended(stack, *handles)}
    for world in worlds:
        world.check(results)
    assert sum([await spent(stack, world.name) for world in worlds]) == charged(stack)
