"""A scenario played once, with somebody killed at one point, and what became of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from composition.parts import database_url
from qsaga.core.approval import DECIDE, ApprovalDecision
from qsaga.core.attributes import STATE
from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag, tenant_of
from qsaga.core.results import JobResult
from qsaga.core.runs import QUANTUM_JOB
from qsaga.core.sessions import session_id
from qsaga.core.states import JobState, Layer
from tests.chaos.arena import PAUSE, TASK, Arena, until_served
from tests.chaos.books import books, late_results
from tests.chaos.counting import Ended, Truth
from tests.chaos.nursery import Forked, Nursery
from tests.chaos.points import CLUSTER_VICTIMS, Point
from tests.chaos.scenarios import EMPTY, Scenario
from tests.chaos.verdict import Outcome, Seen, Told, counted

PATIENCE = 30.0
"""Seconds after its deadline for which a job without an end is waited for."""
CLOSING = 90.0
"""Seconds for the accounts: a dead worker is missed after eight, a server is back sooner."""
SELDOM = 1.0
"""Seconds between two looks at what takes long."""
STRIKE = 2.0
"""Seconds for what is done after the last workflow has ended."""


class Scene:
    """One scene on one place of an arena. ``play`` once."""

    def __init__(
        self,
        nursery: Nursery,
        arena: Arena,
        place: int,
        name: str,
        scenario: Scenario,
        point: Point | None,
    ) -> None:
        self._nursery, self._arena, self._scenario = nursery, arena, scenario
        self._point, self._backend = point, arena.backend(place)
        self._settings = arena.settings(name, scenario, place)
        self._client = arena.client(self._settings)
        self._tag = deployment_tag(self._settings.deployment)
        key = self._settings.deployment
        self._requests = scenario.requests(self._backend, key)
        self._earlier = (
            [scenario.request(self._backend, f"{key}.earlier")] if scenario.earlier else []
        )
        self._first: Forked | None = None
        self._worker: Forked | None = None
        self._places: Counter[str] = Counter()
        self._struck = False
        self._striking = asyncio.Lock()
        self._unasked: list[str] = []

    @property
    def folder(self) -> Path:
        """Logs and data of the scene."""
        return self._settings.data_dir

    async def play(self) -> Outcome:
        """From the first worker to the counts."""
        began = asyncio.get_running_loop().time()
        if self._earlier:
            await self._queue(*EMPTY)
            await self._with_worker(None, self._answer(self._earlier))
            self._places.clear()
        await self._queue(*self._scenario.queue)
        await self._with_worker(self._point, self._story())
        outcome = await self._outcome()
        outcome.seconds = round(asyncio.get_running_loop().time() - began, 1)
        return outcome

    async def _queue(self, length: int, seconds: float) -> None:
        await self._arena.control(
            lambda control: control.set_queue(length, seconds, slots=16, backend=self._backend)
        )

    async def _with_worker(self, point: Point | None, story: Coroutine[Any, Any, None]) -> None:
        """Play a story with a worker that follows ``point``, and another if it dies there."""
        self._first = self._worker = await self._fork(point)
        minding, played = asyncio.create_task(self._mind()), asyncio.create_task(story)
        try:
            # Minding ends by itself only where a worker ended that nobody killed.
            await asyncio.wait((minding, played), return_when=asyncio.FIRST_COMPLETED)
        finally:
            async with self._striking:  # a server that was killed is started again in any case
                minding.cancel()
                played.cancel()
            said = await asyncio.gather(minding, played, return_exceptions=True)
            await asyncio.to_thread(self._worker.kill)
        for error in said:
            if isinstance(error, Exception):
                raise error

    async def _answer(self, requests: Sequence[JobRequest]) -> None:
        async with asyncio.timeout(self._deadline() + PATIENCE):
            await asyncio.gather(*(self._start(request) for request in requests))
            await _until(partial(self._have_ended, requests))
            await _until(partial(self._have_closed, requests))

    async def _story(self) -> None:
        with suppress(TimeoutError):  # then the counts tell what is missing
            async with asyncio.timeout(self._deadline() + PATIENCE):
                await asyncio.gather(*(self._start(request) for request in self._requests))
                await self._scenario.acts(self)
                await self.ended()
            async with asyncio.timeout(CLOSING):
                await _until(partial(self._have_closed, self._requests))
            async with asyncio.timeout(STRIKE):
                await _until(self._has_struck)

    async def _has_struck(self) -> bool:
        return self._point is None or self._struck

    def _deadline(self) -> float:
        return self._requests[0].budgets.seconds(Layer.DEADLINE)

    # --- who dies --------------------------------------------------------------------------------

    async def _fork(self, point: Point | None) -> Forked:
        return await self._nursery.fork(self._settings, point, self.folder / "worker.log")

    async def _mind(self) -> None:
        """Kill what the worker says is to be killed; have another worker where one died."""
        while True:
            worker = self._worker
            assert worker is not None
            alive = await asyncio.to_thread(worker.listen, 0.5)
            async with self._striking:
                if not await self._heed(worker, alive=alive):
                    return

    async def _heed(self, worker: Forked, *, alive: bool) -> bool:
        """Do what it said. False if it died although nobody killed it."""
        said, worker.said = worker.said, []
        for word in said:
            if isinstance(word, tuple):
                self._places[word[0]] = max(self._places[word[0]], word[1])
                continue
            if word != "worker":
                assert word in CLUSTER_VICTIMS
                await self._arena.kill(word)
                await asyncio.to_thread(worker.go_on)
                await self._arena.revive(word)
            self._struck = True
        if alive:
            return True
        if not self._struck or worker is not self._first:
            self._unasked.append(f"a worker ended with {worker.process.exitcode}")
            return False
        self._worker = await self._fork(None)
        return True

    # --- what is done from outside (tests.chaos.scenarios.Stage) ---------------------------------

    async def _start(self, request: JobRequest) -> None:
        with suppress(WorkflowAlreadyStartedError):
            await until_served(
                lambda: self._client.start_workflow(
                    QUANTUM_JOB,
                    request,
                    id=request.job_id,
                    task_queue=self._settings.temporal.task_queue,
                    task_timeout=timedelta(seconds=TASK),
                )
            )

    async def asked(self) -> None:
        """Until every job says that it waits for a person, or it ended without."""
        await _until(self._all_ask)

    async def _all_ask(self) -> bool:
        key = SearchAttributeKey.for_keyword(STATE)
        found = [await self._described(request.job_id) for request in self._requests]
        told = [one.typed_search_attributes.get(key) for one in found if one is not None]
        waiting = [JobState.AWAITING_APPROVAL.value] * len(self._requests)
        return told == waiting or await self._have_ended(self._requests)

    async def decide(self, decision: ApprovalDecision, *, update: bool) -> None:
        """A person's word, as an update or as a signal."""
        for request in self._requests:
            handle = self._client.get_workflow_handle(request.job_id)
            if not update:
                with suppress(RPCError):  # it ended without asking
                    await until_served(partial(handle.signal, DECIDE, decision))
                continue
            # Its id keeps it from counting twice; if it did, the second would be refused.
            with suppress(WorkflowUpdateFailedError, RPCError):
                await until_served(partial(handle.execute_update, DECIDE, decision, id="word"))

    async def sent(self) -> None:
        """Until the emulator has a job of each of ours, or it ended without one."""
        await _until(self._all_sent)

    async def _all_sent(self) -> bool:
        sent = await self._arena.jobs(self._tag)
        return len(sent) >= len(self._requests) or await self._have_ended(self._requests)

    async def _have_ended(self, requests: Sequence[JobRequest]) -> bool:
        running = WorkflowExecutionStatus.RUNNING
        found = [await self._described(request.job_id) for request in requests]
        return all(one is not None and one.status is not running for one in found)

    async def cancel(self) -> None:
        """As the caller."""
        for request in self._requests:
            handle = self._client.get_workflow_handle(request.job_id)
            with suppress(RPCError):  # it has ended
                await until_served(handle.cancel)

    async def cancel_refused(self) -> None:
        """Until the emulator has let a job of ours win against its cancellation."""
        await _until(self._all_refused)

    async def _all_refused(self) -> bool:
        return all(job["lost_race"] for job in await self._arena.jobs(self._tag))

    async def ended(self) -> None:
        """Until all jobs have ended."""
        await _until(partial(self._have_ended, self._requests))

    async def drain(self) -> None:
        """What waits at the emulator starts."""
        await self._arena.control(lambda control: control.set_queue(0, backend=self._backend))

    # --- what Temporal knows ---------------------------------------------------------------------

    async def _described(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await until_served(self._client.get_workflow_handle(workflow_id).describe)
        except RPCError:
            return None

    async def _runs(self, job_id: str) -> dict[str, WorkflowExecutionDescription]:
        """Every run of a job, by its tag."""
        found: dict[str, WorkflowExecutionDescription] = {}
        while True:
            tag = submission_tag(self._settings.deployment, job_id, len(found))
            one = await self._described(tag)
            if one is None:
                return found
            found[tag] = one

    async def _owners(self) -> dict[str, WorkflowExecutionDescription]:
        """The owners of the sessions that were asked for, by their ids."""
        found: dict[str, WorkflowExecutionDescription] = {}
        for request in self._requests:
            if (terms := request.session) is not None:
                tenant = tenant_of(request.job_id)
                name = session_id(self._tag, tenant, terms.key, self._backend)
                if (one := await self._described(name)) is not None:
                    found[name] = one
        return found

    async def _have_closed(self, requests: Sequence[JobRequest]) -> bool:
        runs = [run for r in requests for run in (await self._runs(r.job_id)).values()]
        every = [*runs, *(await self._owners()).values()]
        return all(one.status is not WorkflowExecutionStatus.RUNNING for one in every)

    async def _told(self, request: JobRequest) -> Told:
        one = await self._described(request.job_id)
        if one is None or one.status is WorkflowExecutionStatus.RUNNING or one.close_time is None:
            return Told()
        handle = self._client.get_workflow_handle(request.job_id, result_type=JobResult)
        try:
            result = await until_served(handle.result)
        except WorkflowFailureError as error:
            return Told(state=f"workflow {one.status and one.status.name}: {error.cause}")
        ended = result.answer is not None or result.unanswered is not None
        return Told(
            state=result.state.value if ended else "",
            served=result.provenance.source.value if result.provenance else "",
            seconds=(one.close_time - one.start_time).total_seconds(),
            why=[
                result.decision.reason if result.decision else "",
                *(f"{one.rung} {one.outcome}: {one.reason}" for one in result.attempts),
                result.unanswered.reason if result.unanswered else "",
            ],
        )

    # --- what became of it -----------------------------------------------------------------------

    async def _outcome(self) -> Outcome:
        ended: list[Ended] = []
        told: dict[str, Told] = {}
        for request in (*self._earlier, *self._requests):
            told[request.job_id] = await self._told(request)
            state = told[request.job_id].state
            runs = await self._runs(request.job_id)
            first = submission_tag(self._settings.deployment, request.job_id, 0)
            ended += [
                Ended(request.job_id, tag, state, one.status.name if one.status else "")
                for tag, one in runs.items()
            ] or [Ended(request.job_id, first, state)]
        for request in self._earlier:
            del told[request.job_id]
        jobs = await self._arena.jobs(self._tag)
        posts = await self._arena.control(lambda control: control.posts(tag=self._tag))
        truth = Truth(ended=ended, jobs=jobs, posts=posts, **books(database_url(self._settings)))
        seen = Seen(
            told=told,
            late=late_results(database_url(self._settings)),
            open_sessions=await self._open_sessions({job["id"] for job in jobs}),
            unasked=[*self._unasked, *await self._owners_at_work()],
        )
        down = self._point is not None and self._point.victim == "emulator"
        counts, facts = counted(self._scenario, truth, seen, self._deadline(), down=down)
        facts["folder"] = str(self.folder)
        return Outcome(self._struck, counts, self._places, facts)

    async def _owners_at_work(self) -> list[str]:
        completed = WorkflowExecutionStatus.COMPLETED
        owners = (await self._owners()).items()
        return [f"{name} is {one.status}" for name, one in owners if one.status is not completed]

    async def _open_sessions(self, ours: set[str]) -> list[str]:
        """Those in which a job of ours was: one without jobs holds nothing and costs nothing."""
        sessions = await self._arena.open_sessions()
        return [one["id"] for one in sessions if ours & {job["id"] for job in one["jobs"]}]


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    pause = PAUSE
    while not await holds():
        await asyncio.sleep(pause)
        # A scene that waits for a dead worker to be missed waits for half a minute.
        pause = min(pause * 1.1, SELDOM)
