"""Everything the vendor may answer or raise, and which of our errors it becomes: one table."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import requests
from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from adapters.ibm._wire import Call, Exchange, IdentityTrouble, OutOfTime
from qsaga.core.errors import (
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
    Undecided,
)


class Kind(StrEnum):
    """What went wrong, as far as it can be told from outside."""

    NOT_SENT = "not_sent"
    NO_REPLY = "no_reply"
    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    UNAUTHORISED = "unauthorised"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    BAD_INPUT = "bad_input"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        kind: what went wrong.
        seen: how it shows.
        otherwise: the error that any call but a begun submission raises.
        submission: the error of a submission whose request may have left this machine.
        meaning: in words, for messages.
    """

    kind: Kind
    seen: str
    otherwise: type[ProviderError]
    submission: type[ProviderError]
    meaning: str


ROWS: tuple[Row, ...] = (
    Row(
        Kind.NOT_SENT,
        "connection refused, unknown host, certificate not accepted; identity service down or 5xx; "
        "no time left before sending",
        TransientProviderError,
        TransientProviderError,
        "the request was not sent",
    ),
    Row(
        Kind.NO_REPLY,
        "connection dropped, reply cut off, no reply in time; status 408",
        TransientProviderError,
        Undecided,
        "no reply came",
    ),
    Row(
        Kind.SERVER_ERROR,
        "status 5xx",
        TransientProviderError,
        Undecided,
        "the service failed",
    ),
    Row(
        Kind.RATE_LIMITED,
        "status 425, 429",
        TransientProviderError,
        TransientProviderError,
        "the service asks for patience",
    ),
    Row(
        Kind.UNAUTHORISED,
        "status 401, or 400, 401, 403 of the identity service, twice: between the two the "
        "credentials are read again and the client is built anew",
        PermanentProviderError,
        PermanentProviderError,
        "the credentials are not accepted",
    ),
    Row(
        Kind.REFUSED,
        "any other status 4xx (400, 403, 404, 409, 413, 422, …)",
        PermanentProviderError,
        PermanentProviderError,
        "the service refused the request",
    ),
    Row(
        Kind.UNREADABLE,
        "status 2xx or 3xx with a body that is not what the client expects",
        TransientProviderError,
        Undecided,
        "the reply cannot be read",
    ),
    Row(
        Kind.BAD_INPUT,
        "the client itself refuses the input, before sending",
        PermanentProviderError,
        PermanentProviderError,
        "the client refused the input",
    ),
)
"""The table. A cancel that gets 409, and a result that is gone, are told apart by their calls."""

TABLE: dict[Kind, Row] = {row.kind: row for row in ROWS}

_STATUS_IN_TEXT = re.compile(r"\b([1-5]\d\d) (?:Client|Server) Error\b")
# Of TLS errors only a bad certificate is sure to come before the request; others may interrupt it.
# A ProxyError proves nothing: "unable to connect to proxy" is also what urllib3 says when a proxy
# drops the connection after it has had the whole request.
_NEVER_CONNECTED = (ConnectTimeoutError, NewConnectionError, ssl.SSLCertVerificationError)
_IDENTITY_REFUSES = frozenset({400, 401, 403})


@dataclass(frozen=True)
class Trouble:
    """A failure that was recognised, not yet an error of ours."""

    kind: Kind
    detail: str = ""
    status: int | None = None
    retry_after: float | None = None

    def error(self, what: str, *, submission_begun: bool) -> ProviderError:
        """Our error for it. ``what`` names the call, for the message."""
        row = TABLE[self.kind]
        status = f", status {self.status}" if self.status else ""
        detail = f": {self.detail}" if self.detail else ""
        message = f"IBM Quantum, {what}: {row.meaning}{status}{detail}"
        cls = row.submission if submission_begun else row.otherwise
        if cls is TransientProviderError:
            return TransientProviderError(message, self.retry_after)
        return cls(message)


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
    identity = next((e for e in chain(error) if isinstance(e, IdentityTrouble)), None)
    if identity is not None:
        refused = identity.status in _IDENTITY_REFUSES
        return Trouble(
            Kind.UNAUTHORISED if refused else Kind.NOT_SENT, str(identity), identity.status
        )
    if any(isinstance(e, OutOfTime) for e in chain(error)):
        return Trouble(Kind.NOT_SENT, text)
    last = call.last
    if last is not None:
        trouble = _of_exchange(last)
        if trouble is not None:
            return trouble
        # The wire was fine. Before a submission was sent it is the input that the client does
        # not like; otherwise it cannot make sense of what came back.
        if any(e.submits for e in call.exchanges):
            return Trouble(Kind.UNREADABLE, text)
    if isinstance(error, (requests.JSONDecodeError, KeyError, AttributeError)):
        return Trouble(Kind.UNREADABLE, text)
    return _of_exception(error)


def _of_exchange(exchange: Exchange) -> Trouble | None:
    if exchange.error is not None:
        sent = not never_connected(exchange.error)
        return Trouble(Kind.NO_REPLY if sent else Kind.NOT_SENT, _text(exchange.error))
    if exchange.status is not None and exchange.status >= 400:
        return Trouble(
            kind_of_status(exchange.status), exchange.text, exchange.status, exchange.retry_after
        )
    return None


def _of_exception(error: BaseException) -> Trouble:
    text = _text(error)
    for link in chain(error):
        if isinstance(link, ApiException):  # from the SDK that signs in and finds the instance
            status = int(link.status_code or 0)
            refused = status in _IDENTITY_REFUSES
            kind = Kind.UNAUTHORISED if refused else kind_of_status(status)
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
