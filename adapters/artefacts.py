"""The artefact store as a folder."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from qsaga.core.contract import ArtefactRef
from qsaga.payloads import delete_unused, touch, write_once


class FolderArtefacts:
    """Blobs as files named by their SHA-256 (implements ``ArtefactStore``).

    All workers of a deployment must see the same folder. Writing is durable when ``put`` returns,
    also after a crash of the machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, media: str) -> ArtefactRef:
        """Store and return the reference; a blob that is there already is not written again."""
        reference = ArtefactRef(
            sha256=hashlib.sha256(data).hexdigest(), size=len(data), media=media
        )
        path = self._path(reference)
        # A file of another size is damaged, and this is the chance to heal it.
        if not touch(path) or path.stat().st_size != len(data):
            write_once(path, data)
        return reference

    def get(self, ref: ArtefactRef) -> bytes:
        """The blob. Raises KeyError when it is not there, ValueError when it is damaged."""
        try:
            data = self._path(ref).read_bytes()
        except FileNotFoundError:
            raise KeyError(ref.sha256) from None
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise ValueError(f"artefact {ref.sha256} is damaged")
        return data

    def delete(self, ref: ArtefactRef, before: datetime) -> bool:
        """Delete a blob unless it was put again since ``before``. Returns whether it is gone."""
        return delete_unused(self._path(ref), before)

    def _path(self, ref: ArtefactRef) -> Path:
        return self._folder / ref.sha256[:2] / ref.sha256
