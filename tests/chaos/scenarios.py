"""What is played while somebody is killed, and how it must end all the same.

Another scenario is one more entry of ``SCENARIOS``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from adapters.sql import SqlLedger, migrate, open_engine
from qsaga.core.approval import ApprovalDecision, Verdict
from qsaga.core.jobs import JobRequest
from qsaga.core.ledger import Budget, Tenant
from qsaga.core.states import JobState

STAYS = (1, 3600.0)
"""A queue in which a job stays for an hour."""
EMPTY = (0, 0.1)
DEADLINE = 120.0
BUDGETS: Mapping[str, float] = {
    "deadline": DEADLINE,
    "admit": 40,
    "encode": 30,
    "compile": 40,
    "submit": 90,
    "queue": 40,
    "execution": 40,
    "retrieval": 40,
    "postprocess": 30,
    "solve": 0.2,
    "quantum_seconds": 10.0,
}
"""Seconds: room for a worker who dies and is missed after eight."""
RING = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "a"], ["a", "c"]]

POLICY = """
version = "chaos"
[ladders]
optimise = ["hardware", "annealing"]
sample = ["hardware", "simulator"]
estimate = ["hardware", "simulator"]
[hardware]
seconds_per_queued_job = 0.1
quantum_seconds_overhead = 0.5
[hardware.prices.default]
per_quantum_second = "1.60"
[[rules]]
name = "hardware"
route = "hardware"
because = "chaos"
[[approvals]]
name = "asks"
money_above = "0.01"
tenants = ["asks"]
because = "chaos"
"""
HEDGE = """
[hedge]
after = 0.5
seconds = 0.3
"""
FAULTS = ({"do": "cancel_loses_race", "on": "cancel", "tag": "qsaga:late-result-*", "reply": 204},)
"""The emulator's plan for all scenarios; deployments are named after theirs."""


class Stage(Protocol):
    """What somebody outside can see and do while a scenario is played."""

    async def asked(self) -> None:
        """Until the job says that it waits for a person."""

    async def decide(self, decision: ApprovalDecision, *, update: bool) -> None:
        """A person's word, as an update or as a signal."""

    async def sent(self) -> None:
        """Until the emulator has a job of ours."""

    async def cancel(self) -> None:
        """As the caller."""

    async def cancel_refused(self) -> None:
        """Until the emulator has let a job of ours win against its cancellation."""

    async def ended(self) -> None:
        """Until all jobs have ended."""

    async def drain(self) -> None:
        """What waits at the emulator starts."""


async def nothing(_stage: Stage) -> None:
    """Nobody does anything."""


async def approve(stage: Stage) -> None:
    """By signal, which needs no worker."""
    await stage.asked()
    word = ApprovalDecision(verdict=Verdict.APPROVE, by="bea", why="worth it")
    await stage.decide(word, update=False)


async def reject(stage: Stage) -> None:
    """By update, which waits for one."""
    await stage.asked()
    word = ApprovalDecision(verdict=Verdict.REJECT, by="bea", why="not this month")
    await stage.decide(word, update=True)


async def cancel(stage: Stage) -> None:
    """Once the job waits at the provider."""
    await stage.sent()
    await stage.cancel()


async def lose_the_race(stage: Stage) -> None:
    """The job runs although its cancellation was confirmed, after another answer was served."""
    await stage.ended()
    await stage.cancel_refused()
    await stage.drain()


@dataclass(frozen=True)
class Scenario:
    """One story.

    Args:
        state: in which every job must end.
        remote: jobs that each may make at the provider, no more and no fewer.
        late: late results that must be noted.
        tenant: ``plenty``, ``asks`` (a person is asked) or ``poor``.
        queue: other people's jobs in front of ours, and the seconds that each takes.
        budgets: on top of ``BUDGETS``.
        jobs: how many at once.
        acts: what people do meanwhile.
        policy: what is added to ``POLICY``.
        slow: places where a dead worker is missed only after two and a half minutes: the account
            is closed there by an activity that does not beat, when the answer has been served.
    """

    state: JobState
    remote: int = 1
    late: int = 0
    tenant: str = "plenty"
    queue: tuple[int, float] = EMPTY
    budgets: Mapping[str, float] = field(default_factory=dict)
    jobs: int = 1
    acts: Callable[[Stage], Awaitable[None]] = nothing
    policy: str = ""
    slow: str = "-"

    def requests(self, backend: str, key: str) -> list[JobRequest]:
        """Its jobs, on a backend and under keys that nobody else uses."""
        problem = {"name": "maxcut", "data": {"edges": RING}}
        return [
            JobRequest.model_validate(
                {
                    "tenant": self.tenant,
                    "key": f"{key}.{number}",
                    "workload": {
                        "kind": "optimise",
                        "problem": problem,
                        "algorithm": {"depth": 1},
                        "shots": 64,
                    },
                    "route": "hardware",
                    "backend": backend,
                    "budgets": {**BUDGETS, **self.budgets},
                    "requested_by": "ann",
                }
            )
            for number in range(self.jobs)
        ]


SCENARIOS: Mapping[str, Scenario] = {
    "completed": Scenario(JobState.COMPLETED),
    "degraded-before-submit": Scenario(
        JobState.DEGRADED, remote=0, queue=(480, 3600.0), budgets={"queue": 4}
    ),
    "degraded-in-queue": Scenario(
        JobState.DEGRADED, queue=STAYS, budgets={"queue": 1.5}, slow="settle/"
    ),
    "late-result": Scenario(
        JobState.DEGRADED,
        late=1,
        queue=STAYS,
        budgets={"queue": 1.5},
        acts=lose_the_race,
        slow="settle/",
    ),
    "hedged": Scenario(JobState.COMPLETED, queue=(1, 3.0), policy=HEDGE),
    "approved": Scenario(JobState.COMPLETED, tenant="asks", acts=approve),
    "rejected": Scenario(JobState.REJECTED, remote=0, tenant="asks", acts=reject),
    "cancelled": Scenario(JobState.CANCELLED, queue=STAYS, acts=cancel, slow="settle/"),
    "budget-refused": Scenario(JobState.REJECTED, remote=0, tenant="poor"),
    "ten-at-once": Scenario(JobState.COMPLETED, jobs=10),
}


async def set_up(database: str) -> None:
    """The tables, and the tenants with their budgets, so that everything is held and settled."""
    engine = open_engine(database)
    await migrate(engine)
    plenty, little = Budget(limit=Decimal(10**9)), Budget(limit=Decimal(1))
    for name, money in (("plenty", plenty), ("asks", plenty), ("poor", little)):
        tenant = Tenant(name=name, quantum_seconds=plenty, money=money, jobs=100_000)
        await SqlLedger(engine).put_tenant(tenant, datetime.now(UTC))
    await engine.dispose()
