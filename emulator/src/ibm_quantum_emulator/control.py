"""The control API: what a test or a demonstration uses to move the world and to know the truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from . import __version__, views
from .clock import ClockPatch
from .engine import Engine
from .errors import BadRequest
from .limits import LimitsPatch
from .store import JobQuery
from .submission import read_body
from .world import Execution, QueuePatch


class SettingsPatch(BaseModel):
    """Body of ``PATCH /control/settings``; every part may be absent.

    Attributes:
        clock: See :class:`~.clock.ClockPatch`.
        queues: Backend name, or ``*`` for all, to :class:`~.world.QueuePatch`.
        execution: Fields of :class:`~.world.Execution`.
        faults: Top-level switches of :class:`~.faults.Faults`.
        limits: Instance name, or ``*`` for all, to :class:`~.limits.LimitsPatch`.
    """

    model_config = ConfigDict(extra="forbid")

    clock: ClockPatch | None = None
    queues: dict[str, QueuePatch] = {}
    execution: dict[str, float] | None = None
    faults: dict[str, Any] | None = None
    limits: dict[str, LimitsPatch] = {}


class Control:
    """Handlers under ``/control``; open to whoever reaches the port, so keep it on loopback."""

    def __init__(self, engine: Engine, flush_counts: Callable[[], None]) -> None:
        self._engine = engine
        self._flush_counts = flush_counts

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Mount(
                "/control",
                routes=[
                    Route("/health", self._health),
                    Route("/settings", self._settings),
                    Route("/settings", self._patch, methods=["PATCH"]),
                    Route("/jobs", self._jobs),
                    Route("/jobs/{job_id}", self._job),
                    Route("/summary", self._summary),
                    Route("/requests", self._requests),
                    Route("/reset", self._reset, methods=["POST"]),
                ],
            )
        ]

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"ok": True, "pid": os.getpid(), "version": __version__})

    async def _settings(self, request: Request) -> Response:
        now = await self._engine.time()
        config = self._engine.config
        return JSONResponse(
            {
                "clock": {**self._engine.settings.clock.state.model_dump(), "now": now},
                "queues": {n: q.model_dump() for n, q in self._engine.settings.queues.items()},
                "execution": self._engine.settings.execution.model_dump(),
                "faults": self._engine.settings.faults.model_dump(),
                "limits": self._engine.around.limits.dump(),
                "noise": config.noise,
                "seed": config.seed,
                "backends": [spec.model_dump() for spec in config.backends],
                "instances": [{**spec.model_dump(), "crn": spec.crn} for spec in config.instances],
            }
        )

    async def _patch(self, request: Request) -> Response:
        engine = self._engine
        try:
            patch = SettingsPatch.model_validate(read_body(await request.body()))
            # Everything is checked before anything is changed.
            execution = None
            if patch.execution is not None:
                execution = Execution.model_validate(
                    {**engine.settings.execution.model_dump(), **patch.execution}
                )
            faults = None if patch.faults is None else engine.settings.faults.patched(patch.faults)
        except ValidationError as error:
            raise BadRequest(str(error)) from error
        for name in patch.queues:
            if name != "*" and name not in engine.settings.queues:
                raise BadRequest(
                    f"no backend {name!r}; there are {', '.join(engine.settings.queues)}"
                )
        for name in patch.limits:
            engine.around.limits.checked(name)
        if execution is not None:
            engine.settings.set_execution(execution)
        if faults is not None:
            engine.settings.set_faults(faults)
        for name, queue in patch.queues.items():
            await engine.change_queue(name, queue)
        for name, limits in patch.limits.items():
            await engine.change_limits(name, limits)
        if patch.clock is not None:
            await engine.change_clock(patch.clock)
        return await self._settings(request)

    async def _jobs(self, request: Request) -> Response:
        await self._all_done()
        given = request.query_params
        query = JobQuery(
            tags=given.getlist("tag"),
            backend=given.get("backend"),
            include_deleted=True,
            ascending=True,
        )
        jobs, count = self._engine.store.find(query)
        rows = [self._truth(job) for job in jobs]
        return JSONResponse({"jobs": rows, "count": count})

    async def _job(self, request: Request) -> Response:
        await self._all_done()
        return JSONResponse(self._truth(self._engine.job(request.path_params["job_id"])))

    async def _all_done(self) -> None:
        await self._engine.time()
        await self._engine.settled(self._engine.active_jobs())

    def _truth(self, job: Any) -> dict[str, Any]:
        truth = views.truth_view(job, self._engine.store.posts(job_id=job.id))
        return {**truth, "faults": self._engine.store.faults.touched(job.id)}

    async def _summary(self, request: Request) -> Response:
        await self._all_done()
        return JSONResponse(self._engine.store.summary(request.query_params.get("tag")))

    async def _requests(self, request: Request) -> Response:
        self._flush_counts()
        rows = self._engine.store.request_counts()
        totals: dict[str, int] = {}
        for row in rows:
            totals[row["endpoint"]] = totals.get(row["endpoint"], 0) + row["count"]
        return JSONResponse({"endpoints": totals, "by_status": rows})

    async def _reset(self, request: Request) -> Response:
        self._flush_counts()
        await self._engine.reset()
        return await self._settings(request)
