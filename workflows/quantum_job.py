"""One accountable request, from admission to its closing record."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.admission import Admission, AdmitInput, AdmitStep, ReadmitInput, ReadmitStep
    from qsaga.core.approval import ApprovalTerms, approved_ceiling
    from qsaga.core.asking import approval_request, refusal_text
    from qsaga.core.further import topped_up
    from qsaga.core.jobs import Optimise
    from qsaga.core.loop_rules import loop_of
    from qsaga.core.loops import JobInput, LoopGrant
    from qsaga.core.outcome import FALLBACK_LAYER
    from qsaga.core.results import JobResult, JobStatus
    from qsaga.core.rung_steps import MergeInput, MergeStep
    from qsaga.core.runs import (
        QUANTUM_JOB,
        RUN_REPORTED,
        STATUS,
        RunReport,
    )
    from qsaga.core.states import CIRCUIT_RUNGS, HARDWARE_RUNGS, JobState, Layer, Rung
    from qsaga.core.steps import (
        CloseInput,
        Encoded,
        EncodeInput,
        EncodeStep,
        Raw,
        Verified,
        VerifyInput,
        VerifyStep,
    )
    from qsaga.core.timing import checking_reserve, fallback_reserve
    from workflows.approval import ApprovalDesk
    from workflows.arguments import checked
    from workflows.closing_record import kept
    from workflows.deciding import ABANDON, Decidable
    from workflows.hardware_rung import HardwareRung
    from workflows.identified import require_parent
    from workflows.job_log import JobLog
    from workflows.layers import REFUSALS, Allowance, LayerEnded, Stopwatch, unbroken
    from workflows.manual_rung import ManualRung
    from workflows.own_rungs import OwnRungs
    from workflows.simulator_gate import SimulatorGate
    from workflows.spending import Spending

NO_JOB = ("InvalidRequest", "KeyConflict", "Unauthenticated", "Forbidden")
"""Refusals that leave no job behind: the key is free for a better request."""
PUBLISHED_RUNGS = 2
"""Of so many rungs the start is published; with the end, three upserts at most."""


@workflow.defn(name=QUANTUM_JOB, failure_exception_types=[ValidationError])
class QuantumJob(Decidable):
    """Owes the caller an answer by the deadline, or the reason why there is none."""

    @workflow.init
    @checked
    def __init__(self, given: JobInput) -> None:
        if not isinstance(given, JobInput):  # a null payload gets past every type hint
            raise ApplicationError(
                "request: missing (allowed: a JobRequest)",
                type="InvalidRequest",
                non_retryable=True,
            )
        request = given.request
        self._request, self._grant = request, given.grant
        # Of the request, not of the first worker that took it up: the deadline counts from here.
        self._began = workflow.info().workflow_start_time
        self._log = JobLog(request, workflow.info().workflow_id, self._began)
        self._watch = Stopwatch()
        self._log.timings = self._watch.timings
        self._hardware = HardwareRung(request, self._log, self._watch)
        self._time = Allowance(request.budgets, self._began)
        spending = Spending(self._log.costs, request.budgets.currency)
        self._own = OwnRungs(request, self._watch, self._time, spending)
        self._manual = ManualRung(request, self._watch, self._time)
        self._gate = SimulatorGate(request, self._watch, self._time, self._log.stored, spending)
        self._cancelled = self._refused = self._light = False
        self._desk = ApprovalDesk()
        self._account = workflow.info().run_id
        self.tenant = request.tenant
        self.guarded: bool | None = None

    @workflow.run
    async def run(self, given: JobInput) -> JobResult:
        """Admit, encode, try the ladder, close."""
        if workflow.info().workflow_id != given.job_id:
            raise ApplicationError(
                f"workflow id: must be tenant/key, {given.job_id!r}, "
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
            await self._weigh_hedge(encoded)
        except LayerEnded as end:
            self._stop(end)
        except asyncio.CancelledError:
            self._cancelled = True
            await self._hardware.keep_late()
        return await self._close()

    @workflow.query(name=STATUS)
    def status(self) -> JobStatus:
        """Where the job stands."""
        return self._log.status(self.asking.record)

    @workflow.signal(name=RUN_REPORTED, unfinished_policy=ABANDON)
    def run_reported(self, report: RunReport) -> None:
        """A HardwareRun says that it will not answer in time, or how it went."""
        self._hardware.heard(report)

    # --- before the ladder -------------------------------------------------------------------

    async def _admit(self) -> Admission:
        budget = self._time.of(Layer.ADMIT)
        admission = await self._watch.step(
            Layer.ADMIT,
            budget,
            AdmitStep.admit,
            AdmitInput(
                request=self._request,
                job_id=self._log.job_id,
                at=self._began,
                account=self._account,
                grant=await self._granted(),
            ),
        )
        self._log.submitter, self.guarded = admission.submitter, admission.guarded
        return self._take(admission)

    def _take(self, admission: Admission) -> Admission:
        self._log.decision = admission.decision
        self._account = admission.account
        self._watch.queues = admission.queues
        # A circuit is read and its counts are checked in no time; a problem may be large.
        self._light = admission.frugal and not isinstance(self._request.workload, Optimise)
        if admission.refused:
            raise LayerEnded(Layer.ADMIT, admission.refused, timed_out=False, kind="BudgetExceeded")
        return admission

    async def _approved(self, admission: Admission, terms: ApprovalTerms) -> Admission:
        """The admission as a person allows it."""
        request = approval_request(
            self._request, admission, terms, workflow.now(), self._patience(admission)
        )
        self._enter(JobState.AWAITING_APPROVAL)
        self._log.publish(None)
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
                self._time.of(Layer.ADMIT),
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
        budget = self._time.of(Layer.ENCODE)
        self._log.encoded = encoded = await self._watch.step(
            Layer.ENCODE,
            budget,
            EncodeStep.encode,
            EncodeInput(
                workload=self._request.workload,
                circuit_wanted=any(r in CIRCUIT_RUNGS for r in admission.decision.ladder),
                max_seconds=admission.decision.max_seconds
                or self._request.budgets.execution_limit(),
                tenant=self._request.tenant,
                reduction=admission.decision.facts.reduction,
            ),
            light=self._light,
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
            self._log.publish(rung)
        try:
            raw = encoded.labelled(await self._raw(rung, admission, encoded))
            self._log.answered(raw, await self._verified(raw, encoded))
        except LayerEnded as end:
            self._log.rung_ended(rung, end)
            return False
        except asyncio.CancelledError:
            self._log.rung_abandoned(rung, "the job was cancelled")
            raise
        if rung in HARDWARE_RUNGS:
            await self._top_up(raw, admission, encoded)
        return True

    async def _raw(self, rung: Rung, admission: Admission, encoded: Encoded) -> Raw:
        if self._time.left() <= 0:
            raise LayerEnded(Layer.DEADLINE, "the deadline has passed", timed_out=True)
        if rung in HARDWARE_RUNGS:
            return await self._on_hardware(rung, admission, encoded)
        if rung is Rung.MANUAL:
            return await self._ask_for_answer(admission, encoded)
        self._enter(JobState.RUNNING)
        return await self._own.answer(rung, admission, encoded)

    async def _ask_for_answer(self, admission: Admission, encoded: Encoded) -> Raw:
        known = await self._manual.known()
        self._enter(JobState.AWAITING_APPROVAL)
        self._log.publish(Rung.MANUAL)
        seconds = self._time.left() - checking_reserve(self._request.budgets)
        return await self._manual.answer(admission, encoded, seconds, known)

    async def _on_hardware(self, rung: Rung, admission: Admission, encoded: Encoded) -> Raw:
        decision = admission.decision

        def patience() -> float:
            return self._time.left() - self._reserve(rung, admission)

        await self._gate.admit(decision.gate, encoded, decision.backend)
        if rung is Rung.HARDWARE:
            if decision.hedge is not None:
                self._own.hedge(decision.hedge, encoded)
            return self._gate.labelled(await self._hardware.answer(admission, encoded, patience))
        other = next(iter(decision.alternates), None)
        raw = await self._hardware.further(admission, encoded, other, patience)
        return self._gate.labelled(raw).model_copy(update={"rung": rung})

    async def _top_up(self, raw: Raw, admission: Admission, encoded: Encoded) -> None:
        """Buy the shots that the answer lacks; whatever comes of it, there is an answer."""
        for _ in range(admission.decision.top_ups):
            answer = self._log.beside[-1][1].answer
            spec = topped_up(self._request.workload, answer, encoded.spec)
            if spec is None:
                return
            self._enter(JobState.ENCODED)
            try:
                more = await self._hardware.further(
                    admission,
                    encoded.model_copy(update={"spec": spec}),
                    self._hardware.forecast,
                    lambda: self._time.left() - checking_reserve(self._request.budgets),
                )
                self._log.raws.append(more)
                raw = await self._watch.step(
                    Layer.POSTPROCESS,
                    self._time.checking(),
                    MergeStep.merge,
                    MergeInput(first=raw, second=more),
                    rung=raw.rung,
                )
                self._log.topped_up(raw, await self._verified(raw, encoded))
            except LayerEnded as end:
                self._log.not_topped_up(raw.rung, end)
                self._enter(JobState.POSTPROCESSING)
                return

    async def _weigh_hedge(self, encoded: Encoded) -> None:
        """The answer of the hedge beside the others: the best is served."""
        raw = await self._own.hedged(patient=not self._log.best)
        if raw is None:
            return
        try:
            self._log.answered(raw, await self._verified(raw, encoded))
        except LayerEnded as end:
            self._log.rung_ended(raw.rung, end)

    async def _verified(self, raw: Raw, encoded: Encoded) -> Verified:
        self._log.raws.append(raw)
        budget = self._time.checking()
        self._enter(JobState.POSTPROCESSING)
        return await self._watch.step(
            Layer.POSTPROCESS,
            budget,
            VerifyStep.verify,
            VerifyInput(workload=self._request.workload, model=encoded.model, raw=raw),
            rung=raw.rung,
            light=self._light,
        )

    # --- the end -----------------------------------------------------------------------------

    async def _close(self) -> JobResult:
        await self._own.stop()  # what it has spent is known then
        result = self._log.result(
            workflow.now(),
            cancelled=self._cancelled,
            refused=self._refused,
            closed_accounts=self._hardware.closed,
            hardware=self._hardware.costs(),
            approval=self._desk.record,
            review=self._manual.desk.record,
        )
        self._log.publish(self._log.rung)
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
            holds=self._hardware.holds,
            incumbent=self._own.incumbent,
            searched=self._own.searched,
        )
        await unbroken(self.asking.told())
        seconds = self._time.closing(answered=result.answer is not None)
        return await kept(given, self._log, seconds)

    # --- small things ------------------------------------------------------------------------

    def _enter(self, state: JobState) -> None:
        self._log.enter(state, workflow.now())

    async def _granted(self) -> LoopGrant | None:
        grant, parent = self._grant, workflow.info().parent
        if grant is None or parent is None or parent.workflow_id != loop_of(self._log.job_id):
            return None
        if grant.guarded:
            await require_parent(grant.loop_id)
        return grant

    @property
    def asking(self) -> ApprovalDesk:
        """Where a person's word goes."""
        return self._manual.desk if self._manual.desk.record else self._desk

    def _reserve(self, rung: Rung, admission: Admission) -> float:
        ladder = admission.decision.ladder
        later = ladder[ladder.index(rung) + 1 :]
        return fallback_reserve(self._request.budgets, FALLBACK_LAYER[later[0]] if later else None)

    def _patience(self, admission: Admission) -> float:
        """Seconds that a person may take, so that there is time left to answer afterwards."""
        last = admission.decision.ladder[-1]
        needed = fallback_reserve(self._request.budgets, FALLBACK_LAYER[last])
        return min(self._time.of(Layer.APPROVAL), max(self._time.left() - needed, 0.0))
