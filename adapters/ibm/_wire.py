"""What goes over the wire, bounded and written down.

The client has no read timeout, repeats POST requests by itself and hides the status of a reply in
the text of an exception. So its HTTP session gets an adapter of ours that bounds every request
by the time left for the call, repeats only GET unless told otherwise, and notes what was sent and
what came back: the notes decide whether a submission may have arrived.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError
from urllib3.util.retry import Retry

CONNECT_SECONDS = 5.0
GET_ATTEMPTS = 3
GET_BACKOFF = 0.25
LONGEST_WAIT = 2.0
"""Longest pause before a GET is repeated, in seconds; a longer Retry-After is left to the caller,
who waits without holding a thread."""

REPEATED = frozenset({429, 500, 502, 503, 504, 520, 521, 522, 524})
POOL = 16
_CHUNK = 64 * 1024

_running = threading.local()


class GivenUp(Exception):
    """The caller stopped waiting, so nothing more is sent."""


class OutOfTime(requests.Timeout):
    """The time of the call was over before this request was sent."""


class IdentityTrouble(Exception):
    """No access token.

    Args:
        message: what happened.
        status: HTTP status of the identity service; None if it did not answer.
    """

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Exchange:
    """One request and what came of it; ``reply`` is kept of a submission that was accepted."""

    method: str
    path: str
    status: int | None = None
    text: str = ""
    reply: bytes | None = None
    retry_after: float | None = None
    error: Exception | None = None

    @property
    def submits(self) -> bool:
        """Whether the request asks for a new job."""
        return self.method == "POST" and self.path.endswith("/jobs")


@dataclass
class Call:
    """One call of the port: its time, and the requests that were made for it.

    Shared by the thread that makes the requests and the event loop that may give it up.
    """

    seconds: float
    exchanges: list[Exchange] = field(default_factory=list)
    submission_begun: bool = False

    def __post_init__(self) -> None:
        self._ends = time.monotonic() + self.seconds
        self._given_up = False
        self._lock = threading.Lock()

    def remaining(self) -> float:
        """Seconds left."""
        return self._ends - time.monotonic()

    def begin(self, method: str, url: str) -> Exchange:
        """Note a request that is about to be sent.

        Raises:
            GivenUp: the caller has already been told how the call ended.
            OutOfTime: no time is left.
        """
        return self._begin(Exchange(method, urlsplit(url).path))

    def repeat(self) -> None:
        """Note that the client is about to send once more. Raises as ``begin``."""
        self._begin(Exchange(self.exchanges[-1].method, self.exchanges[-1].path))

    def _begin(self, exchange: Exchange) -> Exchange:
        with self._lock:
            # Under the lock: either the caller hears that a submission has begun, or it does
            # not begin.
            if self._given_up:
                raise GivenUp
            if self.remaining() <= 0:
                raise OutOfTime(f"no time left for {exchange.method} {exchange.path}")
            self.exchanges.append(exchange)
            self.submission_begun |= exchange.submits
        return exchange

    def give_up(self) -> bool:
        """Let nothing more be sent. Returns whether a submission has begun."""
        with self._lock:
            self._given_up = True
            return self.submission_begun

    def restart(self) -> None:
        """Forget the requests so far, before the call is tried once more.

        Only after a reply that said that nothing was accepted.
        """
        with self._lock:
            self.exchanges.clear()
            self.submission_begun = False

    @property
    def last(self) -> Exchange | None:
        """The latest request."""
        return self.exchanges[-1] if self.exchanges else None

    @property
    def submissions(self) -> list[Exchange]:
        """The requests that asked for a new job."""
        return [exchange for exchange in self.exchanges if exchange.submits]

    @property
    def accepted(self) -> bytes | None:
        """The reply of a submission that was accepted."""
        return next((e.reply for e in self.submissions if e.reply is not None), None)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Requests of this thread belong to this call."""
        _running.call = self
        try:
            yield
        finally:
            _running.call = None


def running_call(seconds: float = 0.0) -> Call:
    """The call that this thread works for, else one that may last so many seconds."""
    call: Call | None = getattr(_running, "call", None)
    return call or Call(seconds)


