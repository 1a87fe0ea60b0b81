"""How messages become bytes: pydantic JSON, large ones kept beside Temporal in a folder.

Client and worker must use the same converter and see the same folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from qsaga.settings import Settings


def write_once(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` durably: a reader sees all of it or nothing, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def payload_path(folder: Path, sha256: str) -> Path:
    """Where a payload of that hash lies."""
    return folder / sha256[:2] / sha256


def touch(path: Path) -> bool:
    """Mark a file as used now. Returns False if it is not there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def delete_unused(path: Path, before: datetime) -> bool:
    """Delete a file unless it was written or used since ``before``. Returns whether it is gone.

    Files named by their content are shared: whoever stores the same content marks the file as
    used, and must not lose it to a deletion under way.
    """
    aside = path.with_name(f"{path.name}.deleted")
    try:
        if path.stat().st_mtime >= before.timestamp():
            return False
        path.replace(aside)
        if aside.stat().st_mtime >= before.timestamp():
            aside.replace(path)  # used between the look and the move
            return False
    except FileNotFoundError:
        aside.unlink(missing_ok=True)  # of a process that died here
        return True
    aside.unlink(missing_ok=True)
    return True


class FolderDriver(StorageDriver):
    """Keeps payloads as files named by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def name(self) -> str:
        """The driver's name in stored claims."""
        return "qsaga.folder"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Write each payload once."""
        claims = []
        for payload in payloads:
            data = payload.SerializeToString()
            key = hashlib.sha256(data).hexdigest()
            path = payload_path(self._folder, key)
            if not await asyncio.to_thread(touch, path):
                await asyncio.to_thread(write_once, path, data)
            claims.append(StorageDriverClaim(claim_data={"sha256": key}))
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read the payloads back."""
        found = []
        for claim in claims:
            key = claim.claim_data["sha256"]
            data = await asyncio.to_thread(payload_path(self._folder, key).read_bytes)
            payload = Payload()
            payload.ParseFromString(data)
            found.append(payload)
        return found


def data_converter(settings: Settings) -> DataConverter:
    """The converter that every client and worker of a deployment uses."""
    storage = ExternalStorage(
        drivers=[FolderDriver(settings.data_dir / "payloads")],
        payload_size_threshold=settings.payload_threshold,
    )
    return replace(pydantic_data_converter, external_storage=storage)
