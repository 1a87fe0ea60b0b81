"""Who speaks to a workflow: tokens that came with calls, seals between workflows.

A workflow takes part by two attributes, both of them optional:

- ``guarded``: True if nobody may speak to it without a token, False if anybody may, None while
  that is not known yet. It must follow from the input or from what an activity answered.
  Handlers wait for it: a workflow that ends before it knew says True before it waits for them.
- ``tenant``: whose it is; a caller who does not act for that tenant is refused.

Unguarded workflows get neither a command nor a marker from here, so that their histories are
what they would be without.

State is kept in a context variable: a module that is loaded in the sandbox must import this one
with ``workflow.unsafe.imports_passed_through``, else it sees another variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RetryPolicy
from temporalio.converter import default
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from qsaga.core.errors import Forbidden, QsagaError, Unauthenticated
    from qsaga.core.identity import CALLER_HEADER, SEAL_HEADER, Caller
    from qsaga.core.runs import QUANTUM_JOB
    from qsaga.core.seals import (
        CHECK_CALLER,
        CHECK_SEAL,
        INTERNAL_SIGNALS,
        SealCheck,
        SealedSignal,
        about_child,
        about_signal,
        about_step,
    )
    from workflows.arguments import handler_refusal, refusal_of

STARTERS_STEPS = frozenset({"admit", "admit_loop", "operate"})
"""Done for whoever started the workflow, whoever spoke to it since."""
CALLERS_STEPS = frozenset({"review", CHECK_CALLER})
"""Done for whoever spoke: never with the token of the start, which is another person's."""
IDENTIFIED_STEPS = STARTERS_STEPS | CALLERS_STEPS

VERIFY, SEAL = "qsaga_verify", "qsaga_seal"
"""Names of what the sandbox may call outside of itself."""
LOCAL_TRY = timedelta(seconds=10)
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=0.2),
    maximum_interval=timedelta(seconds=2),
    # Within LOCAL_TRY: between two attempts the SDK does not notice that it is over.
    maximum_attempts=8,
    non_retryable_error_types=["Unauthenticated"],
)


@dataclass(frozen=True)
class _Call:
    token: str | None


_call: ContextVar[_Call | None] = ContextVar("qsaga_call", default=None)


@contextmanager
def as_caller(token: str | None) -> Iterator[None]:
    """Do what follows for the caller whose token that is; None is somebody without one."""
    before = _call.set(_Call(token))
    try:
        yield
    finally:
        _call.reset(before)


def caller_token() -> str | None:
    """The token of the call that is handled now; outside of a handler, that of the start."""
    call = _call.get()
    return call.token if call is not None else start_token()


def start_token() -> str | None:
    """The token that the workflow was started with."""
    return _said(workflow.info().headers.get(CALLER_HEADER))


async def require_parent(job_id: str) -> None:
    """Refuse to run unless a guarded workflow of that id started this one as its child.

    The id of a parent alone proves little: whoever has a worker in the namespace may run a
    workflow under any id that is free. The seal shows that it was one of ours.

    Raises:
        ApplicationError: of type Forbidden.
    """
    info = workflow.info()
    parent, mac = info.parent, _said(info.headers.get(SEAL_HEADER))
    if parent is not None and parent.workflow_id == job_id and mac:
        about = about_child(parent.workflow_id, parent.run_id, info.workflow_id)
        if await _holds(about, mac):
            return
    raise _refusal(Forbidden(f"parent: must be the guarded job {job_id!r}"))


