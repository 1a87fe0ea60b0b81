"""What a sweep asks of its neighbours: folders of files, and what Temporal still refers to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class OldFile:
    """A file that lies under the hash of its content; ``hash`` is empty for one half written."""

    name: str
    hash: str
    size: int


class Files(Protocol):
    """A folder of files named by their content, of one deployment."""

    name: str

    def unused_since(self, before: datetime) -> Sequence[OldFile]:
        """The files that nobody has stored or used since."""

    def delete(self, file: OldFile, before: datetime) -> bool:
        """Delete one unless it was used since. Returns whether it is gone."""


class References(Protocol):
    """What Temporal holds, of running and of closed workflows, as long as it is kept."""

    async def answered_jobs(self) -> tuple[str, ...]:
        """Ids of the deployment's jobs that ended with a result."""

    async def referred(self, hashes: Collection[str]) -> frozenset[str]:
        """Those of the hashes that some workflow or schedule of the namespace mentions."""
