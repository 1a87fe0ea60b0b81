"""What is played while somebody is killed, and how it must end all the same.

Another scenario is one more entry of ``SCENARIOS``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from adapters.sql import SqlLedger, migrate, open_engine
from qsaga.core.approval import ApprovalDecision, Verdict
from qsaga.core.jobs import JobRequest
from qsaga.core.ledger import Budget, Tenant
from qsaga.core.states import JobState, Rung
from qsaga.core.supplied import SuppliedAnswer

STAYS = (1, 3600.0)
"""A queue in which a job stays for an hour."""
EMPTY = (0, 0.1)
SPARE = "spare"
"""A backend that all places share; a job waits there, so that it is never the first choice."""
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
    "simulate": 5,
    "quantum_seconds": 10.0,
}
"""Seconds: room for a worker who dies and is missed after eight."""
RING = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "a"], ["a", "c"]]
_PAIR = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\n{bits}h q[0];\ncx q[0], q[1];\n'
MAXCUT: Mapping[str, Any] = {
    "kind": "optimise",
    "problem": {"name": "maxcut", "data": {"edges": RING}},
    "algorithm": {"depth": 1},
    "shots": 64,
}
BELL: Mapping[str, Any] = {
    "kind": "sample",
    "circuit": {"source": _PAIR.format(bits="bit[2] c;\n") + "c = measure q;\n"},
    "shots": 64,
}
ROUGH: Mapping[str, Any] = {
    "kind": "estimate",
    "circuit": {"source": _PAIR.format(bits="")},
    "observables": [{"ZI": 2.0, "IX": 2.0}],
    "precision": 0.05,
}
"""Of a Bell pair: the standard error of a shot is above one, so one run misses the precision."""
COUNTED = SuppliedAnswer(counts={"c": {"00": 3, "11": 2}})

LADDERS: Mapping[str, tuple[str, ...]] = {
    "optimise": ("hardware", "annealing"),
    "sample": ("hardware", "simulator"),
    "estimate": ("hardware", "simulator"),
}
PRICE = Decimal("1.60")
"""USD for a quantum second."""
POLICY = """
version = "chaos"
{terms}
[ladders]
{ladders}
[hardware]
seconds_per_queued_job = 0.1
quantum_seconds_overhead = 0.5
[hardware.prices.default]
per_quantum_second = "1000.00"
[hardware.prices.{backend}]
per_quantum_second = "{price}"
[hardware.prices.{spare}]
per_quantum_second = "{price}"
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
"""The machines of other places are too dear for a job that has to do with its money."""
HEDGE = "hedge.after = 0.5\nhedge.seconds = 0.3"


def faults(backends: Iterable[str]) -> list[dict[str, Any]]:
    """The emulator's plan for all scenarios; deployments are named after theirs."""
    late = {"do": "cancel_loses_race", "on": "cancel", "tag": "qsaga:late-result-*", "reply": 204}
    down = {"do": "answer", "on": "submit", "tag": "qsaga:other-backend-*", "status": 403}
    return [late, *(down | {"backend": backend} for backend in backends)]


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


