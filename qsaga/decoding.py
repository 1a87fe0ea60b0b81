"""Messages that cannot be read or fetched: named as bad requests, wherever they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    SerializationContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError, FailureError

from qsaga.claims import NoSuchPayload, driver_named
from qsaga.core.errors import InvalidRequest, PayloadDamaged
from qsaga.core.validation import invalid_request

READABLE = "JSON in UTF-8, encoding json/plain"
OBTAINABLE = "a reference to a payload that is kept in a store of the workers"
REFUSED = b"qsaga/refused"
"""Encoding of what stands for a payload that can never be had; its data say why."""

Step = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


class NamingConverter(PydanticPayloadConverter):
    """Says of a payload that cannot be read what is wrong with it.

    Anybody may start a workflow with anything. The error is a failure of Temporal's, so that it
    ends the workflow, refuses the update, or drops the signal: any other kind would have the
    workflow's task tried again for ever.
    """

    def __init__(self) -> None:
        # Not PydanticPayloadConverter's: the SDK makes a converter for each workflow and for each
        # of its messages, and what reads a type would be built again and again.
        CompositePayloadConverter.__init__(self, *_encodings())

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """The values. Raises ApplicationError of type InvalidRequest."""
        for payload in payloads:
            if payload.metadata.get("encoding") == REFUSED:
                why = payload.data.decode(errors="replace")[:500]
                raise _failure(InvalidRequest("payload", why, OBTAINABLE))
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


@cache
def _encodings() -> tuple[EncodingPayloadConverter, ...]:
    return tuple(PydanticPayloadConverter().converters.values())


@dataclass(frozen=True)
class GuardedConverter(DataConverter):
    """Refuses what is sent to a workflow and can never be had, instead of failing its task.

    Whoever may speak to a workflow may send it a reference to nothing. An error here would have
    the task tried again for ever, and one that is final would end the workflow. So such a payload
    is replaced by one that ``NamingConverter`` refuses. What may still come is waited for: of a
    store that is away, under a key that the file does not have yet. So is everything that a
    workflow asked for itself, as results of activities and children.

    A replay refuses the same as long as stores and keys are the same: what is stored is named by
    its content, and before it is named. Where a refused payload can be had later, as from a file
    that is put back or a store that is added, a replay reads what the run did without, and may
    differ from its history.
    """

    addressed: bool = False

    def with_context(self, context: SerializationContext) -> Self:
        """For a workflow, or an activity."""
        addressed = isinstance(context, WorkflowSerializationContext)
        converter = super().with_context(context)
        if converter.addressed == addressed:
            return converter
        # Not ``replace``, which would build the parts anew: each message of a workflow asks this.
        other = copy(converter)
        object.__setattr__(other, "addressed", addressed)
        return other

    @property
    def _at_the_door(self) -> bool:
        # Workers say which run they decode for; not so for the results of its children.
        if not self.addressed or self.external_storage is None:
            return False
        target = self.external_storage._store_context.target  # noqa: SLF001
        return isinstance(target, StorageDriverWorkflowInfo) and target.run_id is not None

    async def _decode_reference_payload_sequence(
        self, payloads: Sequence[Payload]
    ) -> list[Payload]:
        step = super()._decode_reference_payload_sequence
        return await self._each(step, payloads, (PayloadDamaged, RuntimeError))

    async def _external_retrieve_payload_sequence(
        self, payloads: Sequence[Payload]
    ) -> list[Payload]:
        step = super()._external_retrieve_payload_sequence
        return await self._each(step, self._followable(payloads), (NoSuchPayload,))

    async def _decode_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await self._each(super()._decode_payload_sequence, payloads, (PayloadDamaged,))

    async def _each(
        self, step: Step, payloads: Sequence[Payload], final: tuple[type[Exception], ...]
    ) -> list[Payload]:
        if not self._at_the_door:
            return await step(payloads)

        async def one(payload: Payload) -> Payload:
            try:
                return (await step([payload]))[0]
            except final as error:
                return _refused(error)

        return list(await asyncio.gather(*map(one, payloads)))

    def _followable(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Payloads whose references name a store."""
        if not self._at_the_door:
            return list(payloads)
        return [
            _refused(why) if (why := self._dead_end(payload)) else payload for payload in payloads
        ]

    def _dead_end(self, payload: Payload) -> str:
        """Why a reference leads to no store; empty if it does, or if it is a payload itself."""
        storage = self.external_storage
        try:
            reference = storage._decode_reference(payload) if storage else None  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - nothing is fetched here: it is the reference
            return f"a reference that cannot be read: {error}"
        if reference is None or driver_named(self, reference.driver_name) is not None:
            return ""
        return f"a reference to a store {reference.driver_name!r} that the workers do not have"


def _refused(why: object) -> Payload:
    return Payload(metadata={"encoding": REFUSED}, data=str(why).encode())


def _named(error: ValidationError, hints: Sequence[type]) -> InvalidRequest:
    said = invalid_request(error)
    if said.allowed:
        return said
    names = " and ".join(getattr(hint, "__name__", str(hint)) for hint in hints)
    return InvalidRequest(said.field, said.problem, f"what the schema of {names} says, as JSON")


def _failure(error: InvalidRequest) -> ApplicationError:
    return ApplicationError(str(error), type=InvalidRequest.__name__, non_retryable=True)
