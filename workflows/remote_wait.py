"""Waiting for a remote job, and ending that wait early."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.contract import ArtefactRef
    from qsaga.core.jobs import tenant_of
    from qsaga.core.ports import RemoteJob
    from qsaga.core.remote_steps import CollectStep, Followed, FollowInput, FollowStep
    from qsaga.core.roles import queue_of
    from qsaga.core.runs import RunRequest
    from qsaga.core.states import JobState, Layer, Rung
    from workflows.layers import (
        FIRST_PAUSE,
        HEARTBEAT,
        LONGEST_PAUSE,
        ONE_ATTEMPT,
        RETRY,
        Stopwatch,
        insist,
    )
    from workflows.published import publish

NO_RESULT = ("ResultUnusable", "RunFailed", "NoSuchRemoteJob")
"""Failures that say that there is nothing to fetch, and never will be."""
KEPT = timedelta(days=7)
"""For so long a provider that is away, or refuses, is asked for a late result."""

G = TypeVar("G")
R = TypeVar("R")


class GivenUp(Exception):
    """The job asked for the end of this run."""


class RemoteWait:
    """What a run knows of being told to look, and of being told to give up.

    ``giving_up`` is why nobody waits for an answer, ``quarantined`` why the account waits for a
    person; empty where that is not so.
    """

    def __init__(self, request: RunRequest, watch: Stopwatch) -> None:
        self._request, self._watch = request, watch
        self._looks = self._heard = 0
        self.giving_up = self.quarantined = ""
        self._stands = JobState.SUBMITTED

    def give_up(self, reason: str) -> None:
        """Nobody waits for an answer any more; the first reason stands."""
        self.giving_up = self.giving_up or reason

    def look(self) -> None:
        """It is worth looking at the remote job."""
        self._looks += 1

    def publish(self, state: JobState) -> None:
        """Make the run found where it may stay for long."""
        if state is not JobState.QUARANTINED:
            self._stands = state
        if self._request.published:
            publish(tenant_of(self._request.job_id), state, Rung.HARDWARE.value)

    async def insist(
        self,
        method: Callable[[Any, G], Awaitable[R]],
        given: G,
        heartbeat: timedelta | None = None,
    ) -> R:
        """A step that closes the account: tried until it is closed, or a person closes it."""
        done = await insist(
            self._request.tag,
            method,
            given,
            heartbeat,
            self._stays_open,
            queues=self._request.queues,
        )
        if self.quarantined:
            self.publish(self._stands)
        self.quarantined = ""
        return done

    async def _stays_open(self, pause: float, why: str) -> None:
        if why and not self.quarantined:
            self.publish(JobState.QUARANTINED)
        self.quarantined = why
        self._heard = self._looks
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._looks > self._heard, timeout=pause)

    async def collect(self, job: RemoteJob) -> ArtefactRef:
        """The result of a completed job, within the layer's budget. Raises LayerEnded."""
        return await self._watch.step(
            Layer.RETRIEVAL,
            self._request.budgets.seconds(Layer.RETRIEVAL),
            CollectStep.collect,
            job.provider_job_id,
            attempt=ONE_ATTEMPT,
            rung=Rung.HARDWARE,
        )

    async def fetch(self, job: RemoteJob) -> ArtefactRef | None:
        """The result of a completed job, for as long as it is worth asking.

        None if there is none, or none that can be read.
        """
        pause, until = FIRST_PAUSE, workflow.now() + KEPT
        while (left := until - workflow.now()) > timedelta():
            try:
                return await workflow.execute_activity_method(
                    CollectStep.collect,
                    job.provider_job_id,
                    task_queue=queue_of(CollectStep.collect, self._request.queues),
                    schedule_to_close_timeout=left,
                    start_to_close_timeout=ONE_ATTEMPT,
                    heartbeat_timeout=HEARTBEAT,
                    retry_policy=RETRY,
                )
            except ActivityError as error:
                workflow.logger.warning("late result of %s: %s", job.provider_job_id, error.cause)
                if isinstance(error.cause, ApplicationError) and error.cause.type in NO_RESULT:
                    return None
            await self._stays_open(pause, "")
            pause = min(2 * pause, LONGEST_PAUSE)
        return None

    async def follow(self, layer: Layer, job: RemoteJob) -> Followed:
        """See the job through a layer.

        Args:
            layer: ``QUEUE`` ends when the job runs or has ended, ``EXECUTION`` when it has ended.
            job: the remote job.

        Raises:
            LayerEnded: the layer's budget is over.
            GivenUp: nobody waits for an answer any more.
        """
        budget = self._request.budgets.seconds(layer)
        began = workflow.now()
        try:
            while True:
                # Where the server cannot have an activity tried again at once, a signal comes
                # instead, and another activity takes the place of the one that waits.
                self._heard = self._looks
                followed = await self._step(
                    layer,
                    budget - (workflow.now() - began).total_seconds(),
                    FollowStep.follow,
                    FollowInput(
                        provider_job_id=job.provider_job_id,
                        until_running=layer is Layer.QUEUE,
                        since=workflow.now(),
                        tag=self._request.tag,
                        expected_wait=self._request.expected_wait,
                    ),
                    until=lambda: self._looks > self._heard,
                    budget=budget,
                )
                if followed is not None:
                    return followed
        finally:
            taken = (workflow.now() - began).total_seconds()
            self._watch.note(layer, taken, Rung.HARDWARE)

    async def step(
        self, layer: Layer, seconds: float, method: Callable[[Any, G], Awaitable[R]], given: G
    ) -> R:
        """One step that ends early when the job no longer waits.

        Raises:
            LayerEnded: it failed for good or ran out of time.
            GivenUp: nobody waits for an answer any more.
        """
        return cast(R, await self._step(layer, seconds, method, given, until=lambda: False))

    async def _step(
        self,
        layer: Layer,
        seconds: float,
        method: Callable[[Any, G], Awaitable[R]],
        given: G,
        *,
        until: Callable[[], bool],
        budget: float | None = None,
    ) -> R | None:
        """None if ``until`` came true first; then the activity is given up."""
        if self.giving_up:
            raise GivenUp
        task = asyncio.ensure_future(
            self._watch.step(
                layer,
                seconds,
                method,
                given,
                rung=Rung.HARDWARE,
                attempt=ONE_ATTEMPT,
                budget=budget,
            )
        )
        try:
            await workflow.wait_condition(lambda: task.done() or bool(self.giving_up) or until())
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return await task
        task.cancel()
        if self.giving_up:
            raise GivenUp
        return None
