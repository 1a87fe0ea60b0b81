"""The steps of a provider session."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from temporalio import activity
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError

from activities.doorman import Doorman
from activities.running import not_yet
from qsaga.core.errors import BudgetExceeded, Forbidden, TransientProviderError, from_failure
from qsaga.core.jobs import deployment_tag, tenant_of
from qsaga.core.ledger import Amounts, Hold, Ledger, hold_key
from qsaga.core.policy import Policy
from qsaga.core.ports import Charge, QuantumProvider, RemoteSession, RemoteState, SessionSpec
from qsaga.core.results import Cost
from qsaga.core.roles import Queues
from qsaga.core.sessions import (
    CLOSING,
    JOIN,
    PROVIDER_SESSION,
    CloseStep,
    Join,
    JoinInput,
    JoinStep,
    LookStep,
    OpenStep,
    SessionRecord,
    SessionRecords,
    SessionRequest,
    session_id,
)

AGAIN = 1.0
"""Seconds until a session that is being closed is asked for again."""


class JoinSession(JoinStep):
    """Take part in a session, and have it opened by the first."""

    def __init__(
        self,
        records: SessionRecords,
        doorman: Doorman,
        deployment: str,
        queue: str,
        queues: Queues,
    ) -> None:
        self._records, self._doorman = records, doorman
        self._deployment, self._queue, self._queues = deployment, queue, queues

    @activity.defn(name="join_session")
    async def join(self, given: JoinInput) -> str:
        """Ask the owner of the session, which is started if there is none."""
        await self._doorman.admits(given.job_id, given.run_id)
        terms, tenant = given.terms, tenant_of(given.job_id)
        name = session_id(deployment_tag(self._deployment), tenant, terms.key, given.backend)
        await self._records.ask(
            SessionRecord(
                session_id=name,
                job_id=given.job_id,
                members=(given.run_id,),
                backend=given.backend,
                terms=terms,
            )
        )
        owner: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            PROVIDER_SESSION,
            SessionRequest(
                session_id=name, backend=given.backend, terms=terms, queues=dict(self._queues)
            ),
            id=name,
            task_queue=self._queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            found: str = await activity.client().execute_update_with_start_workflow(
                JOIN,
                Join(run_id=given.run_id, stale=given.stale),
                start_workflow_operation=owner,
                result_type=str,
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            kind = cause.type if isinstance(cause, ApplicationError) else None
            if kind is None or kind == CLOSING:
                raise not_yet("the session before this one is being closed", AGAIN) from error
            raise from_failure(kind, str(cause)) from error
        return found


class Sessions(OpenStep, LookStep, CloseStep):
    """Opens, looks at, closes and books sessions."""

    def __init__(
        self,
        provider: QuantumProvider,
        records: SessionRecords,
        ledger: Ledger,
        policy: Policy,
    ) -> None:
        self._provider, self._records = provider, records
        self._ledger, self._policy = ledger, policy

    @activity.defn(name="open_session")
    async def open(self, given: SessionRequest) -> RemoteSession:
        """Open what a job has asked for; what it may cost is reserved first."""
        record = await self._record(given)
        if record.provider_session_id is not None:
            known = await self._provider.session(record.provider_session_id)
            if known.open:
                return known
            # Its owner was ended from outside: it is accounted before another one takes its place.
            await self.close_record(record)
            record = await self._records.ask(
                record.model_copy(
                    update={"provider_session_id": None, "hold": "", "members": record.members[-1:]}
                )
            )
        await self._hold(record)
        terms = given.terms
        opened = await self._provider.open_session(
            SessionSpec(backend=given.backend, mode=terms.mode, max_seconds=terms.max_seconds)
        )
        at = activity.info().started_time
        await self._records.opened(given.session_id, opened.session_id, at)
        return opened

    @activity.defn(name="look_at_session")
    async def look(self, given: SessionRequest) -> RemoteSession:
        """One request."""
        record = await self._record(given)
        if record.provider_session_id is None:
            raise TransientProviderError(f"session {given.session_id} is not open")
        return await self._provider.session(record.provider_session_id)

    @activity.defn(name="close_session")
    async def close(self, given: SessionRequest) -> float:
        """Close it; a dedicated one is charged by the clock, which its jobs do not sum up to."""
        record = await self._records.get(given.session_id)
        return 0.0 if record is None else await self.close_record(record)

    async def close_record(self, record: SessionRecord) -> float:
        """The same for a session whose owner is not at work any more."""
        known, at = record.provider_session_id, activity.info().started_time
        seconds, charge = 0.0, None
        cost = self._cost(record, 0.0)
        if known is not None:
            if (await self._provider.session(known)).open:
                await self._provider.close_session(known)
            session = await self._provider.session(known)
            if session.open or session.seconds is None:
                raise TransientProviderError(f"session {known}: its charge is not known yet")
            seconds = session.seconds
            cost = self._cost(record, await self._beyond(record, seconds))
            if cost.quantum_seconds > 0:
                charge = Charge(
                    provider=self._provider.name,
                    provider_job_id=known,
                    backend=record.backend,
                    state=RemoteState.COMPLETED,
                    role="session",
                    cost=cost,
                )
        await self._records.close(record.session_id, charge, at)
        if record.hold:
            await self._ledger.settle(
                record.hold,
                Amounts.hardware(cost),
                at,
                tenant=tenant_of(record.job_id),
                job_id=record.job_id,
                currency=cost.currency,
            )
        return seconds

    async def left_open(self) -> tuple[SessionRecord, ...]:
        """Sessions that were opened and not closed."""
        return await self._records.left_open()

    async def _record(self, given: SessionRequest) -> SessionRecord:
        record = await self._records.get(given.session_id)
        if record is None:
            raise Forbidden(f"session: no job has asked for {given.session_id!r}")
        return record

    async def _hold(self, record: SessionRecord) -> None:
        """A dedicated session may cost up to its whole length, whatever its jobs do."""
        if record.terms.mode != "dedicated":
            return
        most = self._cost(record, float(record.terms.max_seconds))
        hold = Hold(
            key=hold_key(record.session_id, activity.info().workflow_run_id or ""),
            amounts=Amounts.hardware(most),
            currency=most.currency,
        )
        tenant, at = tenant_of(record.job_id), activity.info().started_time
        # Written down first: whatever happens next, closing gives it back.
        await self._records.held(record.session_id, hold.key)
        if short := await self._ledger.reserve(tenant, record.job_id, (hold,), at):
            raise BudgetExceeded("; ".join(one.text(tenant) for one in short))

    async def _beyond(self, record: SessionRecord, seconds: float) -> float:
        """What the session was charged beyond its jobs, in quantum seconds.

        Raises:
            TransientProviderError: a job of it is not accounted yet.
        """
        if record.terms.mode != "dedicated":
            return 0.0
        # A run that was refused by this session waits for the next: it is none of them.
        if left := await self._records.unsettled(record.members):
            raise TransientProviderError(
                f"what its jobs were charged is not known yet: {', '.join(left)}"
            )
        return max(0.0, seconds - await self._records.charged(record.members))

    def _cost(self, record: SessionRecord, seconds: float) -> Cost:
        price = self._policy.hardware.price(record.backend)
        return Cost(
            quantum_seconds=seconds,
            money=price.per_quantum_second * Decimal(str(seconds)),
            currency=price.currency,
        )
