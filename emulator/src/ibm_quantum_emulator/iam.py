"""Identity, Global Search and Global Catalog: what the client asks before it asks for backends."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .config import InstanceSpec
from .errors import ApiError, NotFound
from .visit import Visit, visit_of

if TYPE_CHECKING:
    from .engine import Engine

_TOKEN_SECONDS = 3600
_PRICING = {"open": "free", "premium": "subscription", "flex": "subscription"}


class Identity:
    """Issues and checks bearer tokens; they stay valid over a restart on the same data.

    Token times are real, not virtual: the client compares them with its own clock.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        secret = engine.store.setting("secret")
        if secret is None:
            secret = secrets.token_hex(32)
            engine.store.set_setting("secret", secret)
        self._secret: str = secret

    def issue(self, api_key: str, visit: Visit) -> dict[str, Any]:
        """Exchange an API key for a token.

        Where the fault plan shortens its life, ``ends`` is the true end and ``exp`` the one the
        client sees.

        Raises:
            ApiError: Empty or revoked key.
        """
        if not api_key or self._is_revoked(api_key, visit):
            raise ApiError(400, "Provided API key could not be found.")
        plan, now = self._engine.settings.plan, time.time()
        rule, lifetime, told = plan.token_lifetime(visit), float(_TOKEN_SECONDS), _TOKEN_SECONDS
        if rule is not None:
            lifetime = rule.seconds
            told = max(1, int(lifetime)) if rule.told else _TOKEN_SECONDS
        claims = {
            "iss": "emulator",
            "sub": api_key,
            "iat": int(now),
            "exp": int(now) + told,
            "ends": now + lifetime,
            "generation": plan.generation,
        }
        return {
            "access_token": jwt.encode(claims, self._secret, algorithm="HS256"),
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": told,
            "expiration": claims["exp"],
            "scope": "ibm openid",
        }

    def check(self, request: Request) -> str:
        """Return the API key behind the request's token.

        Raises:
            ApiError: 401 for anything but a valid token of an unrevoked key.
        """
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            if kind.lower() != "bearer":
                raise ApiError(401, "A bearer token is expected.", 1200)
            claims = jwt.decode(token, self._secret, algorithms=["HS256"])
        except jwt.PyJWTError as error:
            raise ApiError(401, f"The token is not valid: {error}", 1200) from error
        if claims["ends"] <= time.time():
            raise ApiError(401, "The token has expired.", 1200)
        if claims["generation"] < self._engine.settings.plan.generation:
            raise ApiError(401, "The token is not accepted any more.", 1200)
        if self._is_revoked(claims["sub"], visit_of(request.scope)):
            raise ApiError(401, "The API key has been revoked.", 1200)
        return str(claims["sub"])

    def _is_revoked(self, api_key: str, visit: Visit) -> bool:
        settings = self._engine.settings
        return api_key in settings.faults.revoked_keys or settings.plan.is_revoked(api_key, visit)


def routes(identity: Identity, instances: tuple[InstanceSpec, ...]) -> list[Route]:
    """Return the routes of the three account services."""

    async def token(request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        try:
            key = form.get("apikey", [""])[0]
            return JSONResponse(identity.issue(key, visit_of(request.scope)))
        except ApiError as error:
            body = {"errorCode": "BXNIM0415E", "errorMessage": error.message}
            return JSONResponse(body, error.status)

    async def search(request: Request) -> Response:
        identity.check(request)
        items = [
            {
                "crn": instance.crn,
                "name": instance.name,
                "service_plan_unique_id": instance.plan_id,
                "tags": [],
                # The client skips instances without an allocation of backends.
                "doc": {"extensions": {"backends": ["*"]}},
            }
            for instance in instances
        ]
        return JSONResponse({"items": items, "limit": 100, "search_cursor": None})

    async def catalog(request: Request) -> Response:
        identity.check(request)
        wanted = str(request.path_params["entry"])
        for instance in instances:
            if instance.plan_id == wanted:
                pricing = _PRICING.get(instance.plan, "paygo")
                return JSONResponse(
                    {
                        "id": wanted,
                        "name": instance.plan,
                        "kind": "plan",
                        "overview_ui": {"en": {"display_name": instance.plan.capitalize()}},
                        "metadata": {"pricing": {"type": pricing}},
                    }
                )
        raise NotFound(f"There is nothing at {request.url.path}.")

    return [
        Route("/identity/token", token, methods=["POST"]),
        Route("/v3/resources/search", search, methods=["POST"]),
        # On the real service a host of its own; here it shares the API's prefix.
        Route("/api/v1/{entry:uuid}", catalog, methods=["GET"]),
    ]
