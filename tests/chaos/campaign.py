"""One run: rounds of jobs under fault plans, workers killed, then quiet, then the truth."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.sql import SqlLedger, SqlSubmissions, open_engine
from adapters.sql._engine import reading
from adapters.sql._tables import charges
from qsaga.client import JobHandle, QsagaClient
from qsaga.core.errors import InvalidRequest, PolicyRefused, QsagaError, Unreachable
from qsaga.core.jobs import JobRequest, submission_tag
from qsaga.core.ledger import Budget, Tenant, Unit
from tests.chaos.counting import Booked, Ended, Truth
from tests.chaos.crew import BACKEND, Crew
from tests.chaos.plans import Asked, Round, kind_of
from tests.support.stack import bell
from worker import database_url

TENANT = "chaos"
BUDGETS: dict[str, float] = {
    "deadline": 150,
    "admit": 40,
    "compile": 40,
    "submit": 45,
    "queue": 60,
    "execution": 60,
    "retrieval": 30,
}
"""Seconds, so that a job that meets only faults falls back before the end."""
OPEN = 20
"""A round begins when no more jobs than that are open."""
DRAIN = 240.0
"""Seconds for all runs to close after the last fault."""
TRIES = 30


def budgets_of(asked: Asked) -> dict[str, float]:
    """With a queue budget that is too short, where that is asked for."""
    return BUDGETS | ({"queue": asked.queue} if asked.queue is not None else {})


@dataclass
class Campaign:
    """Plays rounds on a crew."""

    crew: Crew
    client: QsagaClient
    plans: Path
    ended: dict[str, Ended] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    tenants: tuple[str, ...] = (TENANT,)

    async def play(self, rounds: Sequence[Round]) -> Truth:
        """All rounds, one after the other; then nothing goes wrong any more."""
        await self._tenant()
        at_work: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for one in rounds:
            while len(at_work) > OPEN:
                _, at_work = await asyncio.wait(at_work, return_when=asyncio.FIRST_COMPLETED)
            print(
                f"{time.monotonic() - began:6.1f} s  round {one.number}, {len(at_work)} open: "
                + ", ".join(kind_of(rule["name"]) for rule in one.rules),
                flush=True,
            )
            file = self.plans / f"round-{one.number:02}.json"
            file.write_text(json.dumps(one.document(), indent=1) + "\n")
            await self._faults(one)
            killing = asyncio.create_task(self._kill(one))
            at_work |= {asyncio.create_task(self._job(asked)) for asked in one.jobs}
            # A round lasts until its last job has been started and its kills are done.
            await asyncio.sleep(max(asked.at for asked in one.jobs))
            await killing
        if at_work:  # the last round has its time as well
            await asyncio.wait(at_work, timeout=10)
        await self._faults(None)
        print(f"{time.monotonic() - began:6.1f} s  no more faults, {len(at_work)} open", flush=True)
        if at_work:
            _, late = await asyncio.wait(at_work, timeout=DRAIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*at_work, return_exceptions=True)
            for task in at_work - late:
                task.result()
        print(f"{time.monotonic() - began:6.1f} s  drained", flush=True)
        return await self._truth()

    # --- what goes wrong -----------------------------------------------------------------------

    async def _faults(self, one: Round | None) -> None:
        control = self.crew.emulator.control

        def change() -> None:
            for rule in control.faults()["faults"]:
                self.fired[kind_of(rule["name"])] += rule["fired"]
            control.set_plan(*(one.rules if one else ()), seed=one.seed if one else 0)

        await asyncio.to_thread(change)

    async def _kill(self, one: Round) -> None:
        began = time.monotonic()
        for kill in one.kills:
            await asyncio.sleep(max(0.0, began + kill.at - time.monotonic()))
            await asyncio.to_thread(self.crew.kill, kill.worker)

    # --- one job -------------------------------------------------------------------------------

    async def _job(self, asked: Asked) -> None:
        """From asking to the end of its run, noted at each step."""
        await asyncio.sleep(asked.at)
        request = self._request(asked)
        tag = submission_tag(self.crew.deployment, request.job_id, 0)
        self.ended[tag] = Ended(request.job_id, tag, job="")
        handle = await self._start(request, tag)
        if handle is None:
            return
        await self._meanwhile(asked, handle)
        self.ended[tag] = Ended(request.job_id, tag, job=await _end_of(handle))
        await self._closed(tag)

    def _request(self, asked: Asked) -> JobRequest:
        return bell(
            key=asked.key,
            tenant=TENANT,
            route="hardware",
            backend=BACKEND,
            budgets=budgets_of(asked),
        )

    async def _start(self, request: JobRequest, tag: str) -> JobHandle | None:
        for attempt in range(TRIES):
            try:
                return await self.client.start(request)
            except (InvalidRequest, PolicyRefused):
                # Told by a plan before anything was begun, for instance while there is an outage.
                self.ended[tag] = Ended(request.job_id, tag, job="refused")
                return None
            except Unreachable:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(1.0)
        return None

    async def _meanwhile(self, asked: Asked, handle: JobHandle) -> None:
        """What people do with a job that was started."""
        if asked.cancelled_after is not None:
            await asyncio.sleep(asked.cancelled_after)
            with suppress(QsagaError):  # it has ended
                await handle.cancel()

    async def _closed(self, tag: str) -> None:
        """Wait until the run has closed, and note it."""
        one = self.ended[tag]
        while (status := await self._status(tag)) == "RUNNING":
            self.ended[tag] = Ended(one.job_id, tag, one.job, status)
            await asyncio.sleep(0.3)
        self.ended[tag] = Ended(one.job_id, tag, one.job, status)

    async def _status(self, workflow_id: str) -> str:
        """Temporal's word; empty where there is no such workflow."""
        try:
            described = await self.client.temporal.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return ""
            raise
        status = described.status or WorkflowExecutionStatus.RUNNING
        return status.name

    # --- the truth -----------------------------------------------------------------------------

    async def _tenant(self) -> None:
        """With budgets, so that everything is reserved and settled."""
        engine = open_engine(database_url(self.client._settings))
        plenty = Budget(limit=Decimal(10**9))
        for name in self.tenants:
            terms = Tenant(name=name, quantum_seconds=plenty, money=plenty, jobs=100_000)
            await SqlLedger(engine).put_tenant(terms, datetime.now(UTC))
        await engine.dispose()

    async def _truth(self) -> Truth:
        control = self.crew.emulator.control
        jobs = await asyncio.to_thread(control.jobs)
        posts = await asyncio.to_thread(control.posts)
        engine = open_engine(database_url(self.client._settings))
        try:
            async with reading(engine) as connection:
                rows = (await connection.execute(select(charges))).all()
            ledger = SqlLedger(engine)
            books = await ledger.books()
            now = datetime.now(UTC)
            statements = [await ledger.statement(name, now) for name in self.tenants]
            waiting = await SqlSubmissions(engine).quarantined()
        finally:
            await engine.dispose()
        lines = [line for statement in statements for line in statement.lines]
        spent = [line.spent for line in lines if line.unit is Unit.QUANTUM_SECONDS]
        wrong = [f"{unit}: {total}" for unit, total in books.sums.items() if total]
        return Truth(
            ended=tuple(self.ended.values()),
            jobs=jobs,
            posts=posts,
            charges=[Booked(row.provider_job_id, row.run_id, row.quantum_seconds) for row in rows],
            quarantined=[case.run_id for case in waiting],
            spent=float(sum(spent)),
            held=books.held,
            books=[*wrong, *books.mismatches],
        )


