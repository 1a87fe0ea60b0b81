"""What saves work that was done before, in a folder for each tenant."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from qsaga.core.contract import digest
from qsaga.payloads import touch, write_once

logger = logging.getLogger(__name__)

MOST_ENTRIES = 2000
"""Of a tenant; then those that were not used for longest go, a tenth of them at a time."""


class FolderCache:
    """Entries as files under the hash of tenant and key (implements ``WorkCache``).

    All workers of a deployment must see the same folder. A damaged entry counts as none. An entry
    is written as a whole, so of two workers that fill it at once the later one stays.
    """

    def __init__(self, folder: Path, most: int = MOST_ENTRIES) -> None:
        self._folder, self._most = folder, most

    def get(self, tenant: str, key: str) -> bytes | None:
        """The entry, marked as used now; None if there is none."""
        path = self._path(tenant, key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        touch(path)
        return data[32:]

    def put(self, tenant: str, key: str, data: bytes) -> None:
        """Keep an entry, in place of any that is there."""
        path = self._path(tenant, key)
        try:
            write_once(path, hashlib.sha256(data).digest() + data)
            self._bound(path.parent)
        except OSError as error:
            logger.warning("nothing is kept of work that was done: %s", error)

    def drop(self, tenant: str) -> None:
        """Delete everything of a tenant."""
        shutil.rmtree(self._of(tenant), ignore_errors=True)

    def count(self) -> int:
        """How many entries there are, of all tenants."""
        return sum(1 for path in self._folder.glob("of/*/*/*") if path.is_file())

    def _bound(self, folder: Path) -> None:
        ages: list[tuple[float, str]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another worker deletes as well
                    ages.append((entry.stat().st_mtime, entry.path))
        if len(ages) > self._most:
            for _, name in sorted(ages)[: len(ages) - self._most + self._most // 10]:
                Path(name).unlink(missing_ok=True)

    def _path(self, tenant: str, key: str) -> Path:
        return self._of(tenant) / digest(key)

    def _of(self, tenant: str) -> Path:
        # Named as the folders of payloads are: one sweeper knows both.
        owner = digest(tenant)[:32]
        return self._folder / "of" / owner[:2] / owner
