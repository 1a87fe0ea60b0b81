"""Work that was done before: what is kept of it, for whom, under which key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class WorkCache(Protocol):
    """Entries of all tenants, found by every worker of a deployment.

    Losing an entry costs time and nothing else, so no method fails: what cannot be read is not
    there, what cannot be written is not kept.
    """

    def get(self, tenant: str, key: str) -> bytes | None:
        """The entry as it was put; None if there is none, or a damaged one."""

    def put(self, tenant: str, key: str, data: bytes) -> None:
        """Keep an entry; a reader sees all of it or what was there before."""

    def drop(self, tenant: str) -> None:
        """Keep nothing of a tenant any more; safe to repeat."""


@dataclass(frozen=True)
class Shelf:
    """The entries of one tenant; no other tenant's are ever found through it."""

    cache: WorkCache
    tenant: str

    def get(self, key: str) -> bytes | None:
        """As ``WorkCache.get``."""
        return self.cache.get(self.tenant, key)

    def put(self, key: str, data: bytes) -> None:
        """As ``WorkCache.put``."""
        self.cache.put(self.tenant, key, data)


def shelf_of(cache: WorkCache | None, tenant: str) -> Shelf | None:
    """The shelf of a tenant; None where nothing is kept or it is not known whose work it is."""
    return Shelf(cache, tenant) if cache is not None and tenant else None
