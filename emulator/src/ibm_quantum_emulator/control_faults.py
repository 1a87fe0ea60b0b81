"""The part of the control API about the fault plan, the request log and submissions."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from .documents import DocumentError
from .endpoints import ENDPOINTS
from .engine import Engine
from .errors import BadRequest
from .faultplan import Plan, parse_plan
from .submission import read_body

_PAGE, _MAX_PAGE = 1000, 10_000


class FaultControl:
    """Handlers of ``/control/faults``, ``/control/posts`` and ``/control/requests/log``.

    Args:
        engine: Holds plan and store.
        flush: Writes the log of the last half second.
    """

    def __init__(self, engine: Engine, flush: Callable[[], None]) -> None:
        self._engine = engine
        self._flush = flush

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they come before the other ones under ``/control``."""
        return [
            Route("/control/faults", self._show),
            Route("/control/faults", self._replace, methods=["PUT"]),
            Route("/control/faults", self._append, methods=["POST"]),
            Route("/control/faults", self._clear, methods=["DELETE"]),
            Route("/control/posts", self._posts),
            Route("/control/requests/log", self._log),
        ]

    async def _show(self, request: Request) -> Response:
        return JSONResponse(self._engine.settings.plan.view())

    async def _replace(self, request: Request) -> Response:
        body = read_body(await request.body())
        try:
            plan = parse_plan(body)
        except DocumentError as error:
            raise BadRequest(str(error)) from error
        self._engine.settings.plan.replace(plan, await self._engine.time())
        return await self._show(request)

    async def _append(self, request: Request) -> Response:
        body = read_body(await request.body())
        rows = body.get("faults")
        if set(body) != {"faults"} or not isinstance(rows, list):
            raise BadRequest("faults: a list of rules is expected, and nothing else.")
        try:
            self._engine.settings.plan.add(rows, await self._engine.time())
        except DocumentError as error:
            raise BadRequest(str(error)) from error
        return await self._show(request)

    async def _clear(self, request: Request) -> Response:
        self._engine.settings.plan.replace(Plan(version=1), await self._engine.time())
        return await self._show(request)

    async def _posts(self, request: Request) -> Response:
        return JSONResponse({"posts": self._engine.store.faults.posts(_text(request, "tag"))})

    async def _log(self, request: Request) -> Response:
        endpoint = _text(request, "endpoint")
        if endpoint is not None and endpoint not in ENDPOINTS:
            raise BadRequest(f"endpoint: {endpoint!r}; allowed: {', '.join(ENDPOINTS)}")
        since = _number(request, "since_id", 0)
        limit = min(_number(request, "limit", _PAGE), _MAX_PAGE)
        self._flush()
        rows = self._engine.store.log.rows(since, endpoint, _text(request, "tag"), limit)
        return JSONResponse({"requests": rows})


def _text(request: Request, name: str) -> str | None:
    return request.query_params.get(name)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"{name}: a whole number, 0 or more, is expected; it is {text!r}")
    return int(text)
