"""The routes of the quantum API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from . import listing, views
from .calibration import Calibration
from .engine import Engine
from .errors import ApiError, BadRequest, NotFound, job_not_found
from .iam import Identity
from .model import COMPLETED, FAILED, Job, from_iso
from .sessions import Sessions
from .snapshot import Snapshot
from .store import JobQuery
from .submission import checked_tags, read_body, read_submission
from .visit import visit_of

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
        engine, now = self._engine, await self._engine.time()
        devices = [
            snapshot.listed(
                engine.pending(name),
                engine.expected_wait(name),
                engine.around.lines[name].calendar.closed_until(now),
            )
            for name, snapshot in engine.snapshots.items()
        ]
        return JSONResponse({"devices": devices})

    async def _configuration(self, request: Request, instance: str) -> Response:
        snapshot = self._snapshot(request)
        await self._calibration(request, snapshot.name)
        return JSONResponse(snapshot.configuration)

    async def _properties(self, request: Request, instance: str) -> Response:
        name = self._snapshot(request).name
        calibration = await self._calibration(request, name)
        if calibration is None:
            return JSONResponse({})
        body = self._engine.around.properties(name, calibration)
        return Response(body, media_type="application/json")

    async def _calibration(self, request: Request, backend: str) -> Calibration | None:
        """Return the calibration that a request asks for; None: there was none so early."""
        await self._engine.time()
        calibrations = self._engine.around.calibrations[backend]
        found = calibrations.current
        if calibration_id := request.query_params.get("calibration_id"):
            known = calibrations.by_id(calibration_id)
            if known is None:
                raise NotFound(f"Calibration not found: {calibration_id}")
            found = known
        moment = _moment(request, "updated_before")
        if moment is None:
            return found
        found = calibrations.before(moment)
        first = from_iso(self._engine.snapshots[backend].updated)
        return None if found.at is None and first > moment else found

    async def _status(self, request: Request, instance: str) -> Response:
        snapshot = self._snapshot(request)
        now = await self._engine.time()
        closed_until = self._engine.around.lines[snapshot.name].calendar.closed_until(now)
        return JSONResponse(snapshot.status(self._engine.pending(snapshot.name), closed_until))

    async def _usage(self, request: Request, instance: str) -> Response:
        await self._engine.time()
        await self._engine.settled(self._engine.active_jobs())
        return JSONResponse(self._engine.usage(instance))

    # -- jobs -----------------------------------------------------------------------------

    async def _submit(self, request: Request, instance: str) -> Response:
        engine, visit = self._engine, visit_of(request.scope)
        try:
            document = read_body(await _body(request, engine.config.max_body_bytes))
            visit.tags = checked_tags(document.get("tags"))
            submission = read_submission(document, engine.snapshots)
            if submission.session_id:
                submission.in_active_session = await self._sessions.admit(
                    submission.session_id, instance, submission.backend
                )
            job = await engine.submit(submission, instance, visit)
        except ApiError as error:
            now = engine.settings.clock.local()
            visit.post = engine.store.add_post(now, error.status, None, visit.tags)
            raise
        return JSONResponse({"id": job.id, "backend": job.backend})

    async def _list(self, request: Request, instance: str) -> Response:
        query, visit = _job_query(request, instance), visit_of(request.scope)
        visit.now = await self._engine.time()
        if self._engine.active_jobs():
            jobs, _ = self._engine.store.find(query)
            await self._engine.settled(jobs)
        page = listing.page(self._engine.store, self._engine.settings.plan, query, visit)
        return JSONResponse(
            {
                "jobs": [views.job_view(job, status=page.shown.get(job.id)) for job in page.jobs],
                "count": page.count,
                "limit": query.limit,
                "offset": query.offset,
            }
        )

    async def _current(self, request: Request, instance: str) -> Job:
        """Return the job as it is now, waiting for its simulation if it is overdue."""
        visit_of(request.scope).now = await self._engine.time()
        job = self._engine.job(request.path_params["job_id"], instance)
        await self._engine.settled([job])
        return job

    async def _job(self, request: Request, instance: str) -> Response:
        job, visit = await self._current(request, instance), visit_of(request.scope)
        plan = self._engine.settings.plan
        if plan.is_hidden(job, visit):
            raise job_not_found(job.id)
        wanted = request.query_params.get("exclude_params") != "true"
        params = self._engine.store.params(job.id) if wanted else None
        status = plan.shown([job], visit).get(job.id)
        return JSONResponse(views.job_view(job, params, status))

    async def _results(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        if job.state == FAILED:
            return PlainTextResponse(job.reason or "")
        result = self._engine.store.result(job.id) if job.state == COMPLETED else None
        if result is None:
            return Response(status_code=204)
        status = self._engine.settings.plan.result_status(job, visit_of(request.scope))
        if status == 204:
            return Response(status_code=204)
        if status is not None:
            raise ApiError(status, f"The result of job {job.id} is not available.")
        if job.private:
            self._engine.store.drop(job.id, "results")
        return Response(result, media_type="application/json")

    async def _logs(self, request: Request, instance: str) -> Response:
        return PlainTextResponse(views.logs_view(await self._current(request, instance)))

    async def _metrics(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        place = None if job.terminal else self._engine.places(job.backend).get(job.id)
        return JSONResponse(views.metrics_view(job, place))

    async def _cancel(self, request: Request, instance: str) -> Response:
        job = await self._current(request, instance)
        return Response(status_code=await self._engine.cancel(job, visit_of(request.scope)))

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
        await self._sessions.accept(session_id, body.get("accepting_jobs"), instance)
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
