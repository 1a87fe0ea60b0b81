"""What the provider and the books say of a deployment, asked once for a whole reconciliation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from qsaga.core.errors import NoSuchRemoteJob, ProviderError
from qsaga.core.jobs import deployment_tag
from qsaga.core.ledger import Ledger
from qsaga.core.operations import Difference
from qsaga.core.ports import QuantumProvider, RemoteJob, Usage
from qsaga.core.records import BookedRun, JobRecords

Working = Callable[[str], Awaitable[bool]]
"""Whether a workflow of that id is at work now."""
AT_ONCE = 8
"""Remote jobs asked for at the same time."""
SAME = Decimal("0.000001")
LATER = (
    "the charge is booked as it was told then; compare it with the provider's invoice, and keep "
    "the difference with your own accounts: qsaga corrects no charge"
)
NOT_BOOKED = (
    "no job of this database bears its tags: look for a second deployment of this name, or write "
    "back what the table has lost with `qsaga rebuild`"
)
NOT_LISTED = (
    "the provider does not know the job any more, or these are the credentials of another account: "
    "compare with its invoice"
)
NOT_IN_LEDGER = (
    "see `qsaga show JOB` and `qsaga books`; `qsaga rebuild` books what Temporal still holds; "
    "what jobs of version 0.1.0 were charged was never in the ledger"
)


@dataclass
class Survey:
    """The deployment's remote jobs, with their charges where they were asked for.

    ``booked`` was read before the provider was asked, so that what is in it must be listed.
    ``untold`` says of which jobs the provider could not tell.
    """

    provider: str = "none"
    remote: dict[str, RemoteJob] = field(default_factory=dict)
    booked: dict[str, BookedRun] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    untold: list[str] = field(default_factory=list)

    def unbooked(self) -> list[RemoteJob]:
        """The jobs at the provider that have no charge."""
        return [job for name, job in self.remote.items() if name not in self.booked]

    def put(self, job: RemoteJob) -> None:
        """What has been found out of a job since."""
        self.remote[job.provider_job_id] = job
        self.asked.add(job.provider_job_id)

    def charged(self) -> Decimal:
        """Quantum seconds by the provider's word; by ours where it was not asked again."""
        total = Decimal(0)
        for name, job in self.remote.items():
            known = self.booked.get(name)
            if name in self.asked or known is None:
                total += exact(job.quantum_seconds or 0.0)
            else:
                total += exact(known.quantum_seconds)
        return total


@dataclass(frozen=True)
class _Finding:
    """A difference, the workflows that may still see to it, and the job whose ledger it is in."""

    difference: Difference
    about: tuple[str, ...]
    job_id: str = ""


