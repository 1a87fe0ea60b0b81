"""Closing the account of a run: ending its remote jobs, booking what they were charged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio import activity

from activities.booking import charge_of, settle_hold, total_of
from activities.doorman import Doorman
from activities.quarantine import Quarantine
from activities.running import not_yet, seconds_since
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import (
    NoSuchRemoteJob,
    PermanentProviderError,
    ProviderError,
    ResultUnusable,
    TransientProviderError,
)
from qsaga.core.ledger import Ledger
from qsaga.core.policy import Policy
from qsaga.core.ports import (
    ArtefactStore,
    Charge,
    LateResult,
    QuantumProvider,
    RemoteJob,
    RemoteState,
)
from qsaga.core.records import JobRecords
from qsaga.core.remote_steps import (
    CancelInput,
    Cancelled,
    CancelStep,
    Settled,
    SettleInput,
    SettleStep,
)
from qsaga.core.results import OptimiseAnswer
from qsaga.core.submission import Resolution, Submissions, undecided_for
from qsaga.core.timing import poll_delay
from qsaga.problems.polish import Polisher
from qsaga.problems.reduction import kept_reduction
from qsaga.problems.verify import verify


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, a provider may fail to tell before a person is asked."""

    seconds: float
    unknown_job: float

    def hopeless(self, error: ProviderError, waited: float) -> bool:
        """Whether asking on is of no use."""
        if isinstance(error, NoSuchRemoteJob):
            return waited > self.unknown_job
        return isinstance(error, PermanentProviderError) or waited > self.seconds


class Cancel(CancelStep):
    """End every job of a submission.

    Args:
        patience: seconds for which the provider may fail to tell before a person is asked.
    """

    def __init__(
        self,
        provider: QuantumProvider,
        submissions: Submissions,
        quarantine: Quarantine,
        doorman: Doorman,
        *,
        patience: float,
    ) -> None:
        self._provider, self._submissions = provider, submissions
        self._quarantine, self._doorman = quarantine, doorman
        self._patience = Patience(patience, provider.capabilities.found_within)

    @activity.defn(name="cancel_remote")
    async def cancel_remote(self, given: CancelInput) -> Cancelled:
        """Let nothing more be sent; ask, look, and come back until all have ended."""
        await self._doorman.admits(given.job_id, given.tag)
        run = activity.info().workflow_run_id or ""
        await self._submissions.close(given.job_id, given.tag, run)
        word = await self._quarantine.word(given.tag)
        if word is not None and word.verdict != "jobs":
            return Cancelled(jobs=stated(word), decided_by=word.by)
        seen: dict[str, RemoteJob] = {}
        try:
            await self._look(given, word, seen)
            for job in list(seen.values()):
                if not job.state.ended:
                    seen[job.provider_job_id] = await self._provider.cancel(job.provider_job_id)
        except ProviderError as error:
            if self._patience.hopeless(error, seconds_since(given.since)):
                await self._quarantine.ask(given.job_id, given.tag, str(error), [*seen.values()])
            if isinstance(error, NoSuchRemoteJob):
                # A job may be unknown for a while after it was accepted.
                raise TransientProviderError(str(error)) from error
            raise
        if not all(job.state.ended for job in seen.values()):
            raise not_yet(
                "the remote job has not ended yet", poll_delay(seconds_since(given.since), None)
            )
        return Cancelled(jobs=tuple(seen.values()))

    async def _look(
        self, given: CancelInput, word: Resolution | None, seen: dict[str, RemoteJob]
    ) -> None:
        """All jobs of the tag into ``seen``; not before those without a reply must be listed."""
        asked_at = activity.info().started_time
        intent = await self._submissions.intent(given.tag)
        for job in await self._provider.find(given.tag):
            seen[job.provider_job_id] = job
        named = (given.provider_job_id, *(word.jobs if word else ()))
        for known in named:
            if known is not None and known not in seen:
                seen[known] = await self._provider.status(known)
        if seen or intent.last_sent_at is None:
            return
        capabilities = self._provider.capabilities
        if not capabilities.searchable:
            reason = (
                "a submission was begun, no reply came, and the provider cannot be asked for it"
            )
            await self._quarantine.ask(given.job_id, given.tag, reason, ())
        left = undecided_for(intent, asked_at, capabilities)
        if left > 0:
            waited = (asked_at - intent.last_sent_at).total_seconds()
            raise not_yet(
                "nothing is listed under the tag; looking again",
                min(poll_delay(waited, None), left),
            )


