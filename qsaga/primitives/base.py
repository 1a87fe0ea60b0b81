"""What both primitives share: their terms, and starting or finding jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Required, TypedDict, Unpack
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError
from qiskit.primitives import PrimitiveResult

from qsaga.client import QsagaClient
from qsaga.core.contract import Slug, digest
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import (
    Budgets,
    Circuit,
    Estimate,
    JobRequest,
    Sample,
    Sensitivity,
    SessionTerms,
)
from qsaga.core.results import JobResult
from qsaga.core.states import Rung
from qsaga.core.validation import invalid_request
from qsaga.primitives.job import DurableJob
from qsaga.primitives.loop_thread import loop_thread
from qsaga.primitives.naming import ORDINALS, numbered, stem
from qsaga.settings import Settings

AT_ONCE = 16
"""Jobs that are started at the same time."""
MAX_JOBS = 1000
"""Jobs that one call of ``run`` may start unless the primitive says otherwise."""

_SLUG: TypeAdapter[str] = TypeAdapter(Slug)
_ANY = Sample(circuit=Circuit(source="-"))


class Terms(TypedDict, total=False):
    """Fields of ``JobRequest`` that hold for every job of a primitive; see there."""

    tenant: str
    budgets: Budgets | Mapping[str, Any]
    route: Rung | str | None
    backend: str | None
    seed: int
    sensitivity: Sensitivity | str
    regions: Sequence[str]
    environment: str
    template: str | None
    dataset: str | None
    session: SessionTerms | Mapping[str, Any] | None


class Given(Terms, total=False):
    """Arguments of a primitive; see ``Durable``."""

    experiment: Required[str]
    client: QsagaClient | Settings | str | None
    fresh: bool
    timeout: float | None
    max_jobs: int


class Durable:
    """The part of a primitive that has nothing to do with what is asked.

    Args:
        experiment: names what the script does. The same run of the same experiment is the same
            job, also in another process and after a crash.
        client: a connected client, or where Temporal is: ``host:port``, settings, or None for
            the settings of the environment.
        fresh: True starts new jobs whatever ran before; each primitive made so has its own.
        timeout: seconds that ``result`` waits; None is no limit.
        max_jobs: most jobs of one ``run``: each set of parameter values is a job.
        **terms: fields of ``JobRequest``: tenant, budgets, route, backend, session, ….

    Raises InvalidRequest for a name or a term that no job can have.
    """

    def __init__(
        self,
        *,
        experiment: str,
        client: QsagaClient | Settings | str | None = None,
        fresh: bool = False,
        timeout: float | None = None,
        max_jobs: int = MAX_JOBS,
        **terms: Unpack[Terms],
    ) -> None:
        try:
            self.experiment = _SLUG.validate_python(experiment)
        except ValidationError as error:
            raise invalid_request(error, "experiment") from error
        self._prefix = f"{experiment}.{uuid4().hex[:12]}" if fresh else experiment
        self._client, self._timeout, self._max_jobs = client, timeout, max_jobs
        self._terms = dict(terms) | {"experiment": experiment}
        self._tenant = self._request(_ANY).tenant

    def rewind(self) -> None:
        """Count the runs of this experiment from the start: the same calls find the same jobs.

        A new process does so by itself; this is for a cell of a notebook that is run again.
        """
        ORDINALS.rewind(f"{self._tenant}/{self._prefix}.")

    def _start(
        self,
        workloads: Sequence[Sample | Estimate],
        make: Callable[[Sequence[JobResult]], PrimitiveResult],
    ) -> DurableJob:
        """Start a job for each workload, or find it. All are known to Temporal on return."""
        requests = [self._request(workload) for workload in workloads]
        names = [stem(request, self._prefix) for request in requests]
        numbers = [ORDINALS.take(name) for name in names]
        asked = [
            numbered(request, name, number)
            for request, name, number in zip(requests, names, numbers, strict=True)
        ]
        ids = [request.job_id for request in asked]
        try:
            client = loop_thread().call(self._started(asked))
        except BaseException:
            for name, number in zip(names, numbers, strict=True):
                ORDINALS.give_back(name, number)
            raise
        of_many = f"{self._tenant}/{self._prefix}.run.{digest(*ids)[:16]}"
        job_id = ids[0] if len(ids) == 1 else of_many
        return DurableJob(job_id, ids, client, make, self._timeout)

    def _request(self, workload: Sample | Estimate) -> JobRequest:
        given = {"key": "unnamed", "workload": workload} | self._terms
        try:
            return JobRequest.model_validate(given)
        except ValidationError as error:
            raise invalid_request(error) from error

    def _room_for(self, jobs: int) -> None:
        if jobs > self._max_jobs:
            raise InvalidRequest(
                "pubs",
                f"{jobs} sets of parameter values, each of them a job",
                f"at most {self._max_jobs}, or a larger max_jobs",
            )

    async def _started(self, requests: Sequence[JobRequest]) -> QsagaClient:
        client = await self._connected()
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(request: JobRequest) -> None:
            async with turns:
                await client.start(request)

        try:
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(one(request))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return client

    async def _connected(self) -> QsagaClient:
        if not isinstance(self._client, QsagaClient):
            self._client = await QsagaClient.connect(_settings(self._client))
        return self._client


def _settings(given: Settings | str | None) -> Settings:
    if isinstance(given, Settings):
        return given
    settings = Settings()
    if given is None:
        return settings
    temporal = settings.temporal.model_copy(update={"address": given})
    return settings.model_copy(update={"temporal": temporal})
