"""The routes of the quantum API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from . import views
from .engine import Engine
from .errors import ApiError, BadRequest, NotFound
from .iam import Identity
from .model import COMPLETED, FAILED, Job, from_iso
from .sessions import Sessions
from .snapshot import Snapshot
from .store import JobQuery
from .submission import checked_tags, read_body, read_submission

_PAGE, _MAX_PAGE = 10, 200

Handler = Callable[[Request, str], Awaitable[Response]]


class Api:
    """Handlers of the quantum API; each gets the request and the instance's CRN."""

    def __init__(self, engine: Engine, identity: Identity) -> None:
        self._engine = engine
        self._identity = identity
        self._sessions = Sessions(engine)

    def routes(self) -> list[BaseRoute]:
        """Return the routes under ``/api/v1`` and, for the client's direct mode,
        ``/experimental``.
        """
        routes = self._routes()
        return [Mount("/api/v1", routes=routes), Mount("/experimental", routes=routes)]

    def _routes(self) -> list[Route]:
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/backends", self._backends),
            ("GET", "/backends/{backend}/configuration", self._configuration),
            ("GET", "/backends/{backend}/properties", self._properties),
            ("GET", "/backends/{backend}/status", self._status),
            ("GET", "/instances/usage", self._usage),
            ("POST", "/jobs", self._submit),
            ("GET", "/jobs", self._list),
            ("GET", "/jobs/{job_id}", self._job),
            ("DELETE", "/jobs/{job_id}", self._delete),
            ("GET", "/jobs/{job_id}/results", self._results),
            ("GET", "/jobs/{job_id}/logs", self._logs),
            ("GET", "/jobs/{job_id}/metrics", self._metrics),
            ("POST", "/jobs/{job_id}/cancel", self._cancel),
            ("PUT", "/jobs/{job_id}/tags", self._tags),
            ("POST", "/sessions", self._open_session),
            ("GET", "/sessions/{session_id}", self._session),
            ("PATCH", "/sessions/{session_id}", self._patch_session),
            ("DELETE", "/sessions/{session_id}/close", self._close_session),
        ]
        return [
            Route(path, self._authorised(handler), methods=[method])
            for method, path, handler in table
        ]

    def _authorised(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            self._identity.check(request)
            instance = request.headers.get("service-crn")
            if not instance:
                raise BadRequest("The header Service-CRN is missing.")
            return await handler(request, instance)

        return handle

    # -- backends -------------------------------------------------------------------------

    def _snapshot(self, request: Request) -> Snapshot:
        name = request.path_params["backend"]
        if name not in self._engine.snapshots:
            raise NotFound(f"Backend not found: {name}", 1216)
        return self._engine.snapshots[name]

    async def _backends(self, request: Request, instance: str) -> Response:
        await self._engine.time()
        devices = [
            snapshot.listed(self._engine.settings.queues[name], self._engine.pending(name))
            for name, snapshot in self._engine.snapshots.items()
        ]
        return JSONResponse({"devices": devices})

    async def _configuration(self, request: Request, instance: str) -> Response:
        return JSONResponse(self._snapshot(request).configuration)

    async def _properties(self, request: Request, instance: str) -> Response:
        return Response(self._snapshot(request).properties, media_type="application/json")

    async def _status(self, request: Request, instance: str) -> Response:
        snapshot = self._snapshot(request)
        await self._engine.time()
        return JSONResponse(snapshot.status(self._engine.pending(snapshot.name)))

    async def _usage(self, request: Request, instance: str) -> Response:
        await self._engine.time()
        await self._engine.settled(self._engine.active_jobs())
        consumed = self._engine.store.consumed(instance)
        allocation = self._engine.config.usage_allocation_seconds
        return JSONResponse(
            {
                "instance_id": instance,
                "plan_id": "emulated",
                "usage_consumed_seconds": consumed,
                "usage_allocation_seconds": allocation,
                "usage_limit_seconds": allocation,
                "usage_limit_reached": consumed >= allocation,
            }
        )

    # -- jobs -----------------------------------------------------------------------------

    async def _submit(self, request: Request, instance: str) -> Response:
        engine, tags = self._engine, []
        try:
            document = read_body(await _body(request, engine.config.max_body_bytes))
            tags = checked_tags(document.get("tags"))
            submission = read_submission(document, engine.snapshots)
            if submission.session_id:
                submission.in_active_session = await self._sessions.admit(
                    submission.session_id, instance
                )
            job = await engine.submit(submission, instance)
        except ApiError as error:
            engine.store.add_post(engine.settings.clock.local(), error.status, None, tags)
            raise
        engine.store.add_post(job.created, 200, job.id, job.tags)
        return JSONResponse({"id": job.id, "backend": job.backend})

    async def _list(self, request: Request, instance: str) -> Response:
        query = _job_query(request, instance)
        await self._engine.time()
        jobs, count = self._engine.store.find(query)
        if any(not job.terminal for job in jobs):
            await self._engine.settled(jobs)
            jobs, count = self._engine.store.find(query)
        return JSONResponse(
            {
                "jobs": [views.job_view(job) for job in jobs],
                "count": count,
                "limit": query.limit,
                "offset": query.offset,
            }
        )

    async def _current(self, request: Request, instance: str) -> Job:
        """Return the job as it is now, waiting for its simulation if it is overdue."""
        await self._engine.time()
        job = self._engine.job(request.path_params["job_id"], instance)
        await self._engine.settled([job])
        return job

    async def _job(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        wanted = request.query_params.get("exclude_params") != "true"
        params = self._engine.store.params(job.id) if wanted else None
        return JSONResponse(views.job_view(job, params))

    async def _results(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        if job.state == FAILED:
            return PlainTextResponse(job.reason or "")
        result = self._engine.store.result(job.id) if job.state == COMPLETED else None
        if result is None:
            return Response(status_code=204)
        return Response(result, media_type="application/json")

    async def _logs(self, request: Request, instance: str) -> Response:
        return PlainTextResponse(views.logs_view(await self._current(request, instance)))

    async def _metrics(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        place = None if job.terminal else self._engine.places(job.backend).get(job.id)
        return JSONResponse(views.metrics_view(job, place))

    async def _cancel(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        return Response(status_code=await self._engine.cancel(job))

    async def _delete(self, request: Request, instance: str) -> Response:
        self._engine.delete(await self._current(request, instance))
        return Response(status_code=204)

    async def _tags(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        body = read_body(await _body(request, self._engine.config.max_body_bytes))
        job.tags = checked_tags(body.get("tags"))
        self._engine.store.set_tags(job)
        return Response(status_code=204)

    # -- sessions -------------------------------------------------------------------------

    async def _open_session(self, request: Request, instance: str) -> Response:
        body = read_body(await request.body())
        return JSONResponse(await self._sessions.create(body, instance))

    async def _session(self, request: Request, instance: str) -> Response:
        session_id = request.path_params["session_id"]
        return JSONResponse(await self._sessions.details(session_id, instance))

    async def _patch_session(self, request: Request, instance: str) -> Response:
        body = read_body(await request.body())
        session_id = request.path_params["session_id"]
        await self._sessions.accept(session_id, bool(body.get("accepting_jobs")), instance)
        return Response(status_code=204)

    async def _close_session(self, request: Request, instance: str) -> Response:
        await self._sessions.close(request.path_params["session_id"], instance)
        return Response(status_code=204)


async def _body(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise ApiError(413, f"The body is larger than {limit} bytes.")
        parts.append(chunk)
    return b"".join(parts)


def _job_query(request: Request, instance: str) -> JobQuery:
    given = request.query_params
    pending = given.get("pending")
    if pending not in (None, "true", "false"):
        raise BadRequest("pending: 'true' or 'false' is expected.")
    sort = (given.get("sort") or "DESC").upper()
    if sort not in ("ASC", "DESC"):
        raise BadRequest("sort: 'ASC' or 'DESC' is expected.")
    return JobQuery(
        instance=instance,
        backend=given.get("backend"),
        program=given.get("program"),
        session_id=given.get("session_id"),
        pending=None if pending is None else pending == "true",
        tags=given.getlist("tags"),
        created_after=_moment(request, "created_after"),
        created_before=_moment(request, "created_before"),
        ascending=sort == "ASC",
        limit=_number(request, "limit", _PAGE, 1, _MAX_PAGE),
        offset=_number(request, "offset", 0, 0, 2**31),
    )


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError as error:
        raise BadRequest(f"{name}: a whole number is expected.") from error
    if value < least:
        raise BadRequest(f"{name}: at least {least} is expected.")
    return min(value, most)


def _moment(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return from_iso(text)
    except ValueError as error:
        raise BadRequest(f"{name}: a date in ISO 8601 is expected.") from error
