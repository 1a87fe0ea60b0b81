"""An engine without HTTP, for tests of what happens in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ibm_quantum_emulator.clock import ClockPatch
from ibm_quantum_emulator.config import BackendSpec, ServerConfig
from ibm_quantum_emulator.engine import Engine
from ibm_quantum_emulator.model import Job
from ibm_quantum_emulator.sessions import Sessions
from ibm_quantum_emulator.snapshot import Snapshot
from ibm_quantum_emulator.store import Store
from ibm_quantum_emulator.submission import Submission
from ibm_quantum_emulator.visit import Visit
from ibm_quantum_emulator.worldfile import parse_world

HOUR = 3600.0
START = 500_000 * HOUR


class AtOnce:
    """A pool that has every result at once."""

    async def run(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "result": "{}"}


class Bench:
    """An engine on a stepped clock, without server and simulators."""

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        config = ServerConfig(
            data=self.data, backends=(BackendSpec(name="small", snapshot="manila"),), stepped=True
        )
        self.store = Store(config.database)
        snapshots = {spec.name: Snapshot(spec) for spec in config.backends}
        self.engine = Engine(config, self.store, AtOnce(), snapshots)  # type: ignore[arg-type]
        self.engine.start()
        self.sessions = Sessions(self.engine)
        self.engine.settings.clock.state.anchor_now = START

    async def again(self) -> None:
        """Go on as after a crash: nothing but the file is left."""
        now = self.engine.settings.clock.local()
        await self.engine.close()
        self.store.close()
        self._open()
        self.engine.settings.clock.state.anchor_now = now

    async def world(self, **backend: Any) -> None:
        document = {"version": 1, "backends": [{"name": "small", **backend}]}
        await self.engine.change_world(parse_world(document))

    async def submit(self, seconds: float = 10.0, session: str | None = None) -> Job:
        in_session = bool(session) and await self.sessions.admit(session, "crn", "small")
        submission = Submission(
            program="sampler",
            backend="small",
            params="{}",
            executions=0,
            tags=[],
            session_id=session,
            in_active_session=in_session,
        )
        execution = self.engine.settings.execution
        self.engine.settings.execution = execution.model_copy(update={"overhead_seconds": seconds})
        return await self.engine.submit(submission, "crn", Visit("POST", "/jobs", "submit"))

    async def step(self, seconds: float) -> None:
        await self.engine.change_clock(ClockPatch(step=seconds))
        await asyncio.sleep(0)
        await self.engine.settled(self.engine.active_jobs())
        await self.engine.time()

    async def open(self, mode: str = "dedicated", **body: Any) -> str:
        document = {"backend": "small", "mode": mode, **body}
        return str((await self.sessions.create(document, "crn"))["id"])

    def job(self, job: Job) -> Job:
        return self.engine.job(job.id)

    def since_start(self, moment: float | None) -> float | None:
        return None if moment is None else round(moment - START, 3)
