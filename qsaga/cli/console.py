"""What every command needs: settings, a client, where to print, words to values."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from rich.console import Console

from qsaga.client import QsagaClient
from qsaga.core.contract import Contract
from qsaga.core.errors import InvalidRequest
from qsaga.core.operations import Operation, OperationReport
from qsaga.core.validation import invalid_request
from qsaga.settings import Settings

R = TypeVar("R")
Message = TypeVar("Message", bound=Contract)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so, where no token does.")]
Job = Annotated[str, typer.Argument(help="tenant/key, or a key of the tenant 'default'.")]
TenantName = Annotated[str | None, typer.Option("--tenant", help="Of this tenant only.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the record.")]

LONG = 600.0
"""Seconds for an operation on every job there is."""
_AGO = re.compile(r"^(?P<count>\d{1,5})(?P<unit>[mhd])$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def settings() -> Settings:
    """The settings. Raises InvalidRequest."""
    try:
        return Settings()
    except ValidationError as error:
        raise invalid_request(error, "settings") from error
    except OSError as error:
        raise InvalidRequest("QSAGA_CONFIG", f"cannot be read: {error}") from error


def with_client(work: Callable[[QsagaClient], Awaitable[R]]) -> R:
    """Connect and do it."""

    async def connected() -> R:
        return await work(await QsagaClient.connect(settings()))

    return asyncio.run(connected())


def operated(
    operation: Operation, by: str | None = None, seconds: float | None = None
) -> OperationReport:
    """Connect and have an operation done."""
    limit = {} if seconds is None else {"seconds": seconds}
    return with_client(lambda client: client.operate(operation, by=by, **limit))


def scheduled(kind: str) -> OperationReport:
    """Connect and fetch the report of what the schedule of that kind did last."""
    return with_client(lambda client: client.last_scheduled(kind))


def valid(model: type[Message], data: dict[str, Any], prefix: str = "") -> Message:
    """The message that the words amount to. Raises InvalidRequest with the path of the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid_request(error, prefix) from error


def amount(text: str | None, field: str) -> Decimal | None:
    """An amount of money or time."""
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidRequest(field, f"{text!r} is no number", "a number, 0 or more") from None


def moment(text: str | None, field: str) -> datetime | None:
    """A date or time (UTC where it names no zone), or so long ago: 2026-11-01, 7d, 12h, 30m."""
    if text is None:
        return None
    if found := _AGO.match(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[found["unit"]]: int(found["count"])})
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            field, f"{text!r} is no time", "2026-11-01, 2026-11-01T12:00, or 7d, 12h, 30m ago"
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """JSON for other programs to read."""
    print(to_json(value, indent=2).decode())


def out() -> Console:
    """Where results go."""
    return Console()


def err() -> Console:
    """Where everything else goes."""
    return Console(stderr=True)
