"""A dev server, a worker with identity, and clients of several people."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    WorkflowHandle,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import default
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Interceptor as WorkerInterceptor
from temporalio.worker import (
    Replayer,
    StartActivityInput,
    StartChildWorkflowInput,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.identified import IdentifiedActivities, Identity
from activities.running import Running
from adapters.identity import quickly, seal_keys, verifier
from qsaga.core.identity import CALLER_HEADER, SEAL_HEADER
from qsaga.identity import client_interceptors
from qsaga.settings import IdentitySettings
from tests.identity.flows import Forger, Given, Job, Run
from tests.identity.steps import Steps
from tools.identity import SigningKey, issue, jwks, new_key
from tools.servers import resolve
from workflows.identified import IdentifiedWorkflows

KEY, FOREIGN = new_key(), new_key()
SECRET = "s" * 40


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox of a worker."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            "pydantic", "pydantic_core", "annotated_types", "qsaga.core"
        )
    )


class Headers(Interceptor):
    """A client that puts whatever it likes into the header of a signal, and sees its queries'."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self.queried: list[str] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        converter, queried = default().payload_converter, self.queried
        said = {
            name: text if isinstance(text, Payload) else converter.to_payload(text)
            for name, text in self._said.items()
        }

        class _Forging(OutboundInterceptor):
            async def signal_workflow(self, input: SignalWorkflowInput) -> None:
                input.headers = {**input.headers, **said}
                await super().signal_workflow(input)

            async def query_workflow(self, input: QueryWorkflowInput) -> Any:
                header = input.headers.get(CALLER_HEADER)
                queried.append(converter.from_payload(header) if header else "")
                return await super().query_workflow(input)

        return _Forging(next)


def token(subject: str = "alice", key: SigningKey = KEY, **claims: Any) -> str:
    given = {"tenants": ["acme"], "roles": ["submitter", "approver"]} | claims
    return issue(key, sub=subject, **given)


def interceptors(identity: IdentitySettings) -> list[WorkerInterceptor]:
    """As a worker wires them."""
    checks, seals = verifier(identity), seal_keys(identity)
    return [
        Running(),
        IdentifiedActivities(checks, seals),
        IdentifiedWorkflows(quickly(checks) if checks else None, seals.seal if seals else None),
    ]


class Forging(WorkerInterceptor):
    """A worker that puts a seal of its own making on whatever it asks for."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _ForgingInbound


class _ForgingInbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_ForgingOutbound(outbound))


class _ForgingOutbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> Any:
        input.headers = {SEAL_HEADER: default().payload_converter.to_payload("0" * 64)}
        return super().start_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        input.headers = {SEAL_HEADER: default().payload_converter.to_payload("0" * 64)}
        return await super().start_child_workflow(input)


@dataclass
class World:
    """A worker with identity and whoever talks to it."""

    raw: Client
    identity: IdentitySettings
    queue: str = field(default_factory=lambda: f"identity-{uuid4().hex[:8]}")
    steps: Steps = field(default_factory=Steps)

    def client(self, given: str | None, *more: Interceptor) -> Client:
        """A client with that token, or a raw one."""
        config = self.raw.config()
        secret = SecretStr(given) if given is not None else None
        config["interceptors"] = [*client_interceptors(IdentitySettings(token=secret)), *more]
        return Client(**config)

    async def start(self, given: Given, said: str | None, **more: Any) -> WorkflowHandle[Any, Any]:
        """A job, started by whoever has that token."""
        return await self.client(said).start_workflow(
            Job.run, given, id=f"job-{uuid4().hex[:8]}", task_queue=self.queue, **more
        )

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """Run the worker."""
        asked = Identity(seal_keys(self.identity))
        async with Worker(
            self.raw,
            task_queue=self.queue,
            workflows=[Job, Run],
            activities=[
                self.steps.admit,
                self.steps.review,
                self.steps.submit,
                asked.check_seal,
                asked.check_caller,
            ],
            interceptors=interceptors(self.identity),
            workflow_runner=workflow_runner(),
            build_id="test",
        ):
            yield

    @asynccontextmanager
    async def forge(self) -> AsyncIterator[str]:
        """Run somebody else's worker in the same namespace."""
        queue = f"forger-{uuid4().hex[:8]}"
        async with Worker(
            self.raw,
            task_queue=queue,
            workflows=[Forger],
            interceptors=[Forging()],
            build_id="test",
        ):
            yield queue

    async def replay(self, workflow_id: str, identity: IdentitySettings) -> None:
        """Replay a history on a worker with other settings."""
        history = await self.raw.get_workflow_handle(workflow_id).fetch_history()
        replayer = Replayer(
            workflows=[Job, Run],
            data_converter=pydantic_data_converter,
            workflow_runner=workflow_runner(),
            interceptors=interceptors(identity),
        )
        await replayer.replay_workflow(history)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def identity_env() -> AsyncIterator[WorkflowEnvironment]:
    """The dev server."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli), data_converter=pydantic_data_converter
    ) as env:
        yield env


@pytest.fixture
def identity(tmp_path: Path) -> IdentitySettings:
    """What a worker is set up with."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(jwks(KEY)))
    return IdentitySettings(keys_file=keys, worker_key=SecretStr(SECRET))


@pytest_asyncio.fixture(loop_scope="session")
async def world(
    identity_env: WorkflowEnvironment, identity: IdentitySettings
) -> AsyncIterator[World]:
    """A running worker."""
    world = World(identity_env.client, identity)
    async with world.work():
        yield world