class IdentifiedWorkflows(Interceptor):
    """Takes tokens and seals in and passes them on.

    Args:
        verify: the caller of a token, or None if that cannot be said at once; raises
            Unauthenticated. None where no keys are configured: then guarded workflows refuse
            every update.
        seal: the seal over what it is given; None where the deployment has no secret.
    """

    def __init__(
        self,
        verify: Callable[[str], Caller | None] | None,
        seal: Callable[[tuple[str, ...]], str] | None,
    ) -> None:
        self._verify, self._seal = verify, seal

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """The class that wraps each workflow."""
        input.unsafe_extern_functions[VERIFY] = self._verify or _no_keys
        input.unsafe_extern_functions[SEAL] = self._seal or _no_secret
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._opened: set[str] = set()
        super().init(_Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        if refused := refusal_of(input.run_fn, (workflow.instance(), *input.args)):
            raise refused
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        if refused := handler_refusal(workflow.instance(), "signal", input.signal, input.args):
            workflow.logger.warning("signal %r dropped: %s", input.signal, refused)
            return
        internal = input.signal in INTERNAL_SIGNALS
        if internal and await _is_guarded() and not await self._is_ours(input):
            workflow.logger.warning("signal %r without a good seal: dropped", input.signal)
            return
        with as_caller(_said(input.headers.get(CALLER_HEADER))):
            await super().handle_signal(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        _refuse_arguments(input)
        # Not called when a history is replayed, so it may ask what is not in the history. What it
        # refuses leaves no trace there. Not called either for an update without a validator of
        # its own, or before it is known whether the workflow is guarded: the handler decides.
        if _guarded():
            token = _said(input.headers.get(CALLER_HEADER))
            try:
                if token is None:
                    raise Unauthenticated("token: missing (allowed: a signed token)")
                caller: Caller | None = workflow.extern_functions()[VERIFY](token)
                if caller is not None:
                    _may_speak(caller)
            except QsagaError as error:
                raise _refusal(error) from error
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        _refuse_arguments(input)
        with as_caller(_said(input.headers.get(CALLER_HEADER))):
            if await _is_guarded():
                _may_speak(await _verified())
            return await super().handle_update_handler(input)

    async def _is_ours(self, input: HandleSignalInput) -> bool:
        try:
            said = SealedSignal.model_validate_json(_said(input.headers.get(SEAL_HEADER)) or "")
        except ValidationError:
            return False
        about = about_signal(said.sender, said.nonce, workflow.info().workflow_id, input.signal)
        if not await _holds(about, said.mac) or said.mac in self._opened:
            return False
        # Whoever reads histories can read a seal: it opens once.
        self._opened.add(said.mac)
        return True


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        super().__init__(next)
        self._sent = 0

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = _with(input.headers, _step_headers(input.activity))
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = _with(input.headers, _step_headers(input.activity))
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        info = workflow.info()
        mac = _seal(about_child(info.workflow_id, info.run_id, input.id))
        added = {SEAL_HEADER: mac}
        if input.workflow == QUANTUM_JOB:  # admitted for whoever started the loop
            added[CALLER_HEADER] = start_token()
        input.headers = _with(input.headers, added)
        return await super().start_child_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = _with(input.headers, {CALLER_HEADER: start_token()})
        super().continue_as_new(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        input.headers = _with(input.headers, self._sealed(input.workflow_id, input.signal))
        await super().signal_external_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        input.headers = _with(input.headers, self._sealed(input.child_workflow_id, input.signal))
        await super().signal_child_workflow(input)

    def _sealed(self, target: str, signal: str) -> dict[str, str | None]:
        self._sent += 1
        info = workflow.info()
        # Other in each run, so that a repeated signal is not taken for a copied one.
        nonce = f"{info.run_id}/{self._sent}"
        mac = _seal(about_signal(info.workflow_id, nonce, target, signal))
        if mac is None:
            return {}
        said = SealedSignal(sender=info.workflow_id, nonce=nonce, mac=mac)
        return {SEAL_HEADER: said.model_dump_json()}


def _refuse_arguments(input: HandleUpdateInput) -> None:
    if refused := handler_refusal(workflow.instance(), "update", input.update, input.args):
        raise refused


def _guarded() -> bool | None:
    known: bool | None = getattr(workflow.instance(), "guarded", False)
    return known


async def _is_guarded() -> bool:
    """Whether the workflow is guarded, once that is known."""
    if _guarded() is None:
        await workflow.wait_condition(lambda: _guarded() is not None)
    return bool(_guarded())


def _may_speak(caller: Caller) -> None:
    tenant: str | None = getattr(workflow.instance(), "tenant", None)
    if tenant is not None and not caller.acts_for(tenant):
        raise _refusal(Forbidden(f"tenant: {caller.subject!r} may not act for tenant {tenant!r}"))


async def _verified() -> Caller:
    try:
        caller: Caller = await workflow.execute_local_activity(
            CHECK_CALLER,
            result_type=Caller,
            schedule_to_close_timeout=LOCAL_TRY,
            retry_policy=RETRY,
        )
    except FailureError as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from error
        cause = _cause(error)
        kind = cause.type if isinstance(cause, ApplicationError) else None
        said = cause.message if isinstance(cause, ApplicationError) else f"token: {cause}"
        raise ApplicationError(said, type=kind or "Unauthenticated", non_retryable=True) from error
    return caller


async def _holds(about: tuple[str, ...], mac: str) -> bool:
    try:
        good: bool = await workflow.execute_local_activity(
            CHECK_SEAL,
            SealCheck(about=about, mac=mac),
            result_type=bool,
            schedule_to_close_timeout=LOCAL_TRY,
            retry_policy=RETRY,
        )
    except FailureError as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from error
        workflow.logger.error("a seal could not be checked: %s", _cause(error))
        return False
    return good


def _cause(error: FailureError) -> BaseException | None:
    """What went wrong: a local activity's failure comes bare, or wrapped like another's."""
    return error.cause if isinstance(error, ActivityError) else error


def _step_headers(step: str) -> dict[str, str | None]:
    headers: dict[str, str | None] = {}
    if step in STARTERS_STEPS:
        headers[CALLER_HEADER] = start_token()
    elif step in CALLERS_STEPS:
        call = _call.get()
        headers[CALLER_HEADER] = call.token if call is not None else None
    headers[SEAL_HEADER] = _seal(about_step(workflow.info().workflow_id, step))
    return headers


def _seal(about: tuple[str, ...]) -> str | None:
    """The seal of a guarded workflow. Another may have been started by anybody."""
    if not _guarded():
        return None
    mac: str | None = workflow.extern_functions()[SEAL](about)
    return mac


def _with(headers: Mapping[str, Payload], added: Mapping[str, str | None]) -> dict[str, Payload]:
    converter = default().payload_converter
    said = {name: converter.to_payload(text) for name, text in added.items() if text is not None}
    return {**headers, **said}


def _said(header: Payload | None) -> str | None:
    """What a header says: None if it is not there, empty if it is not a text.

    It comes from anybody, and an error here would stop the workflow's task for good.
    """
    if header is None:
        return None
    try:
        said = default().payload_converter.from_payload(header)
    except (ValueError, RuntimeError, KeyError, TypeError):
        return ""
    return said if isinstance(said, str) else ""


def _refusal(error: QsagaError) -> ApplicationError:
    return ApplicationError(str(error), type=type(error).__name__, non_retryable=True)


def _no_keys(_token: str) -> Caller | None:
    raise Unauthenticated("token: this deployment has no keys to check one with")


def _no_secret(_about: tuple[str, ...]) -> str | None:
    return None
