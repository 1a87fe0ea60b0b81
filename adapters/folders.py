"""A folder of files named by the SHA-256 of their content, as something to sweep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from qsaga.core.sweeping import OldFile
from qsaga.payloads import delete_unused

_PLACES = ("[0-9a-f][0-9a-f]/*", "of/[0-9a-f][0-9a-f]/*/*")
"""Artefacts, and payloads of earlier releases; payloads of each workflow id."""
_HASH = re.compile(r"[0-9a-f]{64}")
_HALF = re.compile(r"tmp\w+|[0-9a-f]{64}\.deleted")
"""What a process that was killed left of writing or deleting one."""


class SharedFiles:
    """The files of artefacts or payloads (implements ``Files``); other names are left alone.

    Args:
        name: of what lies there.
        folder: of the deployment.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder

    def unused_since(self, before: datetime) -> list[OldFile]:
        """The files that nobody has stored or used since ``before``."""
        limit = before.timestamp()
        found = []
        for path in self._files():
            try:
                known = path.stat()
            except FileNotFoundError:
                continue  # deleted meanwhile
            if known.st_mtime < limit:
                whole = path.name if _HASH.fullmatch(path.name) else ""
                name = str(path.relative_to(self._folder))
                found.append(OldFile(name=name, hash=whole, size=known.st_size))
        return found

    def delete(self, file: OldFile, before: datetime) -> bool:
        """Delete one unless it was used since. Returns whether it is gone."""
        return delete_unused(self._folder / file.name, before)

    def _files(self) -> Iterator[Path]:
        for pattern in _PLACES:
            for path in sorted(self._folder.glob(pattern)):
                known = _HASH.fullmatch(path.name) or _HALF.fullmatch(path.name)
                if known and path.is_file() and not path.is_symlink():
                    yield path
