"""The ASGI application: routes and error envelopes inside the gateway."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .api import Api
from .control import Control
from .control_faults import FaultControl
from .control_world import WorldControl
from .engine import Engine
from .errors import ApiError
from .gateway import Gateway
from .iam import Identity
from .iam import routes as account_routes


def build_app(engine: Engine) -> Gateway:
    """Return the application around an engine; starting it starts nothing else."""
    identity = Identity(engine)

    def flush() -> None:
        gateway.flush()

    app = Starlette(
        routes=[
            *FaultControl(engine, flush).routes(),
            *WorldControl(engine).routes(),
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
