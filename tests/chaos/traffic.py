"""Hundreds of jobs of every kind while everything goes wrong and everybody is killed in turn.

The rounds, fault plans and kills of workers are those of ``tests.chaos.plans``. On top of these the
emulator and the Temporal server are killed at random moments, and the jobs sample, estimate and
optimise; some wait for a person, who says yes or no.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from qsaga.client import JobHandle, QsagaClient
from qsaga.core.errors import QsagaError
from qsaga.core.jobs import JobRequest
from qsaga.core.states import JobState
from tests.chaos.arena import until_served
from tests.chaos.campaign import BUDGETS, TENANT, Campaign, budgets_of
from tests.chaos.counting import Truth, count
from tests.chaos.crew import BACKEND, Crew
from tests.chaos.plans import Asked, Round, draw
from tests.chaos.scenarios import RING
from tests.support.stack import bell

ASKED = "chaos-asked"
RULE = f"""
[[approvals]]
name = "asks"
money_above = "0.01"
tenants = ["{ASKED}"]
because = "chaos"
"""
ROUND, FAULTS, WORKERS = 25, 6, 2
LAST = 10.0
"""Seconds of a round within which servers are killed."""
WORKLOADS: dict[str, dict[str, Any]] = {
    "estimate": {
        "kind": "estimate",
        "circuit": {
            "source": 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
            "qubit[2] q;\nh q[0];\ncx q[0], q[1];\n"
        },
        "observables": [{"ZZ": 1.0}, {"XX": 0.5, "ZI": 0.25}],
    },
    "optimise": {
        "kind": "optimise",
        "problem": {"name": "maxcut", "data": {"edges": RING}},
        "algorithm": {"depth": 1},
    },
}


@dataclass(frozen=True)
class Kind:
    """What a job is and what people do with it; drawn from the seed and its key."""

    verb: str
    tenant: str
    verdict: str

    @classmethod
    def of(cls, seed: int, key: str) -> Kind:
        """The kind of a job."""
        dice = random.Random(f"{seed} {key}")
        asked = dice.random() < 0.2
        return cls(
            dice.choice(("sample", "estimate", "optimise")),
            ASKED if asked else TENANT,
            dice.choice(("approve", "approve", "reject")) if asked else "",
        )


class AskingCrew(Crew):
    """Under a policy that asks a person about one tenant's jobs."""

    def policy(self) -> str:
        """The crew's, and a rule."""
        return super().policy() + RULE


