"""The typed client: start a job or find it, ask what waits for a person, operate."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from qsaga.caller import caller_name
from qsaga.calls import NoWorker, RanOut, last_scheduled, operate, translated
from qsaga.connection import connect
from qsaga.core.approval import ApprovalRecord
from qsaga.core.attributes import PAYLOAD_HASH, STATE, TENANT
from qsaga.core.contract import Slug
from qsaga.core.errors import KeyConflict, NoSuchJob, Unreachable
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest, Optimise
from qsaga.core.loop_rules import is_loop
from qsaga.core.loops import HYBRID_LOOP, LoopRequest, LoopStatus
from qsaga.core.operations import Operation, OperationReport
from qsaga.core.results import JobResult, JobStatus
from qsaga.core.runs import PLAN_JOB, QUANTUM_JOB, STATUS
from qsaga.core.states import JobState, Layer
from qsaga.core.validation import invalid_request
from qsaga.deciding import Decidable
from qsaga.handle import JobHandle
from qsaga.loop_handle import LoopHandle
from qsaga.problems.registry import parse
from qsaga.settings import Settings

__all__ = ["JobHandle", "LoopHandle", "QsagaClient", "check", "tenant_name"]

WORKER_SLACK = 30.0
"""Seconds for a worker to take up a plan, beside the budget of admission."""
EARLY_CHECK = 15.0
"""Seconds in all for the plan that checks a request before it is started."""
OPERATION_LIMIT = 60.0
"""Seconds in all for an operation."""
AT_ONCE = 16
"""Jobs that are asked at the same time how they stand."""

_TENANT: TypeAdapter[str] = TypeAdapter(Slug)


class QsagaClient:
    """Starts and finds jobs.

    >>> client = await QsagaClient.connect()              # doctest: +SKIP
    >>> handle = await client.start(request)              # doctest: +SKIP
    >>> result = await handle.result()                    # doctest: +SKIP
    """

    def __init__(self, client: Client, settings: Settings | None = None) -> None:
        self.temporal = client
        self._settings = settings or Settings()

    @classmethod
    async def connect(cls, settings: Settings | None = None) -> QsagaClient:
        """Connect as the settings say. Raises Unreachable."""
        settings = settings or Settings()
        return cls(await connect(settings), settings)

    def job(self, job_id: str) -> JobHandle:
        """The handle of a job by its id, ``tenant/key``."""
        return JobHandle(self.temporal, job_id, self._settings)

    async def start(self, request: JobRequest) -> JobHandle:
        """Start the job, or find it if the same key was used for the same payload before.

        A request that does not say who asks is sent with the name of the caller.

        Raises:
            InvalidRequest: naming the field, what was wrong and what is allowed; nothing was
                started.
            KeyConflict: the key belongs to a job with another payload.
            Unreachable: Temporal does not answer.
        """
        check(request)
        if request.requested_by is None:
            # Not part of the payload: whoever repeats the request finds the same job.
            request = request.model_copy(update={"requested_by": caller_name(self._settings)})
        if (request.route or request.backend) and not await self._exists(request.job_id):
            # Only a worker knows what its backends can take. Where none runs now the job starts
            # all the same, and the worker that comes refuses it if it must.
            with suppress(NoWorker):
                await self._plan(request, EARLY_CHECK)
        await self._begin(QUANTUM_JOB, request)
        return self.job(request.job_id)

    async def submit_loop(self, request: LoopRequest) -> LoopHandle:
        """Start the loop, or find it if the same key was used for the same payload before.

        Raises:
            KeyConflict: the key belongs to a loop with another payload.
            Unreachable: Temporal does not answer.
        """
        if request.requested_by is None:
            request = request.model_copy(update={"requested_by": caller_name(self._settings)})
        await self._begin(HYBRID_LOOP, request)
        return self.loop(request.job_id)

    def loop(self, loop_id: str) -> LoopHandle:
        """The handle of a loop by its id, ``tenant/loop/key``."""
        return LoopHandle(self.temporal, loop_id, self._settings)

    def asked(self, workflow_id: str) -> Decidable:
        """The handle of what a person is asked about: a job, or a loop by its id."""
        return self.loop(workflow_id) if is_loop(workflow_id) else self.job(workflow_id)

    async def run(self, request: JobRequest, seconds: float | None = None) -> JobResult:
        """Start the job and wait for its result."""
        return await (await self.start(request)).result(seconds)

    async def plan(self, request: JobRequest) -> Decision:
        """What would happen to the request now; nothing is started, reserved or sent.

        Raises:
            InvalidRequest, PolicyRefused: as ``start`` would.
            Unreachable: no worker answered within the budget of admission and half a minute.
        """
        return await self._plan(request, request.budgets.seconds(Layer.ADMIT) + WORKER_SLACK)

    async def inbox(self, tenant: str | None = None) -> list[ApprovalRecord]:
        """The jobs and loops that wait for a person, the one that lapses first in front.

        Args:
            tenant: whose jobs; None is every tenant's.

        Raises:
            InvalidRequest: no tenant can have that name.
            Unreachable: Temporal or the workers do not answer.
        """
        query = (
            f"WorkflowType IN ('{QUANTUM_JOB}', '{HYBRID_LOOP}') AND ExecutionStatus = 'Running' "
            f"AND {STATE} = '{JobState.AWAITING_APPROVAL.value}'"
        )
        if tenant is not None:
            # Checked, so that no name can change the question.
            query += f" AND {TENANT} = '{tenant_name(tenant)}'"
        with translated("inbox"):
            ids = [found.id async for found in self.temporal.list_workflows(query)]
        turns = asyncio.Semaphore(AT_ONCE)
        asked = await asyncio.gather(*(self._waiting(found, turns) for found in ids))
        return sorted(
            (record for record in asked if record is not None and record.outcome == "waiting"),
            key=lambda record: record.request.expires,
        )

    async def _waiting(self, found: str, turns: asyncio.Semaphore) -> ApprovalRecord | None:
        # Between the list and the question it may have ended, and be gone.
        async with turns:
            with suppress(NoSuchJob):
                return await self.asked(found).approval()
        return None

    async def operate(
        self, operation: Operation, *, by: str | None = None, seconds: float = OPERATION_LIMIT
    ) -> OperationReport:
        """Do an operation. Where the caller dies the operation goes on; repeating it is safe.

        Args:
            operation: one of ``qsaga.core.operations``.
            by: who asks; None is the caller of the settings.
            seconds: the most that it may take, a worker's coming included.

        Raises:
            InvalidRequest: the operation cannot be done as it is.
            Unauthenticated, Forbidden: the caller may not ask for it.
            PolicyRefused, NoSuchJob: as the operation says.
            Unreachable: no worker answered within ``seconds``.
        """
        return await operate(self.temporal, self._settings, operation, by=by, seconds=seconds)

    async def last_scheduled(self, kind: str) -> OperationReport:
        """The report of the operation of that kind that the deployment's schedule asked for last.

        Raises:
            NoSuchJob: there is none.
            Unreachable: Temporal does not answer.
        """
        return await last_scheduled(self.temporal, self._settings, kind)

    async def _plan(self, request: JobRequest, limit: float) -> Decision:
        check(request)
        queue = self._settings.temporal.task_queue
        try:
            with translated(request.job_id):
                decision: Decision = await self.temporal.execute_workflow(
                    PLAN_JOB,
                    request,
                    id=f"plan/{request.job_id}/{uuid4().hex[:12]}",
                    task_queue=queue,
                    result_type=Decision,
                    # Somebody waits for it: where no worker runs it must not wait for ever.
                    execution_timeout=timedelta(seconds=limit),
                )
        except RanOut as error:
            raise NoWorker(queue, limit) from error
        return decision

    async def _begin(self, kind: str, request: JobRequest) -> None:
        with translated(request.job_id):
            try:
                await self.temporal.start_workflow(
                    kind,
                    request,
                    id=request.job_id,
                    task_queue=self._settings.temporal.task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    # Told apart from a new job, so that only a repeated key costs a look-up.
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    memo={PAYLOAD_HASH: request.payload_hash()},
                )
            except WorkflowAlreadyStartedError:
                await self._same_payload(request)

    async def _exists(self, job_id: str) -> bool:
        try:
            described = await self.temporal.get_workflow_handle(job_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unreachable(f"Temporal does not answer: {error}") from error
        running = WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED
        return described.status in running

    async def _same_payload(self, request: JobRequest) -> None:
        handle = self.temporal.get_workflow_handle(request.job_id)
        known: str | None = await (await handle.describe()).memo_value(
            PAYLOAD_HASH, None, type_hint=str
        )
        if known is None:  # started by a plain client without the memo
            kind = LoopStatus if isinstance(request, LoopRequest) else JobStatus
            known = (await handle.query(STATUS, result_type=kind)).payload_hash
        if known != request.payload_hash():
            raise KeyConflict(
                f"key: {request.job_id!r} belongs to a job with another payload "
                "(allowed: a new key, or the same request)"
            )


def tenant_name(text: str) -> str:
    """The same, if a tenant can have that name. Raises InvalidRequest."""
    try:
        return _TENANT.validate_python(text)
    except ValidationError as error:
        raise invalid_request(error, "tenant") from error


def check(request: JobRequest) -> None:
    """Refuse what no worker would accept. Raises InvalidRequest."""
    if isinstance(request.workload, Optimise):
        parse(request.workload.problem)
