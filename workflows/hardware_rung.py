"""The rung of a job that runs on hardware: its HardwareRuns, from the job's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from qsaga.core.admission import Admission
    from qsaga.core.approval import Ceiling
    from qsaga.core.contract import ArtefactRef
    from qsaga.core.facts import Forecast
    from qsaga.core.further import further_ceiling
    from qsaga.core.jobs import JobRequest, deployment_tag, submission_tag
    from qsaga.core.ledger import hold_key
    from qsaga.core.results import Cost
    from qsaga.core.rung_steps import HoldRunInput, HoldRunStep
    from qsaga.core.runs import GIVE_UP, RunReport, RunRequest
    from qsaga.core.states import Layer
    from qsaga.core.steps import Encoded, Raw
    from workflows.hardware_run import HardwareRun
    from workflows.job_log import JobLog
    from workflows.layers import LayerEnded, Stopwatch, unbroken

SETTLING = 30.0
"""Seconds that a further run waits until the accounts of the others are closed."""
WORD = 5.0
"""Seconds that word of a run's end may be on its way."""
SOON = 0.5
"""The same where the deadline of the job is near."""
CANCELLED = "the job was cancelled"
CANCELLED_LATE = "late-results-of-cancelled-jobs"
WAITS_FOR_WORD = "word-of-runs-that-have-ended"
"""Patches."""


def circuit_of(encoded: Encoded) -> ArtefactRef:
    """The circuit. Raises LayerEnded where none was built."""
    if encoded.circuit is None:
        empty = encoded.reduced is not None and not encoded.reduced.qubits
        why = "the reduction has left no variable to run" if empty else "none was built"
        raise LayerEnded(Layer.ENCODE, f"no circuit for this job: {why}", timed_out=False)
    return encoded.circuit


