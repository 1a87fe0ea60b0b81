"""What a scene is made of: jobs that are played on the stage, and the claims made of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from qsaga.cli.views import progress_line
from qsaga.client import JobHandle, QsagaClient
from qsaga.core.errors import QsagaError
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest, Optimise, Problem, submission_tag
from qsaga.core.results import Histogram, JobResult, OptimiseAnswer
from qsaga.core.runs import JobAccount
from qsaga.core.states import JobState, Layer
from qsaga.problems.registry import parse
from tools.demo.table import Board
from tools.stage import Stage

PATIENCE = 60.0
LOOK = 0.05
MOST_ENUMERATED = 20
"""Variables of the largest problem that is solved by trying everything."""

Remote = dict[str, Any]
"""A job as the emulator itself knows it, times in epoch seconds."""


@dataclass
class Claim:
    """Something that a scene promises, and what was seen instead if it does not hold."""

    text: str
    holds: bool
    seen: str = ""


@dataclass
class Play:
    """One job of a scene."""

    name: str
    title: str
    best_known: float
    request: JobRequest | None = None
    account: JobAccount | None = None
    alternative: Decision | None = None
    remote: list[Remote] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0
    marks: list[tuple[float, str]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def claim(self, text: str, holds: bool, seen: object = "") -> None:
        """Note a promise and whether it was kept."""
        self.claims.append(Claim(text, bool(holds), str(seen)))

    def mark(self, label: str) -> None:
        """Something happens now that belongs on the timeline."""
        self.marks.append((time.time(), label))

    @property
    def ok(self) -> bool:
        """Whether every claim holds."""
        return bool(self.claims) and all(claim.holds for claim in self.claims)

    @property
    def result(self) -> JobResult | None:
        """How the job ended."""
        return self.account.result if self.account else None

    @property
    def state(self) -> str | None:
        """The job's final state."""
        return self.result.state.value if self.result else None

    @property
    def source(self) -> str | None:
        """The rung that answered."""
        if self.result is None or self.result.provenance is None:
            return None
        return self.result.provenance.source.value

    @property
    def decision(self) -> Decision | None:
        """Where the policy sent it."""
        return self.result.decision if self.result else None

    @property
    def route_reason(self) -> str | None:
        """Why it went there, and why not further."""
        if self.result is None or self.decision is None:
            return None
        failed = [a.reason for a in self.result.attempts if a.reason and a.outcome != "answered"]
        refused = self.result.unanswered.reason if self.result.unanswered else ""
        return "; ".join(filter(None, [self.decision.reason, *failed, refused]))

    @property
    def answer(self) -> float | None:
        """The verified objective."""
        answer = self.result.answer if self.result else None
        return answer.quality.objective if isinstance(answer, OptimiseAnswer) else None

    @property
    def histogram(self) -> Histogram | None:
        """Objectives of the samples as measured."""
        answer = self.result.answer if self.result else None
        return answer.quality.histogram if isinstance(answer, OptimiseAnswer) else None

    @property
    def charged(self) -> list[Remote]:
        """Remote jobs that cost something."""
        return [job for job in self.remote if job["charged_seconds"] > 0]

    @property
    def queue_seconds(self) -> float | None:
        """How long the job waited for hardware; None if it never did."""
        if self.source == "hardware" and self.remote and self.remote[0]["running"]:
            return float(self.remote[0]["running"] - self.remote[0]["created"])
        return self._layers(Layer.QUEUE)

    @property
    def run_seconds(self) -> float | None:
        """How long the rung that answered worked: the machine by its own clock, or the solver."""
        if self.source == "hardware" and self.remote and self.remote[0]["finished"]:
            return float(self.remote[0]["finished"] - self.remote[0]["running"])
        return self._layers(Layer.SOLVE, Layer.SIMULATE)

    def _layers(self, *layers: Layer) -> float | None:
        timings = self.result.timings if self.result else ()
        found = [t.seconds for t in timings if t.layer in layers]
        return sum(found) if found else None

    @property
    def cost(self) -> str:
        """What the job came to, late results and all."""
        if self.account is None:
            return "-"
        costs = [charge.cost for charge in self.account.charges] or [self.account.result.cost]
        return f"{sum(cost.money for cost in costs):.2f} {costs[0].currency}"

    @property
    def remarks(self) -> list[str]:
        """What else is worth knowing."""
        late = self.account.late_results if self.account else ()
        found = [item.comparison for item in late]
        record = self.result.approval if self.result else None
        found += (
            [f"{one.decision.verdict.value} by {one.by}" for one in record.counted]
            if record
            else []
        )
        if self.alternative is not None:
            chosen = self.alternative.ladder[0].value
            found.append(f"the policy alone: {chosen}, {self.alternative.rule}")
        return found

    def entry(self) -> dict[str, Any]:
        """What report.json says."""
        return {
            "name": self.name,
            "ok": self.ok,
            "state": self.state,
            "source": self.source,
            "route_reason": self.route_reason,
            "answer": self.answer,
            "best_known": self.best_known,
            "remote_jobs_created": len(self.remote),
            "remote_jobs_charged": len(self.charged),
            "seconds": round(self.seconds, 3),
        }


