"""The part of the control API about the world around the account, and the live page."""

from __future__ import annotations

import math
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from .documents import DocumentError
from .engine import Engine
from .errors import BadRequest, NotFound
from .model import Job
from .sessions import Sessions
from .snapshot import closed_text
from .store import JobQuery
from .submission import read_body
from .worldfile import parse_world

_PAGE, _MOST = 50, 500
_SESSIONS = 50
# The page is one file: nothing may be loaded from elsewhere, whatever a tag says.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)


class BackendPatch(BaseModel):
    """Body of ``PATCH /control/backends/{name}``; every part may be absent.

    Attributes:
        paused: Start no more jobs, or go on.
        recalibrate: Calibrate at once.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    paused: bool | None = None
    recalibrate: bool = False


class WorldControl:
    """Handlers of world, backends, sessions and page."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = Sessions(engine)

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they come before the other ones under ``/control``."""
        return [
            Route("/", self._page),
            Route("/control/page", self._page),
            Route("/control/overview", self._overview),
            Route("/control/world", self._world),
            Route("/control/world", self._replace, methods=["PUT"]),
            Route("/control/backends", self._backends),
            Route("/control/backends/{backend}", self._patch, methods=["PATCH"]),
            Route("/control/sessions", self._all_sessions),
        ]

    async def _world(self, request: Request) -> Response:
        await self._engine.time()
        return JSONResponse(self._engine.around.world.document())

    async def _replace(self, request: Request) -> Response:
        body = read_body(await request.body())
        try:
            world = parse_world(body)
        except DocumentError as error:
            raise BadRequest(str(error)) from error
        await self._engine.change_world(world)
        return await self._world(request)

    async def _backends(self, request: Request) -> Response:
        now = await self._engine.time()
        views = [self._backend(name, now, history=True) for name in self._engine.snapshots]
        return JSONResponse({"backends": views})

    async def _patch(self, request: Request) -> Response:
        name = request.path_params["backend"]
        if name not in self._engine.snapshots:
            raise NotFound(f"no backend {name!r}; there are {', '.join(self._engine.snapshots)}")
        try:
            patch = BackendPatch.model_validate(read_body(await request.body()))
        except ValidationError as error:
            raise BadRequest(str(error)) from error
        if patch.paused is not None:
            await self._engine.pause(name, patch.paused)
        if patch.recalibrate:
            await self._engine.recalibrate(name)
        now = await self._engine.time()
        return JSONResponse(self._backend(name, now, history=True))

    async def _all_sessions(self, request: Request) -> Response:
        await self._engine.time()
        await self._engine.settled(self._engine.active_jobs())
        return JSONResponse({"sessions": await self._sessions.truth()})

    async def _page(self, request: Request) -> Response:
        html = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY})

    async def _overview(self, request: Request) -> Response:
        engine = self._engine
        now = await engine.time()
        offset, limit = _number(request, "offset", 0), _number(request, "limit", _PAGE)
        query = JobQuery(include_deleted=True, limit=min(limit, _MOST), offset=offset)
        jobs, count = engine.store.find(query)
        return JSONResponse(
            {
                "now": now,
                "clock": engine.settings.clock.state.model_dump(),
                "backends": [self._backend(name, now) for name in engine.snapshots],
                "jobs": [_row(job) for job in jobs],
                "count": count,
                "sessions": (await self._sessions.truth(_SESSIONS))[::-1],
            }
        )

    def _backend(self, name: str, now: float, *, history: bool = False) -> dict[str, Any]:
        engine = self._engine
        line, calibrations = engine.around.lines[name], engine.around.calibrations[name]
        until = line.calendar.closed_until(now)
        view: dict[str, Any] = {
            "name": name,
            "state": closed_text(until),
            "closed_until": _finite(until),
            "next_maintenance": _finite(line.calendar.closes_after(now)),
            "queue": engine.pending(name),
            "other_people": engine.others(name),
            "traffic": line.stream.running,
            "calibration": calibrations.current.model_dump(),
            "next_calibration": _finite(calibrations.next_at),
        }
        if history:
            view["calibrations"] = [each.model_dump() for each in calibrations.history]
        return view


def _row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "backend": job.backend,
        "program": job.program,
        "state": job.state,
        "reason": job.reason,
        "tags": job.tags,
        "session_id": job.session_id,
        "created": job.created,
        "running": job.started,
        "finished": job.finished,
        "charged_seconds": job.charged,
        "deleted": job.deleted,
    }


def _finite(moment: float | None) -> float | None:
    return moment if moment is not None and math.isfinite(moment) else None


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadRequest(f"{name}: a whole number, 0 or more, is expected; it is {text!r}")
    return int(text)
