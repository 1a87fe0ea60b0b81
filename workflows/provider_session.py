"""A session at the provider, owned by nobody's job: opened, shared, closed and accounted."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.ports import RemoteSession
    from qsaga.core.roles import queue_of
    from qsaga.core.sessions import (
        CLOSING,
        JOIN,
        LEAVE,
        PROVIDER_SESSION,
        CloseStep,
        Join,
        LookStep,
        OpenStep,
        SessionReport,
        SessionRequest,
    )
    from qsaga.core.timing import SAFETY_NET
    from workflows.arguments import checked
    from workflows.layers import HEARTBEAT, ONE_ATTEMPT, RETRY, insist

OPEN_SECONDS = 600.0
"""Seconds after which those who wait for a session are told that there is none."""


@workflow.defn(name=PROVIDER_SESSION)
class ProviderSession:
    """Owns one session, for as long as runs take part in it.

    It lives apart from the jobs, so that it is closed and accounted whatever becomes of them.
    """

    @workflow.init
    @checked
    def __init__(self, request: SessionRequest) -> None:
        self._request = request
        self._users: set[str] = set()
        self._members: list[str] = []
        self._session: RemoteSession | None = None
        self._failed: ApplicationError | None = None
        self._closing = False

    @workflow.run
    async def run(self, request: SessionRequest) -> SessionReport:
        """Open, serve, close."""
        if await self._open():
            await self._until_nobody_uses_it()
        self._closing = True
        seconds = await insist(
            request.session_id, CloseStep.close, request, HEARTBEAT, queues=request.queues
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        return SessionReport(
            session_id=request.session_id,
            provider_session_id=self._session.session_id if self._session else None,
            members=tuple(self._members),
            seconds=seconds,
            failed=self._failed.message if self._failed else "",
        )

    @workflow.update(name=JOIN)
    async def join(self, given: Join) -> str:
        """Take part; returns the provider's id of the session."""
        current = self._session
        if current is not None and given.stale == current.session_id and await self._has_ended():
            self._closing = True
        if self._closing:
            raise ApplicationError("the session is being closed", type=CLOSING)
        self._users.add(given.run_id)
        if given.run_id not in self._members:
            self._members.append(given.run_id)
        await workflow.wait_condition(lambda: self._session is not None or self._failed is not None)
        if self._session is None:
            raise self._failed or ApplicationError("no session", type=CLOSING)
        return self._session.session_id

    @workflow.signal(name=LEAVE)
    def leave(self, run_id: str) -> None:
        """The run has closed its account."""
        self._users.discard(run_id)

    async def _open(self) -> bool:
        try:
            self._session = await workflow.execute_activity_method(
                OpenStep.open,
                self._request,
                task_queue=queue_of(OpenStep.open, self._request.queues),
                schedule_to_close_timeout=timedelta(seconds=OPEN_SECONDS),
                start_to_close_timeout=ONE_ATTEMPT,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=RETRY,
            )
        except ActivityError as error:
            cause = error.cause
            kind = cause.type if isinstance(cause, ApplicationError) else None
            said = cause.message if isinstance(cause, ApplicationError) else str(cause)
            self._failed = ApplicationError(
                f"no session: {said}", type=kind or "TransientProviderError", non_retryable=True
            )
            return False
        return True

    async def _until_nobody_uses_it(self) -> None:
        idle = timedelta(seconds=self._request.terms.idle_seconds)
        while not self._closing:
            try:
                await workflow.wait_condition(
                    lambda: self._closing or not self._users,
                    timeout=timedelta(seconds=SAFETY_NET),
                )
            except TimeoutError:
                # A run that was ended from outside never leaves: the provider ends the session.
                if await self._has_ended():
                    return
                continue
            try:
                await workflow.wait_condition(
                    lambda: self._closing or bool(self._users), timeout=idle
                )
            except TimeoutError:
                return

    async def _has_ended(self) -> bool:
        try:
            session = await workflow.execute_activity_method(
                LookStep.look,
                self._request,
                task_queue=queue_of(LookStep.look, self._request.queues),
                schedule_to_close_timeout=ONE_ATTEMPT,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=RETRY,
            )
        except ActivityError:
            return False
        return not (session.open and session.accepting)