class Director:
    """Starts jobs, follows them, and asks the emulator what really happened."""

    def __init__(self, stage: Stage, board: Board, **worker: str) -> None:
        self.stage, self.board = stage, board
        self._worker = worker

    @cached_property
    def control(self) -> Any:
        """The emulator's control API."""
        return self.stage.emulator.control

    async def connect(self) -> None:
        """Connect the client."""
        self.client = await QsagaClient.connect(self.stage.settings())

    async def worker(self, **env: str) -> None:
        """Start the worker with these variables on top of the demonstration's own."""
        await asyncio.to_thread(self.stage.start_worker, **{**self._worker, **env})

    async def calm(self) -> None:
        """An idle machine, a pace of one job a second, nothing going wrong."""
        await asyncio.to_thread(self.control.set_faults, cancel_loses_race=False)
        await self.queue(0, 1.0)

    async def queue(self, length: int, seconds_per_job: float) -> None:
        """What is in front of a job that is submitted now."""
        await asyncio.to_thread(self.control.set_queue, length, seconds_per_job)

    async def start(self, play: Play, request: JobRequest) -> JobHandle:
        """Start a job."""
        play.request, play.began = request, time.time()
        return await self.client.start(request)

    async def finish(self, play: Play, handle: JobHandle) -> None:
        """Wait for the answer, then for the closed account, then ask the emulator."""
        following = asyncio.create_task(self._follow(play, handle))
        try:
            await handle.result(PATIENCE)
            play.seconds = time.time() - play.began
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        self.board.note(f"{play.title}: answered after {play.seconds:.1f} s")

        async def closed() -> bool:
            play.account = await handle.account()
            return play.account.closed

        await until(closed, "the account is closed")
        play.remote = await self.remote(play)

    async def play(self, play: Play, request: JobRequest) -> None:
        """A job from start to closed account."""
        await self.finish(play, await self.start(play, request))

    async def remote(self, play: Play) -> list[Remote]:
        """What the emulator knows under the job's tag."""
        if play.request is None:
            return []
        tag = submission_tag(self.stage.deployment, play.request.job_id, 0)
        found: list[Remote] = await asyncio.to_thread(self.control.jobs, tag)
        return found

    async def remote_state(self, play: Play, *states: str) -> None:
        """Wait until the remote job is in one of these states."""

        async def reached() -> bool:
            return any(job["state"] in states for job in await self.remote(play))

        await until(reached, f"the remote job is {' or '.join(states)}")

    async def waits(self, play: Play, handle: JobHandle) -> None:
        """Wait until the run knows that its remote job is in the queue, and it is there."""

        async def known() -> bool:
            run = (await handle.progress()).run
            return run is not None and run.state is JobState.QUEUED

        await until(known, "the run waits in the queue")
        await self.remote_state(play, "Queued")

    async def _follow(self, play: Play, handle: JobHandle) -> None:
        while True:
            try:
                async for progress in handle.watch():
                    self.board.note(f"{play.title}: {progress_line(progress, None)}")
                return
            except QsagaError:
                # Nobody answers a query while the worker is dead: ask again.
                await asyncio.sleep(LOOK)


async def until(
    holds: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = LOOK
) -> None:
    """Wait until an awaited condition holds. Raises TimeoutError that says what did not."""
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        await asyncio.sleep(pause)


def optimum(problem: Problem) -> float:
    """The best objective of a small problem, by trying every assignment."""
    kind, given = parse(problem)
    width = kind.size(given)[0]
    if width > MOST_ENUMERATED:
        raise ValueError(f"{width} variables are too many to try everything")
    bits = ((np.arange(2**width)[:, None] >> np.arange(width)) & 1).astype(np.int8)
    values = kind.objectives(given, bits)[kind.feasibles(given, bits)]
    return float(np.max(values) if kind.sense == "maximise" else np.min(values))


def optimise(problem: Problem, key: str, **rest: Any) -> JobRequest:
    """A request of the demonstration."""
    workload = Optimise(problem=problem)
    return JobRequest(**{"tenant": "demo", "key": key, "workload": workload} | rest)
