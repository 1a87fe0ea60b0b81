"""One accountable request, from admission to its closing record."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.admission import Admission, AdmitInput, AdmitStep, ReadmitInput, ReadmitStep
    from qsaga.core.approval import (
        DECIDE,
        ApprovalDecision,
        ApprovalTerms,
        Decided,
        approved_ceiling,
    )
    from qsaga.core.asking import approval_request, refusal_text
    from qsaga.core.attributes import ROUTE, STATE, TENANT
    from qsaga.core.jobs import JobRequest
    from qsaga.core.outcome import FALLBACK_LAYER
    from qsaga.core.results import JobResult, JobStatus
    from qsaga.core.runs import (
        QUANTUM_JOB,
        RUN_REPORTED,
        STATUS,
        RunReport,
    )
    from qsaga.core.states import JobState, Layer, Rung
    from qsaga.core.steps import (
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
    from workflows.approval import ApprovalDesk
    from workflows.hardware_rung import HardwareRung, circuit_of
    from workflows.job_log import JobLog
    from workflows.layers import LOCAL_TRY, REFUSALS, LayerEnded, Stopwatch, unbroken

NO_JOB = ("InvalidRequest", "KeyConflict", "Unauthenticated", "Forbidden")
"""Refusals that leave no job behind: the key is free for a better request."""
ABANDON = workflow.HandlerUnfinishedPolicy.ABANDON
"""A signal to a job that is refused leaves no trace."""
PUBLISHED_RUNGS = 2
"""Of so many rungs the start is published; with the end, three upserts at most."""
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
        self._hardware = HardwareRung(request, self._log)
        self._cancelled = self._refused = False
        self._desk = ApprovalDesk()
        self._account = workflow.info().run_id
        self.tenant = request.tenant
        self.guarded: bool | None = None

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
            if (terms := admission.decision.approval) is not None:
                admission = await self._approved(admission, terms)
            self._enter(JobState.ADMITTED)
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
        return self._log.status(self._desk.record)

    @workflow.update(name=DECIDE)
    async def decide(self, decision: ApprovalDecision) -> Decided:
        """An approver's word; returns what came of it."""
        return await self._desk.decide(decision)

    @decide.validator
    def _may_decide(self, decision: ApprovalDecision) -> None:
        if not isinstance(decision, ApprovalDecision):  # a null payload
            raise ApplicationError(
                "decision: missing (allowed: an ApprovalDecision)",
                type="InvalidRequest",
                non_retryable=True,
            )
        if why := self._desk.refusal(decision):
            raise ApplicationError(why, type="PolicyRefused", non_retryable=True)

    @workflow.signal(name=DECIDE, unfinished_policy=ABANDON)
    async def decide_by_signal(self, decision: ApprovalDecision) -> None:
        """The same by signal: what came of it shows in the job's status."""
        if isinstance(decision, ApprovalDecision):  # and not a null payload
            await self._desk.decide(decision)

    @workflow.signal(name=RUN_REPORTED, unfinished_policy=ABANDON)
    def run_reported(self, report: RunReport) -> None:
        """A HardwareRun says that it will not answer in time, or how it went."""
        self._hardware.heard(report)

    # --- before the ladder -------------------------------------------------------------------

    async def _admit(self) -> Admission:
        budget = self._budget(Layer.ADMIT)
        admission = await self._watch.step(
            Layer.ADMIT,
            budget,
            AdmitStep.admit,
            AdmitInput(
                request=self._request,
                job_id=self._log.job_id,
                at=self._began,
                account=self._account,
            ),
        )
        self._log.submitter, self.guarded = admission.submitter, admission.guarded
        return self._take(admission)

    def _take(self, admission: Admission) -> Admission:
        self._log.decision = admission.decision
        self._account = admission.account
        if admission.refused:
            raise LayerEnded(Layer.ADMIT, admission.refused, timed_out=False, kind="BudgetExceeded")
        return admission

    async def _approved(self, admission: Admission, terms: ApprovalTerms) -> Admission:
        """The admission as a person allows it."""
        request = approval_request(
            self._request, admission, terms, workflow.now(), self._patience(admission)
        )
        self._enter(JobState.AWAITING_APPROVAL)
        self._publish(None)
        record = await self._desk.wait(request, guarded=admission.guarded)
        waited = (workflow.now() - request.asked).total_seconds()
        self._watch.note(Layer.APPROVAL, waited)
        withheld = ""
        if record.outcome == "rejected":
            raise LayerEnded(
                Layer.APPROVAL, refusal_text(record), timed_out=False, kind="PolicyRefused"
            )
        if record.outcome == "expired":
            if admission.decision.on_expiry == "end":
                raise LayerEnded(Layer.APPROVAL, refusal_text(record), timed_out=True)
            withheld = refusal_text(record)
        # The backends and queues of when it was asked are not those of now.
        return self._take(
            await self._watch.step(
                Layer.ADMIT,
                self._budget(Layer.ADMIT),
                ReadmitStep.readmit,
                ReadmitInput(
                    request=self._request,
                    job_id=self._log.job_id,
                    at=workflow.now(),
                    admission=admission,
                    ceiling=approved_ceiling(record),
                    withheld=withheld,
                ),
            )
        )

    async def _encode(self, admission: Admission) -> Encoded:
        budget = self._budget(Layer.ENCODE)
        self._log.encoded = encoded = await self._watch.step(
            Layer.ENCODE,
            budget,
            EncodeStep.encode,
            EncodeInput(
                workload=self._request.workload,
                circuit_wanted=any(r is not Rung.ANNEALING for r in admission.decision.ladder),
                max_seconds=admission.decision.max_seconds
                or self._request.budgets.execution_limit(),
            ),
        )
        self._enter(JobState.ENCODED)
        return encoded

    def _stop(self, end: LayerEnded) -> None:
        if end.kind in NO_JOB and self._log.decision is None:
            raise end.as_failure()
        # Once admitted, the key is taken and its row needs an end.
        self._refused = end.kind in REFUSALS
        self._log.last_end = end

    # --- the ladder --------------------------------------------------------------------------

    async def _attempt(self, rung: Rung, admission: Admission, encoded: Encoded) -> bool:
        self._log.rung = rung
        self._enter(JobState.ENCODED)
        if len(self._log.attempts) < PUBLISHED_RUNGS:
            self._publish(rung)
        try:
            raw = await self._raw(rung, admission, encoded)
            self._log.raws.append(raw)
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
                return await self._hardware.answer(
                    admission, encoded, lambda: self._left() - self._reserve(admission)
                )
            case Rung.SIMULATOR:
                return await self._simulate(encoded)
            case Rung.ANNEALING:
                return await self._anneal(encoded)

    async def _simulate(self, encoded: Encoded) -> Raw:
        budget = self._budget(Layer.SIMULATE)
        self._enter(JobState.RUNNING)
        raw = await self._watch.step(
            Layer.SIMULATE,
            budget,
            SimulateStep.simulate,
            SimulateInput(circuit=circuit_of(encoded), spec=encoded.spec, seed=self._request.seed),
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
            closed_accounts=self._hardware.closed,
            approval=self._desk.record,
        )
        self._publish(self._log.rung)
        if self.guarded is None:  # never admitted: who waits to be told may go
            self.guarded = True
        # A decision under way gets its reply before the job has ended.
        await unbroken(workflow.wait_condition(workflow.all_handlers_finished))
        given = CloseInput(
            result=result,
            account=self._account,
            run_ids=self._hardware.begun,
            artefacts=self._log.artefacts(),
            request=self._request,
        )
        await unbroken(self._desk.told())
        # A cancellation that arrives here must not take the result away: it comes only once.
        for record in (self._close_locally, self._close_locally, self._close_remotely):
            try:
                kept = await record(given)
                # The server may have turned down a workflow task that closed the job already,
                # because of something new: the caller is told what was recorded then.
                return result if kept is None else self._log.closed(kept)
            # A local activity's failure comes as it is, and not as an ActivityError: one that it
            # raised always, its time-out in a replay.
            except (FailureError, asyncio.CancelledError) as error:
                workflow.logger.warning("closing record of %s: %s", self._log.job_id, error)
        return result

    async def _close_locally(self, given: CloseInput) -> JobResult | None:
        return await workflow.execute_local_activity_method(
            CloseStep.close, given, schedule_to_close_timeout=LOCAL_TRY
        )

    async def _close_remotely(self, given: CloseInput) -> JobResult | None:
        return await workflow.execute_activity_method(
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

    def _patience(self, admission: Admission) -> float:
        """Seconds that a person may take, so that there is time left to answer afterwards."""
        last = admission.decision.ladder[-1]
        needed = fallback_reserve(self._request.budgets, FALLBACK_LAYER[last])
        return min(self._budget(Layer.APPROVAL), max(self._left() - needed, 0.0))

    def _publish(self, rung: Rung | None) -> None:
        workflow.upsert_search_attributes(
            [
                SearchAttributeKey.for_keyword(TENANT).value_set(self._request.tenant),
                SearchAttributeKey.for_keyword(ROUTE).value_set(rung.value if rung else "none"),
                SearchAttributeKey.for_keyword(STATE).value_set(self._log.state.value),
            ]
        )
