"""What S3 and Google Cloud Storage have in common for us."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from qsaga.claims import DeletingDriver, NoSuchPayload

LARGEST = 1024**3
"""Bytes. The drivers' own limit of 50 MiB would lose what was paid for."""
RUN = "/ri/"
"""Temporal's drivers name objects ``v0/ns/…/wt/TYPE/wi/ID/ri/RUN/d/sha256/…``."""


class Objects(Protocol):
    """A service that keeps objects in buckets. Calls block: they are made in threads."""

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object; writing it again renews its time."""

    def get(self, bucket: str, name: str) -> bytes:
        """Read an object.

        Raises:
            NoSuchPayload: there is none, and can be none, of that name in the bucket.
            PermissionError: the service does not give it, or has no such bucket.
        """

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Of all objects that begin so."""

    def delete(self, bucket: str, name: str, before: datetime) -> bool:
        """Delete an object unless it was written since. Returns whether it is gone."""


class DeletingBucket(DeletingDriver):
    """One of Temporal's drivers, which cannot delete, with deletion.

    Args:
        driver: Temporal's.
        names: another of the same kind that stores nothing, for the names that it would give.
        bucket: that the driver writes to.
        objects: the service.
        field: of a claim that names the object.
    """

    def __init__(
        self,
        driver: StorageDriver,
        names: StorageDriver,
        bucket: str,
        objects: Objects,
        field: str,
    ) -> None:
        self._driver, self._names = driver, names
        self._own, self._objects, self._field = bucket, objects, field

    def name(self) -> str:
        """As Temporal's driver is called in claims."""
        return self._driver.name()

    def type(self) -> str:
        """As Temporal's driver."""
        return self._driver.type()

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Write the payloads."""
        return await self._driver.store(context, payloads)

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read the payloads back; their hashes are checked."""
        try:
            return await self._driver.retrieve(context, claims)
        except (KeyError, ValueError, DecodeError) as error:
            raise NoSuchPayload(f"a claim that names no payload of a bucket: {error}") from error
        except RuntimeError as error:  # in which Temporal's driver wraps whatever the service says
            buckets = {claim.claim_data["bucket"] for claim in claims}
            # Where our own is refused, credentials, endpoint or project of this worker are wrong.
            # Anybody can name another.
            refused = isinstance(error.__cause__, PermissionError) and buckets != {self._own}
            if refused or isinstance(error.__cause__, NoSuchPayload):
                raise NoSuchPayload(str(error.__cause__)) from error
            raise

    async def delete(self, claim: Mapping[str, str], before: datetime) -> bool:
        """Delete the object of a claim in whose name there is no workflow."""
        bucket, name = claim["bucket"], claim[self._field]
        if RUN in name:
            return True
        return await asyncio.to_thread(self._objects.delete, bucket, name, before)

    async def sweep(self, owner: StorageDriverWorkflowInfo, before: datetime) -> bool:
        """Delete all objects of a workflow id, whether its type was known when they were stored."""
        gone = True
        for kind in (owner.type, None):
            target = StorageDriverWorkflowInfo(
                namespace=owner.namespace, id=owner.id, run_id=None, type=kind
            )
            gone = await asyncio.to_thread(self._sweep, await self._prefix(target), before) and gone
        return gone

    def _sweep(self, prefix: str, before: datetime) -> bool:
        names = self._objects.names(self._own, prefix)
        kept = [name for name in names if not self._objects.delete(self._own, name, before)]
        return not kept

    async def _prefix(self, target: StorageDriverWorkflowInfo) -> str:
        (claim,) = await self._names.store(StorageDriverStoreContext(target=target), [Payload()])
        return claim.claim_data[self._field].partition(RUN)[0] + RUN
