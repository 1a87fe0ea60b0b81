"""How messages become bytes: pydantic JSON, encrypted where there are keys, large ones kept beside
Temporal in a folder or a bucket.

Client and worker must use the same converter, keys and store.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import sleep

from temporalio.api.common.v1 import Payload
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    ExternalStorage,
    PayloadCodec,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from qsaga.claims import DeletingDriver, NoSuchPayload
from qsaga.core.errors import InvalidRequest, UnknownKey
from qsaga.decoding import GuardedConverter, NamingConverter
from qsaga.keyring import ENCODING, KEY_ID, KeyRing
from qsaga.settings import Settings

HASH = re.compile(r"[0-9a-f]{64}")
OWNER = re.compile(r"[0-9a-f]{32}")
PAYLOADS = "payloads"
"""Folder of the data folder."""
SECOND_LOOK = 0.2
"""Seconds: for a disk that just came back, and for a file that a deletion moves aside and back."""
SEALED_SMALLER = 1024
"""Bytes that encryption adds at most: from the threshold less these, content may lie outside."""


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


class FolderDriver(DeletingDriver):
    """Keeps payloads as files named by their SHA-256, in a folder for each workflow id.

    Releases before this one had one folder for all; their claims name no owner and stay readable.
    """

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
            claim = {"sha256": hashlib.sha256(data).hexdigest()}
            if isinstance(context.target, StorageDriverWorkflowInfo):
                claim["owner"] = _owner(context.target)
            path = self._path(claim)
            if not await asyncio.to_thread(touch, path):
                await asyncio.to_thread(write_once, path, data)
            claims.append(StorageDriverClaim(claim_data=claim))
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read the payloads back."""
        paths = [self._path(claim.claim_data) for claim in claims]
        return [Payload.FromString(await asyncio.to_thread(self._read, path)) for path in paths]

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            # Where nothing at all is kept, the shared disk may be away, or the folder another one.
            # Else the file was never written: a claim is given only for what has been.
            if not self._folder.is_dir() or not any(self._folder.iterdir()):
                raise
        sleep(SECOND_LOOK)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise NoSuchPayload(f"nothing is kept as {path.name}") from None

    async def delete(self, claim: Mapping[str, str], before: datetime) -> bool:
        """Delete the file of a claim of an earlier release."""
        if "owner" in claim:
            return True
        return await asyncio.to_thread(delete_unused, self._path(claim), before)

    async def sweep(self, owner: StorageDriverWorkflowInfo, before: datetime) -> bool:
        """Delete all files of a workflow id."""
        return await asyncio.to_thread(self._sweep, self._of(_owner(owner)), before)

    @staticmethod
    def _sweep(folder: Path, before: datetime) -> bool:
        if not folder.is_dir():
            return True
        names = {path.name.removesuffix(".deleted") for path in folder.iterdir()}
        kept = [name for name in names if not delete_unused(folder / name, before)]
        return not kept

    def _path(self, claim: Mapping[str, str]) -> Path:
        sha256, owner = claim.get("sha256", ""), claim.get("owner")
        # A claim may come from outside: it must not lead out of the folder.
        if not HASH.fullmatch(sha256) or not (owner is None or OWNER.fullmatch(owner)):
            raise NoSuchPayload("a claim that names no payload of this folder")
        folder = self._folder / sha256[:2] if owner is None else self._of(owner)
        return folder / sha256

    def _of(self, owner: str) -> Path:
        return self._folder / "of" / owner[:2] / owner


def _owner(target: StorageDriverWorkflowInfo) -> str:
    """Workflow ids have slashes and are long: their hash is the name of the folder."""
    return hashlib.sha256(f"{target.namespace}/{target.id}".encode()).hexdigest()[:32]


def data_converter(settings: Settings) -> DataConverter:
    """The converter that every client and worker of a deployment uses.

    Raises:
        InvalidRequest: the key file or a bucket of the settings cannot be used.
    """
    drivers = _drivers(settings)
    chosen = drivers[settings.payloads.store]
    storage = ExternalStorage(
        drivers=list(drivers.values()),
        driver_selector=lambda *_: chosen,
        payload_size_threshold=settings.payload_threshold,
    )
    converter = GuardedConverter(
        payload_converter_class=NamingConverter,
        external_storage=storage,
        payload_codec=_codec(settings),
    )
    if settings.encryption.keys_file is None:
        return converter
    return replace(
        converter,
        # Messages and stack traces of errors quote requests: they are encrypted as well.
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def header_codec(settings: Settings) -> HeaderCodecBehavior:
    """Whether headers, which carry callers' tokens, are encrypted: a client's setting."""
    encrypts = settings.encryption.keys_file is not None
    return HeaderCodecBehavior.CODEC if encrypts else HeaderCodecBehavior.NO_CODEC


def _drivers(settings: Settings) -> dict[str, StorageDriver]:
    payloads = settings.payloads
    drivers: dict[str, StorageDriver] = {"folder": FolderDriver(settings.data_dir / PAYLOADS)}
    if payloads.s3_bucket:
        try:
            from qsaga.buckets.s3 import s3_driver
        except ImportError as error:
            raise _missing("payloads.s3_bucket", error, "s3") from error
        drivers["s3"] = s3_driver(payloads.s3_bucket)
    if payloads.gcs_bucket:
        try:
            from qsaga.buckets.gcs import gcs_driver
        except ImportError as error:
            raise _missing("payloads.gcs_bucket", error, "gcs") from error
        drivers["gcs"] = gcs_driver(payloads.gcs_bucket)
    return drivers


class NoKeys(PayloadCodec):
    """Where encryption is off: everything in clear, and a clear error for what is not."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Unchanged."""
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Unchanged. Raises UnknownKey where a payload is encrypted."""
        for payload in payloads:
            if payload.metadata.get("encoding") == ENCODING:
                name = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
                raise UnknownKey(
                    f"a payload is encrypted with key {name!r}: set QSAGA_ENCRYPTION__KEYS_FILE"
                )
        return list(payloads)


def _codec(settings: Settings) -> PayloadCodec:
    if settings.encryption.keys_file is None:
        return NoKeys()
    try:
        from qsaga.encryption import EncryptionCodec
    except ImportError as error:
        raise _missing("encryption.keys_file", error, "encryption") from error
    return EncryptionCodec(
        KeyRing(settings.encryption.keys_file), settings.payload_threshold - SEALED_SMALLER
    )


def _missing(field: str, error: ImportError, extra: str) -> InvalidRequest:
    return InvalidRequest(
        field, f"needs the package {error.name!r}", f"pip install 'qsaga[{extra}]'"
    )
