"""The rung ``exact``: every assignment of a small model, a search with a proof for a larger one."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import dimod
from temporalio import activity

from activities.leaving import Leaving, handed_back
from activities.running import server_now
from qsaga.core.confidence import Proof
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import DeadlineExceeded
from qsaga.core.ports import ArtefactStore
from qsaga.core.reduction import Reduction
from qsaga.core.results import Cost
from qsaga.core.rung_steps import ExactStep
from qsaga.core.solvers import ExactSolver, Incumbents
from qsaga.core.states import Rung
from qsaga.core.steps import Raw, SolveInput
from qsaga.problems.proofs import EXHAUSTIVE_VARIABLES, exhaustive, with_proof
from qsaga.problems.reduction import decided, kept_reduction
from qsaga.problems.verify import SAMPLE_SET, load_model

SHORTEST = 0.05
"""Seconds that an attempt searches at least."""


class Exact(ExactStep):
    """Up to ``EXHAUSTIVE_VARIABLES`` all assignments, beyond that the solver.

    Where a reduction has decided every variable, it is the proof.

    Args:
        artefacts: where models and results are.
        solver: for what is not small.
        incumbents: its best samples so far.
        drain: seconds between a worker's being told to end and its end.
    """

    def __init__(
        self,
        artefacts: ArtefactStore,
        solver: ExactSolver,
        incumbents: Incumbents,
        drain: float = 20.0,
    ) -> None:
        self._artefacts, self._solver, self._incumbents = artefacts, solver, incumbents
        self._drain = drain

    @activity.defn(name="exact")
    async def exact(self, given: SolveInput) -> Raw:
        """The best assignments, with what is proven of them; returns by itself in its time.

        What is found is kept under the key: a later attempt goes on from it.
        """
        left = given.seconds
        if activity.info().attempt > 1:
            left -= (server_now() - activity.info().scheduled_time).total_seconds()
        return await asyncio.to_thread(self._exact, given, max(left, SHORTEST))

    def _exact(self, given: SolveInput, seconds: float) -> Raw:
        began = time.perf_counter()
        data = self._artefacts.get(given.model)
        model = load_model(data)
        known = kept_reduction(self._artefacts, given.reduction)
        if known is not None and not known.components:
            return self._decided(model, known, given.reduction, began)
        if model.num_variables <= EXHAUSTIVE_VARIABLES:
            return self._exhaustive(model, began)
        key, leaving = given.key, Leaving(seconds, self._drain)
        found = self._solver.solve(
            data,
            seconds,
            given.seed,
            start=self._incumbents.begin(key) if key else None,
            better=leaving.unless_cancelled(partial(self._incumbents.put, key)) if key else None,
            should_stop=leaving.should_stop,
        )
        leaving.check()
        # What is proven needs no second attempt.
        if key and not found.proof.complete and leaving.should_stop() and leaving.left() > SHORTEST:
            if found.samples is not None:
                self._incumbents.put(key, found.samples)
            raise handed_back(f"{leaving.left():.1f} s of the solver's time are left")
        if found.samples is None:
            raise DeadlineExceeded(
                f"{found.proof.by} found no assignment in {seconds:.1f} s; "
                f"no energy is below {found.proof.bound:g}"
            )
        kept = self._raw(found.samples, self._solver.name, found.proof, began)
        return kept.model_copy(update={"detail": {**kept.detail, **found.detail}})

    def _exhaustive(self, model: dimod.BinaryQuadraticModel, began: float) -> Raw:
        found, proof = exhaustive(model)
        kept = self._raw(with_proof(found, proof, {}), "exhaustive", proof, began)
        assignments = 2**model.num_variables
        return kept.model_copy(update={"detail": {**kept.detail, "assignments": assignments}})

    def _decided(
        self,
        model: dimod.BinaryQuadraticModel,
        known: Reduction,
        ref: ArtefactRef | None,
        began: float,
    ) -> Raw:
        found, proof = decided(model, known)
        kept = self._raw(with_proof(found, proof, {}), known.version, proof, began)
        return kept.model_copy(update={"reduction": ref})

    def _raw(self, samples: bytes, provider: str, proof: Proof, began: float) -> Raw:
        return Raw(
            rung=Rung.EXACT,
            provider=provider,
            result=self._artefacts.put(samples, SAMPLE_SET),
            cost=Cost(classical_seconds=round(time.perf_counter() - began, 3)),
            detail={"proof": proof.model_dump(mode="json")},
        )
