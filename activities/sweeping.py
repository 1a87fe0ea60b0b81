"""Files that no job and no workflow refers to any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client

from qsaga.core.operations import OperationReport, Sweep, Swept
from qsaga.core.records import JobRecords
from qsaga.core.sweeping import Files, OldFile, References

CLOCKS = timedelta(minutes=1)
"""How far the clocks of Temporal and of the file system may be apart."""
NAMED = 3
"""Jobs that a refusal names."""

Referred = Callable[[Collection[str]], Awaitable[frozenset[str]]]


class Sweeping:
    """Marks what is referred to, and deletes the rest of what is old.

    An artefact is marked by the job table, a payload by the histories that Temporal holds. The
    incumbent of a solver is needed by nobody but its job, which drops it when it is closed, and the
    entry of a cache by nobody. What a
    job at work or a run with an open account may use is younger than that job, since whoever stores
    what is there already marks its file as used; so nothing younger than the oldest of them is
    looked at, whatever age is asked for.

    Args:
        records: the job table.
        artefacts, payloads, incumbents: the folders.
        references: what Temporal holds.
        cache: the folder of work that was done before.
    """

    def __init__(
        self,
        records: JobRecords,
        artefacts: Files,
        payloads: Files,
        incumbents: Files,
        references: Callable[[Client], References],
        cache: Files | None = None,
    ) -> None:
        self._records, self._references = records, references
        self._artefacts, self._payloads = artefacts, payloads
        self._unreferred = (incumbents, cache) if cache else (incumbents,)

    async def sweep(self, wanted: Sweep, at: datetime) -> OperationReport:
        """Count, and delete if that is wanted."""
        references = self._references(activity.client())
        # A table that has lost jobs refers to too little.
        missing = await self._records.unknown(await references.answered_jobs())
        if missing:
            text = (
                f"nothing is swept: the job table misses {len(missing)} jobs that Temporal holds "
                f"({', '.join(missing[:NAMED])}…): write them back with `qsaga rebuild` first"
            )
            return OperationReport(kind="sweep", text=text)
        before = at - timedelta(days=wanted.days)
        if oldest := await self._records.oldest_needed():
            before = min(before, oldest - CLOCKS)
        done = [
            await self._store(self._artefacts, self._records.referred, before, wanted),
            await self._store(self._payloads, references.referred, before, wanted),
            *[await self._store(one, _nobody, before, wanted) for one in self._unreferred],
        ]
        return OperationReport(kind="sweep", text=_text(done, wanted), swept=tuple(done))

    async def _store(
        self, store: Files, referred: Referred, before: datetime, wanted: Sweep
    ) -> Swept:
        old = await asyncio.to_thread(store.unused_since, before)
        kept = await referred({file.hash for file in old if file.hash}) if old else frozenset()
        garbage = [file for file in old if file.hash not in kept]
        deleted: list[OldFile] = []
        if wanted.delete:
            deleted = [one for one in garbage if await asyncio.to_thread(store.delete, one, before)]
        return Swept(
            store=store.name,
            files=len(old),
            garbage=len(garbage),
            garbage_bytes=sum(file.size for file in garbage),
            deleted=len(deleted),
            deleted_bytes=sum(file.size for file in deleted),
        )


async def _nobody(_hashes: Collection[str]) -> frozenset[str]:
    return frozenset()


def _text(done: Sequence[Swept], wanted: Sweep) -> str:
    parts = []
    for one in done:
        count, size = (
            (one.deleted, one.deleted_bytes) if wanted.delete else (one.garbage, one.garbage_bytes)
        )
        parts.append(f"{count} {one.store} of {size} bytes")
    verb = "deleted" if wanted.delete else "would be deleted with --delete"
    return f"{', '.join(parts)} {verb}: not used for {wanted.days} days, and nobody refers to them"
