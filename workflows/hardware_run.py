"""One hardware submission, from the circuit to a closed account."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError, FailureError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.contract import ArtefactRef
    from qsaga.core.jobs import tenant_of
    from qsaga.core.ports import RemoteJob, RemoteState
    from qsaga.core.remote_steps import (
        CancelInput,
        CancelStep,
        Followed,
        Settled,
        SettleInput,
        SettleStep,
        SubmitInput,
        SubmitStep,
        Submitted,
    )
    from qsaga.core.results import Transition
    from qsaga.core.runs import (
        GIVE_UP,
        HARDWARE_RUN,
        LOOK,
        RUN_REPORTED,
        STATUS,
        RunReport,
        RunRequest,
        RunStatus,
    )
    from qsaga.core.settling import booked_before, settlement, with_late
    from qsaga.core.states import JobState, Layer, Rung
    from qsaga.core.steps import CompiledCircuit, CompileInput, CompileStep, Raw
    from workflows.arguments import checked
    from workflows.identified import require_parent
    from workflows.layers import (
        HEARTBEAT,
        ONE_ATTEMPT,
        LayerEnded,
        Stopwatch,
        quickly,
        unbroken,
    )
    from workflows.remote_wait import NO_RESULT, GivenUp, RemoteWait
    from workflows.session_use import SessionUse

OPERATOR = "cancelled by an operator"
KEPT_LATE = "late-results-after-settling"
"""Patch: what is paid for is kept, also when the account has been settled without it."""


@workflow.defn(name=HARDWARE_RUN, failure_exception_types=[ValidationError])
class HardwareRun:
    """Owes the account a closed book.

    Submits or adopts, waits, fetches or cancels, and records what was charged. When it cannot
    answer in time it says so to the job at once and lives on until the remote side is settled.
    """

    @workflow.init
    @checked
    def __init__(self, request: RunRequest) -> None:
        self._request = request
        self._watch = Stopwatch(request.queues)
        self._wait = RemoteWait(request, self._watch)
        self._session = SessionUse(request, self._wait)
        self._report_wanted = False
        self._submission_began = False
        self._told: RunReport | None = None
        self._submitted: Submitted | None = None
        self._remote: RemoteJob | None = None
        self._state = JobState.ENCODED
        self._transitions: list[Transition] = []
        self._stored: tuple[ArtefactRef, ...] = ()
        self._account: SettleInput | None = None
        self._overdue: RemoteJob | None = None
        self._closed = False
        self.guarded: bool | None = request.guarded

    @workflow.run
    async def run(self, request: RunRequest) -> RunReport:
        """Answer if possible; settle in every case."""
        if request.guarded:
            await require_parent(request.job_id)
        if request.only_close:
            # Another run of the tag was ended from outside: what it began is unknown.
            self._wait.give_up(request.only_close)
            self._submission_began = True
            return await self._end(self._report("abandoned", request.only_close))
        try:
            raw = await self._answer()
            report = self._report("answered", raw=raw)
        except LayerEnded as end:
            report = self._report(
                "timed_out" if end.timed_out else "failed", end.reason, layer=end.layer
            )
        except GivenUp:
            report = self._report("abandoned", self._wait.giving_up)
        except asyncio.CancelledError:
            self._wait.give_up(OPERATOR)
            report = self._report("abandoned", self._wait.giving_up)
        return await self._end(report)

    @workflow.signal(name=GIVE_UP)
    def give_up(self, reason: str) -> None:
        """The job no longer waits: end the remote job and settle."""
        self._wait.give_up(reason)

    @workflow.signal
    async def report_to_job(self) -> None:
        """A job that was reset asks to be told the outcome by signal, also once more."""
        self._report_wanted = True
        if self._told is not None:
            await self._tell_job(self._told)

    @workflow.signal(name=LOOK)
    def look(self) -> None:
        """Something may have changed at the provider, or a person has said what he found out."""
        self._wait.look()

    @workflow.query(name=STATUS)
    def status(self) -> RunStatus:
        """Where the run stands."""
        return RunStatus(
            run_id=self._request.tag,
            state=JobState.QUARANTINED if self._wait.quarantined else self._state,
            remote=self._remote,
            giving_up=self._wait.giving_up,
            quarantined=self._wait.quarantined,
            account_closed=self._closed,
            transitions=tuple(self._transitions),
        )

    # --- towards an answer -------------------------------------------------------------------

    async def _answer(self) -> Raw:
        compiled = await self._compile()
        submitted = await self._submit(compiled)
        followed = await self._until_completed(submitted)
        result = followed.result
        if result is None:
            result, _ = await unbroken(self._wait.collect(followed.job))
        return Raw(
            rung=Rung.HARDWARE,
            provider=submitted.provider,
            result=result,
            backend=followed.job.backend,
            run_id=self._request.tag,
            provider_job_ids=(followed.job.provider_job_id,),
            circuit=compiled.facts,
            isa_circuit=compiled.isa,
            calibration=compiled.calibration,
        )

    async def _compile(self) -> CompiledCircuit:
        given = self._request
        budget = given.budgets.seconds(Layer.COMPILE)
        compiled = await self._wait.step(
            Layer.COMPILE,
            budget,
            CompileStep.compile,
            CompileInput(
                circuit=given.circuit,
                backend=given.backend,
                seed=given.seed,
                spec=given.spec,
                tenant=tenant_of(given.job_id),
            ),
        )
        self._stored = tuple(ref for ref in (compiled.isa, compiled.calibration) if ref)
        self._enter(JobState.COMPILED)
        return compiled

    async def _submit(self, compiled: CompiledCircuit) -> Submitted:
        session = await self._session.join()
        try:
            return await self._send(compiled, session)
        except LayerEnded as end:
            if session is None or end.kind != "PermanentProviderError":
                raise
            # Perhaps because the provider has ended the session: its owner finds out.
            return await self._send(compiled, await self._session.join(stale=session))

    async def _send(self, compiled: CompiledCircuit, session: str | None) -> Submitted:
        # Never interrupted: a submission that is under way must be seen to its end, or nobody
        # would know what to cancel.
        if self._wait.giving_up:
            raise GivenUp
        given = self._request
        budget = given.budgets.seconds(Layer.SUBMIT)
        self._submission_began = True
        step = self._watch.step(
            Layer.SUBMIT,
            budget,
            SubmitStep.submit,
            SubmitInput(
                job_id=given.job_id,
                tag=given.tag,
                deployment_tag=given.deployment_tag,
                isa=compiled.isa,
                layout=compiled.facts.layout,
                backend=given.backend,
                spec=given.spec,
                session=session,
            ),
            attempt=ONE_ATTEMPT,
            rung=Rung.HARDWARE,
        )
        submitted, cancelled = await unbroken(step)
        self._submitted = submitted
        if cancelled:
            self._wait.give_up(OPERATOR)
        self._enter(JobState.SUBMITTED)
        self._see(submitted.job)
        if not submitted.job.state.ended:
            self._wait.publish(self._state)
        if self._wait.giving_up:
            raise GivenUp
        return submitted

    async def _until_completed(self, submitted: Submitted) -> Followed:
        followed = await self._wait.follow(Layer.QUEUE, submitted.job)
        self._see(followed.job)
        if not followed.job.state.ended:
            self._wait.publish(self._state)
            followed = await self._wait.follow(Layer.EXECUTION, submitted.job)
            self._see(followed.job)
        job = followed.job
        if job.state is not RemoteState.COMPLETED:
            raise LayerEnded(
                Layer.EXECUTION,
                f"the remote job ended as {job.state.value}"
                + (f": {job.reason}" if job.reason else ""),
                timed_out=False,
            )
        return followed

    # --- towards a closed account ------------------------------------------------------------

    async def _end(self, report: RunReport) -> RunReport:
        """Close the account. Nothing interrupts that, a cancellation neither."""
        if report.account_open:
            with suppress(asyncio.CancelledError, CancelledError):
                await self._tell_job(report)
        closed, _ = await unbroken(self._close(report))
        return closed

    async def _close(self, report: RunReport) -> RunReport:
        if self._submission_began:
            if report.raw is not None:
                settled = await self._settle_answered(report, report.raw)
            else:
                if self._told is None:
                    await self._tell_job(report)
                settled = await self._close_account()
            report = report.model_copy(update={"cost": settled.cost, "account": settled})
        elif self._request.hold:
            await self._settle(self._settlement())
        self._closed = True
        await self._session.leave()
        while True:
            if self._report_wanted and self._told is None:
                await self._tell_job(report)
            await workflow.wait_condition(workflow.all_handlers_finished)
            if not self._owes_result(report):
                return report
            report = report.model_copy(update={"account": await self._keep_late(report)})

    async def _settle_answered(self, report: RunReport, raw: Raw) -> Settled:
        while True:
            # The job may have gone on, or go on now: then the result is a late one.
            late = raw.result if self._wait.giving_up else None
            given = self._settlement((self._remote,) if self._remote else (), answered=True)
            given = with_late(given, self._request, late)
            try:
                settled = await quickly(SettleStep.settle, given, self._request.queues)
            except FailureError:  # no ActivityError, where a local activity raised it
                # The books cannot be written now; the answer must not wait for them.
                await self._tell_job(report.model_copy(update={"account_open": True}))
                settled = await self._settle(given)
            if late is not None or not self._wait.giving_up:
                return settled

    async def _close_account(self) -> Settled:
        given = self._request
        known = self._submitted.job.provider_job_id if self._submitted else None
        ended = await self._wait.insist(
            CancelStep.cancel_remote,
            CancelInput(
                tag=given.tag,
                provider_job_id=known,
                since=workflow.now(),
                job_id=given.job_id,
            ),
            heartbeat=HEARTBEAT,
        )
        finished = next((j for j in ended.jobs if j.state is RemoteState.COMPLETED), None)
        late = await self._collect_late(finished) if finished else None
        own = tuple(j for j in ended.jobs if j.provider_job_id == known) or ended.jobs[:1]
        extras = tuple(j for j in ended.jobs if j not in own)
        account = self._settlement(own, extras=extras, decided_by=ended.decided_by)
        return await self._settle(with_late(account, given, late))

    async def _settle(self, given: SettleInput) -> Settled:
        return await self._wait.insist(SettleStep.settle, given, heartbeat=HEARTBEAT)

    def _settlement(self, jobs: tuple[RemoteJob, ...] = (), **more: Any) -> SettleInput:
        self._account = settlement(
            self._request,
            workflow.now(),
            jobs,
            sent=self._submission_began,
            submitted=self._submitted,
            **more,
        )
        return self._account

    # --- a result that nobody waits for -----------------------------------------------------

    async def _collect_late(self, job: RemoteJob) -> ArtefactRef | None:
        self._see(job)
        try:
            return await self._wait.collect(job)
        except LayerEnded as end:
            workflow.logger.warning("no late result of %s: %s", job.provider_job_id, end.reason)
            # The books do not wait for what the provider will tell once it is back.
            self._overdue = None if end.kind in NO_RESULT else job
            return None

    def _owes_result(self, report: RunReport) -> bool:
        """Whether what was paid for is still to be kept."""
        settled = report.account
        if settled is None or settled.late is not None:
            return False
        unwanted = report.raw is not None and bool(self._wait.giving_up)
        return (unwanted or self._overdue is not None) and workflow.patched(KEPT_LATE)

    async def _keep_late(self, report: RunReport) -> Settled | None:
        job, self._overdue = self._overdue, None
        late = report.raw.result if report.raw else None
        if job is not None:
            late = await self._wait.fetch(job)
        if late is None or self._account is None:
            return report.account
        account = booked_before(self._account, report.account, workflow.now())
        return await self._settle(with_late(account, self._request, late))

    # --- telling -----------------------------------------------------------------------------

    async def _tell_job(self, report: RunReport) -> None:
        job = workflow.get_external_workflow_handle(self._request.job_id)
        try:
            await job.signal(RUN_REPORTED, report)
            self._told = report
        except ApplicationError as error:  # a job that has ended needs no report
            workflow.logger.info("job %s not told: %s", self._request.job_id, error)

    def _report(
        self,
        outcome: Literal["answered", "failed", "timed_out", "abandoned"],
        reason: str = "",
        *,
        layer: Layer | None = None,
        raw: Raw | None = None,
    ) -> RunReport:
        return RunReport(
            run_id=self._request.tag,
            outcome=outcome,
            reason=reason,
            layer=layer,
            raw=raw,
            transitions=tuple(self._transitions),
            timings=tuple(self._watch.timings),
            artefacts=self._stored,
            account_open=raw is None and self._submission_began,
        )

    def _see(self, job: RemoteJob) -> None:
        self._remote = job
        if job.state is RemoteState.QUEUED:
            self._enter(JobState.QUEUED)
        elif job.running is not None or job.state is RemoteState.RUNNING:
            self._enter(JobState.RUNNING)

    def _enter(self, state: JobState) -> None:
        if state is not self._state:
            self._state = state
            self._transitions.append(Transition(state=state, at=workflow.now()))