@dataclass
class Traffic(Campaign):
    """Plays rounds in which servers die as well."""

    seed: int = 0
    tenants: tuple[str, ...] = (TENANT, ASKED)
    killed: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)
    unheard: dict[str, list[str]] = field(default_factory=dict)

    async def _kill(self, one: Round) -> None:
        """The workers' kills of the round, and each server's in every other round or so."""
        dice = random.Random(f"{self.seed} {one.number}")
        servers = [name for name in ("emulator", "temporal") if dice.random() < 0.5]
        kills = [(kill.at, str(kill.worker)) for kill in one.kills]
        kills += [(dice.uniform(0.5, LAST), name) for name in servers]
        clock = asyncio.get_running_loop()
        began = clock.time()
        # One after the other: a worker that is hired needs the servers.
        for at, victim in sorted(kills):
            await asyncio.sleep(max(0.0, began + at - clock.time()))
            await asyncio.to_thread(self._strike, victim)
            self.killed[victim if victim in servers else "worker"] += 1

    def _strike(self, victim: str) -> None:
        if victim == "emulator":
            self.crew.emulator.kill()
            self.crew.emulator.start()
        elif victim == "temporal":
            self.crew.kill_temporal()
            self.crew.start_temporal()
        else:
            self.crew.kill(int(victim))

    # --- one job ---------------------------------------------------------------------------------

    def _request(self, asked: Asked) -> JobRequest:
        kind = Kind.of(self.seed, asked.key)
        return bell(
            key=asked.key,
            tenant=kind.tenant,
            route="hardware",
            backend=BACKEND,
            budgets=budgets_of(asked) | {"solve": 0.5},
            **({} if kind.verb == "sample" else {"workload": WORKLOADS[kind.verb]}),
        )

    async def _meanwhile(self, asked: Asked, handle: JobHandle) -> None:
        verdict = Kind.of(self.seed, asked.key).verdict
        if verdict:
            await self._decided(handle, verdict)
        await super()._meanwhile(asked, handle)

    async def _decided(self, handle: JobHandle, verdict: str) -> None:
        """A person's word, said until it is heard; not where the job ended without asking."""
        say = handle.approve if verdict == "approve" else handle.reject
        while await self._status(handle.job_id) == "RUNNING":
            try:
                if (await handle.progress()).job.state is JobState.AWAITING_APPROVAL:
                    await say("chaos", by="bea")
                    return
            except QsagaError as error:
                self.unheard.setdefault(handle.job_id, []).append(str(error))
            await asyncio.sleep(0.3)

    async def _status(self, workflow_id: str) -> str:
        return await until_served(lambda: super(Traffic, self)._status(workflow_id))

    # --- the truth -------------------------------------------------------------------------------

    async def judged(self, rounds: list[Round]) -> None:
        """Which jobs ended in a state that nothing done to them explains, and which too late."""
        by_key = {asked.key: asked for one in rounds for asked in one.jobs}
        for one in self.ended.values():
            asked = by_key[one.job_id.partition("/")[2]]
            fine = {"completed", "degraded", "refused"}
            if asked.cancelled_after is not None:
                fine.add("cancelled")
            if Kind.of(self.seed, asked.key).verdict == "reject":
                fine.add("rejected")
            if one.job and one.job not in fine:
                said = self.unheard.get(one.job_id, [])
                self.wrong[one.job_id] = "; ".join([one.job, *said])
            await self._in_time(one.job_id)

    async def _in_time(self, job_id: str) -> None:
        handle = self.client.temporal.get_workflow_handle(job_id)
        try:
            told = await until_served(handle.describe)
        except RPCError:
            return
        if told.status is not WorkflowExecutionStatus.RUNNING and told.close_time is not None:
            seconds = (told.close_time - told.start_time).total_seconds()
            if seconds > BUDGETS["deadline"]:
                self.late[job_id] = seconds


async def play(folder: Path, jobs: int, seed: int) -> tuple[Truth, Traffic]:
    """From start to stop."""
    plans = folder / "plans"
    plans.mkdir(parents=True)
    rounds = draw(seed, jobs, ROUND, FAULTS, WORKERS)
    crew = AskingCrew(folder, size=WORKERS, client_retries=False, seed=seed)
    await asyncio.to_thread(crew.start)
    try:
        client = await QsagaClient.connect(crew.settings())
        campaign = Traffic(crew, client, plans, seed=seed)
        truth = await campaign.play(rounds)
        await campaign.judged(rounds)
    finally:
        await asyncio.to_thread(crew.stop)
    return truth, campaign


def traffic(folder: Path, jobs: int, seed: int) -> dict[str, Any]:
    """A row as those of the scenarios; its points are kills and faults that fired."""
    shutil.rmtree(folder, ignore_errors=True)
    truth, campaign = asyncio.run(play(folder, jobs, seed))
    found = count(truth)
    tags = {one.tag for one in truth.ended}
    sent = Counter(tag for job in truth.jobs for tag in job["tags"] if tag in tags)
    print(f"traffic: {found.counts['endings']}, killed {dict(campaign.killed)}")
    for job_id, said in campaign.unheard.items():
        print(f"traffic: {job_id}: a person's word was said again: {said}")
    detail = found.detail | {"wrong_state": campaign.wrong, "deadline_missed": campaign.late}
    for name, what in detail.items():
        if what:
            print(f"traffic: {name}: {what}")
    return {
        "scenario": f"traffic of {jobs} jobs",
        "points": sum(campaign.killed.values()) + sum(campaign.fired.values()),
        "lost": found.counts["lost"],
        "wrong_state": len(campaign.wrong),
        "double_submissions": sum(number - 1 for number in sent.values()),
        "orphan_remote_jobs": found.counts["orphans"] + len(found.detail.get("not_ours", ())),
        "orphan_reservations": found.counts["held"],
        "unbooked_charges": found.counts["unbooked_charges"],
        "ledger_difference": found.counts["ledger_difference"] + len(truth.books),
        "deadline_missed": len(campaign.late),
    }
