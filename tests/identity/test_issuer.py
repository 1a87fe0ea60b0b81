"""Keys from an issuer's address: a real HTTP server that may fail, hang or rotate."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from adapters.identity import JwtVerifier, quickly
from adapters.verification_keys import FRESH, PAUSE, STALE, KeysUrl
from qsaga.core.errors import TransientProviderError, Unauthenticated
from qsaga.core.identity import Caller, Role
from qsaga.settings import IdentitySettings
from tests.identity.conftest import FOREIGN as OTHER
from tests.identity.conftest import KEY, token
from tools.identity import SigningKey, jwk, jwks

ALICE = Caller(subject="alice", tenants=("acme",), roles=(Role.SUBMITTER, Role.APPROVER))


class Issuer:
    """A real HTTP server with a JWKS document, which may be made to fail."""

    def __init__(self) -> None:
        self.document: object = jwks(KEY)
        self.status, self.asked = 200, 0
        self.hold: threading.Event | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                if issuer.hold is not None:
                    issuer.hold.wait(10)
                body = json.dumps(issuer.document).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    with issuer.running():
        yield issuer


def kid(key: SigningKey) -> str:
    return str(jwk(key)["kid"])


def test_keys_come_from_the_issuers_address(issuer: Issuer) -> None:
    foreign_kinds = [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA", "use": "enc"}, {}, "nonsense"]
    issuer.document = {"keys": [*foreign_kinds, jwk(KEY)]}
    checks = JwtVerifier(IdentitySettings(jwks_url=issuer.url))
    assert [checks.verify(token()) for _ in range(3)] == [ALICE] * 3
    assert issuer.asked == 1
    with pytest.raises(Unauthenticated, match="not known"):
        checks.verify(token(key=OTHER))


def test_fetched_keys_grow_old_and_unknown_ones_are_asked_for(issuer: Issuer) -> None:
    at = [1000.0]
    keys = KeysUrl(issuer.url, clock=lambda: at[0])
    keys.known(kid(KEY))
    issuer.document = jwks(KEY, OTHER)
    for _ in range(20):  # a flood of tokens with unknown keys asks the issuer nothing
        assert len(keys.known(kid(OTHER))) == 1
    assert issuer.asked == 1
    at[0] += PAUSE
    assert len(keys.known(kid(OTHER))) == 2 and issuer.asked == 2
    at[0] += FRESH - 1
    keys.known(kid(KEY))
    assert issuer.asked == 2
    at[0] += 1
    issuer.document = jwks(OTHER)
    assert len(keys.known(kid(OTHER))) == 1 and issuer.asked == 3


@pytest.mark.parametrize(
    ("status", "document"), [(500, jwks(KEY)), (200, "no document"), (200, {"keys": []})]
)
def test_an_issuer_who_fails_is_no_refusal(issuer: Issuer, status: int, document: object) -> None:
    at = [1000.0]
    keys = KeysUrl(issuer.url, clock=lambda: at[0])
    good, issuer.status, issuer.document = issuer.document, status, document
    with pytest.raises(TransientProviderError, match="cannot be fetched") as failed:
        keys.known(None)
    assert failed.value.retry_after == PAUSE
    issuer.status, issuer.document = 200, good
    at[0] += PAUSE
    assert len(keys.known(None)) == 1
    issuer.status, issuer.document = status, document
    at[0] += STALE
    assert len(keys.known(None)) == 1, "for so long the keys stay good without the issuer"
    at[0] += 1
    with pytest.raises(TransientProviderError):
        keys.known(None)


def test_nobody_there_is_no_refusal() -> None:
    checks = JwtVerifier(IdentitySettings(jwks_url="http://127.0.0.1:9/jwks.json"))
    with pytest.raises(TransientProviderError, match="cannot be fetched"):
        checks.verify(token())


def test_a_workflow_is_not_held_up_by_an_issuer(issuer: Issuer) -> None:
    issuer.hold = threading.Event()
    check = quickly(JwtVerifier(IdentitySettings(jwks_url=issuer.url)))
    began = time.monotonic()
    assert check(token()) is None
    assert time.monotonic() - began < 4
    issuer.hold.set()
    while (caller := check(token())) is None:
        pass
    assert caller == ALICE
    with pytest.raises(Unauthenticated):
        check("nonsense")
