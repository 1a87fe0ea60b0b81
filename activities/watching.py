"""One look at all waiting remote jobs, and telling the runs of those that have changed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    ResetActivityRequest,
    SignalWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.running import not_yet
from qsaga.core.errors import NoSuchRemoteJob, ProviderError
from qsaga.core.jobs import deployment_tag
from qsaga.core.oversight import WatchStep
from qsaga.core.ports import QuantumProvider, RemoteJob, RemoteState
from qsaga.core.roles import Queues
from qsaga.core.runs import FOLLOW, LOOK, WATCH
from qsaga.core.submission import Submissions, WatchedRun
from qsaga.core.timing import IDLE_WATCH, watch_interval

AT_ONCE = 8
"""Jobs that are asked for one by one at the same time."""


class Watching:
    """Hands the waiting for a remote job over to the watcher, and sees that there is one."""

    def __init__(
        self,
        submissions: Submissions,
        provider: QuantumProvider,
        deployment: str,
        queue: str,
        queues: Queues,
    ) -> None:
        self._submissions, self._provider = submissions, provider
        self._deployment, self._queue, self._queues = deployment, queue, queues

    async def hand_over(self, tag: str, job: RemoteJob, expected_start: datetime | None) -> None:
        """The run of ``tag`` will be told when the job leaves the state that it is in."""
        await self._submissions.watch(
            WatchedRun(
                run_id=tag,
                provider_job_id=job.provider_job_id,
                state=job.state,
                since=activity.info().started_time,
                expected_start=expected_start,
            )
        )
        await ensure_watcher(
            activity.client(), self._deployment, self._provider.name, self._queue, self._queues
        )


async def ensure_watcher(
    client: Client, deployment: str, provider: str, queue: str, queues: Queues
) -> None:
    """Start the watcher of a deployment and a provider unless it is at work."""
    await client.start_workflow(
        WATCH,
        args=[deployment, dict(queues)],
        id=f"watch/{deployment}/{provider}/{queue}",
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


class Watch(WatchStep):
    """Compare what the provider lists with what the runs know.

    What it remembers between two looks saves requests; a worker that knows nothing of it does the
    same with a few more.
    """

    def __init__(
        self, provider: QuantumProvider, submissions: Submissions, deployment: str
    ) -> None:
        self._provider, self._submissions = provider, submissions
        self._deployment = deployment
        self._told: dict[str, str] = {}
        self._starts: dict[str, datetime] = {}
        self._idle_since: datetime | None = None

    @activity.defn(name="watch")
    async def watch(self, deployment: str) -> None:
        """One look."""
        now = activity.info().started_time
        runs = await self._submissions.watched()
        if not runs:
            self._told.clear()
            self._starts.clear()
            self._idle_since = self._idle_since or now
            if (now - self._idle_since).total_seconds() >= IDLE_WATCH:
                self._idle_since = None
                return
            raise not_yet("nobody waits", IDLE_WATCH / 4)
        self._idle_since = None
        try:
            listed = await self._provider.pending(deployment_tag(self._deployment))
        except ProviderError as error:
            raise not_yet(f"the provider cannot tell: {error}", self._interval(runs, 0)) from error
        for run, state in await self._changed(runs, listed):
            await self._tell(run, state)
        with suppress(ProviderError):  # without an estimate the forecast has to do
            await self._ask_the_next(runs)
        raise not_yet(f"{len(runs)} runs wait", self._interval(runs, len(listed)))

    def _interval(self, runs: Sequence[WatchedRun], listed: int) -> float:
        now = activity.info().started_time
        starts = [self._starts.get(run.run_id) or run.expected_start for run in runs]
        return watch_interval(
            [(at - now).total_seconds() for at in starts if at is not None],
            [
                (now - run.since).total_seconds()
                for run, at in zip(runs, starts, strict=True)
                if at is None
            ],
            listed,
        )

    async def _changed(
        self, runs: Sequence[WatchedRun], listed: Sequence[RemoteJob]
    ) -> list[tuple[WatchedRun, RemoteState]]:
        """The runs whose jobs have left the state in which their runs saw them."""
        states = {job.provider_job_id: job.state for job in listed}
        limit = asyncio.Semaphore(AT_ONCE)

        async def now(run: WatchedRun) -> RemoteState:
            state = states.get(run.provider_job_id)
            if state is not None:
                return state
            # Not among those at work: it has ended, or the list is not complete.
            async with limit:
                try:
                    return (await self._provider.status(run.provider_job_id)).state
                except NoSuchRemoteJob:
                    return RemoteState.FAILED  # its run finds out what to make of it
                except ProviderError:
                    return RemoteState.UNKNOWN

        found = zip(runs, await asyncio.gather(*(now(run) for run in runs)), strict=True)
        return [
            (run, state) for run, state in found if state not in (run.state, RemoteState.UNKNOWN)
        ]

    async def _ask_the_next(self, runs: Sequence[WatchedRun]) -> None:
        """When the job that is expected to start first will start, by the provider's own word."""
        queued = [run for run in runs if run.state is RemoteState.QUEUED]
        if not queued:
            return
        first = min(queued, key=lambda run: self._starts.get(run.run_id) or _expected(run))
        said = await self._provider.outlook(first.provider_job_id)
        if said.starts is not None:
            self._starts[first.run_id] = said.starts

    async def _tell(self, run: WatchedRun, state: RemoteState) -> None:
        about = f"{run.run_id}/{run.provider_job_id}/{run.since.isoformat()}/{state}"
        if self._told.get(run.run_id) == about:
            return
        try:
            await self._wake(run, about)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await self._submissions.unwatch(run.run_id)  # the run was ended from outside
        self._told[run.run_id] = about

    async def _wake(self, run: WatchedRun, about: str) -> None:
        """Have the run look now. Raises RPCError, NOT_FOUND where it does not wait (any more)."""
        client = activity.client()
        execution = WorkflowExecution(workflow_id=run.run_id)
        try:
            # The activity that waits is tried again at once: no event in any history.
            await client.workflow_service.reset_activity(
                ResetActivityRequest(
                    namespace=client.namespace,
                    execution=execution,
                    identity=client.identity,
                    type=FOLLOW,
                )
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.UNIMPLEMENTED:
                raise
            # Told again under the same id, by a worker that knows nothing of it, the server
            # drops it.
            await client.workflow_service.signal_workflow_execution(
                SignalWorkflowExecutionRequest(
                    namespace=client.namespace,
                    workflow_execution=execution,
                    signal_name=LOOK,
                    identity=client.identity,
                    request_id=hashlib.sha256(about.encode()).hexdigest()[:32],
                )
            )


def _expected(run: WatchedRun) -> datetime:
    return run.expected_start or run.since
