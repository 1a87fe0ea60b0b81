"""One accountable request, from admission to its closing record."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.attributes import ROUTE, STATE, TENANT
    from qsaga.core.contract import ArtefactRef
    from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag
    from qsaga.core.outcome import FALLBACK_LAYER
    from qsaga.core.results import JobResult, JobStatus
    from qsaga.core.runs import (
        GIVE_UP,
        QUANTUM_JOB,
        RUN_REPORTED,
        STATUS,
        RunReport,
        RunRequest,
    )
    from qsaga.core.states import JobState, Layer, Rung
    from qsaga.core.steps import (
        Admission,
        AdmitInput,
        AdmitStep,
        CloseInput,
        CloseStep,
        Encoded,
        EncodeInput,
        EncodeStep,
        Raw,
        SimulateInput,
        SimulateStep,
        SolveInput,
        SolveStep,
        VerifyInput,
        VerifyStep,
    )
    from qsaga.core.timing import fallback_reserve, solver_seconds
    from workflows.hardware_run import HardwareRun
    from workflows.job_log import JobLog
    from workflows.layers import LayerEnded, Stopwatch, unbroken

NO_JOB = ("InvalidRequest", "KeyConflict")
"""Refusals that leave no job behind: the key is free for a better request."""
PUBLISHED_RUNGS = 2
"""Of so many rungs the start is published; with the end, three upserts at most."""
LOCAL_TRY = timedelta(seconds=5)
REMOTE_TRY = timedelta(seconds=60)
SOLVER_SLACK = 15.0


@workflow.defn(name=QUANTUM_JOB, failure_exception_types=[ValidationError])
class QuantumJob:
    """Owes the caller an answer by the deadline, or the reason why there is none."""

    @workflow.init
    def __init__(self, request: JobRequest) -> None:
        if not isinstance(request, JobRequest):  # a null payload gets past every type hint
            raise ApplicationError(
                "request: missing (allowed: a JobRequest)",
                type="InvalidRequest",
                non_retryable=True,
            )
        self._request = request
        # Of the request, not of the first worker that took it up: the deadline counts from here.
        self._began = workflow.info().workflow_start_time
        self._log = JobLog(request, workflow.info().workflow_id, self._began)
        self._watch = Stopwatch()
        self._log.timings = self._watch.timings
        self._reports: dict[str, RunReport] = {}
        self._runs: dict[str, asyncio.Future[Any]] = {}
        self._run_requests: dict[str, RunRequest] = {}
        self._cancelled = self._refused = False

    @workflow.run
    async def run(self, request: JobRequest) -> JobResult:
        """Admit, encode, try the ladder, close."""
        if workflow.info().workflow_id != request.job_id:
            raise ApplicationError(
                f"workflow id: must be tenant/key, {request.job_id!r}, "
                f"not {workflow.info().workflow_id!r}",
                type="InvalidRequest",
                non_retryable=True,
            )
        try:
            admission = await self._admit()
            if admission.closed is not None:
                return self._log.closed(admission.closed)
            encoded = await self._encode(admission)
            for rung in admission.decision.ladder:
                if await self._attempt(rung, admission, encoded):
                    break
        except LayerEnded as end:
            self._stop(end)
        except asyncio.CancelledError:
            self._cancelled = True
        return await self._close()

    @workflow.query(name=STATUS)
    def status(self) -> JobStatus:
        """Where the job stands."""
        return self._log.status()

    @workflow.signal(name=RUN_REPORTED)
    def run_reported(self, report: RunReport) -> None:
        """A HardwareRun says that it will not answer in time, or how it went."""
        self._reports.setdefault(report.run_id, report)

    # --- before the ladder -------------------------------------------------------------------

    async def _admit(self) -> Admission:
        budget = self._budget(Layer.ADMIT)
        admission = await self._watch.step(
            Layer.ADMIT,
            budget,
            AdmitStep.admit,
            AdmitInput(request=self._request, job_id=self._log.job_id, at=self._began),
        )
        self._log.decision = admission.decision
        self._enter(JobState.ADMITTED)
        return admission

    async def _encode(self, admission: Admission) -> Encoded:
        budget = self._budget(Layer.ENCODE)
        self._log.encoded = encoded = await self._watch.step(
            Layer.ENCODE,
            budget,
            EncodeStep.encode,
            EncodeInput(
                workload=self._request.workload,
                circuit_wanted=any(r is not Rung.ANNEALING for r in admission.decision.ladder),
                max_seconds=self._request.budgets.execution_limit(),
            ),
        )
        self._enter(JobState.ENCODED)
        return encoded

    def _stop(self, end: LayerEnded) -> None:
        refused = end.kind in NO_JOB
        if refused and self._log.decision is None:
            raise end.as_failure()
        # Once admitted, the key is taken and its row needs an end.
        self._refused = refused or end.kind == "PolicyRefused"
        self._log.last_end = end

    # --- the ladder --------------------------------------------------------------------------

    async def _attempt(self, rung: Rung, admission: Admission, encoded: Encoded) -> bool:
        self._log.rung = rung
        self._enter(JobState.ENCODED)
        if len(self._log.attempts) < PUBLISHED_RUNGS:
            self._publish(rung)
        try:
            raw = await self._raw(rung, admission, encoded)
            await self._verify(raw, encoded)
        except LayerEnded as end:
            self._log.rung_ended(rung, end)
            return False
        except asyncio.CancelledError:
            self._log.rung_abandoned(rung, "the job was cancelled")
            raise
        return True

    async def _raw(self, rung: Rung, admission: Admission, encoded: Encoded) -> Raw:
        if self._left() <= 0:
            raise LayerEnded(Layer.DEADLINE, "the deadline has passed", timed_out=True)
        match rung:
            case Rung.HARDWARE:
                return await self._hardware(admission, encoded)
            case Rung.SIMULATOR:
                return await self._simulate(encoded)
            case Rung.ANNEALING:
                return await self._anneal(encoded)

    async def _hardware(self, admission: Admission, encoded: Encoded) -> Raw:
        run_id = self._new_run_id(admission)
        starting = asyncio.ensure_future(self._start_run(run_id, admission, encoded))
        try:
            run = await asyncio.shield(starting)
            await workflow.wait_condition(
                lambda: run.done() or run_id in self._reports,
                timeout=max(0.1, self._left() - self._reserve(admission)),
            )
        except TimeoutError:
            ended, cancelled = await unbroken(
                self._abandon(run_id, "the deadline of the job is near")
            )
            if cancelled:
                raise asyncio.CancelledError from None
            if not ended:
                raise LayerEnded(
                    Layer.DEADLINE, "the hardware did not answer in time", timed_out=True
                ) from None
        except asyncio.CancelledError:
            await starting  # a run that does not exist yet could not be told
            await self._abandon(run_id, "the job was cancelled")
            raise
        return await self._raw_of(run_id, self._runs[run_id])

    def _new_run_id(self, admission: Admission) -> str:
        self._log.run_id = submission_tag(admission.deployment, self._log.job_id, len(self._runs))
        return self._log.run_id

    async def _raw_of(self, run_id: str, run: asyncio.Future[Any]) -> Raw:
        try:
            report = self._reports.get(run_id) or await run
        except ChildWorkflowError as error:
            # Terminated, most likely, with its account open: another run closes that.
            _, cancelled = await unbroken(self._close_after(run_id))
            if cancelled:
                raise asyncio.CancelledError from error
            raise LayerEnded(
                Layer.EXECUTION, f"the hardware run was ended: {error.cause}", timed_out=False
            ) from error
        self._log.heard(report)
        if report.raw is None:
            raise LayerEnded(
                report.layer or Layer.EXECUTION,
                report.reason,
                timed_out=report.outcome == "timed_out",
            )
        self._log.costs.append(report.cost)
        return report.raw

    async def _start_run(
        self, tag: str, admission: Admission, encoded: Encoded
    ) -> asyncio.Future[Any]:
        request = RunRequest(
            job_id=self._log.job_id,
            tag=tag,
            deployment_tag=deployment_tag(admission.deployment),
            workload=self._request.workload,
            circuit=_circuit(encoded),
            model=encoded.model,
            spec=encoded.spec,
            backend=admission.decision.backend or "",
            seed=self._request.seed,
            budgets=self._request.budgets,
            listing_grace=admission.grace,
        )
        self._run_requests[tag] = request
        self._runs[tag] = run = await self._run_of(request)
        return run

    async def _run_of(self, request: RunRequest) -> asyncio.Future[Any]:
        while True:
            try:
                return await workflow.start_child_workflow(
                    HardwareRun.run,
                    request,
                    id=request.tag,
                    # A run of that tag that has ended may be repeated: it looks the tag up and
                    # adopts what it finds, so nothing is submitted twice.
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                )
            except WorkflowAlreadyStartedError:
                # This job was reset while its run went on: ask that one to report here. If it
                # has ended meanwhile, it may be started again.
                with suppress(ApplicationError):
                    other = workflow.get_external_workflow_handle(request.tag)
                    await other.signal("report_to_job")
                    return asyncio.Future()

    async def _close_after(self, run_id: str) -> None:
        """Have the account closed that a run left open when it was ended from outside."""
        only_close = {"only_close": "the run before this one was ended from outside"}
        request = self._run_requests[run_id].model_copy(update=only_close)
        self._runs[run_id] = await self._run_of(request)
        self._log.open_accounts.append(run_id)

    async def _abandon(self, run_id: str, reason: str) -> bool:
        """Ask a run to end. True if it had already ended by itself, so it has a report."""
        handle = workflow.get_external_workflow_handle(run_id)
        try:
            await handle.signal(GIVE_UP, reason)
        except ApplicationError:
            return self._runs[run_id].done()
        self._log.open_accounts.append(run_id)
        return False

    async def _simulate(self, encoded: Encoded) -> Raw:
        budget = self._budget(Layer.SIMULATE)
        self._enter(JobState.RUNNING)
        raw = await self._watch.step(
            Layer.SIMULATE,
            budget,
            SimulateStep.simulate,
            SimulateInput(circuit=_circuit(encoded), spec=encoded.spec, seed=self._request.seed),
            rung=Rung.SIMULATOR,
        )
        self._log.costs.append(raw.cost)
        return raw

    async def _anneal(self, encoded: Encoded) -> Raw:
        if encoded.model is None:
            raise LayerEnded(Layer.SOLVE, "nothing to anneal: no binary model", timed_out=False)
        seconds = solver_seconds(self._request.budgets, self._left())
        budget = min(seconds + SOLVER_SLACK, max(self._left(), seconds))
        self._enter(JobState.RUNNING)
        raw = await self._watch.step(
            Layer.SOLVE,
            budget,
            SolveStep.solve,
            SolveInput(model=encoded.model, seconds=seconds, seed=self._request.seed),
            rung=Rung.ANNEALING,
        )
        self._log.costs.append(raw.cost)
        return raw

    async def _verify(self, raw: Raw, encoded: Encoded) -> None:
        budget = self._budget(Layer.POSTPROCESS)
        self._enter(JobState.POSTPROCESSING)
        verified = await self._watch.step(
            Layer.POSTPROCESS,
            budget,
            VerifyStep.verify,
            VerifyInput(workload=self._request.workload, model=encoded.model, raw=raw),
            rung=raw.rung,
        )
        self._log.answered(raw, verified)

    # --- the end -----------------------------------------------------------------------------

    async def _close(self) -> JobResult:
        result = self._log.result(
            workflow.now(),
            cancelled=self._cancelled,
            refused=self._refused,
            closed_accounts={tag for tag, run in self._runs.items() if run.done()},
        )
        self._publish(self._log.rung)
        given = CloseInput(result=result)
        # A cancellation that arrives here must not take the result away: it comes only once.
        for record in (self._close_locally, self._close_locally, self._close_remotely):
            try:
                await record(given)
                break
            except (ActivityError, asyncio.CancelledError) as error:
                workflow.logger.warning("closing record of %s: %s", self._log.job_id, error)
        return result

    async def _close_locally(self, given: CloseInput) -> None:
        await workflow.execute_local_activity_method(
            CloseStep.close, given, schedule_to_close_timeout=LOCAL_TRY
        )

    async def _close_remotely(self, given: CloseInput) -> None:
        await workflow.execute_activity_method(
            CloseStep.close, given, schedule_to_close_timeout=REMOTE_TRY
        )

    # --- small things ------------------------------------------------------------------------

    def _enter(self, state: JobState) -> None:
        self._log.enter(state, workflow.now())

    def _left(self) -> float:
        """Seconds to the deadline."""
        used = (workflow.now() - self._began).total_seconds()
        return self._request.budgets.seconds(Layer.DEADLINE) - used

    def _budget(self, layer: Layer) -> float:
        return min(self._request.budgets.seconds(layer), self._left())

    def _reserve(self, admission: Admission) -> float:
        ladder = admission.decision.ladder
        later = ladder[ladder.index(Rung.HARDWARE) + 1 :]
        return fallback_reserve(self._request.budgets, FALLBACK_LAYER[later[0]] if later else None)

    def _publish(self, rung: Rung | None) -> None:
        workflow.upsert_search_attributes(
            [
                SearchAttributeKey.for_keyword(TENANT).value_set(self._request.tenant),
                SearchAttributeKey.for_keyword(ROUTE).value_set(rung.value if rung else "none"),
                SearchAttributeKey.for_keyword(STATE).value_set(self._log.state.value),
            ]
        )


def _circuit(encoded: Encoded) -> ArtefactRef:
    if encoded.circuit is None:
        raise LayerEnded(Layer.ENCODE, "no circuit was built for this job", timed_out=False)
    return encoded.circuit
