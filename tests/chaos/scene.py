"""A scenario played once, with somebody killed at one point, and what became of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
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

from qsaga.core.approval import DECIDE, ApprovalDecision
from qsaga.core.attributes import STATE
from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag
from qsaga.core.results import JobResult
from qsaga.core.runs import QUANTUM_JOB
from qsaga.core.states import JobState, Layer
from tests.chaos.arena import PAUSE, TASK, Arena, until_served
from tests.chaos.books import books, late_results
from tests.chaos.counting import Ended, Truth, count
from tests.chaos.nursery import Forked, Nursery
from tests.chaos.points import Point
from tests.chaos.scenarios import POLICY, Scenario

PATIENCE = 30.0
"""Seconds after its deadline for which a job without an end is waited for."""
CLOSING = 240.0
"""Seconds for the accounts: an activity that does not beat is missed after 150."""
STRIKE = 2.0
"""Seconds for what is done after the last workflow has ended."""

COUNTS = (
    "lost",
    "wrong_state",
    "double_submissions",
    "orphan_remote_jobs",
    "orphan_reservations",
    "unbooked_charges",
    "ledger_difference",
    "deadline_missed",
)


@dataclass
class Outcome:
    """The counts of one scene, and the facts behind those that are not zero.

    Args:
        struck: whether the point was reached, so that somebody was killed.
        counts: by the names of ``COUNTS``; all should be 0.
        places: how often each place was reached, where nobody was to be killed.
        facts: what was found.
        seconds: that it took.
    """

    struck: bool
    counts: dict[str, float]
    places: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Nothing is wrong."""
        return not any(self.counts.values())


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
        self._settings = arena.settings(name, POLICY + scenario.policy)
        self._client = arena.client(self._settings)
        self._tag = deployment_tag(self._settings.deployment)
        self._requests = scenario.requests(self._backend, self._settings.deployment)
        self._first: Forked | None = None
        self._worker: Forked | None = None
        self._places: Counter[str] = Counter()
        self._struck = False
        self._striking = asyncio.Lock()
        self._unasked: list[str] = []
        self._why: dict[str, list[str]] = {}

    @property
    def folder(self) -> Path:
        """Logs and data of the scene."""
        return self._settings.data_dir

    async def play(self) -> Outcome:
        """From the first worker to the counts."""
        began = asyncio.get_running_loop().time()
        length, seconds = self._scenario.queue
        await self._arena.control(
            lambda control: control.set_queue(length, seconds, slots=16, backend=self._backend)
        )
        self._first = self._worker = await self._fork(self._point)
        minding, story = asyncio.create_task(self._mind()), asyncio.create_task(self._story())
        try:
            # Minding ends by itself only where a worker ended that nobody killed.
            await asyncio.wait((minding, story), return_when=asyncio.FIRST_COMPLETED)
        finally:
            async with self._striking:  # a server that was killed is started again in any case
                minding.cancel()
                story.cancel()
            said = await asyncio.gather(minding, story, return_exceptions=True)
            await asyncio.to_thread(self._worker.kill)
        for error in said:
            if isinstance(error, Exception):
                raise error
        outcome = await self._outcome()
        outcome.seconds = round(asyncio.get_running_loop().time() - began, 1)
        return outcome

    async def _story(self) -> None:
        with suppress(TimeoutError):  # then the counts tell what is missing
            async with asyncio.timeout(self._deadline() + PATIENCE):
                await asyncio.gather(*(self._start(request) for request in self._requests))
                await self._scenario.acts(self)
                await self.ended()
            async with asyncio.timeout(CLOSING):
                await _until(self._all_closed)
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
                assert word in ("emulator", "temporal")
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
        return told == waiting or await self._all_ended()

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
        return len(sent) >= len(self._requests) or await self._all_ended()

    async def _all_ended(self) -> bool:
        running = WorkflowExecutionStatus.RUNNING
        found = [await self._described(request.job_id) for request in self._requests]
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
        await _until(self._all_ended)

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

    async def _all_closed(self) -> bool:
        runs = [run for r in self._requests for run in (await self._runs(r.job_id)).values()]
        return all(run.status is not WorkflowExecutionStatus.RUNNING for run in runs)

    async def _state(self, request: JobRequest) -> tuple[str, float]:
        """How a job ended (empty: not), and the seconds that it took."""
        one = await self._described(request.job_id)
        if one is None or one.status is WorkflowExecutionStatus.RUNNING or one.close_time is None:
            return "", 0.0
        handle = self._client.get_workflow_handle(request.job_id, result_type=JobResult)
        try:
            result = await until_served(handle.result)
        except WorkflowFailureError as error:
            return f"workflow {one.status and one.status.name}: {error.cause}", 0.0
        self._why[request.key] = [
            result.decision.reason if result.decision else "",
            *(f"{one.rung} {one.outcome}: {one.reason}" for one in result.attempts),
            result.unanswered.reason if result.unanswered else "",
        ]
        told = result.answer is not None or result.unanswered is not None
        taken = (one.close_time - one.start_time).total_seconds()
        return result.state.value if told else "", taken

    # --- what became of it -----------------------------------------------------------------------

    async def _outcome(self) -> Outcome:
        ended: list[Ended] = []
        states: dict[str, str] = {}
        slow: dict[str, float] = {}
        for request in self._requests:
            state, seconds = await self._state(request)
            states[request.key] = state
            if seconds > self._deadline():
                slow[request.key] = seconds
            runs = await self._runs(request.job_id)
            first = submission_tag(self._settings.deployment, request.job_id, 0)
            ended += [
                Ended(request.job_id, tag, state, one.status.name if one.status else "")
                for tag, one in runs.items()
            ] or [Ended(request.job_id, first, state)]
        jobs = await self._arena.jobs(self._tag)
        posts = await self._arena.control(lambda control: control.posts(tag=self._tag))
        kept = books(self.folder / "qsaga.db")
        truth = Truth(ended=ended, jobs=jobs, posts=posts, **kept)
        return self._counted(truth, states, slow)

    def _counted(self, truth: Truth, states: dict[str, str], slow: dict[str, float]) -> Outcome:
        found = count(truth)
        wanted = self._scenario
        # Where the provider is down another rung answers: what is right then is less certain.
        down = self._point is not None and self._point.victim == "emulator"
        right = {"", wanted.state.value} | ({JobState.DEGRADED.value} if down else set())
        wrong = {key: state for key, state in states.items() if state not in right}
        sent = Counter(next(t for t in job["tags"] if t != self._tag) for job in truth.jobs)
        by_job: Counter[str] = Counter()
        for one in truth.ended:
            by_job[one.job_id] += sent.pop(one.tag, 0)
        too_few = {key: n for key, n in by_job.items() if n < wanted.remote and not down}
        too_many = {key: n for key, n in by_job.items() if n > wanted.remote}
        late, late_wanted = late_results(self.folder / "qsaga.db"), wanted.late * len(states)
        counts: dict[str, float] = {
            "lost": found.counts["lost"] + len(self._unasked),
            "wrong_state": len(wrong)
            + len(too_few)
            + (late > late_wanted or (late < late_wanted and not down)),
            "double_submissions": sum(n - wanted.remote for n in too_many.values()),
            "orphan_remote_jobs": found.counts["orphans"] + sum(sent.values()),
            "orphan_reservations": found.counts["held"],
            "unbooked_charges": found.counts["unbooked_charges"],
            "ledger_difference": found.counts["ledger_difference"] + len(truth.books),
            "deadline_missed": len(slow),
        }
        facts = {
            "states": states,
            "why": self._why,
            "remote_jobs": [
                {name: job.get(name) for name in ("id", "tags", "state", "charged_seconds")}
                for job in truth.jobs
            ],
            "runs": {one.tag: one.run for one in truth.ended},
            "late_results": late,
            "slow": slow,
            "unasked": self._unasked,
            "found": found.detail,
            "folder": str(self.folder),
        }
        return Outcome(self._struck, counts, self._places, facts)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(PAUSE)
