"""Retention, deletion on request, and writing again what the job table has lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client

from activities.booking import settle_hold
from activities.restoring import restore, restore_loop
from qsaga.core.archive import Archive, HeldRun
from qsaga.core.caching import WorkCache
from qsaga.core.errors import KeyConflict, NoSuchJob, PolicyRefused
from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Ledger
from qsaga.core.loop_records import LoopRecords
from qsaga.core.loop_rules import is_loop, loop_of, points_of
from qsaga.core.operations import OperationReport
from qsaga.core.ports import ArtefactStore
from qsaga.core.records import JobRecords

CLOCKS = timedelta(minutes=1)
"""How far the clocks of Temporal and of the file system may be apart."""
LATER = "; files that a job at work may share wait for retain"


class Keeping:
    """What is kept, and for how long."""

    def __init__(
        self,
        records: JobRecords,
        ledger: Ledger,
        artefacts: ArtefactStore,
        archive: Callable[[Client], Archive],
        loops: LoopRecords,
        cache: WorkCache | None = None,
    ) -> None:
        self._records, self._ledger, self._artefacts = records, ledger, artefacts
        self._archive, self._loops, self._cache = archive, loops, cache

    async def forget(self, job_id: str, at: datetime) -> OperationReport:
        """Delete a job's content, or that of a loop, here, in the artefact store and in Temporal.

        Raises:
            NoSuchJob: nothing is known of it.
            PolicyRefused: it is at work, also the loop of a job, or an account of it is open.
        """
        archive = self._archive(activity.client())
        if is_loop(job_id):
            return await self._forget_loop(archive, job_id, at)
        text = f"job {job_id} is forgotten"
        if not await self._forget_job(archive, job_id, at):
            text += LATER
        return OperationReport(kind="forget", text=text, forgotten=(job_id,))

    async def _forget_loop(self, archive: Archive, loop_id: str, at: datetime) -> OperationReport:
        points = await self._records.beginning(points_of(loop_id))
        kept = await self._loops.known(loop_id)
        if not points and not kept and not await archive.known(loop_id):
            raise NoSuchJob(f"no loop {loop_id!r} is known")
        await _at_rest(archive, loop_id)
        complete = True
        for job_id in points:
            complete = await self._forget_job(archive, job_id, at) and complete
        # One that was refused has no jobs, and the request all the same.
        await self._loops.forget(loop_id, at)
        complete = await archive.forget(loop_id, await self._unused_before(at)) and complete
        text = f"loop {loop_id} and its {len(points)} jobs are forgotten"
        return OperationReport(
            kind="forget", text=text if complete else text + LATER, forgotten=(loop_id, *points)
        )

    async def _forget_job(self, archive: Archive, job_id: str, at: datetime) -> bool:
        """Whether all could be deleted; the next retention run names what could not."""
        # A loop holds the values of all its points.
        loops = [loop_id] if (loop_id := loop_of(job_id)) else []
        for workflow_id in (job_id, *loops):
            await _at_rest(archive, workflow_id)
        gone = await self._records.forget(job_id, at)
        for each in loops:
            await self._loops.forget(each, at)
        before = await self._unused_before(at)
        complete = True
        for workflow_id in (job_id, *loops, *gone.run_ids):
            complete = await archive.forget(workflow_id, before) and complete
        for begin in ("plan", "operation/record", "operation/reproduce"):
            # They hold the request, or the record. One that is asked for now is still running.
            await archive.forget(f"{begin}/{job_id}/", before, prefix=True)
        if self._cache is not None:
            # Which entries come of this job is not known, and all can be made again.
            await asyncio.to_thread(self._cache.drop, tenant_of(job_id))
        for ref in gone.artefacts:
            deleted = await asyncio.to_thread(self._artefacts.delete, ref, before)
            complete = complete and deleted
        if complete:
            await self._records.erased(job_id)
        return complete

    async def _unused_before(self, at: datetime) -> datetime:
        """Files used since then may belong to a job at work: it put them after it was opened."""
        oldest = await self._records.oldest_at_work()
        return at if oldest is None else min(at, oldest - CLOCKS)

    async def retain(self, tenant: str | None, days: int | None, at: datetime) -> OperationReport:
        """Forget what is older than it may be."""
        done: list[str] = []
        for name, limit in (await self._limits(tenant, days)).items():
            moment = at - timedelta(days=limit)
            for loop_id in await self._loops.closed_before(name, moment):
                with suppress(PolicyRefused, NoSuchJob):
                    done += (await self.forget(loop_id, at)).forgotten[1:]
            for job_id in await self._records.closed_before(name, moment):
                with suppress(PolicyRefused, NoSuchJob):
                    await self.forget(job_id, at)
                    done.append(job_id)
        for job_id in await self._records.unerased():
            with suppress(PolicyRefused):  # its loop was asked for again
                await self.forget(job_id, at)
        return OperationReport(
            kind="retain", text=f"{len(done)} jobs are forgotten", forgotten=tuple(done)
        )

    async def _limits(self, tenant: str | None, days: int | None) -> dict[str | None, int]:
        if days is not None:
            return {tenant: days}
        return {
            t.name: t.retention_days
            for t in await self._ledger.tenants()
            if t.retention_days is not None and tenant in (None, t.name)
        }

    async def rebuild(self, at: datetime) -> OperationReport:
        """Write every job and account again that Temporal holds; what is there already stands."""
        archive = self._archive(activity.client())
        jobs = runs = loops = 0
        troubles: list[str] = []
        async for job in archive.jobs():
            try:
                await restore(job, self._records, self._ledger)
                jobs += 1
            except KeyConflict as error:
                troubles.append(str(error))
        async for run in archive.runs():
            try:
                await self._rebuild_run(run, at)
                runs += 1
            except (KeyConflict, NoSuchJob) as error:
                troubles.append(str(error))
        async for loop in archive.loops():
            try:
                await restore_loop(loop, self._loops)
                loops += 1
            except KeyConflict as error:
                troubles.append(str(error))
        text = f"{jobs} jobs, {runs} hardware runs and {loops} loops are written"
        return OperationReport(kind="rebuild", text="; ".join((text, *troubles)))

    async def _rebuild_run(self, run: HeldRun, at: datetime) -> None:
        request = run.request
        account = run.report.account if run.report else None
        await self._records.open_run(request.job_id, request.tag)
        if account is None:
            return
        await self._records.settle_run(request.job_id, request.tag, account.charges, account.late)
        if request.hold:
            await settle_hold(
                self._ledger, request.hold, request.tag, request.job_id, account.cost, at
            )


async def _at_rest(archive: Archive, workflow_id: str) -> None:
    if await archive.running(workflow_id):
        kind = "loop" if is_loop(workflow_id) else "job"
        raise PolicyRefused(f"{kind} {workflow_id} is at work (allowed: cancel it first)")
