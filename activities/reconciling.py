"""The books beside the provider's own word, and what workflows left that are not at work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal

from temporalio import activity
from temporalio.client import Client

from activities.found import Accounted, Found, Repair
from activities.sessions import Sessions
from activities.survey import Surveyor, exact
from qsaga.core.archive import Archive
from qsaga.core.errors import ProviderError
from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Ledger, Reservation
from qsaga.core.operations import OperationReport, Reconcile, Reconciliation
from qsaga.core.oversight import OperateInput
from qsaga.core.ports import QuantumProvider
from qsaga.core.records import AuditEntry, AuditLog, JobRecords
from qsaga.core.results import JobResult, Transition, Unanswered
from qsaga.core.states import JobState

log = logging.getLogger("qsaga.reconcile")


class Reconciling:
    """Compares; corrects only when asked, and only what no workflow at work accounts for.

    Temporal is asked who is at work after the books are read, and again before anything is
    changed: a workflow that runs sees to all that is its own.
    """

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
        self._records, self._ledger = records, ledger
        self._audit, self._archive = audit, archive
        self._sessions, self._found = sessions, found
        self._surveyor = Surveyor(provider, records, ledger, deployment)

    async def reconcile(self, given: OperateInput, wanted: Reconcile) -> OperationReport:
        """The comparison, and what was repaired."""
        survey = await self._surveyor.look(given.at, wanted.days)
        orphans, lost = await self._orphans(), await self._lost()
        repairs: list[Repair] = []
        released: tuple[str, ...] = ()
        left = [*survey.untold]
        if wanted.repair:
            done = Accounted()
            if self._found is not None:
                done = await self._found.account(survey, self._working, given.at)
            for repair in done.repairs:
                await self._note(given, repair)
            closed, waiting = await self._close_sessions(given)
            # What a remote job or a session may still be charged stays held until it is known.
            kept = {*done.open_tags, *waiting}
            released, freed = await self._release(given, orphans, kept)
            ended = [await self._close(given, job_id) for job_id in lost]
            repairs = [*done.repairs, *closed, *freed, *(one for one in ended if one)]
            left += [*done.open_tags.values(), *waiting.values()]
        differences = await self._surveyor.differences(survey, self._working)
        usage = await self._surveyor.usage()
        own = [run for run in survey.booked.values() if run.role != "session"]
        found = Reconciliation(
            at=given.at,
            provider=survey.provider,
            remote_jobs=len(survey.remote),
            booked=sum((exact(run.quantum_seconds) for run in own), Decimal(0)),
            charged=survey.charged(),
            differences=tuple(differences),
            account_consumed=usage.consumed if usage else None,
            account_limit=usage.limit if usage else None,
            orphans=orphans,
            lost=lost,
            released=released,
            repaired=tuple(repair.text for repair in repairs),
            left=tuple(left),
        )
        _tell(found)
        return OperationReport(kind="reconcile", text=_text(found), reconciliation=found)

    async def _working(self, workflow_id: str) -> bool:
        return await self._archive(activity.client()).running(workflow_id)

    async def _orphans(self) -> tuple[Reservation, ...]:
        """What is held although neither the job nor the workflow that it is held for is at work."""
        found = []
        for held in await self._ledger.held():
            owner = held.key.partition("#")[0]
            if not await self._working(held.job_id) and not await self._working(owner):
                found.append(held)
        # One that ended meanwhile has settled what was held for it.
        still = {held.key for held in await self._ledger.held()} if found else set()
        return tuple(held for held in found if held.key in still)

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

    async def _close(self, given: OperateInput, job_id: str) -> Repair | None:
        record = await self._records.get(job_id)
        # Asked last: the same request may have been started again since.
        if record is None or record.closed is not None or await self._working(job_id):
            return None
        repair = Repair(job_id, job_id, f"job {job_id} closed as failed: ended from outside")
        await self._note(given, repair)
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
        return repair

    async def _close_sessions(self, given: OperateInput) -> tuple[list[Repair], dict[str, str]]:
        """Close the sessions whose owners were ended from outside, once no run is in them.

        Returns what was done, and by session why one stays open.
        """
        done: list[Repair] = []
        waiting: dict[str, str] = {}
        sessions = self._sessions
        if sessions is None:
            return done, waiting
        for session in await sessions.left_open():
            name = session.provider_session_id or session.session_id
            if await self._working(session.session_id):
                continue
            # To close it would end what waits in it.
            if any([await self._working(run) for run in session.members]):
                waiting[session.session_id] = f"session {name}: runs at work use it"
                continue
            repair = Repair(name, session.job_id, f"session {name} closed")
            try:
                await sessions.close_record(session)
            except ProviderError as error:
                waiting[session.session_id] = f"session {name}: {error}"
                continue
            await self._note(given, repair)
            done.append(repair)
        return done, waiting

    async def _release(
        self, given: OperateInput, orphans: tuple[Reservation, ...], kept: set[str]
    ) -> tuple[tuple[str, ...], list[Repair]]:
        """Give back what is held; what an account was closed on has been settled by that."""
        released: list[str] = []
        repairs = []
        still = {held.key for held in await self._ledger.held()} if orphans else set()
        for held in orphans:
            owner = held.key.partition("#")[0]
            if owner in kept or await self._working(owner) or await self._working(held.job_id):
                continue
            why = "neither job nor run is at work" if held.key in still else "its account is closed"
            text = f"reservation {held.key} released: {why}"
            repair = Repair(held.key, held.job_id, text)
            await self._note(given, repair)
            await self._ledger.release(
                (held.key,), given.at, tenant=held.tenant, job_id=held.job_id
            )
            released.append(held.key)
            repairs.append(repair)
        return tuple(released), repairs

    async def _note(self, given: OperateInput, repair: Repair) -> None:
        await self._audit.note(
            AuditEntry(
                id=f"{given.id}/repair/{repair.what}",
                at=given.at,
                who="qsaga",
                verified=True,
                action="repair",
                tenant=tenant_of(repair.job_id),
                subject=repair.job_id,
                reason=repair.text,
            )
        )


def _text(found: Reconciliation) -> str:
    return (
        f"{found.remote_jobs} remote jobs, {found.charged} quantum seconds charged, "
        f"{found.booked} booked, {len(found.differences)} differences, {len(found.orphans)} "
        f"reservations without a job, {len(found.lost)} jobs ended from outside, "
        f"{len(found.released)} released, {len(found.repaired)} repaired, "
        f"{len(found.left)} left for the next time"
    )


def _tell(found: Reconciliation) -> None:
    for text in found.repaired:
        log.warning("repaired: %s", text)
    for text in found.left:
        log.warning("not repaired yet, the next reconciliation tries again: %s", text)
    for one in found.differences:
        log.error("books and provider differ: %s; %s", one.text, one.advice)