class BoundedAdapter(HTTPAdapter):
    """Sends requests within the time of the running call; repeats GET, and else as it is told.

    Args:
        seconds: bound of a request that belongs to no call.
        retries: how POST and the like are repeated; None is never.
    """

    def __init__(self, seconds: float, retries: Retry | None = None) -> None:
        super().__init__(pool_connections=POOL, pool_maxsize=POOL, max_retries=0)
        self._seconds = seconds
        self._repeating = retries and HTTPAdapter(POOL, POOL, max_retries=retries)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send, with our timeout in place of the one given, and read the whole reply."""
        call = running_call(self._seconds)
        reads = request.method == "GET"
        attempts = GET_ATTEMPTS if reads else 1
        send = super().send if reads or not self._repeating else self._repeating.send
        for attempt in range(1, attempts + 1):
            exchange = call.begin(str(request.method), str(request.url))
            pause = GET_BACKOFF * 2 ** (attempt - 1)
            try:
                response = send(
                    request,
                    stream=True,
                    timeout=(min(CONNECT_SECONDS, call.remaining()), max(call.remaining(), 0.001)),
                    verify=verify,
                    cert=cert,
                    proxies=proxies,
                )
                _read(response, call)
            except requests.RequestException as error:
                exchange = call.last or exchange  # the client may have repeated it
                exchange.error = exchange.error or error
                if attempt == attempts or call.remaining() <= pause:
                    raise
            else:
                exchange = call.last or exchange
                _note(exchange, response)
                pause = pause if exchange.retry_after is None else exchange.retry_after
                if (
                    response.status_code not in REPEATED
                    or attempt == attempts
                    or pause > min(LONGEST_WAIT, call.remaining())
                ):
                    return response
            time.sleep(pause)
        raise AssertionError("unreachable")


def _read(response: requests.Response, call: Call) -> None:
    """Read the body within the time of the call.

    A timeout of the socket is renewed by every byte, so a server that drips would not be bounded
    by it: ``read1`` returns what has arrived, and the clock is looked at between.
    """
    parts: list[bytes] = []
    try:
        while part := response.raw.read1(_CHUNK, decode_content=True):
            parts.append(part)
            if call.remaining() <= 0:
                response.close()
                raise requests.ReadTimeout("the reply took too long")
    except ReadTimeoutError as error:
        raise requests.ReadTimeout(str(error)) from error
    except (HTTPError, DecodeError, OSError) as error:
        if isinstance(error, requests.RequestException):
            raise
        raise requests.exceptions.ChunkedEncodingError(str(error)) from error
    response._content = b"".join(parts)  # noqa: SLF001
    response._content_consumed = True  # noqa: SLF001
    response.raw.release_conn()


def _note(exchange: Exchange, response: requests.Response) -> None:
    exchange.status = response.status_code
    exchange.retry_after = retry_after(response.headers.get("Retry-After"))
    if response.status_code >= 400:
        exchange.text = _message(response.text)
    elif exchange.submits and response.ok and not response.is_redirect:
        exchange.reply = response.content


def _message(body: str) -> str:
    """The messages of an error reply, else the beginning of its body."""
    try:
        errors = json.loads(body)["errors"]
        return "; ".join(str(error["message"]) for error in errors)[:500]
    except (ValueError, KeyError, TypeError):
        return body[:200]


def retry_after(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None if neither."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


class StrictAuth(AuthBase):
    """An access token in every request, or an exception.

    The client's own handler sends the API key itself when it gets no token, and its token
    manager lets the next caller wait for 60 seconds after a failure; this one does neither.

    Args:
        vendor: the client's handler (``CloudAuth``).
        seconds: bound of a token request that belongs to no call.
    """

    def __init__(self, vendor: Any, seconds: float) -> None:
        self._tokens, self._crn = vendor.tm, vendor.crn
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token."""
        request.headers["Service-CRN"] = self._crn
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request

    def _token(self) -> str:
        call = running_call(self._seconds)
        if not self._lock.acquire(timeout=max(call.remaining(), 0)):
            raise IdentityTrouble("waited too long for an access token", None)
        try:
            left = max(call.remaining(), 0.001)
            self._tokens.http_config = {"timeout": (min(CONNECT_SECONDS, left), left)}
            return str(self._tokens.get_token())
        except (ApiException, requests.RequestException, OSError, ValueError, KeyError) as error:
            self._tokens.request_time = 0
            # A failed renewal does not spoil a token that is still good.
            if self._tokens.access_token and self._tokens.expire_time - 10 > time.time():
                return str(self._tokens.access_token)
            status = error.status_code if isinstance(error, ApiException) else None
            raise IdentityTrouble(f"no access token: {error}", status) from error
        finally:
            self._lock.release()


def session_of(client: Any) -> requests.Session:
    """The HTTP session of an API client: a private attribute, named here and nowhere else.

    Raises:
        RuntimeError: it is no longer there; this release of the client is not supported.
    """
    session = getattr(client, "_session", None)
    if not isinstance(session, requests.Session) or not hasattr(session.auth, "tm"):
        if isinstance(session, requests.Session) and isinstance(session.auth, StrictAuth):
            return session
        raise RuntimeError("qiskit-ibm-runtime keeps its HTTP session elsewhere in this release")
    return session


def guard(client: Any, seconds: float, repeating: Callable[[Retry], Retry] | None = None) -> None:
    """Put our adapter and our authentication on the session of an API client; safe to repeat.

    Args:
        client: the API client.
        seconds: bound of a request that belongs to no call.
        repeating: what becomes of the client's own policy of retries; None switches it off.
    """
    session = session_of(client)
    if not isinstance(session.auth, StrictAuth):
        theirs = session.get_adapter("https://")
        policy = theirs.max_retries if isinstance(theirs, HTTPAdapter) else None
        adapter = BoundedAdapter(seconds, repeating(policy) if repeating and policy else None)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        session.auth = StrictAuth(session.auth, seconds)
