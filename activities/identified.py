"""Who asked for the activity that runs now, and whether a guarded workflow of ours did."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.converter import default
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from qsaga.core.errors import Forbidden, Unauthenticated
from qsaga.core.identity import CALLER_HEADER, SEAL_HEADER, Caller, IdentityVerifier
from qsaga.core.seals import CHECK_CALLER, CHECK_SEAL, SealCheck, SealKeys, about_step

_caller: ContextVar[Caller | None] = ContextVar("qsaga_caller", default=None)
_sealed: ContextVar[bool] = ContextVar("qsaga_sealed", default=False)


def current_caller() -> Caller | None:
    """Whose token came with this activity; None if none came, or if identity is not set up."""
    return _caller.get()


def require_seal() -> None:
    """Refuse a step that no guarded workflow of this deployment asked for.

    Whoever may use the Temporal namespace can have any activity run with any input, from a
    workflow of his own or from none. What must not be had that way calls this, once it knows
    that the tenant demands identity.

    Raises:
        Forbidden: the seal is missing or is not good.
    """
    if not _sealed.get():
        raise Forbidden("seal: missing (allowed: a step of a job that was admitted with a token)")


class IdentifiedActivities(Interceptor):
    """Checks what came in an activity's headers.

    It raises errors of qsaga, so it stands after ``Running``, which translates them.

    Args:
        verifier: checks tokens; without one a token that came is not looked at.
        seals: the secrets of the deployment, if there are any.
    """

    def __init__(self, verifier: IdentityVerifier | None, seals: SealKeys | None) -> None:
        self._verifier, self._seals = verifier, seals

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap every activity."""
        return _IdentifiedActivity(next, self._verifier, self._seals)


class _IdentifiedActivity(ActivityInboundInterceptor):
    def __init__(
        self,
        next: ActivityInboundInterceptor,
        verifier: IdentityVerifier | None,
        seals: SealKeys | None,
    ) -> None:
        super().__init__(next)
        self._verifier, self._seals = verifier, seals

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        # Each activity is a task, and so has a context, of its own: nothing is to be put back.
        _caller.set(await self._caller(input.headers.get(CALLER_HEADER)))
        _sealed.set(self._is_sealed(input.headers.get(SEAL_HEADER)))
        return await super().execute_activity(input)

    async def _caller(self, header: Payload | None) -> Caller | None:
        if header is None or self._verifier is None:
            return None
        # It may have to wait for the issuer's keys.
        return await asyncio.to_thread(self._verifier.verify, _text(header))

    def _is_sealed(self, header: Payload | None) -> bool:
        info = activity.info()
        if header is None or self._seals is None or info.workflow_id is None:
            return False
        about = about_step(info.workflow_id, info.activity_type)
        return self._seals.holds(_text(header), about)


class Identity:
    """The local activities by which a workflow asks; their answers are in its history."""

    def __init__(self, seals: SealKeys | None) -> None:
        self._seals = seals

    @activity.defn(name=CHECK_SEAL)
    async def check_seal(self, given: SealCheck) -> bool:
        """Whether the seal is good; without a secret none is."""
        return self._seals is not None and self._seals.holds(given.mac, given.about)

    @activity.defn(name=CHECK_CALLER)
    async def check_caller(self) -> Caller:
        """The caller whose token came with this activity. Raises Unauthenticated."""
        caller = current_caller()
        if caller is None:
            raise Unauthenticated("token: missing (allowed: a signed token)")
        return caller


def _text(header: Payload) -> str:
    """What a header says; empty, which nothing accepts, if it is not a text."""
    try:
        said = default().payload_converter.from_payload(header)
    except (ValueError, RuntimeError, KeyError, TypeError):
        return ""
    return said if isinstance(said, str) else ""
