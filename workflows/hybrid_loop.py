"""A variational loop: an optimiser asks points, and a job of its own measures each."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core import loop_rules, loops
    from qsaga.core.jobs import JobRequest
    from qsaga.core.loop_rules import End
    from qsaga.core.loop_steps import Asking, AskInput, AskStep
    from qsaga.core.loops import (
        HYBRID_LOOP,
        Evaluation,
        Iteration,
        JobInput,
        LoopCarry,
        LoopInput,
        LoopResult,
        LoopStatus,
        PointShare,
    )
    from qsaga.core.optimisers import Measured
    from qsaga.core.results import JobResult, Unanswered
    from qsaga.core.runs import QUANTUM_JOB, STATUS
    from qsaga.core.states import JobState, Layer
    from workflows.approval import ApprovalDesk
    from workflows.arguments import checked
    from workflows.deciding import Decidable
    from workflows.layers import REFUSALS, Allowance, LayerEnded, Stopwatch, unbroken
    from workflows.loop_admission import EndedBefore, LoopGate

TAKEN = 5.0
"""Seconds until a job is asked for again whose key a running job has."""


@workflow.defn(name=HYBRID_LOOP, failure_exception_types=[ValidationError])
class HybridLoop(Decidable):
    """Owes the caller the best point by the deadline, or the reason why there is none."""

    @workflow.init
    @checked
    def __init__(self, given: LoopInput) -> None:
        if not isinstance(given, LoopInput):  # a null payload gets past every type hint
            raise ApplicationError(
                "request: missing (allowed: a LoopRequest)",
                type="InvalidRequest",
                non_retryable=True,
            )
        request, carry = given.request, given.carry
        self._request, self._id = request, workflow.info().workflow_id
        self._began = carry.began if carry else workflow.info().workflow_start_time
        self._iterations = list(carry.iterations) if carry else []
        self._state = carry.plan_state if carry else None
        self._names = carry.parameters if carry else ()
        self._software = carry.software if carry else {}
        self._session = carry.session if carry else None
        self._time = Allowance(request.budgets, self._began)
        self._watch = Stopwatch()
        self._gate = LoopGate(request, self._watch, self._time, carry)
        self.tenant = request.tenant
        self._measured_here = 0
        self._running: tuple[str, ...] = ()
        self._end: End | None = None
        self._final: JobState | None = None

    @workflow.run
    async def run(self, given: LoopInput) -> LoopResult:
        """Ask, measure, tell, until there is a reason to stop; then measure the best anew."""
        if self._id != given.job_id:
            raise ApplicationError(
                f"workflow id: must be tenant/loop/key, {given.job_id!r}, not {self._id!r}",
                type="InvalidRequest",
                non_retryable=True,
            )
        try:
            self._end = await self._search()
            if self._end.stopped in ("converged", "iterations"):
                await self._confirm()
        except LayerEnded as end:
            self._end = self._ended_by(end)
        except asyncio.CancelledError:
            self._end = End("cancelled", "the loop was cancelled")
        except EndedBefore as before:
            self._final = before.result.state
            await self._all_told()
            return before.result
        await self._all_told()
        result = self._result(self._end)
        await unbroken(self._gate.keep(result))
        return result

    async def _all_told(self) -> None:
        """Whoever spoke to the loop has his answer before it ends."""
        if self._gate.guarded is None:  # never admitted: who waits to be told may go
            self._gate.guarded = True
        await unbroken(workflow.wait_condition(workflow.all_handlers_finished))
        await unbroken(self.asking.told())

    @property
    def guarded(self) -> bool | None:
        """See ``workflows.identified``."""
        return self._gate.guarded

    @property
    def asking(self) -> ApprovalDesk:
        """Where a person's word goes."""
        return self._gate.desk

    @workflow.query(name=STATUS)
    def status(self) -> LoopStatus:
        """Where the loop stands."""
        return LoopStatus(
            loop_id=self._id,
            payload_hash=self._request.payload_hash(),
            state=self._final
            or (JobState.AWAITING_APPROVAL if self._gate.waits else JobState.RUNNING),
            iteration=len(self._iterations),
            of=self._request.optimiser.iterations,
            best=loop_rules.best(self._iterations, self._names),
            cost=loop_rules.total(self._iterations, self._request.budgets.currency),
            running=self._running,
            stopped=self._end.stopped if self._end else None,
            reason=self._end.reason if self._end else "",
            approval=self.asking.record,
        )

    # --- the search ----------------------------------------------------------------------------

    async def _search(self) -> End:
        spec = self._request.optimiser
        while True:
            asking = await self._ask()
            if not asking.points:
                return End("converged", f"{spec.name} has ended by its own criteria")
            self._state = asking.state
            if (end := await self._gate.admit(asking)) is not None:
                return end
            if (end := await self._iterate(asking)) is not None:
                return end
            if loop_rules.has_converged(self._iterations, spec):
                return End(
                    "converged",
                    f"the mean value fell by less than {spec.tolerance:g} in "
                    f"{spec.patience} iterations",
                )
            searched = sum(one.purpose == "search" for one in self._iterations)
            if searched >= spec.iterations:
                return End("iterations", f"{searched} iterations were asked for")
            self._go_on_anew()

    async def _confirm(self) -> None:
        """Whatever comes of it, there is an answer: the values of the search."""
        try:
            found = loop_rules.best_point(self._iterations)
            if found is not None:
                await self._iterate(await self._ask(best=found.parameters))
        except LayerEnded as end:
            workflow.logger.warning("%s was not confirmed: %s", self._id, end)

    def _go_on_anew(self) -> None:
        """Between two iterations nothing is open: no job, no timer, no handler."""
        enough = self._measured_here >= loops.POINTS_PER_RUN
        if enough or workflow.info().is_continue_as_new_suggested():
            carry = LoopCarry(
                began=self._began,
                plan_state=self._state,
                iterations=tuple(self._iterations),
                parameters=self._names,
                software=self._software,
                session=self._session,
                grant=self._gate.grant,
                approval=self.asking.record,
            )
            workflow.continue_as_new(LoopInput.carried(self._request, carry))

    async def _ask(self, best: tuple[float, ...] = ()) -> Asking:
        values = self._iterations[-1].points if self._iterations else ()
        asking = await self._watch.step(
            Layer.ENCODE,
            self._time.of(Layer.ENCODE),
            AskStep.ask_tell,
            AskInput(
                request=self._request,
                state=self._state,
                values=tuple(
                    Measured(value=one.value, standard_error=one.standard_error or 0.0)
                    for one in values
                    if one.value is not None
                ),
                confirm=bool(best),
                best=best,
            ),
        )
        self._names, self._software = asking.parameters, asking.software
        self._session = asking.session
        return asking

    # --- one iteration -------------------------------------------------------------------------

    async def _iterate(self, asking: Asking) -> End | None:
        """Measure all points of an iteration side by side; why the loop ends with it, if it does.

        Raises:
            asyncio.CancelledError: the loop was cancelled, and its jobs have ended.
            ApplicationError: the first jobs were refused, so that there is no loop.
        """
        elapsed = (workflow.now() - self._began).total_seconds()
        request = loop_rules.within(self._request, self._gate.grant)
        allowed = loop_rules.share(request, self._iterations, elapsed, len(asking.points))
        if isinstance(allowed, End):
            return allowed
        number = len(self._iterations)
        tasks = [
            asyncio.ensure_future(
                self._measure(
                    loop_rules.point_request(
                        request,
                        number,
                        place,
                        point.circuit,
                        self._session,
                        allowed,
                        anew=asking.purpose == "confirm",
                    ),
                    point.parameters,
                    allowed,
                )
            )
            for place, point in enumerate(asking.points)
        ]
        self._running = tuple(
            f"{self._request.tenant}/{loop_rules.point_key(self._request.key, number, place)}"
            for place in range(len(tasks))
        )
        in_time = cancelled = False
        try:
            in_time = await self._all_done(tasks)
        except asyncio.CancelledError:
            cancelled = True
        for task in tasks:
            task.cancel()
        points, again = await unbroken(asyncio.gather(*tasks))
        self._running = ()
        iteration = Iteration(number=number, purpose=asking.purpose, points=tuple(points))
        self._iterations.append(iteration)
        self._measured_here += len(points)
        if cancelled or again:
            raise asyncio.CancelledError
        if not in_time:
            return End("deadline", "the deadline came while points were measured")
        return None if iteration.complete else loop_rules.failed(iteration)

    async def _all_done(self, tasks: list[asyncio.Task[Evaluation]]) -> bool:
        """Whether all have ended by the deadline of the loop."""
        try:
            await workflow.wait_condition(
                lambda: all(task.done() for task in tasks), timeout=max(self._time.left(), 0.001)
            )
        except TimeoutError:
            return False
        return True

    async def _measure(
        self, request: JobRequest, at: tuple[float, ...], allowed: PointShare
    ) -> Evaluation:
        """The point as its job measured it. Cancelled, it ends the job and tells what came of it.

        Raises:
            ApplicationError: nothing was measured before, and the job was refused.
        """
        asked = Evaluation(job_id=request.job_id, parameters=at, share=allowed)
        try:
            return loop_rules.measured(asked, await self._job(request))
        except asyncio.CancelledError:
            return asked.model_copy(update={"reason": "it was not begun"})
        except ChildWorkflowError as error:
            cause = error.cause
            refused = isinstance(cause, ApplicationError) and cause.type in REFUSALS
            if refused and not self._iterations and isinstance(cause, ApplicationError):
                raise ApplicationError(cause.message, type=cause.type, non_retryable=True) from None
            # What became of it is not known here; it keeps its share of the budgets.
            open_cost = asked.cost.model_copy(update={"settled": refused})
            return asked.model_copy(update={"cost": open_cost, "reason": f"job ended: {cause}"})

    async def _job(self, request: JobRequest) -> JobResult:
        while True:
            try:
                result: JobResult = await workflow.execute_child_workflow(
                    QUANTUM_JOB,
                    JobInput.granted(request, self._gate.grant),
                    id=request.job_id,
                    result_type=JobResult,
                    # One that has ended answers again what it has recorded, at no cost.
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    cancellation_type=(
                        workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
                    ),
                    # A loop that is terminated and begun again finds what its jobs have measured.
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                )
            except WorkflowAlreadyStartedError:
                # Of a loop of this key that was terminated: it is waited for.
                await workflow.sleep(TAKEN)
            else:
                return result

    # --- the end -------------------------------------------------------------------------------

    def _ended_by(self, end: LayerEnded) -> End:
        if end.kind in REFUSALS and not self._iterations:
            raise end.as_failure()
        if end.timed_out and self._time.left() <= 1:
            return End("deadline", end.reason)
        return End("failed", end.reason)

    def _result(self, end: End) -> LoopResult:
        answer = loop_rules.best(self._iterations, self._names)
        answered = answer is not None
        self._final = loop_rules.final_state(self._iterations, end, answered=answered)
        return LoopResult(
            loop_id=self._id,
            tenant=self._request.tenant,
            key=self._request.key,
            payload_hash=self._request.payload_hash(),
            state=self._final,
            stopped=end.stopped,
            reason=end.reason,
            answer=answer,
            unanswered=None if answered else Unanswered(reason=end.reason),
            parameters=self._names,
            optimiser=self._request.optimiser,
            iterations=tuple(self._iterations),
            sources=loop_rules.sources(self._iterations),
            cost=loop_rules.total(self._iterations, self._request.budgets.currency),
            began=self._began,
            ended=workflow.now(),
            software=self._software,
            approval=self.asking.record,
        )