def stated(word: Resolution) -> tuple[RemoteJob, ...]:
    """What a person says of the jobs of a submission."""
    return tuple(
        RemoteJob(
            provider_job_id=charge.provider_job_id,
            backend="",
            state=RemoteState.CANCELLED,
            reason=f"stated by {word.by}: {word.why}",
            quantum_seconds=charge.quantum_seconds,
        )
        for charge in word.charges
    )


class Settle(SettleStep):
    """Book what every job of a run was charged.

    Args:
        patience: seconds for which the provider may fail to tell before a person is asked.
    """

    def __init__(
        self,
        artefacts: ArtefactStore,
        provider: QuantumProvider,
        records: JobRecords,
        submissions: Submissions,
        ledger: Ledger,
        policy: Policy,
        polisher: Polisher,
        quarantine: Quarantine,
        doorman: Doorman,
        *,
        patience: float,
    ) -> None:
        self._artefacts, self._provider = artefacts, provider
        self._records, self._submissions = records, submissions
        self._ledger, self._policy = ledger, policy
        self._polisher, self._quarantine, self._doorman = polisher, quarantine, doorman
        self._patience = Patience(patience, provider.capabilities.found_within)

    @activity.defn(name="settle")
    async def settle(self, given: SettleInput) -> Settled:
        """Sweep the tag once more, then write the account."""
        await self._doorman.admits(given.job_id, given.run_id)
        word = await self._quarantine.word(given.run_id)
        known = {job.provider_job_id: job for job in (*given.jobs, *given.extras)}
        try:
            if not (given.unsent or given.decided_by or given.booked):
                for job in await self._sweep(given):
                    known.setdefault(job.provider_job_id, job)
            charges = await self._charges(known, word, {job.provider_job_id for job in given.jobs})
        except ProviderError as error:
            since = given.since or activity.info().scheduled_time
            if self._patience.hopeless(error, seconds_since(since)):
                await self._quarantine.ask(
                    given.job_id, given.run_id, str(error), [*known.values()]
                )
            if isinstance(error, NoSuchRemoteJob):
                # A job may be unknown for a while after it was accepted.
                raise TransientProviderError(str(error)) from error
            raise
        late = await asyncio.to_thread(self._late, given, given.late) if given.late else None
        if not given.unsent:
            await self._records.settle_run(given.job_id, given.run_id, charges, late)
        total = total_of(charges)
        if given.hold:
            at = activity.info().current_attempt_scheduled_time
            await settle_hold(self._ledger, given.hold, given.run_id, given.job_id, total, at)
        return Settled(charges=charges, cost=total, late=late)

    async def _sweep(self, given: SettleInput) -> Sequence[RemoteJob]:
        """Every job that the wire made of the submission, once all of them must be listed."""
        capabilities, asked_at = self._provider.capabilities, activity.info().started_time
        if capabilities.repeats:
            intent = await self._submissions.intent(given.run_id)
            if (left := undecided_for(intent, asked_at, capabilities)) > 0:
                raise not_yet("jobs that the client sent twice may still be listed", left)
        return await self._provider.find(given.run_id)

    async def _charges(
        self, known: dict[str, RemoteJob], word: Resolution | None, own: set[str]
    ) -> tuple[Charge, ...]:
        said = {job.provider_job_id: job for job in stated(word)} if word else {}
        jobs: Iterable[RemoteJob] = (known | said).values()
        return tuple(
            [
                await charge_of(
                    self._provider,
                    self._policy,
                    job,
                    "run" if job.provider_job_id in own else "extra",
                )
                for job in jobs
            ]
        )

    def _late(self, given: SettleInput, result: ArtefactRef) -> LateResult:
        objective = None
        if given.workload is not None:
            model = self._artefacts.get(given.model) if given.model else None
            try:
                answer, _ = verify(
                    given.workload,
                    model,
                    self._artefacts.get(result),
                    result.media,
                    self._polisher,
                    kept_reduction(self._artefacts, given.reduction),
                )
            except (ResultUnusable, KeyError, ValueError) as error:  # or no longer in the store
                return LateResult(
                    run_id=given.run_id, result=result, comparison=f"not usable: {error}"
                )
            if isinstance(answer, OptimiseAnswer):
                objective = answer.quality.objective
        return LateResult(run_id=given.run_id, result=result, objective=objective)
