"""How many arguments came: one that does not fit would have the workflow's task tried for ever."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal, TypeVar, cast

from temporalio.exceptions import ApplicationError

Init = TypeVar("Init", bound=Callable[..., None])

_DEFINED = {"signal": "__temporal_signal_definition", "update": "_defn"}
"""Attribute by which the SDK marks a handler."""


def refusal_of(function: Callable[..., Any], given: Sequence[Any]) -> ApplicationError | None:
    """Why a function cannot be called with so many arguments; None if it can.

    What the arguments are is checked where they are decoded.
    """
    try:
        inspect.signature(function).bind(*given)
    except TypeError as error:
        return ApplicationError(
            f"arguments: {error} (allowed: what the schema of the message says, once)",
            type="InvalidRequest",
            non_retryable=True,
        )
    return None


def handler_refusal(
    instance: object, kind: Literal["signal", "update"], name: str, given: Sequence[Any]
) -> ApplicationError | None:
    """The same of a workflow's handler; None as well where it has none of that name."""
    for cls in type(instance).__mro__:
        for member in vars(cls).values():
            # What the SDK hands out as handler takes any number of arguments.
            defined = getattr(member, _DEFINED[kind], None)
            if defined is not None and defined.name == name:
                return refusal_of(member, (instance, *given))
    return None


def checked(init: Init) -> Init:
    """The ``__init__`` of a workflow that refuses another number of arguments by name."""

    @wraps(init)
    def initialise(self: object, *args: Any) -> None:
        if refused := refusal_of(init, (self, *args)):
            raise refused
        init(self, *args)

    return cast("Init", initialise)
