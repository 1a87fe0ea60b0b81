"""Amazon S3, and what speaks its protocol."""

from __future__ import annotations

import asyncio
import io
from datetime import datetime, timedelta

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from temporalio.contrib.aws.s3driver import S3StorageDriver, S3StorageDriverClient

from qsaga.buckets.deleting import LARGEST, DeletingBucket, Objects
from qsaga.claims import NoSuchPayload
from qsaga.core.errors import InvalidRequest

TICK = timedelta(seconds=1)
"""S3 tells times to the second, rounded down."""
NEVER = frozenset({"NoSuchKey", "KeyTooLongError"})
"""Codes of an object that is not, and cannot be, in a bucket that is there.

Not a bare 404: any server answers so, also one to which a wrong endpoint leads.
"""
CONFIG = Config(
    connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 5}
)


class S3Objects:
    """Objects by boto3, whose clients may be shared by threads (implements ``Objects``)."""

    def __init__(self) -> None:
        self._client = boto3.client("s3", config=CONFIG)

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object, in parts where it is large."""
        self._client.upload_fileobj(io.BytesIO(data), bucket, name)

    def get(self, bucket: str, name: str) -> bytes:
        """Read an object."""
        try:
            content: bytes = self._client.get_object(Bucket=bucket, Key=name)["Body"].read()
        except ParamValidationError as error:
            raise NoSuchPayload(f"{name} in {bucket}: {error}") from error
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in NEVER:
                raise NoSuchPayload(f"{name} in {bucket}: {error}") from error
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) < 500:
                raise PermissionError(f"{name} in {bucket}: {error}") from error
            raise
        return content

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Of all objects that begin so."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def delete(self, bucket: str, name: str, before: datetime) -> bool:
        """Delete an object unless it was written since."""
        try:
            written = self._client.head_object(Bucket=bucket, Key=name)["LastModified"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                return True
            raise
        if written + TICK > before:
            return False
        self._client.delete_object(Bucket=bucket, Key=name)
        return True


class _Client(S3StorageDriverClient):
    """For Temporal's driver. Without objects it only lets it make names."""

    def __init__(self, objects: Objects | None) -> None:
        self._objects = objects

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        # What is stored again is written again: its time guards it from a deletion under way.
        return self._objects is None

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        if self._objects is not None:
            await asyncio.to_thread(self._objects.put, bucket, key, data)

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        if self._objects is None:
            raise KeyError(key)
        return await asyncio.to_thread(self._objects.get, bucket, key)


def s3_driver(bucket: str) -> DeletingBucket:
    """A driver for a bucket that exists; region, endpoint and credentials as boto3 finds them.

    Raises:
        InvalidRequest: boto3 cannot be set up, such as by a profile that does not exist.
    """
    try:
        objects = S3Objects()
    except (BotoCoreError, ValueError) as error:
        raise InvalidRequest("payloads.s3_bucket", f"{bucket}: {error}") from error
    return DeletingBucket(
        S3StorageDriver(_Client(objects), bucket, max_payload_size=LARGEST),
        S3StorageDriver(_Client(None), bucket),
        bucket,
        objects,
        "key",
    )
