"""Incumbents as files: what the solvers at work have found so far."""

from __future__ import annotations

from pathlib import Path

from qsaga.core.contract import digest
from qsaga.payloads import write_once


class FolderIncumbents:
    """One file for each key, replaced as a whole (implements ``Incumbents``).

    All workers of a deployment must see the same folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, key: str) -> bytes | None:
        """What is kept; an empty file holds the place for more."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return self.get(key)

    def put(self, key: str, samples: bytes) -> None:
        """Replace what is kept, unless it was dropped."""
        path = self._path(key)
        if path.exists():
            write_once(path, samples)

    def get(self, key: str) -> bytes | None:
        """What is kept; None if nothing is."""
        try:
            return self._path(key).read_bytes() or None
        except FileNotFoundError:
            return None

    def drop(self, key: str) -> None:
        """Keep nothing any more."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        name = digest(key)
        return self._folder / name[:2] / name
