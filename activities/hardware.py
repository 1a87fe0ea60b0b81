"""The steps of a HardwareRun: compile, submit or adopt, follow, collect, cancel, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal

from temporalio import activity

from activities.answering import QPY
from activities.doorman import Doorman
from activities.running import not_yet, seconds_remaining, seconds_since
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import ResultUnusable, RunFailed, TransientProviderError
from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Amounts, Ledger
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
from qsaga.core.results import Cost, OptimiseAnswer
from qsaga.core.steps import (
    CancelInput,
    Cancelled,
    CancelStep,
    CollectStep,
    CompiledCircuit,
    CompileInput,
    CompileStep,
    Followed,
    FollowInput,
    FollowStep,
    Settled,
    SettleInput,
    SettleStep,
    SubmitInput,
    SubmitStep,
    Submitted,
)
from qsaga.core.timing import poll_delay
from qsaga.problems.polish import Polisher
from qsaga.problems.verify import CIRCUIT_RESULT, verify

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries of a submission that the provider surely did not accept."""

LINGER = 3.0
"""Seconds that a job seen running is watched for its end before the wait is handed over."""
LINGER_STEP = 0.3
ENOUGH = 60.0
"""Seconds for fetching a result on the way where nothing else bounds that."""


CALIBRATION = "application/vnd.qsaga.calibration+json"


class Compile(CompileStep):
    """Transpile for the backend."""

    def __init__(self, artefacts: ArtefactStore, provider: QuantumProvider) -> None:
        self._artefacts, self._provider = artefacts, provider

    @activity.defn(name="compile")
    async def compile(self, given: CompileInput) -> CompiledCircuit:
        """Store the ISA circuit, and the calibration data where they are not stored yet."""
        qpy = await asyncio.to_thread(self._artefacts.get, given.circuit)
        compiled = await self._provider.compile(qpy, given.backend, given.seed, given.spec)
        isa = await asyncio.to_thread(self._artefacts.put, compiled.qpy, QPY)
        calibration = None
        if compiled.calibration is not None:
            calibration = await asyncio.to_thread(
                self._artefacts.put, compiled.calibration, CALIBRATION
            )
        return CompiledCircuit(isa=isa, facts=compiled.facts, calibration=calibration)


class Submit(SubmitStep):
    """Submit or adopt.

    Every attempt looks the tag up first. Where another attempt, or another run of the tag, may
    have sent before, this one looks again a grace period later. So between two sendings there is
    always a look-up at a time when an accepted job is surely listed, whatever an earlier attempt
    or its death left behind.

    Args:
        window: seconds from the start of an attempt within which it may begin to send.
        doorman: knows who may ask.
    """

    def __init__(
        self,
        artefacts: ArtefactStore,
        provider: QuantumProvider,
        records: JobRecords,
        *,
        window: float,
        doorman: Doorman,
    ) -> None:
        self._artefacts, self._provider, self._records = artefacts, provider, records
        self._window, self._doorman = window, doorman

    @activity.defn(name="submit")
    async def submit(self, given: SubmitInput) -> Submitted:
        """The one job of the tag."""
        await self._doorman.admits(given.job_id, given.tag)
        began = time.monotonic()
        first = await self._open(given) and activity.info().attempt == 1
        found = await self._provider.find(given.tag)
        if not found and not first:
            await asyncio.sleep(given.grace)
            began = time.monotonic()
            found = await self._provider.find(given.tag)
        if found:
            return await self._adopt(found)
        job = await self._send(given, began + self._window)
        return Submitted(job=job, provider=self._provider.name)

    async def _open(self, given: SubmitInput) -> bool:
        """Open the account. Returns False if it was open already."""
        record = await self._records.get(given.job_id)
        known = record is not None and given.tag in record.open_runs
        await self._records.open_run(given.job_id, given.tag)
        return not known

    async def _send(self, given: SubmitInput, latest: float) -> RemoteJob:
        isa = await asyncio.to_thread(self._artefacts.get, given.isa)
        for pause in (*PAUSES, None):
            if time.monotonic() > latest:
                raise TransientProviderError("no time was left in this attempt to send")
            try:
                return await self._provider.submit(
                    isa, given.layout, given.backend, given.spec, (given.deployment_tag, given.tag)
                )
            except TransientProviderError as error:
                wait = error.retry_after or pause
                if pause is None or wait is None or wait > PAUSES[-1]:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _adopt(self, found: Sequence[RemoteJob]) -> Submitted:
        # One that can still answer beats one that ended badly; among equals the oldest.
        bad = (RemoteState.FAILED, RemoteState.CANCELLED)
        kept, *others = sorted(found, key=lambda job: job.state in bad)
        extras = [
            job if job.state.ended else await self._provider.cancel(job.provider_job_id)
            for job in others
        ]
        return Submitted(job=kept, provider=self._provider.name, adopted=True, extras=tuple(extras))


