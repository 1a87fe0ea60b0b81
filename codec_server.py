"""The codec server: lets Temporal's UI and command line show what is encrypted or kept elsewhere.

``python codec_server.py --origin http://127.0.0.1:8233`` serves Temporal's remote codec protocol,
``POST /encode`` and ``POST /decode`` of a JSON ``Payloads`` message, until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Sequence

import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import DataConverter

from adapters.identity import JwtVerifier
from qsaga.claims import fetched, reference_in
from qsaga.core.errors import Forbidden, QsagaError, Unauthenticated
from qsaga.core.identity import Caller, IdentityVerifier, Role, require
from qsaga.payloads import data_converter
from qsaga.settings import Settings

LARGEST_REQUEST = 32 * 1024**2
LARGEST_SHOWN = 16 * 1024**2
"""Bytes. A browser has no use for more; such a payload stays a reference."""
READERS = (Role.AUDITOR, Role.OPERATOR)

Check = Callable[[str | None], Caller]
_log = logging.getLogger("qsaga.codec")


class Codec:
    """Payloads as Temporal keeps them, and as people read them.

    Args:
        converter: of the deployment.
        buckets: from which stored payloads may be read. A request says where they are, and must
            not reach what else the server's credentials open.
    """

    def __init__(self, converter: DataConverter, buckets: Sequence[str]) -> None:
        self._converter, self._buckets = converter, buckets

    async def encode(self, payload: Payload) -> Payload:
        """Encrypt, as a client does. A large one is not stored elsewhere."""
        codec = self._converter.payload_codec
        return (await codec.encode([payload]))[0] if codec is not None else payload

    async def decode(self, payload: Payload) -> Payload:
        """Fetch and decrypt. What cannot be read is returned as it came: the rest can be shown."""
        codec = self._converter.payload_codec
        try:
            if not await self._wanted(payload):
                return payload
            found = await fetched(payload, self._converter)
            return (await codec.decode([found]))[0] if codec is not None else found
        except QsagaError as error:
            _log.warning("%s", error)
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            _log.warning("a stored payload cannot be read: %s: %s", type(error).__name__, error)
        return payload

    async def _wanted(self, payload: Payload) -> bool:
        reference = await reference_in(payload, self._converter)
        if reference is None:
            return True
        size = sum(each.size_bytes for each in payload.external_payloads)
        bucket = reference.claim_data.get("bucket")
        return size <= LARGEST_SHOWN and (bucket is None or bucket in self._buckets)


def app(settings: Settings, origins: Sequence[str], check: Check | None) -> Starlette:
    """The server.

    Args:
        settings: name the key file, the stores and the namespace.
        origins: of the pages that may ask from a browser, such as the UI's.
        check: the caller of a bearer token, None being no token; without it anybody may ask.
    """
    payloads = settings.payloads
    buckets = [bucket for bucket in (payloads.s3_bucket, payloads.gcs_bucket) if bucket]
    codec = Codec(data_converter(settings), buckets)

    async def serve(request: Request) -> Response:
        own = settings.temporal.namespace
        # Temporal's command line sends the header without a value.
        if (request.headers.get("x-namespace") or own) != own:
            raise HTTPException(404, f"this is for namespace {own!r}")
        if check is not None:
            await _admit(request, check)
        work = codec.decode if request.url.path == "/decode" else codec.encode
        given = await _read(request)
        done = await asyncio.gather(*(work(payload) for payload in given.payloads))
        text = json_format.MessageToJson(Payloads(payloads=done), indent=None)
        return Response(text, media_type="application/json")

    return Starlette(
        routes=[Route(path, serve, methods=["POST"]) for path in ("/encode", "/decode")],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=list(origins),
                allow_methods=["POST"],
                allow_headers=["authorization", "content-type", "x-namespace"],
                allow_credentials=True,
            )
        ],
        exception_handlers={QsagaError: _refused},
    )


async def _admit(request: Request, check: Check) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    await asyncio.to_thread(check, token.strip() if scheme.lower() == "bearer" else None)


async def _read(request: Request) -> Payloads:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise HTTPException(413, f"more than {LARGEST_REQUEST} bytes")
    try:
        return json_format.Parse(bytes(body), Payloads(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise HTTPException(400, "not a Payloads message in JSON") from error


async def _refused(_: Request, error: Exception) -> Response:
    status = error.http_status if isinstance(error, QsagaError) else 500
    return PlainTextResponse(str(error), status_code=status)


def readers_only(verifier: IdentityVerifier) -> Check:
    """Admits auditors and operators of every tenant: a payload does not say whose it is."""

    def check(token: str | None) -> Caller:
        if token is None:
            raise Unauthenticated("token: missing (allowed: a bearer token)")
        caller = verifier.verify(token)
        for role in READERS:
            if role in caller.roles:
                return require(caller, role, None)
        raise Forbidden(f"role: {caller.subject!r} is neither auditor nor operator")

    return check


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Decodes payloads for Temporal's UI.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8234)
    parser.add_argument("--origin", action="append", default=[], help="of the UI; may be repeated")
    parser.add_argument("--open", action="store_true", help="ask nobody for a token")
    given = parser.parse_args(arguments)
    settings = Settings()
    identity = settings.identity
    has_keys = identity.keys_file is not None or identity.jwks_url is not None
    if not has_keys and not given.open:
        parser.error(
            "there are no keys to check tokens with: set QSAGA_IDENTITY__KEYS_FILE or "
            "QSAGA_IDENTITY__JWKS_URL, or say --open where only trusted people reach this server"
        )
    try:
        check = None if given.open else readers_only(JwtVerifier(identity))
        server = app(settings, given.origin, check)
    except QsagaError as error:
        parser.error(str(error))
    uvicorn.run(server, host=given.host, port=given.port, log_level="warning")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sys.exit(main(sys.argv[1:]))
