"""The caller's side of identity: his token goes along with every call that can carry it.

Cancel and terminate cannot: see ``docs/identity.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    StartWorkflowUpdateWithStartInput,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from temporalio.converter import default

from qsaga.core.errors import InvalidRequest
from qsaga.core.identity import CALLER_HEADER
from qsaga.settings import IdentitySettings


def client_interceptors(settings: IdentitySettings) -> list[Interceptor]:
    """What a client needs to say who calls: nothing where the settings name no token.

    Raises:
        InvalidRequest: there are two tokens, or the file with the token cannot be read.
    """
    if settings.token is not None and settings.token_file is not None:
        raise InvalidRequest("identity.token", "given beside identity.token_file", "one of them")
    if settings.token is None and settings.token_file is None:
        return []
    _token(settings)
    return [WithToken(settings)]


class WithToken(Interceptor):
    """Adds the token of the settings to start, signal, update and query."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap every call."""
        return _Outbound(next, self._settings)


class _Outbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, settings: IdentitySettings) -> None:
        super().__init__(next)
        self._settings = settings

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        # A start signal is in the same request and shares its header.
        input.headers = self._with_token(input.headers)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        input.headers = self._with_token(input.headers)
        await super().signal_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        input.headers = self._with_token(input.headers)
        return await super().query_workflow(input)

    async def start_workflow_update(
        self, input: StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        input.headers = self._with_token(input.headers)
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        for part in (input.start_workflow_input, input.update_workflow_input):
            part.headers = self._with_token(part.headers)
        return await super().start_update_with_start_workflow(input)

    def _with_token(self, headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
        token = default().payload_converter.to_payload(_token(self._settings))
        return {**headers, CALLER_HEADER: token}


def _token(settings: IdentitySettings) -> str:
    """The token as it is now: whoever renews the file need not restart the client."""
    if settings.token is not None:
        return settings.token.get_secret_value().strip()
    try:
        token = settings.token_file.read_text().strip() if settings.token_file else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidRequest(
            "identity.token_file", f"{settings.token_file}: {reason}", "a file with a token"
        ) from error
    if not token:
        raise InvalidRequest(
            "identity.token_file", f"{settings.token_file} is empty", "a file with a token"
        )
    return token