class Surveyor:
    """Asks provider and books, and compares them."""

    def __init__(
        self,
        provider: QuantumProvider | None,
        records: JobRecords,
        ledger: Ledger,
        deployment: str,
    ) -> None:
        self._provider, self._records, self._ledger = provider, records, ledger
        self._tag = deployment_tag(deployment)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def look(self, at: datetime, days: int | None) -> Survey:
        """One look at everything.

        Args:
            at: now.
            days: the charge of a job that is booked and older than that is not asked for again.
        """
        if self._provider is None:
            return Survey()
        survey = Survey(self._provider.name, booked=await self._booked())
        listed = [job for job in await self._provider.find(self._tag) if self._tag in job.tags]
        oldest = None if days is None else at - timedelta(days=days)
        survey.remote = {job.provider_job_id: job for job in listed}
        wanted = [
            job.provider_job_id
            for job in listed
            if oldest is None
            or job.provider_job_id not in survey.booked
            or job.created is None
            or job.created >= oldest
        ]
        await asyncio.gather(*(self._ask(name, survey) for name in wanted))
        return survey

    async def usage(self) -> Usage | None:
        """What the whole account has used; None where the provider does not tell."""
        try:
            return await self._provider.usage() if self._provider else None
        except ProviderError:
            return None

    async def _ask(self, name: str, survey: Survey) -> None:
        try:
            survey.put(await self._status(name))
        except ProviderError as error:
            survey.untold.append(f"remote job {name}: {error}")

    async def _booked(self) -> dict[str, BookedRun]:
        name = self._provider.name if self._provider else "none"
        return {run.provider_job_id: run for run in await self._records.booked(name)}

    async def _status(self, name: str) -> RemoteJob:
        if self._provider is None:
            raise NoSuchRemoteJob(f"no provider knows {name}")
        async with self._turns:
            return await self._provider.status(name)

    async def differences(self, survey: Survey, working: Working) -> list[Difference]:
        """Where the two do not agree, apart from what a workflow at work will still see to.

        ``survey.booked`` is read again, as it is after a repair.
        """
        before, survey.booked = survey.booked, await self._booked()
        found = [
            *await self._charges(survey),
            *await self._not_listed(survey, before),
            *await self._not_in_ledger(survey),
        ]
        found = [one for one in found if not await _any(working, one.about)]
        if not found:
            return []
        # Whoever was at work when the books were read, and has ended since, has booked.
        survey.booked = await self._booked()
        in_ledger = {one.job_id for one in await self._not_in_ledger(survey)}
        return [one.difference for one in found if _stands(one, survey, in_ledger)]

    async def _charges(self, survey: Survey) -> list[_Finding]:
        found = []
        unbooked = {*survey.asked} - {*survey.booked}
        known_tags = await self._records.owners(
            {tag for name in unbooked for tag in survey.remote[name].tags}
        )
        for name in sorted(survey.asked):
            job, known = survey.remote[name], survey.booked.get(name)
            charged = exact(job.quantum_seconds or 0.0)
            if known is None:
                owners = [known_tags[tag] for tag in job.tags if tag in known_tags]
                if job.state.ended and charged:
                    text = f"{name}: {charged} quantum seconds charged, not booked"
                elif not job.state.ended and not owners:
                    text = f"{name}: {job.state.value}, and no job of this database bears its tags"
                else:
                    continue
                about = (*job.tags, *owners)
                found.append(_Finding(_difference(name, None, charged, text, NOT_BOOKED), about))
            elif (
                job.state.ended
                and job.quantum_seconds is not None
                and abs(exact(known.quantum_seconds) - charged) > SAME
            ):
                text = f"{name}: {charged} quantum seconds charged, {known.quantum_seconds} booked"
                about = (known.run_id, known.job_id)
                found.append(_Finding(_difference(name, known, charged, text, LATER), about))
        return found

    async def _not_listed(self, survey: Survey, before: dict[str, BookedRun]) -> list[_Finding]:
        missing = [
            run
            for name, run in before.items()
            if name not in survey.remote and run.role != "session"
        ]
        known = await asyncio.gather(*(self._exists(run.provider_job_id) for run in missing))
        found = []
        for run, exists in zip(missing, known, strict=True):
            if not exists:
                name = run.provider_job_id
                text = f"{name}: booked, not listed by the provider"
                about = (run.run_id, run.job_id)
                found.append(_Finding(_difference(name, run, None, text, NOT_LISTED), about))
        return found

    async def _exists(self, name: str) -> bool:
        """A job that has just been accepted may not be listed yet."""
        try:
            await self._status(name)
        except NoSuchRemoteJob:
            return False
        except ProviderError:
            return True  # it cannot tell: no reason for an alarm
        return True

    async def _not_in_ledger(self, survey: Survey) -> list[_Finding]:
        runs: dict[str, list[BookedRun]] = {}
        for run in survey.booked.values():
            runs.setdefault(run.job_id, []).append(run)
        spent = await self._ledger.quantum_seconds()
        found = []
        for job_id, booked in runs.items():
            charged = sum((exact(run.quantum_seconds) for run in booked), Decimal(0))
            kept = spent.get(job_id, Decimal(0))
            if abs(kept - charged) <= SAME:
                continue
            difference = Difference(
                provider_job_id="",
                run_id=None,
                booked=kept,
                provider=charged,
                text=f"job {job_id}: {charged} quantum seconds charged, {kept} in the ledger",
                advice=NOT_IN_LEDGER.replace("JOB", job_id),
            )
            tags = sorted({run.run_id for run in booked})
            found.append(_Finding(difference, (job_id, *tags), job_id))
        return found


def _stands(one: _Finding, survey: Survey, in_ledger: set[str]) -> bool:
    """Whether it is still so, now that nobody is at work on it."""
    if one.job_id:
        return one.job_id in in_ledger
    return one.difference.run_id is not None or (
        one.difference.provider_job_id not in survey.booked
    )


async def _any(working: Working, about: Iterable[str]) -> bool:
    for workflow_id in about:
        if await working(workflow_id):
            return True
    return False


def _difference(
    name: str, known: BookedRun | None, provider: Decimal | None, text: str, advice: str
) -> Difference:
    return Difference(
        provider_job_id=name,
        run_id=known.run_id if known else None,
        booked=exact(known.quantum_seconds) if known else None,
        provider=provider,
        text=text,
        advice=advice,
    )


def exact(seconds: float) -> Decimal:
    """A float of a provider or a column as the number that it was written as."""
    return Decimal(str(seconds))
