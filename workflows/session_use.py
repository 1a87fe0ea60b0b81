"""A run's part in a provider session that others share."""

from __future__ import annotations

from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.jobs import tenant_of
    from qsaga.core.runs import RunRequest
    from qsaga.core.sessions import LEAVE, JoinInput, JoinStep, session_id
    from qsaga.core.states import Layer
    from workflows.remote_wait import RemoteWait


class SessionUse:
    """Joins the session that a request names, if it names one, and leaves it."""

    def __init__(self, request: RunRequest, wait: RemoteWait) -> None:
        self._request, self._wait = request, wait
        self._joined = ""

    async def join(self, stale: str | None = None) -> str | None:
        """The provider's id of the session; ``stale`` is one that it has ended, most likely.

        Raises:
            LayerEnded: there is no session.
            GivenUp: nobody waits for an answer any more.
        """
        given, terms = self._request, self._request.session
        if terms is None:
            return None
        tenant = tenant_of(given.job_id)
        self._joined = session_id(given.deployment_tag, tenant, terms.key, given.backend)
        return await self._wait.step(
            Layer.SUBMIT,
            given.budgets.seconds(Layer.SUBMIT),
            JoinStep.join,
            JoinInput(
                job_id=given.job_id,
                run_id=given.tag,
                backend=given.backend,
                terms=terms,
                stale=stale,
            ),
        )

    async def leave(self) -> None:
        """Let the session go; one that has been closed meanwhile needs no word."""
        if self._joined:
            owner = workflow.get_external_workflow_handle(self._joined)
            with suppress(ApplicationError):
                await owner.signal(LEAVE, self._request.tag)
