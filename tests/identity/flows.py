"""Small workflows that take part in identity as the large ones do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from qsaga.core.contract import Contract

with workflow.unsafe.imports_passed_through():
    from workflows.identified import as_caller, caller_token, require_parent

TRY = timedelta(seconds=20)


class Given(Contract):
    """``guarded`` None is what the admission says, ``admitted``."""

    guarded: bool | None = None
    admitted: bool = True
    tenant: str | None = None
    job_id: str = ""


class Heard(Contract):
    admitted_for: str | None = None
    reports: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    child: str = ""


@workflow.defn
class Job:
    @workflow.init
    def __init__(self, given: Given) -> None:
        self.guarded, self.tenant = given.guarded, given.tenant
        self._given = given
        self._admitted_for: str | None = None
        self._reports: list[str] = []
        self._said: list[str] = []
        self._inbox: list[tuple[str | None, str]] = []
        self._ended = False
        self._child = ""

    @workflow.run
    async def run(self, given: Given) -> Heard:
        self._admitted_for = await workflow.execute_activity("admit", start_to_close_timeout=TRY)
        if self.guarded is None:
            self.guarded = given.admitted
        while not (self._ended and workflow.all_handlers_finished() and not self._inbox):
            await workflow.wait_condition(
                lambda: bool(self._inbox) or (self._ended and workflow.all_handlers_finished())
            )
            while self._inbox:
                token, text = self._inbox.pop(0)
                if text == "nobody asked":
                    await self._hear(text)
                    continue
                with as_caller(token):
                    await self._hear(text)
        return Heard(
            admitted_for=self._admitted_for,
            reports=tuple(self._reports),
            said=tuple(self._said),
            child=self._child,
        )

    async def _hear(self, text: str) -> None:
        try:
            who = await workflow.execute_activity(
                "review", result_type=str | None, start_to_close_timeout=TRY
            )
        except ActivityError as error:
            cause = cast("ApplicationError", error.cause)
            who = f"{cause.type}: {cause.message}"
        self._said.append(f"{text} by {who}")

    @workflow.signal
    def say(self, text: str) -> None:
        self._inbox.append((caller_token(), text))

    @workflow.signal
    def end(self) -> None:
        self._ended = True

    @workflow.signal
    def run_reported(self, report: str) -> None:
        self._reports.append(report)

    @workflow.signal
    async def spawn(self, child: str) -> None:
        given = Given(guarded=self._given.admitted, job_id=workflow.info().workflow_id)
        self._child = await workflow.execute_child_workflow(Run.run, given, id=child)

    @workflow.update
    async def decide(self, text: str) -> str:
        local: str | None = await workflow.execute_local_activity(
            "review", result_type=str | None, start_to_close_timeout=TRY
        )
        self._said.append(f"{text} by {local}")
        return f"{text} by {local}"

    @decide.validator
    def _decide_is_good(self, text: str) -> None:
        if not text:
            raise ValueError("text: empty")

    @workflow.update
    async def decide_without_validator(self, text: str) -> str:
        self._said.append(text)
        return text

    @workflow.query
    def heard(self) -> list[str]:
        return [*self._reports, *self._said]


@workflow.defn
class Run:
    @workflow.init
    def __init__(self, given: Given) -> None:
        self.guarded = given.guarded

    @workflow.run
    async def run(self, given: Given) -> str:
        if given.guarded:
            await require_parent(given.job_id)
        job = workflow.get_external_workflow_handle(given.job_id)
        await job.signal("run_reported", "from the run")
        await job.signal("run_reported", "once more")
        done: str = await workflow.execute_activity(
            "submit", result_type=str, start_to_close_timeout=TRY
        )
        return done


@workflow.defn
class Forger:
    """Somebody else's workflow, on his own worker, under the id of a job."""

    @workflow.run
    async def run(self, what: str, queue: str) -> Any:
        if what == "submit":
            return await workflow.execute_activity(
                "submit", task_queue=queue, start_to_close_timeout=TRY
            )
        job_id = workflow.info().workflow_id
        return await workflow.execute_child_workflow(
            "Run", Given(guarded=True, job_id=job_id), id=f"{job_id}-run", task_queue=queue
        )
