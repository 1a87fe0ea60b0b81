"""Submissions that no workflow accounts for any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from temporalio import activity

from activities.booking import charge_of, settle_hold, total_of
from activities.closing import stated
from activities.quarantine import Quarantine
from activities.running import server_now
from activities.survey import Survey, Working
from qsaga.core.errors import NeedsPerson, ProviderError, TransientProviderError
from qsaga.core.ledger import Ledger, hold_key
from qsaga.core.policy import Policy
from qsaga.core.ports import Charge, QuantumProvider, RemoteJob
from qsaga.core.records import JobRecords
from qsaga.core.submission import Resolution, Submissions, undecided_for


@dataclass(frozen=True)
class Repair:
    """Something that was put right: ``what`` it was done to, of which job."""

    what: str
    job_id: str
    text: str


@dataclass
class Accounted:
    """What came of it; the accounts of the tags in ``open_tags`` could not be closed now."""

    repairs: list[Repair] = field(default_factory=list)
    open_tags: dict[str, str] = field(default_factory=dict)


class Found:
    """Ends their remote jobs and books them, on the job whose tag they bear.

    A job that was listed later than its provider is relied upon for is found after the account of
    its run was closed; one whose run was terminated has nobody else.
    """

    def __init__(
        self,
        provider: QuantumProvider,
        records: JobRecords,
        ledger: Ledger,
        policy: Policy,
        submissions: Submissions,
        quarantine: Quarantine,
    ) -> None:
        self._provider, self._records = provider, records
        self._ledger, self._policy = ledger, policy
        self._submissions, self._quarantine = submissions, quarantine

    async def account(self, survey: Survey, working: Working, at: datetime) -> Accounted:
        """Account for what has an open account, or no charge, and nobody at work.

        Args:
            survey: what the provider listed; what is ended or charged now is put into it.
            working: whether a job or the run of a tag is at work. While the job is, it sees to
                its runs itself, also to one that was ended from outside.
            at: now, for the ledger.
        """
        tags = await self._records.open_accounts()
        tags |= await self._records.owners({tag for job in survey.unbooked() for tag in job.tags})
        done = Accounted()
        for tag, owner in sorted(tags.items()):
            # The run first: a job at work may start it in between.
            if await working(tag) or await working(owner):
                continue
            if not await self._open(tag, survey):
                continue
            try:
                done.repairs += await self._close(tag, owner, survey, at)
            except (ProviderError, NeedsPerson) as error:
                done.open_tags[tag] = f"account of submission {tag} of job {owner}: {error}"
        return done

    async def _open(self, tag: str, survey: Survey) -> bool:
        """Whether there is still something to account for: its run may have done it since."""
        if tag in await self._records.open_accounts():
            return True
        booked = {run.provider_job_id for run in await self._records.booked(survey.provider, tag)}
        return any(tag in job.tags and name not in booked for name, job in survey.remote.items())

    async def _close(self, tag: str, owner: str, survey: Survey, at: datetime) -> list[Repair]:
        # Whoever has seen the tag before sends no more: an activity outlives its workflow.
        await self._submissions.close(owner, tag, activity.info().workflow_run_id or "")
        word = await self._submissions.resolution(tag)
        before = {run.provider_job_id for run in await self._records.booked(survey.provider, tag)}
        charges: list[Charge] = []
        for job in await self._jobs(tag, owner, word):
            if job.provider_job_id in before:
                continue
            role: Literal["run", "extra"] = "extra" if before or charges else "run"
            charge = await charge_of(self._provider, self._policy, job, role)
            charges.append(charge)
            survey.put(
                job.model_copy(
                    update={
                        "state": charge.state,
                        "quantum_seconds": charge.cost.quantum_seconds,
                    }
                )
            )
        await self._records.settle_run(owner, tag, tuple(charges), None)
        await self._settle(tag, owner, at)
        if not charges:
            return [Repair(tag, owner, f"account of submission {tag} closed: no job is left open")]
        return [
            Repair(
                charge.provider_job_id,
                owner,
                f"remote job {charge.provider_job_id} ended and booked: "
                f"{charge.cost.quantum_seconds:g} quantum seconds",
            )
            for charge in charges
        ]

    async def _jobs(self, tag: str, owner: str, word: Resolution | None) -> list[RemoteJob]:
        """Every job of the tag, once all of them must be listed.

        Raises:
            ProviderError: not now.
            NeedsPerson: only a person can tell; he has been asked.
        """
        if word is not None and word.verdict != "jobs":
            return list(stated(word))
        intent, asked_at = await self._submissions.intent(tag), server_now()
        capabilities = self._provider.capabilities
        found = {job.provider_job_id: job for job in await self._provider.find(tag)}
        for known in word.jobs if word else ():
            found.setdefault(known, await self._provider.status(known))
        left = undecided_for(intent, asked_at, capabilities)
        if left > 0 and (capabilities.repeats or not found):
            raise TransientProviderError(f"a job of it may still be listed within {left:.0f} s")
        if not found and intent.last_sent_at is not None and not capabilities.searchable:
            reason = "it was sent, no reply came, and the provider cannot be asked for it"
            await self._quarantine.ask(owner, tag, reason, ())
        return list(found.values())

    async def _settle(self, tag: str, owner: str, at: datetime) -> None:
        record = await self._records.get(owner)
        own = {run.provider_job_id for run in await self._records.booked(self._provider.name, tag)}
        charges = [c for c in (record.charges if record else ()) if c.provider_job_id in own]
        holds = [one.key for one in await self._ledger.reservations(owner) if one.owner == tag]
        if not holds and not charges:
            return
        # The last one stands for the run: what the others booked is taken off.
        hold = holds[-1] if holds else hold_key(tag, "found")
        await settle_hold(self._ledger, hold, tag, owner, total_of(charges), at)
