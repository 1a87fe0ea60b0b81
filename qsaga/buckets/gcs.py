"""Google Cloud Storage."""

from __future__ import annotations

import asyncio
from datetime import datetime

from google.api_core.exceptions import BadRequest, ClientError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from temporalio.contrib.gcp.gcsdriver import GCSStorageDriver, GCSStorageDriverClient

from qsaga.buckets.deleting import LARGEST, DeletingBucket, Objects
from qsaga.claims import NoSuchPayload
from qsaga.core.errors import InvalidRequest

BINARY = "application/octet-stream"


class GCSObjects:
    """Objects by Google's client, which threads may share (implements ``Objects``)."""

    def __init__(self) -> None:
        self._client = storage.Client()

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object, in parts where it is large."""
        self._client.bucket(bucket).blob(name).upload_from_string(data, content_type=BINARY)

    def get(self, bucket: str, name: str) -> bytes:
        """Read an object."""
        try:
            content: bytes = self._client.bucket(bucket).blob(name).download_as_bytes()
        except (NotFound, BadRequest, ValueError) as error:
            # The answer is the same whether the object or the bucket is not found.
            kind = NoSuchPayload if self._answers(bucket) else PermissionError
            raise kind(f"{name} in {bucket}: {error}") from error
        except ClientError as error:
            raise PermissionError(f"{name} in {bucket}: {error}") from error
        return content

    def _answers(self, bucket: str) -> bool:
        try:
            list(self._client.list_blobs(bucket, max_results=1))
        except (ClientError, ValueError):
            return False
        return True

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Of all objects that begin so."""
        return [blob.name for blob in self._client.list_blobs(bucket, prefix=prefix)]

    def delete(self, bucket: str, name: str, before: datetime) -> bool:
        """Delete an object unless it was written since."""
        blob = self._client.bucket(bucket).get_blob(name)
        if blob is None:
            return True
        if blob.updated >= before:
            return False
        try:
            blob.delete(if_generation_match=blob.generation)
        except NotFound:
            return True
        except PreconditionFailed:  # written between the look and the deletion
            return False
        return True


class _Client(GCSStorageDriverClient):
    """For Temporal's driver. Without objects it only lets it make names."""

    def __init__(self, objects: Objects | None) -> None:
        self._objects = objects

    async def object_exists(self, *, bucket: str, object_name: str) -> bool:
        # What is stored again is written again: its time guards it from a deletion under way.
        return self._objects is None

    async def put_object(self, *, bucket: str, object_name: str, data: bytes) -> None:
        if self._objects is not None:
            await asyncio.to_thread(self._objects.put, bucket, object_name, data)

    async def get_object(self, *, bucket: str, object_name: str) -> bytes:
        if self._objects is None:
            raise KeyError(object_name)
        return await asyncio.to_thread(self._objects.get, bucket, object_name)


def gcs_driver(bucket: str) -> DeletingBucket:
    """A driver for a bucket that exists; project and credentials as Google's client finds them.

    Raises:
        InvalidRequest: there are no credentials.
    """
    try:
        objects = GCSObjects()
    except (GoogleAuthError, OSError, ValueError) as error:
        raise InvalidRequest("payloads.gcs_bucket", f"{bucket}: {error}") from error
    return DeletingBucket(
        GCSStorageDriver(_Client(objects), bucket, max_payload_size=LARGEST),
        GCSStorageDriver(_Client(None), bucket),
        bucket,
        objects,
        "object_name",
    )
