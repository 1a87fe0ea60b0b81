"""What the client raised and what was seen on the wire, recognised as a kind of the table."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import requests
from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from adapters.ibm._schema import SchemaDrift
from adapters.ibm._table import TABLE, Kind
from adapters.ibm._wire import Call, Exchange, IdentityTrouble, OutOfTime
from qsaga.core.errors import QsagaError, TransientProviderError, Undecided

_STATUS_IN_TEXT = re.compile(r"\b([1-5]\d\d) (?:Client|Server) Error\b")
# Of TLS errors only a bad certificate is sure to come before the request; others may interrupt it.
# A ProxyError proves nothing: "unable to connect to proxy" is also what urllib3 says when a proxy
# drops the connection after it has had the whole request.
_NEVER_CONNECTED = (ConnectTimeoutError, NewConnectionError, ssl.SSLCertVerificationError)
_IDENTITY_REFUSES = frozenset({400, 401, 403})
_ONE_JOB = re.compile(r"/jobs/[^/]+(/cancel|/metrics)?$")


class TokenFileUnreadable(Exception):
    """The file that holds the API key cannot be read now, or is empty."""


@dataclass(frozen=True)
class Trouble:
    """A failure that was recognised, not yet an error of ours."""

    kind: Kind
    detail: str = ""
    status: int | None = None
    retry_after: float | None = None

    @property
    def text(self) -> str:
        """In words."""
        status = f", status {self.status}" if self.status else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{TABLE[self.kind].meaning}{status}{detail}"

    def error(self, what: str, *, submission_begun: bool) -> QsagaError:
        """Our error for it. ``what`` names the call, for the message."""
        row = TABLE[self.kind]
        message = f"IBM Quantum, {what}: {self.text}"
        # What a submission cannot meet leaves it undecided, if it is met after all.
        cls = (row.submission or Undecided) if submission_begun else row.otherwise
        if cls is TransientProviderError:
            return TransientProviderError(message, self.retry_after)
        return (cls or TransientProviderError)(message)


def kind_of_status(status: int) -> Kind:
    """The kind of a reply with this HTTP status."""
    if status == 401:
        return Kind.UNAUTHORISED
    if status in {425, 429}:
        return Kind.RATE_LIMITED
    if status == 408:
        return Kind.NO_REPLY
    if status >= 500:
        return Kind.SERVER_ERROR
    return Kind.REFUSED if status >= 400 else Kind.UNREADABLE


def recognise(error: BaseException, call: Call) -> Trouble:
    """What ``error``, raised in ``call``, was.

    The notes of the wire come first, since the client hides the status of a reply in texts;
    what did not go over its session (signing in, finding the instance) is read from the
    exceptions themselves.
    """
    text = _text(error)
    submissions = call.submissions
    if any(_may_have_arrived(earlier) for earlier in submissions[:-1]):
        return Trouble(Kind.CLIENT_REPEATED, f"{len(submissions)} requests: {text}")
    for link in chain(error):
        if isinstance(link, SchemaDrift):
            return Trouble(Kind.SCHEMA_DRIFT, str(link))
        if isinstance(link, TokenFileUnreadable):
            return Trouble(Kind.TOKEN_FILE, str(link))
        if isinstance(link, IdentityTrouble):
            refused = link.status in _IDENTITY_REFUSES
            kind = Kind.UNAUTHORISED if refused else Kind.NOT_SENT
            return Trouble(kind, str(link), link.status)
    # Whatever the client did after a submission, it is the reply to that which decides.
    decisive = submissions[-1] if submissions else call.last
    if not submissions and any(isinstance(e, OutOfTime) for e in chain(error)):
        return Trouble(Kind.NOT_SENT, text)
    if decisive is not None:
        trouble = _of_exchange(decisive)
        if trouble is not None:
            return trouble
        # The wire was fine. Before a submission was sent it is the input that the client does
        # not like; otherwise it cannot make sense of what came back.
        if submissions:
            return Trouble(Kind.UNREADABLE, text)
    if isinstance(error, (requests.JSONDecodeError, KeyError, AttributeError)):
        return Trouble(Kind.UNREADABLE, text)
    return _of_exception(error)


def _may_have_arrived(exchange: Exchange) -> bool:
    return exchange.error is None or not never_connected(exchange.error)


def _of_exchange(exchange: Exchange) -> Trouble | None:
    if exchange.status is not None and exchange.status >= 400:
        gone = exchange.status in {404, 410} and _ONE_JOB.search(exchange.path)
        return Trouble(
            Kind.NO_SUCH_JOB if gone else kind_of_status(exchange.status),
            exchange.text,
            exchange.status,
            exchange.retry_after,
        )
    if exchange.error is not None:
        sent = not never_connected(exchange.error)
        return Trouble(Kind.NO_REPLY if sent else Kind.NOT_SENT, _text(exchange.error))
    return None


def _of_exception(error: BaseException) -> Trouble:
    text = _text(error)
    for link in chain(error):
        if isinstance(link, ApiException):  # from the SDK that signs in and finds the instance
            status = int(link.status_code or 0)
            kind = kind_of_status(status)
            if status in _IDENTITY_REFUSES:
                kind = Kind.UNAUTHORISED
            elif kind is Kind.SERVER_ERROR:
                kind = Kind.NOT_SENT
            return Trouble(kind, f"{text} ({link.message})", status)
        if isinstance(link, requests.RequestException) and link.response is None:
            return Trouble(Kind.NOT_SENT if never_connected(link) else Kind.NO_REPLY, _text(link))
        found = status_of(link)
        if found is not None:
            return Trouble(kind_of_status(found), text, found)
    return Trouble(Kind.BAD_INPUT, text)


def status_of(error: BaseException) -> int | None:
    """HTTP status of an exception of the client, from wherever this one keeps it."""
    response = getattr(error, "response", None)
    for value in (getattr(response, "status_code", None), getattr(error, "status_code", None)):
        if isinstance(value, int) and value > 0:
            return value
    found = _STATUS_IN_TEXT.search(str(error))
    return int(found.group(1)) if found else None


def never_connected(error: BaseException) -> bool:
    """Whether a failed request surely never left this machine."""
    # urllib3 and requests wrap errors now as causes, now as arguments or as a `reason`.
    todo: list[object] = [error]
    for _ in range(20):
        if not todo:
            break
        link = todo.pop()
        if isinstance(link, (requests.ConnectTimeout, *_NEVER_CONNECTED)):
            return True
        if isinstance(link, BaseException):
            todo += [*link.args, getattr(link, "reason", None), link.__cause__, link.__context__]
    return False


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those behind it, also where the client raised ``from None``."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _text(error: BaseException) -> str:
    text = str(error).strip().strip("'\"")
    name = type(error).__name__
    return f"{name}: {text[:300]}" if text else name
