"""The rungs that need no provider, and the hedge: annealing beside hardware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from qsaga.core.admission import Admission
    from qsaga.core.contract import digest
    from qsaga.core.facts import HedgeTerms
    from qsaga.core.jobs import JobRequest
    from qsaga.core.rung_steps import (
        CachedInput,
        CachedStep,
        ExactStep,
        IncumbentStep,
        LearnedInput,
        LearnedStep,
    )
    from qsaga.core.states import Layer, Rung
    from qsaga.core.steps import Encoded, Raw, SimulateInput, SimulateStep, SolveInput, SolveStep
    from qsaga.core.timing import solver_limit, solver_seconds
    from workflows.hardware_rung import circuit_of
    from workflows.layers import Allowance, LayerEnded, Stopwatch
    from workflows.spending import Spending

INCUMBENT, LEAST = 5.0, 0.5
"""Seconds to fetch what a solver has found so far: half of what is left, within these."""


class OwnRungs:
    """Answers on our own machines.

    Args:
        request: the job's.
        watch: takes the time.
        time: what the job may use of it.
        spending: where what is computed is booked, whatever comes of it.
    """

    def __init__(
        self, request: JobRequest, watch: Stopwatch, time: Allowance, spending: Spending
    ) -> None:
        self._request, self._watch, self._time = request, watch, time
        self._spending = spending
        self.incumbent = self.searched = ""
        self._hedge: asyncio.Task[Raw] | None = None
        self._hedging = False

    async def answer(self, rung: Rung, admission: Admission, encoded: Encoded) -> Raw:
        """What a rung produced. Raises LayerEnded."""
        match rung:
            case Rung.SIMULATOR:
                return await self._simulate(encoded)
            case Rung.ANNEALING:
                return await self.hedged(patient=True) or await self._anneal(encoded)
            case Rung.EXACT:
                return await self._exact(encoded)
            case Rung.CACHED:
                return await self._cached(admission)
            case Rung.LEARNED:
                return await self._learned(encoded)
        raise AssertionError(f"{rung} needs more than our own machines")

    # --- the hedge -----------------------------------------------------------------------------

    def hedge(self, terms: HedgeTerms, encoded: Encoded) -> None:
        """Begin to anneal after a while, whatever else goes on."""
        self._hedge = asyncio.create_task(self._beside(terms, encoded))

    async def _beside(self, terms: HedgeTerms, encoded: Encoded) -> Raw:
        if terms.after:
            await workflow.sleep(terms.after)
        self._hedging = True
        return await self._anneal(encoded, terms.seconds)

    async def hedged(self, *, patient: bool) -> Raw | None:
        """What the hedge has found; None if it had not begun or has found nothing.

        ``patient`` waits until it is done; else what it has found by now is taken.
        """
        task, self._hedge = self._hedge, None
        if task is None:
            return None
        if not self._hedging or not (patient or task.done()):
            found = await self._left_behind() if self._hedging else None
            await _ended(task)
            return found
        try:
            return await task
        except LayerEnded:  # it has fetched what there was
            return None

    async def stop(self) -> None:
        """Hedge no more."""
        task, self._hedge = self._hedge, None
        if task is not None:
            await _ended(task)

    # --- the rungs -----------------------------------------------------------------------------

    async def _simulate(self, encoded: Encoded) -> Raw:
        budget = self._time.of(Layer.SIMULATE)
        return await self._paid(
            budget,
            self._watch.step(
                Layer.SIMULATE,
                budget,
                SimulateStep.simulate,
                SimulateInput(
                    circuit=circuit_of(encoded), spec=encoded.spec, seed=self._request.seed
                ),
                rung=Rung.SIMULATOR,
            ),
        )

    async def _anneal(self, encoded: Encoded, wanted: float | None = None) -> Raw:
        seconds = solver_seconds(self._request.budgets, self._time.left(), wanted)
        given = _to_solve(encoded, seconds, self._request.seed)
        # Of this model: the key may have belonged to a job that asked for something else.
        self.incumbent = digest(self._request.job_id, given.model.sha256)
        try:
            return await self._paid(
                seconds,
                self._watch.step(
                    Layer.SOLVE,
                    solver_limit(self._request.budgets, self._time.left(), seconds),
                    SolveStep.solve,
                    given.model_copy(update={"key": self.incumbent}),
                    rung=Rung.ANNEALING,
                ),
            )
        except LayerEnded as end:
            if end.timed_out and (found := await self._left_behind()):
                return found
            raise

    async def _left_behind(self) -> Raw | None:
        seconds = min(INCUMBENT, max(self._time.left() / 2, LEAST))
        with suppress(LayerEnded):
            return await self._watch.step(
                Layer.SOLVE, seconds, IncumbentStep.incumbent, self.incumbent
            )
        return None

    async def _exact(self, encoded: Encoded) -> Raw:
        seconds = solver_seconds(self._request.budgets, self._time.left())
        given = _to_solve(encoded, seconds, self._request.seed)
        # Not where the annealer keeps its own: a hedge may be at work on the same model.
        self.searched = digest(self._request.job_id, "exact", given.model.sha256)
        return await self._paid(
            seconds,
            self._watch.step(
                Layer.SOLVE,
                solver_limit(self._request.budgets, self._time.left(), seconds),
                ExactStep.exact,
                given.model_copy(update={"key": self.searched, "reduction": encoded.reduction}),
                rung=Rung.EXACT,
            ),
        )

    async def _cached(self, admission: Admission) -> Raw:
        found = await self._watch.step(
            Layer.RETRIEVAL,
            self._time.of(Layer.RETRIEVAL),
            CachedStep.cached,
            CachedInput(
                job_id=self._request.job_id,
                workload=self._request.workload,
                at=workflow.now(),
                max_age=admission.decision.cached_max_age,
            ),
            rung=Rung.CACHED,
        )
        if found is None:
            raise LayerEnded(
                Layer.RETRIEVAL, "there is no earlier answer that is new enough", timed_out=False
            )
        return found

    async def _learned(self, encoded: Encoded) -> Raw:
        budget = self._time.of(Layer.SOLVE)
        return await self._paid(
            budget,
            self._watch.step(
                Layer.SOLVE,
                budget,
                LearnedStep.learned,
                LearnedInput(workload=self._request.workload, model=encoded.model, seconds=budget),
                rung=Rung.LEARNED,
            ),
        )

    async def _paid(self, most: float, computing: Awaitable[Raw]) -> Raw:
        with self._spending.unless_answered(most):
            raw = await computing
        self._spending.book(raw.cost.classical_seconds)
        return raw


def _to_solve(encoded: Encoded, seconds: float, seed: int) -> SolveInput:
    if encoded.model is None:
        raise LayerEnded(Layer.SOLVE, "nothing to solve: no binary model", timed_out=False)
    return SolveInput(model=encoded.model, seconds=seconds, seed=seed)


async def _ended(task: asyncio.Task[Raw]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, LayerEnded):
        await task
