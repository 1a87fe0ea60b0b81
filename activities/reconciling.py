"""The ledger beside the provider's own word, and reservations that nobody will settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from temporalio import activity
from temporalio.client import Client

from activities.found import Found
from activities.sessions import Sessions
from qsaga.core.archive import Archive
from qsaga.core.jobs import deployment_tag, tenant_of
from qsaga.core.ledger import Ledger, Reservation
from qsaga.core.operations import Difference, OperationReport, Reconciliation
from qsaga.core.oversight import OperateInput
from qsaga.core.ports import QuantumProvider, RemoteJob
from qsaga.core.records import AuditEntry, AuditLog, BookedRun, JobRecords
from qsaga.core.results import JobResult, Transition, Unanswered
from qsaga.core.states import JobState

AT_ONCE = 8
"""Remote jobs asked for at the same time."""
SAME = Decimal("0.000001")


class Reconciling:
    """Compares; corrects only when asked, and only what no workflow at work accounts for."""

    def __init__(
        self,
        provider: QuantumProvider | None,
        records: JobRecords,
        ledger: Ledger,
        audit: AuditLog,
        archive: Callable[[Client], Archive],
        deployment: str,
        sessions: Sessions | None,
        found: Found | None,
    ) -> None:
        self._provider, self._records, self._ledger = provider, records, ledger
        self._audit, self._archive, self._deployment = audit, archive, deployment
        self._sessions, self._found = sessions, found

    async def reconcile(self, given: OperateInput, *, repair: bool) -> OperationReport:
        """The comparison, and what was released."""
        orphans, lost = await self._orphans(), await self._lost()
        released: tuple[str, ...] = ()
        if repair:
            released = await self._release(given, orphans)
            for job_id in lost:
                await self._close(given, job_id)
            await self._close_sessions(given)
            await self._account(given)
        remote, booked = await self._remote(), await self._booked()
        name = self._provider.name if self._provider else "none"
        differences = [*_differences(remote, booked), *await self._unledgered(booked)]
        usage = await self._provider.usage() if self._provider else None
        found = Reconciliation(
            at=given.at,
            provider=name,
            remote_jobs=len(remote),
            booked=sum((_exact(run.quantum_seconds) for run in booked.values()), Decimal(0)),
            charged=sum((_exact(job.quantum_seconds or 0.0) for job in remote), Decimal(0)),
            differences=tuple(differences),
            account_consumed=usage.consumed if usage else None,
            account_limit=usage.limit if usage else None,
            orphans=orphans,
            lost=lost,
            released=released,
        )
        text = (
            f"{found.remote_jobs} remote jobs, {found.charged} quantum seconds charged, "
            f"{found.booked} booked, {len(differences)} differences, {len(orphans)} reservations "
            f"without a job, {len(lost)} jobs ended from outside, {len(released)} released"
        )
        return OperationReport(kind="reconcile", text=text, reconciliation=found)

    async def _booked(self) -> dict[str, BookedRun]:
        name = self._provider.name if self._provider else "none"
        return {run.provider_job_id: run for run in await self._records.booked(name)}

    async def _account(self, given: OperateInput) -> None:
        """Book the remote jobs that no run accounts for."""
        if self._found is None:
            return
        archive, booked = self._archive(activity.client()), await self._booked()
        done = await self._found.account(
            await self._remote(), set(booked), archive.running, given.at
        )
        for name in done:
            owner = (await self._booked())[name].job_id
            await self._note(given, name, owner, f"remote job {name} ended and booked")

    async def _remote(self) -> list[RemoteJob]:
        """Every job of this deployment, with its charge."""
        provider = self._provider
        if provider is None:
            return []
        limit = asyncio.Semaphore(AT_ONCE)

        async def charged(job: RemoteJob) -> RemoteJob:
            async with limit:
                return await provider.status(job.provider_job_id)

        found = await provider.find(deployment_tag(self._deployment))
        return list(await asyncio.gather(*(charged(job) for job in found)))

    async def _unledgered(self, booked: dict[str, BookedRun]) -> list[Difference]:
        """Jobs whose charges and whose ledger do not say the same."""
        charged: dict[str, Decimal] = {}
        for run in booked.values():
            charged[run.job_id] = charged.get(run.job_id, Decimal(0)) + _exact(run.quantum_seconds)
        differences = []
        for job_id, seconds in charged.items():
            kept = await self._ledger.reservations(job_id)
            spent = sum((one.spent.quantum_seconds for one in kept), Decimal(0))
            if abs(spent - seconds) > SAME:
                differences.append(
                    Difference(
                        provider_job_id="",
                        run_id=None,
                        booked=spent,
                        provider=seconds,
                        text=f"job {job_id}: {seconds} quantum seconds charged, "
                        f"{spent} in the ledger",
                    )
                )
        return differences

    async def _orphans(self) -> tuple[Reservation, ...]:
        archive = self._archive(activity.client())
        orphans = []
        for held in await self._ledger.held():
            owner = held.key.partition("#")[0]
            if not await archive.running(held.job_id) and not await archive.running(owner):
                orphans.append(held)
        return tuple(orphans)

    async def _lost(self) -> tuple[str, ...]:
        """Jobs without a closing record that are not at work and left no result behind."""
        archive = self._archive(activity.client())
        return tuple(
            [
                job_id
                for job_id in await self._records.at_work()
                if not await archive.running(job_id) and not await archive.completed(job_id)
            ]
        )

    async def _close(self, given: OperateInput, job_id: str) -> None:
        record = await self._records.get(job_id)
        if record is None:
            return
        await self._note(given, job_id, job_id, "closed as failed: ended from outside")
        tenant, _, key = job_id.partition("/")
        await self._records.close(
            JobResult(
                job_id=job_id,
                tenant=tenant,
                key=key,
                payload_hash=record.payload_hash,
                state=JobState.FAILED,
                unanswered=Unanswered(reason="the job was ended from outside"),
                decision=record.decision,
                transitions=(
                    Transition(state=JobState.RECEIVED, at=record.opened),
                    Transition(state=JobState.FAILED, at=given.at),
                ),
                submitter=record.submitter,
            )
        )

    async def _close_sessions(self, given: OperateInput) -> None:
        """Close the sessions whose owners were ended from outside."""
        if self._sessions is None:
            return
        archive = self._archive(activity.client())
        for session in await self._sessions.left_open():
            if not await archive.running(session.session_id):
                name = session.provider_session_id or session.session_id
                await self._note(given, name, session.job_id, f"session {name} closed")
                await self._sessions.close_record(session)

    async def _note(self, given: OperateInput, what: str, job_id: str, text: str) -> None:
        await self._audit.note(
            AuditEntry(
                id=f"{given.id}/repair/{what}",
                at=given.at,
                who="qsaga",
                verified=True,
                action="repair",
                tenant=tenant_of(job_id),
                subject=job_id,
                reason=text,
            )
        )

    async def _release(
        self, given: OperateInput, orphans: tuple[Reservation, ...]
    ) -> tuple[str, ...]:
        for held in orphans:
            text = f"reservation {held.key} released: neither job nor run is at work"
            await self._note(given, held.key, held.job_id, text)
            await self._ledger.release(
                (held.key,), given.at, tenant=held.tenant, job_id=held.job_id
            )
        return tuple(held.key for held in orphans)


def _differences(remote: list[RemoteJob], booked: dict[str, BookedRun]) -> list[Difference]:
    found = []
    for job in remote:
        if not job.state.ended or job.quantum_seconds is None:
            continue  # not final: its run will book it
        known = booked.get(job.provider_job_id)
        charged = _exact(job.quantum_seconds)
        if known is None and charged:
            text = f"{job.provider_job_id}: {charged} quantum seconds charged, not booked"
        elif known is not None and abs(_exact(known.quantum_seconds) - charged) > SAME:
            text = (
                f"{job.provider_job_id}: {charged} quantum seconds charged, "
                f"{known.quantum_seconds} booked"
            )
        else:
            continue
        found.append(
            Difference(
                provider_job_id=job.provider_job_id,
                run_id=known.run_id if known else None,
                booked=_exact(known.quantum_seconds) if known else None,
                provider=charged,
                text=text,
            )
        )
    listed = {job.provider_job_id for job in remote}
    found += [
        Difference(
            provider_job_id=run.provider_job_id,
            run_id=run.run_id,
            booked=_exact(run.quantum_seconds),
            provider=None,
            text=f"{run.provider_job_id}: booked, not listed by the provider",
        )
        for run in booked.values()
        if run.provider_job_id not in listed
    ]
    return found


def _exact(seconds: float) -> Decimal:
    return Decimal(str(seconds))
