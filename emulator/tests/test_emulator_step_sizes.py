"""Whatever happens, it does not matter in how many steps time passed, nor how often it crashed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from emulator.tests.bench import HOUR, Bench
from ibm_quantum_emulator.errors import ApiError

TRAFFIC = [
    {"jobs_per_hour": 30, "initial": 4, "service": {"kind": "exponential", "mean_seconds": 90}},
    {"every_seconds": 200, "service": {"kind": "pareto", "mean_seconds": 60, "shape": 2.0}},
    None,
]


class Story:
    """Random deeds at random moments, the same ones for the same seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self._rng = random.Random(seed)
        self.jobs: list[Any] = []
        self._sessions: list[str] = []

    async def deed(self) -> None:
        kind = self._rng.choices(
            ["job", "session", "cancel", "pause", "traffic", "close", "queue"],
            [9, 2, 2, 1, 1, 1, 1],
        )[0]
        # Drawn in any case, so that a refusal does not shift what follows.
        number, seconds = self._rng.random(), self._rng.uniform(1, 400)
        await getattr(self, f"_{kind}")(number, seconds)

    async def _job(self, number: float, seconds: float) -> None:
        session = None
        if self._sessions and number < 0.6:
            session = self._sessions[int(number / 0.6 * len(self._sessions))]
        try:
            self.jobs.append(await self.bench.submit(seconds, session))
        except ApiError as error:
            self.jobs.append(error.message.split()[-1])

    async def _session(self, number: float, seconds: float) -> None:
        mode = "batch" if number < 0.5 else "dedicated"
        self._sessions.append(await self.bench.open(mode, max_ttl=60 + 5 * seconds))

    async def _cancel(self, number: float, seconds: float) -> None:
        found = [job for job in self.jobs if not isinstance(job, str)]
        if found:
            job = self.bench.job(found[int(number * len(found))])
            if not job.terminal:
                await self.bench.engine.cancel(job)

    async def _pause(self, number: float, seconds: float) -> None:
        await self.bench.engine.pause("small", number < 0.4)

    async def _traffic(self, number: float, seconds: float) -> None:
        windows = [{"in_hours": number, "hours": 0.3, "every_hours": 2}]
        traffic = TRAFFIC[int(number * 3)]
        await self.bench.world(traffic=traffic, maintenance=windows)

    async def _close(self, number: float, seconds: float) -> None:
        if self._sessions:
            session = self._sessions[int(number * len(self._sessions))]
            if number < 0.5:
                await self.bench.sessions.close(session, "crn")
            else:
                await self.bench.sessions.accept(session, False, "crn")

    async def _queue(self, number: float, seconds: float) -> None:
        await self.bench.world(queue={"length": int(number * 20), "seconds_per_job": 30})

    async def end(self) -> Any:
        sessions = await self.bench.sessions.truth()
        return {
            "jobs": [
                job
                if isinstance(job, str)
                else [
                    self.bench.job(job).state,
                    self.bench.since_start(self.bench.job(job).started),
                    self.bench.since_start(self.bench.job(job).finished),
                    self.bench.job(job).charged,
                ]
                for job in self.jobs
            ],
            "sessions": [
                [
                    each["state"],
                    round(each["charged_seconds"], 3),
                    [[state, self.bench.since_start(at)] for state, at in each["timestamps"]],
                ]
                for each in sessions
            ],
            "queue": self.bench.engine.pending("small"),
        }


async def told(data: Path, seed: int, pieces: int, *, crash: bool) -> Any:
    bench = Bench(data)
    story, pauses = Story(bench, seed), random.Random(seed + 1000)
    await bench.world(traffic=TRAFFIC[seed % 3])
    for _ in range(25):
        await story.deed()
        # Sums of such steps are exact, so that all ways meet at the very same moments.
        pause = round(pauses.expovariate(1 / 200) * 128) / 128
        for _ in range(pieces):
            await bench.step(pause / pieces)
        if crash:
            await bench.again()
    await bench.engine.pause("small", False)
    for _ in range(pieces):
        await bench.step(6 * HOUR / pieces)
    end = await story.end()
    bench.store.close()
    return end


@pytest.mark.parametrize("seed", [0, 1, 3, 5, 6, 8])
async def test_steps_and_crashes_make_no_difference(tmp_path: Path, seed: int) -> None:
    once = await told(tmp_path / "once", seed, 1, crash=False)
    assert once["jobs"]
    assert await told(tmp_path / "crashes", seed, 1, crash=True) == once
    assert await told(tmp_path / "pieces", seed, 8, crash=False) == once