async def supply(stage: Stage) -> None:
    """What a person has counted, by update."""
    await stage.asked()
    word = ApprovalDecision(verdict=Verdict.APPROVE, by="bea", why="counted", answer=COUNTED)
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
        workload: of each job.
        served: the rung whose answer must be served, if there is more than one way to the state.
        ladder: of the verb, in place of that of ``LADDERS``.
        terms: lines at the beginning of the policy.
        fields: of the request, on top of the usual ones.
        settings: of the workers, on top of those of the arena.
        earlier: a job of the same input has been answered by hardware before anybody is killed.
    """

    state: JobState
    remote: int = 1
    late: int = 0
    tenant: str = "plenty"
    queue: tuple[int, float] = EMPTY
    budgets: Mapping[str, float] = field(default_factory=dict)
    jobs: int = 1
    acts: Callable[[Stage], Awaitable[None]] = nothing
    workload: Mapping[str, Any] = field(default_factory=lambda: MAXCUT)
    served: Rung | None = None
    ladder: tuple[str, ...] = ()
    terms: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    earlier: bool = False

    def policy(self, backend: str) -> str:
        """The policy of a place, by its backend."""
        ladders = {**LADDERS} | ({self.workload["kind"]: self.ladder} if self.ladder else {})
        return POLICY.format(
            terms=self.terms,
            ladders="\n".join(f"{verb} = {list(rungs)}" for verb, rungs in ladders.items()),
            backend=backend,
            spare=SPARE,
            price=PRICE,
        )

    def requests(self, backend: str, key: str) -> list[JobRequest]:
        """Its jobs, on a backend and under keys that nobody else uses."""
        return [self.request(backend, f"{key}.{number}") for number in range(self.jobs)]

    def request(self, backend: str, key: str) -> JobRequest:
        """One of them."""
        usual = {
            "tenant": self.tenant,
            "key": key,
            "workload": self.workload,
            "route": "hardware",
            "backend": backend,
            "budgets": {**BUDGETS, **self.budgets},
            "requested_by": "ann",
        }
        return JobRequest.model_validate({**usual, **self.fields})


FULL = (480, 3600.0)
NO_HARDWARE: Mapping[str, float] = {"queue": 4}
"""Less than the forecast of a full queue."""
SOON: Mapping[str, float] = {"queue": 1.5}
ESTIMATOR: Mapping[str, Any] = {"estimator": "chaos"}
ESTIMATING: Mapping[str, float] = {"solve": 30}
"""The estimator answers at once, but the worker may die and be missed."""

SCENARIOS: Mapping[str, Scenario] = {
    "completed": Scenario(JobState.COMPLETED),
    "degraded-before-submit": Scenario(
        JobState.DEGRADED, remote=0, queue=FULL, budgets=NO_HARDWARE
    ),
    "degraded-in-queue": Scenario(JobState.DEGRADED, queue=STAYS, budgets=SOON),
    "late-result": Scenario(
        JobState.DEGRADED, late=1, queue=STAYS, budgets=SOON, acts=lose_the_race
    ),
    "hedged": Scenario(JobState.COMPLETED, queue=(1, 3.0), terms=HEDGE),
    "approved": Scenario(JobState.COMPLETED, tenant="asks", acts=approve),
    "rejected": Scenario(JobState.REJECTED, remote=0, tenant="asks", acts=reject),
    "cancelled": Scenario(JobState.CANCELLED, queue=STAYS, acts=cancel),
    "budget-refused": Scenario(JobState.REJECTED, remote=0, tenant="poor"),
    "ten-at-once": Scenario(JobState.COMPLETED, jobs=10),
    "other-backend": Scenario(
        JobState.COMPLETED,
        budgets={"money": 100},
        served=Rung.OTHER_BACKEND,
        ladder=("hardware", "other_backend", "annealing"),
        fields={"backend": None},
    ),
    "cached": Scenario(
        JobState.DEGRADED,
        remote=0,
        queue=FULL,
        budgets=NO_HARDWARE,
        served=Rung.CACHED,
        ladder=("hardware", "cached", "annealing"),
        terms="cached_max_age = 3600",
        earlier=True,
    ),
    "learned": Scenario(
        JobState.DEGRADED,
        remote=0,
        queue=FULL,
        budgets={**NO_HARDWARE, **ESTIMATING},
        workload=ROUGH,
        served=Rung.LEARNED,
        ladder=("hardware", "learned", "simulator"),
        settings=ESTIMATOR,
    ),
    "manual": Scenario(
        JobState.DEGRADED,
        queue=STAYS,
        budgets={**SOON, **ESTIMATING},
        acts=supply,
        workload=BELL,
        served=Rung.MANUAL,
        ladder=("hardware", "learned", "manual"),
        settings=ESTIMATOR,
    ),
    "top-up": Scenario(
        JobState.COMPLETED, remote=2, workload=ROUGH, served=Rung.HARDWARE, terms="top_ups = 1"
    ),
    "session": Scenario(
        JobState.COMPLETED, jobs=2, fields={"session": {"key": "shared", "idle_seconds": 0.5}}
    ),
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