class Collector:
    """Fetches results into the artefact store."""

    def __init__(self, artefacts: ArtefactStore, provider: QuantumProvider) -> None:
        self._artefacts, self._provider = artefacts, provider

    async def fetch(self, provider_job_id: str) -> ArtefactRef:
        """The result's reference. Raises ResultUnusable, TransientProviderError."""
        result = await self._provider.result(provider_job_id)
        data = result.model_dump_json().encode()
        return await asyncio.to_thread(self._artefacts.put, data, CIRCUIT_RESULT)


class Follow(FollowStep):
    """Wait by being retried."""

    def __init__(self, provider: QuantumProvider, collector: Collector) -> None:
        self._provider, self._collector = provider, collector

    @activity.defn(name="follow")
    async def follow(self, given: FollowInput) -> Followed:
        """One look."""
        try:
            job = await self._provider.status(given.provider_job_id)
            if given.until_running and job.state is RemoteState.RUNNING:
                job = await self._linger(job)
        except TransientProviderError as error:
            raise self._later(given, f"cannot tell: {error}") from error
        if job.state is RemoteState.COMPLETED:
            return Followed(job=job, result=await self._result(job))
        if job.state.ended or (given.until_running and job.state is RemoteState.RUNNING):
            return Followed(job=job)
        raise self._later(given, f"the remote job is {job.state.value}")

    async def _linger(self, job: RemoteJob) -> RemoteJob:
        # Most executions last seconds: seen to their end here, they need no second activity.
        looks = min(LINGER, (seconds_remaining() or LINGER) - 1.0) / LINGER_STEP
        for _ in range(int(looks)):
            await asyncio.sleep(LINGER_STEP)
            job = await self._provider.status(job.provider_job_id)
            if job.state is not RemoteState.RUNNING:
                break
        return job

    async def _result(self, job: RemoteJob) -> ArtefactRef | None:
        # What goes wrong here is for the retrieval layer to meet, under its own budget.
        try:
            async with asyncio.timeout(max((seconds_remaining() or ENOUGH) / 2, 0.0)):
                return await self._collector.fetch(job.provider_job_id)
        except (TimeoutError, TransientProviderError, ResultUnusable, RunFailed):
            return None

    def _later(self, given: FollowInput, what: str) -> Exception:
        return not_yet(what, poll_delay(seconds_since(given.since), seconds_remaining()))