class HardwareRung:
    """Starts runs, hears of them, lets go of them.

    ``forecast`` is that of the latest run, ``holds`` for how many runs something may be held.
    """

    def __init__(self, request: JobRequest, log: JobLog, watch: Stopwatch) -> None:
        self._request, self._log, self._watch = request, log, watch
        self.forecast: Forecast | None = None
        self.holds = 1
        self._reports: dict[str, RunReport] = {}
        self._runs: dict[str, asyncio.Future[Any]] = {}
        self._run_requests: dict[str, RunRequest] = {}
        self._foreign: set[str] = set()

    @property
    def begun(self) -> tuple[str, ...]:
        """Tags of the runs that were begun; each settles what this job holds for it."""
        return tuple(tag for tag in self._runs if tag not in self._foreign)

    @property
    def closed(self) -> set[str]:
        """Tags of the runs that have ended, their accounts closed."""
        return {tag for tag, run in self._runs.items() if run.done()}

    def costs(self) -> list[Cost]:
        """What the runs are known to have cost; not settled while one may yet be charged."""
        return [self._cost_of(tag, run) for tag, run in self._runs.items()]

    def _cost_of(self, tag: str, run: asyncio.Future[Any]) -> Cost:
        if run.done() and not run.cancelled() and run.exception() is None:
            cost: Cost = run.result().cost
            return cost
        report = self._reports.get(tag)
        if report is not None and report.account is not None:
            return report.cost
        # A report without an account is no more than somebody's word.
        known = report.cost if report else Cost(currency=self._request.budgets.currency)
        return known.model_copy(update={"settled": False})

    def heard(self, report: RunReport) -> None:
        """A run says that it will not answer in time, or how it went."""
        self._reports.setdefault(report.run_id, report)

    async def answer(
        self, admission: Admission, encoded: Encoded, patience: Callable[[], float]
    ) -> Raw:
        """Start the job's first run and wait for its answer, at most ``patience()`` seconds.

        Raises:
            LayerEnded: it did not answer.
            asyncio.CancelledError: the job was cancelled; the run has been told.
        """
        self.forecast = admission.decision.forecast
        return await self._run(admission, encoded, patience)

    async def further(
        self,
        admission: Admission,
        encoded: Encoded,
        forecast: Forecast | None,
        patience: Callable[[], float],
    ) -> Raw:
        """One more run, within what the others leave of the job's budgets; as ``answer``."""
        if forecast is None or forecast.ceiling is None:
            raise LayerEnded(Layer.ADMIT, "no other backend is known", timed_out=False)
        spent = await self._spent(patience())
        ceiling = further_ceiling(forecast.ceiling, self._request.budgets, spent)
        if ceiling is None:
            raise LayerEnded(
                Layer.ADMIT, "the other runs leave nothing of the budgets", timed_out=False
            )
        if admission.account:
            await self._hold(admission, ceiling, patience())
        self.forecast = forecast
        limit = {"max_seconds": int(ceiling.quantum_seconds)}
        spec = encoded.spec.model_copy(update=limit)
        return await self._run(admission, encoded.model_copy(update={"spec": spec}), patience)

    async def _spent(self, seconds: float) -> list[Cost]:
        """What the other runs have cost, once their accounts are closed."""
        runs = self._runs.values()
        try:
            await workflow.wait_condition(
                lambda: all(run.done() for run in runs), timeout=max(0.1, min(SETTLING, seconds))
            )
            return [run.result().cost for run in runs]
        except (TimeoutError, ChildWorkflowError):
            raise LayerEnded(
                Layer.ADMIT, "what the other runs cost is not known yet", timed_out=False
            ) from None

    async def _hold(self, admission: Admission, ceiling: Ceiling, seconds: float) -> None:
        number = len(self._runs)
        # Before the step: it may hold although its reply is lost.
        self.holds = number + 1
        short = await self._watch.step(
            Layer.ADMIT,
            min(self._request.budgets.seconds(Layer.ADMIT), seconds),
            HoldRunStep.hold_run,
            HoldRunInput(
                request=self._request,
                job_id=self._log.job_id,
                account=admission.account,
                number=number,
                ceiling=ceiling,
                at=workflow.now(),
            ),
        )
        if short:
            raise LayerEnded(Layer.ADMIT, short, timed_out=False)

    async def _run(
        self, admission: Admission, encoded: Encoded, patience: Callable[[], float]
    ) -> Raw:
        run_id = submission_tag(admission.deployment, self._log.job_id, len(self._runs))
        starting = asyncio.ensure_future(self._start_run(run_id, admission, encoded))
        try:
            await asyncio.shield(starting)
            await self._reported(run_id, max(0.1, patience()), frugal=admission.frugal)
        except TimeoutError:
            ended, cancelled = await unbroken(
                self._abandon(run_id, "the deadline of the job is near", SOON)
            )
            if cancelled:
                raise asyncio.CancelledError from None
            if not ended:
                raise LayerEnded(
                    Layer.DEADLINE, "the hardware did not answer in time", timed_out=True
                ) from None
        except asyncio.CancelledError:
            await starting  # a run that does not exist yet could not be told
            await self._abandon(run_id, CANCELLED)
            raise
        return await self._raw_of(run_id, self._runs[run_id])

    async def _reported(self, run_id: str, seconds: float, *, frugal: bool) -> None:
        """Until there is a report. Raises TimeoutError."""
        if not frugal:
            await workflow.wait_condition(lambda: self._heard_of(run_id), timeout=seconds)
            return
        # Its timer is left to itself: to cancel it would be one more event for every run.
        late = asyncio.ensure_future(workflow.sleep(seconds))
        await workflow.wait_condition(lambda: self._heard_of(run_id) or late.done())
        if not self._heard_of(run_id):
            raise TimeoutError

    def _heard_of(self, run_id: str) -> bool:
        return run_id in self._reports or self._runs[run_id].done()

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
        return report.raw

    async def _start_run(
        self, tag: str, admission: Admission, encoded: Encoded
    ) -> asyncio.Future[Any]:
        forecast = self.forecast
        request = RunRequest(
            job_id=self._log.job_id,
            tag=tag,
            deployment_tag=deployment_tag(admission.deployment),
            workload=self._request.workload,
            circuit=circuit_of(encoded),
            model=encoded.model,
            reduction=encoded.reduction,
            spec=encoded.spec,
            backend=forecast.backend if forecast else "",
            seed=self._request.seed,
            budgets=self._request.budgets,
            expected_wait=forecast.queue_seconds if forecast else None,
            session=self._request.session,
            hold=hold_key(tag, admission.account) if admission.account else "",
            guarded=admission.guarded,
            queues=admission.queues,
            published=True,
        )
        self._run_requests[tag] = request
        self._log.runs.append(tag)
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
                    if request.hold == hold_key(request.tag, workflow.info().run_id):
                        # A job of this key that was terminated began it: it settles what that
                        # one held, and knows nothing of ours.
                        self._foreign.add(request.tag)
                    return asyncio.Future()

    async def _close_after(
        self, run_id: str, why: str = "the run before this one was ended from outside"
    ) -> None:
        """Have done by another run of the tag what one that has ended left undone."""
        request = self._run_requests[run_id].model_copy(update={"only_close": why})
        self._runs[run_id] = await self._run_of(request)
        self._is_open(run_id)

    async def keep_late(self) -> None:
        """Have kept as late what the runs of a job that was cancelled have answered.

        A run that has ended knows nothing of the cancellation: another one of its tag fetches the
        result and records it.
        """
        for run_id, run in list(self._runs.items()):
            report = self._answer_of(run_id, run)
            if report is None or not workflow.patched(CANCELLED_LATE):
                continue
            if run.done() or await self._abandon(run_id, CANCELLED):
                self.heard(report)
                await self._close_after(run_id, CANCELLED)

    def _answer_of(self, run_id: str, run: asyncio.Future[Any]) -> RunReport | None:
        """The report of a run that has answered, unless it has kept that as late itself."""
        ended = run.done() and not run.cancelled() and run.exception() is None
        report: RunReport | None = run.result() if ended else self._reports.get(run_id)
        if report is None or report.raw is None:
            return None
        return None if report.account is not None and report.account.late is not None else report

    async def _abandon(self, run_id: str, reason: str, word: float = WORD) -> bool:
        """Ask a run to end. True if it had already ended by itself, so it has a report."""
        handle = workflow.get_external_workflow_handle(run_id)
        try:
            await handle.signal(GIVE_UP, reason)
        except ApplicationError:
            if self._runs[run_id].done() or not workflow.patched(WAITS_FOR_WORD):
                return self._runs[run_id].done()
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._heard_of(run_id), timeout=word)
            return self._heard_of(run_id)
        self._is_open(run_id)
        return False

    def _is_open(self, run_id: str) -> None:
        if run_id not in self._log.open_accounts:
            self._log.open_accounts.append(run_id)
