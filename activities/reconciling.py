"""The books beside the provider's own word, and what workflows left that are not at work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import FailureError

from activities.found import Accounted, Found, Repair
from activities.restoring import restore, restore_loop
from activities.sessions import Sessions
from activities.survey import Surveyor, exact
from qsaga.core.archive import Archive, HeldLoop
from qsaga.core.errors import ProviderError, QsagaError
from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Amounts, Ledger, Reservation
from qsaga.core.loop_records import LoopRecords
from qsaga.core.loop_rules import is_loop
from qsaga.core.operations import OperationReport, Reconcile, Reconciliation
from qsaga.core.oversight import OperateInput
from qsaga.core.ports import QuantumProvider
from qsaga.core.records import AuditEntry, AuditLog, JobRecords
from qsaga.core.results import JobResult, Transition, Unanswered
from qsaga.core.states import JobState

log = logging.getLogger("qsaga.reconcile")


UNREADABLE = (QsagaError, FailureError, OSError, RuntimeError, ValueError)
"""What a payload, or the store that it is in, may raise; other jobs must not suffer by it."""


class Reconciling:
    """Compares; corrects only when asked, and only what no workflow at work accounts for.

    Temporal is asked who is at work after the books are read, and again before anything is
    changed: a workflow that runs sees to all that is its own.
    """

    def __init__(
        self,
        provider: QuantumProvider | None,
        records: JobRecords,
        loops: LoopRecords,
        ledger: Ledger,
        audit: AuditLog,
        archive: Callable[[Client], Archive],
        deployment: str,
        sessions: Sessions | None,
        found: Found | None,
    ) -> None:
        self._records, self._loops, self._ledger = records, loops, ledger
        self._audit, self._archive = audit, archive
        self._sessions, self._found = sessions, found
        self._surveyor = Surveyor(provider, records, ledger, deployment)

    async def reconcile(self, given: OperateInput, wanted: Reconcile) -> OperationReport:
        """The comparison, and what was repaired."""
        survey = await self._surveyor.look(given.at, wanted.days)
        orphans = await self._orphans()
        lost, unwritten = await self._ended()
        unwritten += await self._ended_loops()
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
            # Before what is held is given back: it books what they used.
            written, unread = await self._write_down(given, unwritten)
            # What a remote job or a session may still be charged stays held until it is known.
            kept = {*done.open_tags, *waiting}
            released, freed = await self._release(given, orphans, kept)
            ended = [await self._close(given, job_id) for job_id in lost]
            repairs = [*done.repairs, *closed, *written, *freed, *(one for one in ended if one)]
            left += [*done.open_tags.values(), *waiting.values(), *unread]
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
            unwritten=unwritten,
            released=released,
            repaired=tuple(repair.text for repair in repairs),
            left=tuple(left),
        )
        _tell(found)
        return OperationReport(kind="reconcile", text=_text(found), reconciliation=found)

    async def _working(self, workflow_id: str) -> bool:
        return await self._archive(activity.client()).running(workflow_id)

    async def _accounted_for(self, held: Reservation) -> bool:
        return await self._working(held.job_id) or await self._working(held.owner)

    async def _orphans(self) -> tuple[Reservation, ...]:
        """What is held although neither the job nor the workflow that it is held for is at work."""
        found = [held for held in await self._ledger.held() if not await self._accounted_for(held)]
        # One that ended meanwhile has settled what was held for it.
        still = {held.key for held in await self._ledger.held()} if found else set()
        return tuple(held for held in found if held.key in still)

    async def _ended(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Jobs that have ended without a closing record: without a result, and with one."""
        archive = self._archive(activity.client())
        lost: list[str] = []
        unwritten: list[str] = []
        for job_id in await self._records.at_work():
            if not await archive.running(job_id):
                (unwritten if await archive.completed(job_id) else lost).append(job_id)
        # One that ended meanwhile has written its record.
        still = set(await self._records.at_work()) if lost or unwritten else set()
        return (
            tuple(job_id for job_id in lost if job_id in still),
            tuple(job_id for job_id in unwritten if job_id in still),
        )

    async def _ended_loops(self) -> tuple[str, ...]:
        """Loops that have ended with a result and without its record.

        One that was ended from outside may be begun again: it finds what its jobs have measured.
        """
        archive = self._archive(activity.client())
        found = [name for name in await self._loops.at_work() if await archive.completed(name)]
        still = set(await self._loops.at_work()) if found else set()
        return tuple(name for name in found if name in still)

    async def _write_down(
        self, given: OperateInput, unwritten: tuple[str, ...]
    ) -> tuple[list[Repair], list[str]]:
        """Write what Temporal holds of jobs and loops; it forgets them when its retention ends.

        Returns what was done, and why some could not be written.
        """
        done: list[Repair] = []
        unread: list[str] = []
        for name in unwritten:
            what = f"{'loop' if is_loop(name) else 'job'} {name}"
            try:
                state = await self._restored(name)
            except UNREADABLE as error:
                unread.append(f"{what}: what it ended with cannot be written down: {error}")
                continue
            if state is not None:
                repair = Repair(name, name, f"{what} written down as {state}: so it had ended")
                await self._note(given, repair)
                done.append(repair)
        return done, unread

    async def _restored(self, name: str) -> JobState | None:
        archive = self._archive(activity.client())
        held = await (archive.loop(name) if is_loop(name) else archive.job(name))
        if held is None or held.result is None:
            return None
        if isinstance(held, HeldLoop):
            await restore_loop(held, self._loops)
        else:
            await restore(held, self._records, self._ledger)
        return held.result.state

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
            if held.owner in kept or await self._accounted_for(held):
                continue
            why = "neither job nor run is at work" if held.key in still else "its account is closed"
            text = f"reservation {held.key} released: {why}"
            repair = Repair(held.key, held.job_id, text)
            await self._note(given, repair)
            await self._give_back(held, given.at)
            released.append(held.key)
            repairs.append(repair)
        return tuple(released), repairs

    async def _give_back(self, held: Reservation, at: datetime) -> None:
        """Release it; or settle it, where it is that of a job whose end was written down alone."""
        tenant, job_id = held.tenant, held.job_id
        if held.owner == held.job_id and (record := await self._records.get(job_id)) is not None:
            kept = await self._ledger.reservations(job_id)
            booked = any(one.owner == job_id and one.state == "settled" for one in kept)
            if record.result is not None and not booked:
                cost = record.result.cost
                await self._ledger.settle(
                    held.key,
                    Amounts.classical(cost),
                    at,
                    tenant=tenant,
                    job_id=job_id,
                    currency=cost.currency,
                )
                return
        await self._ledger.release((held.key,), at, tenant=tenant, job_id=job_id)

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
        f"{len(found.unwritten)} not written down, "
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
