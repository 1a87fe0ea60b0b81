"""Messages that cannot be read: named as bad requests, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.exceptions import ApplicationError, FailureError

from qsaga.core.errors import InvalidRequest
from qsaga.core.validation import invalid_request

READABLE = "JSON in UTF-8, encoding json/plain"


class NamingConverter(PydanticPayloadConverter):
    """Says of a payload that cannot be read what is wrong with it.

    Anybody may start a workflow with anything. The error is a failure of Temporal's, so that it
    ends the workflow, refuses the update, or drops the signal: any other kind would have the
    workflow's task tried again for ever.
    """

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """The values. Raises ApplicationError of type InvalidRequest."""
        try:
            values = super().from_payloads(payloads, type_hints)
        except FailureError:
            raise
        except ValidationError as error:
            raise _failure(_named(error, type_hints or ())) from error
        except Exception as error:
            said = str(error.__cause__ or error).splitlines() or [type(error).__name__]
            raise _failure(InvalidRequest("payload", said[0][:500], READABLE)) from error
        hints: Sequence[Any] = type_hints or ()
        for value, hint in zip(values, hints, strict=False):
            # Payloads that are null or bytes get past every type hint.
            if hint is Any or not isinstance(hint, type):
                continue
            if not isinstance(value, hint):
                if value is None:
                    raise _failure(InvalidRequest("request", "missing", f"a {hint.__name__}"))
                if isinstance(value, bytes):
                    raise _failure(InvalidRequest("payload", "plain bytes", READABLE))
        return values


def _named(error: ValidationError, hints: Sequence[type]) -> InvalidRequest:
    said = invalid_request(error)
    if said.allowed:
        return said
    names = " and ".join(getattr(hint, "__name__", str(hint)) for hint in hints)
    return InvalidRequest(said.field, said.problem, f"what the schema of {names} says, as JSON")


def _failure(error: InvalidRequest) -> ApplicationError:
    return ApplicationError(str(error), type=InvalidRequest.__name__, non_retryable=True)