class Collect(CollectStep):
    """The retrieval layer."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    @activity.defn(name="collect")
    async def collect(self, provider_job_id: str) -> ArtefactRef:
        """Fetch."""
        return await self._collector.fetch(provider_job_id)


class Cancel(CancelStep):
    """End every job of a submission."""

    def __init__(self, provider: QuantumProvider, doorman: Doorman) -> None:
        self._provider, self._doorman = provider, doorman

    @activity.defn(name="cancel_remote")
    async def cancel_remote(self, given: CancelInput) -> Cancelled:
        """Ask, look, and come back until all have ended."""
        await self._doorman.admits(given.job_id, given.tag)
        waited = seconds_since(given.since)
        jobs = {job.provider_job_id: job for job in await self._provider.find(given.tag)}
        known = given.provider_job_id
        if known is not None and known not in jobs:
            jobs[known] = await self._provider.status(known)
        if not jobs and waited < given.grace:
            raise not_yet(
                "nothing is listed under the tag; looking again", poll_delay(waited, None)
            )
        for job in list(jobs.values()):
            if not job.state.ended:
                jobs[job.provider_job_id] = await self._provider.cancel(job.provider_job_id)
        if not all(job.state.ended for job in jobs.values()):
            raise not_yet("the remote job has not ended yet", poll_delay(waited, None))
        return Cancelled(jobs=tuple(jobs.values()))


class Settle(SettleStep):
    """Book what every job of a run was charged."""

    def __init__(
        self,
        artefacts: ArtefactStore,
        provider: QuantumProvider,
        records: JobRecords,
        ledger: Ledger,
        policy: Policy,
        polisher: Polisher,
        doorman: Doorman,
    ) -> None:
        self._artefacts, self._provider = artefacts, provider
        self._records, self._ledger, self._policy = records, ledger, policy
        self._polisher, self._doorman = polisher, doorman

    @activity.defn(name="settle")
    async def settle(self, given: SettleInput) -> Settled:
        """Sweep the tag once more, then write the account."""
        await self._doorman.admits(given.job_id, given.run_id)
        known = {job.provider_job_id: job for job in given.jobs}
        own = set(known)
        swept = () if given.unsent else await self._provider.find(given.run_id)
        known |= {job.provider_job_id: job for job in (*given.extras, *swept)}
        charges = tuple(
            [await self._charge(job, extra=key not in own) for key, job in known.items()]
        )
        late = await asyncio.to_thread(self._late, given, given.late) if given.late else None
        if not given.unsent:
            await self._records.settle_run(given.job_id, given.run_id, charges, late)
        total = _total(charges)
        if given.hold:
            await self._ledger.settle(
                given.hold,
                await self._unbooked(given, total),
                activity.info().current_attempt_scheduled_time,
                tenant=tenant_of(given.job_id),
                job_id=given.job_id,
                currency=total.currency,
            )
        return Settled(charges=charges, cost=total, late=late)

    async def _unbooked(self, given: SettleInput, total: Cost) -> Amounts:
        """What no earlier run of the tag has booked: a job that was terminated may run again."""
        seconds, money = Decimal(str(total.quantum_seconds)), total.money
        for one in await self._ledger.reservations(given.job_id):
            if one.key != given.hold and one.key.partition("#")[0] == given.run_id:
                seconds -= one.spent.quantum_seconds
                money -= one.spent.money if one.currency == total.currency else 0
        return Amounts(quantum_seconds=max(seconds, Decimal(0)), money=max(money, Decimal(0)))

    async def _charge(self, job: RemoteJob, *, extra: bool) -> Charge:
        if not job.state.ended:
            job = await self._provider.cancel(job.provider_job_id)
        if job.quantum_seconds is None:
            job = await self._provider.status(job.provider_job_id)
        if not job.state.ended or job.quantum_seconds is None:
            raise TransientProviderError(
                f"the charge of remote job {job.provider_job_id} is not known yet"
            )
        price = self._policy.hardware.price(job.backend)
        return Charge(
            provider=self._provider.name,
            provider_job_id=job.provider_job_id,
            backend=job.backend,
            state=job.state,
            role="extra" if extra else "run",
            cost=Cost(
                quantum_seconds=job.quantum_seconds,
                money=price.per_quantum_second * Decimal(str(job.quantum_seconds)),
                currency=price.currency,
            ),
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
                )
            except (ResultUnusable, KeyError, ValueError) as error:  # or no longer in the store
                return LateResult(
                    run_id=given.run_id, result=result, comparison=f"not usable: {error}"
                )
            if isinstance(answer, OptimiseAnswer):
                objective = answer.quality.objective
        return LateResult(run_id=given.run_id, result=result, objective=objective)


def _total(charges: Sequence[Charge]) -> Cost:
    return Cost(
        quantum_seconds=sum(charge.cost.quantum_seconds for charge in charges),
        money=sum((charge.cost.money for charge in charges), Decimal(0)),
        currency=charges[0].cost.currency if charges else "USD",
    )
