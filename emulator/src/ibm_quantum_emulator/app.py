"""The ASGI application: routes, error envelopes, request log, and the proxy's absolute URIs."""

from __future__ import annotations

import contextlib
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api import Api
from .control import Control
from .engine import Engine
from .errors import ApiError
from .iam import Identity
from .iam import routes as account_routes

log = logging.getLogger(__name__)

_IDS = re.compile(r"/(jobs|sessions|backends)/([^/]+)")
_CATALOG = re.compile(r"^/api/v1/[0-9a-f-]{36}$")


class Gateway:
    """Outermost layer: makes proxied requests local, counts every request, applies outages."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine
        self._counts: Counter[tuple[str, int]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _make_local(scope)
        endpoint = _endpoint(scope)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts[(endpoint, int(message["status"]))] += 1
            await send(message)

        if not scope["path"].startswith("/control"):
            try:
                self._engine.settings.faults.before_request()
            except ApiError as error:
                await JSONResponse(error.envelope(), error.status)(scope, receive, counted)
                return
        await self._app(scope, receive, counted)

    def flush_counts(self) -> None:
        """Persist what was counted since the last time."""
        if self._counts:
            counts, self._counts = self._counts, Counter()
            self._engine.store.add_request_counts(
                (endpoint, status, count) for (endpoint, status), count in counts.items()
            )


def build_app(engine: Engine) -> Gateway:
    """Return the application around an engine; starting it starts nothing else."""
    identity = Identity(engine)

    def flush() -> None:
        gateway.flush_counts()

    app = Starlette(
        routes=[
            *Control(engine, flush).routes(),
            *account_routes(identity, engine.config.instances),
            *Api(engine, identity).routes(),
        ],
        exception_handlers={ApiError: _answer, 404: _missing, 405: _missing},
        lifespan=_nothing,
    )
    gateway = Gateway(app, engine)
    return gateway


@contextlib.asynccontextmanager
async def _nothing(_: Any) -> AsyncIterator[None]:
    yield


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.envelope(), error.status)


async def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    answer = ApiError(status, f"{request.method} {request.url.path} is not served here.")
    return JSONResponse(answer.envelope(), status)


def _make_local(scope: Scope) -> None:
    # A client that takes this server for its proxy sends the whole address as request target.
    raw = scope.get("raw_path") or b""
    if raw[:7].lower() == b"http://" or raw[:8].lower() == b"https://":
        scope["raw_path"] = (urlsplit(raw.decode("latin-1")).path or "/").encode("latin-1")
    path = scope["path"]
    if path[:7].lower() == "http://" or path[:8].lower() == "https://":
        scope["path"] = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"


def _endpoint(scope: Scope) -> str:
    path = _IDS.sub(r"/\1/{id}", scope["path"])
    if _CATALOG.match(path):
        path = "/api/v1/{catalog entry}"
    return f"{scope['method']} {path}"
