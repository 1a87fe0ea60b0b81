"""The client's own repetitions, for a release in which they cannot be switched off."""

from __future__ import annotations

from typing import Any

from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from adapters.ibm._wire import running_call

_POLICY = (
    "total",
    "connect",
    "read",
    "status",
    "other",
    "allowed_methods",
    "status_forcelist",
    "backoff_factor",
    "backoff_max",
)


def noted(policy: Retry) -> Retry:
    """The client's policy, except that every repetition is noted and none begins after its call.

    ``Retry-After`` is left to the caller: the client would sleep for hours and then send.
    """

    class Noted(type(policy)):  # type: ignore[misc]
        def sleep(self, response: BaseHTTPResponse | None = None) -> None:
            call, failed = running_call(), self.history[-1]
            if call.last is not None:
                call.last.status, call.last.error = failed.status, failed.error
            super().sleep(response)
            if call.last is not None:
                call.repeat()

    settings: dict[str, Any] = {name: getattr(policy, name) for name in _POLICY}
    made: Retry = Noted(**settings, respect_retry_after_header=False)
    return made
