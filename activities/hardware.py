"""The steps of a HardwareRun up to its answer, but for the submission."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import activity

from activities.answering import QPY
from activities.running import as_failure, not_yet, seconds_remaining, seconds_since
from activities.watching import Watching
from qsaga.core.caching import WorkCache, shelf_of
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import (
    ProviderError,
    ResultUnusable,
    RunFailed,
    TransientProviderError,
)
from qsaga.core.ports import (
    ArtefactStore,
    QuantumProvider,
    RemoteJob,
    RemoteState,
)
from qsaga.core.remote_steps import CollectStep, Followed, FollowInput, FollowStep
from qsaga.core.steps import CompiledCircuit, CompileInput, CompileStep
from qsaga.core.timing import FOLLOW_SECONDS, SAFETY_NET, in_time, poll_delay
from qsaga.problems.verify import CIRCUIT_RESULT

LINGER = 3.0
"""Seconds that a job seen running is watched for its end before the wait is handed over."""
LINGER_STEP = 0.3
ENOUGH = 60.0
"""Seconds for fetching a result on the way where nothing else bounds that."""


HAND_OVER = 3.0
"""Seconds for leaving a wait to the watcher."""
LATE_RESULT = 20.0
"""Seconds after which a result that cannot be had is given up."""

CALIBRATION = "application/vnd.qsaga.calibration+json"


class Compile(CompileStep):
    """Transpile for the backend."""

    def __init__(
        self,
        artefacts: ArtefactStore,
        provider: QuantumProvider,
        cache: WorkCache | None = None,
    ) -> None:
        self._artefacts, self._provider, self._cache = artefacts, provider, cache

    @activity.defn(name="compile")
    async def compile(self, given: CompileInput) -> CompiledCircuit:
        """Store the ISA circuit, and the calibration data where they are not stored yet."""
        qpy = await asyncio.to_thread(self._artefacts.get, given.circuit)
        shelf = shelf_of(self._cache, given.tenant)
        compiled = await self._provider.compile(qpy, given.backend, given.seed, given.spec, shelf)
        isa = await asyncio.to_thread(self._artefacts.put, compiled.qpy, QPY)
        calibration = None
        if compiled.calibration is not None:
            calibration = await asyncio.to_thread(
                self._artefacts.put, compiled.calibration, CALIBRATION
            )
        return CompiledCircuit(isa=isa, facts=compiled.facts, calibration=calibration)


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
    """Look, by being retried; after a while, rarely, since the watcher says when it is time."""

    def __init__(self, provider: QuantumProvider, collector: Collector, watching: Watching) -> None:
        self._provider, self._collector, self._watching = provider, collector, watching

    @activity.defn(name="follow")
    async def follow(self, given: FollowInput) -> Followed:
        """One look."""
        try:
            job = await self._provider.status(given.provider_job_id)
            if given.until_running and job.state is RemoteState.RUNNING:
                job = await self._linger(job)
        except ProviderError as error:
            # Neither a job that is unknown where it is asked for, nor credentials that have to be
            # replaced, are the end of the job: its budgets are.
            raise self._later(given, f"cannot tell: {error}") from error
        if job.state is RemoteState.COMPLETED:
            return Followed(job=job, result=await self._result(job))
        if job.state.ended or (given.until_running and job.state is RemoteState.RUNNING):
            return Followed(job=job)
        what = f"the remote job is {job.state.value}"
        if given.tag and (_long(given) or seconds_since(given.since) >= FOLLOW_SECONDS):
            try:
                await self._hand_over(given, job)
            except Exception as error:
                # Waiting does not depend on the database: then this run looks for itself.
                raise self._later(given, f"{what}; not watched: {error!r}") from error
            raise not_yet(what, in_time(SAFETY_NET, seconds_remaining()))
        raise self._later(given, what)

    async def _hand_over(self, given: FollowInput, job: RemoteJob) -> None:
        wait = given.expected_wait
        start = None if wait is None else given.since + timedelta(seconds=wait)
        async with asyncio.timeout(HAND_OVER):
            await self._watching.hand_over(given.tag, job, start)

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
        """Fetch; a result that cannot be used may only be late, or have been cut off."""
        try:
            return await self._collector.fetch(provider_job_id)
        except ResultUnusable as error:
            asked_for = seconds_since(activity.info().scheduled_time)
            if asked_for > LATE_RESULT:
                raise
            delay = in_time(max(1.0, asked_for), seconds_remaining())
            raise as_failure(TransientProviderError(str(error)), delay) from error


def _long(given: FollowInput) -> bool:
    return given.until_running and (given.expected_wait or 0.0) > FOLLOW_SECONDS