async def _end_of(handle: JobHandle) -> str:
    """The state of the result, or the name of a typed failure."""
    while True:
        try:
            result = await handle.result()
        except Unreachable:
            await asyncio.sleep(0.5)
        except QsagaError as error:
            return type(error).__name__
        else:
            told = result.answer is not None or result.unanswered is not None
            return result.state.value if told else ""


async def run(
    folder: Path, plans: Path, rounds: Sequence[Round], *, retries: bool, seed: int, size: int = 2
) -> tuple[Truth, dict[str, Any]]:
    """Everything from start to stop.

    Args:
        folder: gets logs and data.
        plans: gets a file for each round.
        rounds: what to play.
        retries: whether IBM's client repeats its POST requests.
        seed: of the emulator.
        size: workers.

    Returns:
        What there is to count, and ``worker_kills``, ``faults_fired`` by kind, ``seconds``.
    """
    plans.mkdir(parents=True, exist_ok=True)
    crew = Crew(folder, size=size, client_retries=retries, seed=seed)
    began = time.monotonic()
    await asyncio.to_thread(crew.start)
    try:
        campaign = Campaign(crew, await QsagaClient.connect(crew.settings()), plans)
        truth = await campaign.play(rounds)
    finally:
        await asyncio.to_thread(crew.stop)
    told = {
        "worker_kills": crew.kills,
        "faults_fired": dict(sorted(campaign.fired.items())),
        "seconds": round(time.monotonic() - began, 1),
    }
    return truth, told
