"""References to payloads that are kept beside Temporal: finding, following and deleting them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime

from google.protobuf import json_format
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import (
    DataConverter,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverWorkflowInfo,
)

REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
ENCODED = "__temporal_external_storage_reference"
"""Metadata by which the SDK marks a reference that went through the codec."""


class NoSuchPayload(ValueError):
    """A claim of what is not kept, in a store that answers: waiting does not help.

    A store that does not answer raises something else.
    """


class DeletingDriver(StorageDriver):
    """A driver whose payloads can be deleted. ``retrieve`` raises NoSuchPayload.

    What was stored or used again after ``before`` stays: a workflow at work may refer to it.
    Returned is whether everything that was asked for is gone.
    """

    @abstractmethod
    async def delete(self, claim: Mapping[str, str], before: datetime) -> bool:
        """Delete the payload of a claim that belongs to no workflow id; others are swept.

        A history may also name what belongs to somebody else, such as a schedule that goes on.
        """

    @abstractmethod
    async def sweep(self, owner: StorageDriverWorkflowInfo, before: datetime) -> bool:
        """Delete all that was ever stored for a workflow id.

        That is more than what histories name: answers to queries, and what replays stored again
        under a newer key.
        """


def payloads_in(message: Message) -> Iterator[Payload]:
    """Every payload of a protobuf message, at any depth."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, Message):
            parts = [value]
        elif field.message_type.GetOptions().map_entry:
            parts = list(value.values())
        else:
            parts = list(value)
        for part in parts:
            if isinstance(part, Message):  # the values of a map may be plain
                yield from payloads_in(part)


async def reference_in(
    payload: Payload, converter: DataConverter
) -> ExternalStorageReference | None:
    """What a payload refers to; None where it is a payload itself.

    None too where it says that it refers and cannot be read: that came from outside, and nothing
    is kept for it.
    """
    if payload.metadata.get(ENCODED) == b"true" and converter.payload_codec is not None:
        inner = Payload()
        inner.CopyFrom(payload)
        del inner.metadata[ENCODED]
        del inner.external_payloads[:]
        (payload,) = await converter.payload_codec.decode([inner])
    metadata = payload.metadata
    if (metadata.get("encoding"), metadata.get("messageType")) != (b"json/protobuf", REFERENCE):
        return None
    try:
        return json_format.Parse(
            payload.data, ExternalStorageReference(), ignore_unknown_fields=True
        )
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        return None


def driver_named(converter: DataConverter, name: str) -> StorageDriver | None:
    """The driver of that name, if the converter has it."""
    storage = converter.external_storage
    drivers = storage.drivers if storage is not None else ()
    return next((driver for driver in drivers if driver.name() == name), None)


async def delete_referenced(message: Message, converter: DataConverter, before: datetime) -> bool:
    """Delete what a message refers to and no workflow id owns; False where it cannot be reached."""
    gone = True
    for payload in payloads_in(message):
        reference = await reference_in(payload, converter)
        if reference is None:
            continue
        driver = driver_named(converter, reference.driver_name)
        if isinstance(driver, DeletingDriver):
            with suppress(NoSuchPayload):
                gone = await driver.delete(reference.claim_data, before) and gone
        else:
            gone = False
    return gone


async def sweep(
    converter: DataConverter, owner: StorageDriverWorkflowInfo, before: datetime
) -> bool:
    """Delete all that any driver stored for a workflow id."""
    gone = True
    storage = converter.external_storage
    for driver in storage.drivers if storage is not None else ():
        if isinstance(driver, DeletingDriver):
            gone = await driver.sweep(owner, before) and gone
    return gone


async def fetched(payload: Payload, converter: DataConverter) -> Payload:
    """What a payload refers to, still encrypted; itself where it refers to nothing.

    Raises:
        KeyError: no driver of that name is configured.
    """
    reference = await reference_in(payload, converter)
    if reference is None:
        return payload
    driver = driver_named(converter, reference.driver_name)
    if driver is None:
        raise KeyError(reference.driver_name)
    claim = StorageDriverClaim(claim_data=dict(reference.claim_data))
    (found,) = await driver.retrieve(StorageDriverRetrieveContext(), [claim])
    return found
