"""The rungs beside those that compute: cached, learned, a person's answer."""

from __future__ import annotations

import asyncio
import time

from pydantic import ValidationError
from temporalio import activity

from activities.doorman import Doorman
from qsaga.core.errors import ResultUnusable, SolverError
from qsaga.core.further import merged
from qsaga.core.jobs import tenant_of
from qsaga.core.lineage import input_digest
from qsaga.core.ports import ArtefactStore, CircuitResult
from qsaga.core.records import JobRecords
from qsaga.core.results import Cost
from qsaga.core.rung_steps import (
    CachedInput,
    CachedStep,
    IncumbentStep,
    LearnedInput,
    LearnedStep,
    MergeInput,
    MergeStep,
    TakeInput,
    TakeStep,
)
from qsaga.core.solvers import Incumbents, LearnedEstimator
from qsaga.core.states import Rung
from qsaga.core.steps import Raw
from qsaga.core.supplied import SuppliedAnswer
from qsaga.problems.supplied import as_result
from qsaga.problems.verify import CIRCUIT_RESULT, SAMPLE_SET


class Incumbent(IncumbentStep):
    """What a solver at work, or dead, has found so far."""

    def __init__(self, artefacts: ArtefactStore, incumbents: Incumbents, provider: str) -> None:
        self._artefacts, self._incumbents, self._provider = artefacts, incumbents, provider

    @activity.defn(name="incumbent")
    async def incumbent(self, key: str) -> Raw | None:
        """Keep it as an artefact."""
        samples = await asyncio.to_thread(self._incumbents.get, key)
        if samples is None:
            return None
        kept = await asyncio.to_thread(self._artefacts.put, samples, SAMPLE_SET)
        return Raw(
            rung=Rung.ANNEALING,
            provider=self._provider,
            result=kept,
            detail={"incumbent": True},
        )


class Cached(CachedStep):
    """The tenant's own earlier answers."""

    def __init__(self, records: JobRecords, doorman: Doorman) -> None:
        self._records, self._doorman = records, doorman

    @activity.defn(name="cached")
    async def cached(self, given: CachedInput) -> Raw | None:
        """The output behind the newest one: it is decoded and checked again."""
        await self._doorman.admits(given.job_id)
        tenant, sha256 = tenant_of(given.job_id), input_digest(given.workload)
        earlier = await self._records.newest_answer(tenant, sha256)
        if earlier is None:
            return None
        age = max(0.0, (given.at - earlier.closed).total_seconds())
        if given.max_age is not None and age > given.max_age:
            return None
        origin = earlier.provenance
        return Raw(
            rung=Rung.CACHED,
            provider=origin.provider,
            result=origin.artefacts["result"],
            backend=origin.backend,
            run_id=origin.run_id,
            provider_job_ids=origin.provider_job_ids,
            circuit=origin.circuit,
            isa_circuit=origin.artefacts.get("isa_circuit"),
            reduction=origin.artefacts.get("reduction"),
            detail={
                "of_job": earlier.job_id,
                "source": origin.source.value,
                "age_seconds": round(age, 3),
            },
        )


class Learned(LearnedStep):
    """The user's estimator."""

    def __init__(self, artefacts: ArtefactStore, estimator: LearnedEstimator | None) -> None:
        self._artefacts, self._estimator = artefacts, estimator

    @activity.defn(name="learned")
    async def learned(self, given: LearnedInput) -> Raw:
        """Whatever goes wrong in it is a rung that failed: the ladder goes on."""
        if self._estimator is None:
            raise SolverError("no estimator is installed on this worker (QSAGA_ESTIMATOR)")
        began = time.perf_counter()
        workload = given.workload.model_dump(mode="json")
        name = self._estimator.name
        try:
            said = await asyncio.to_thread(self._estimator.estimate, workload, given.seconds)
            answer = SuppliedAnswer.model_validate(said)
            data, media = as_result(given.workload, answer)
        except (ValidationError, ResultUnusable) as error:
            raise SolverError(f"estimator {name!r} answered what does not fit: {error}") from error
        except Exception as error:  # a user's code may raise anything
            raise SolverError(f"estimator {name!r}: {error!r}") from error
        return Raw(
            rung=Rung.LEARNED,
            provider=name,
            result=await asyncio.to_thread(self._artefacts.put, data, media),
            cost=_taken(began),
            detail={"estimator": name},
        )


class Take(TakeStep):
    """A person's answer."""

    def __init__(self, artefacts: ArtefactStore) -> None:
        self._artefacts = artefacts

    @activity.defn(name="take")
    async def take(self, given: TakeInput) -> Raw:
        """Kept as it was given."""
        data, media = await asyncio.to_thread(as_result, given.workload, given.answer)
        return Raw(
            rung=Rung.MANUAL,
            provider="person",
            result=await asyncio.to_thread(self._artefacts.put, data, media),
            detail={"by": given.by, "why": given.why},
        )


class Merge(MergeStep):
    """Two runs of one circuit."""

    def __init__(self, artefacts: ArtefactStore) -> None:
        self._artefacts = artefacts

    @activity.defn(name="merge")
    async def merge(self, given: MergeInput) -> Raw:
        """Both outputs stay as they are; what is made of them is a third."""
        return await asyncio.to_thread(self._merge, given)

    def _merge(self, given: MergeInput) -> Raw:
        first, second = given.first, given.second
        try:
            both = merged(*(self._read(raw) for raw in (first, second)))
        except ValueError as error:
            raise ResultUnusable(f"two runs cannot be put together: {error}") from error
        kept = self._artefacts.put(both.model_dump_json().encode(), CIRCUIT_RESULT)
        return first.model_copy(
            update={
                "result": kept,
                "provider_job_ids": (*first.provider_job_ids, *second.provider_job_ids),
                "detail": {**first.detail, "topped_up": both.shots},
            }
        )

    def _read(self, raw: Raw) -> CircuitResult:
        return CircuitResult.model_validate_json(self._artefacts.get(raw.result))


def _taken(began: float) -> Cost:
    return Cost(classical_seconds=round(time.perf_counter() - began, 3))
