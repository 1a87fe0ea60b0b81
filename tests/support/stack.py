"""qsaga's own processes in one: client, worker, adapters, on real servers."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import SecretStr
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

import worker
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle, QsagaClient
from qsaga.connection import register_search_attributes
from qsaga.core.attributes import PAYLOAD_HASH
from qsaga.core.jobs import JobRequest
from qsaga.core.records import JobRecord
from qsaga.core.results import JobResult
from qsaga.core.runs import QUANTUM_JOB
from qsaga.payloads import data_converter, header_codec
from qsaga.settings import IBMSettings, Settings, TemporalSettings
from tests.support.databases import put_at_head

T = TypeVar("T")
DATA = Path(__file__).parents[2] / "data"


def settings_for(
    folder: Path, proxy: str, changes: dict[str, Any] | None = None, **ibm: object
) -> Settings:
    """Settings that point at an emulator behind ``proxy``; ``changes`` are other settings."""
    account: dict[str, object] = {
        "token": SecretStr("emulator-key"),
        "instance": "emulator",
        "url": "http://emulator.test",
        "proxy": proxy,
        "iam_url": proxy,
        "listing_grace": 1.0,
        "call_timeout": 10.0,
    }
    given: dict[str, Any] = {
        "deployment": "test",
        "data_dir": folder,
        "temporal": TemporalSettings(task_queue=f"qsaga-{uuid4().hex[:8]}"),
        "ibm": IBMSettings.model_validate(account | ibm),
    }
    return Settings(**(given | (changes or {})))


async def the_end(ask: Callable[[], Awaitable[T]]) -> T:
    """What ``ask`` answers.

    The time-skipping server answers a long poll that ran out as if there were nothing to wait for.
    """
    while True:
        try:
            return await ask()
        except RuntimeError as error:
            if "No completion event found" not in str(error):
                raise


@dataclass
class Stack:
    """What a test talks to."""

    temporal: Client
    client: QsagaClient
    settings: Settings
    parts: worker.Parts
    emulator: EmulatorProcess
    env: WorkflowEnvironment

    async def run(self, request: JobRequest) -> JobResult:
        """Start and wait, time skipping where the server can."""
        return await self.result(await self.client.start(request))

    async def begin(self, request: JobRequest, **terms: Any) -> JobHandle:
        """Start it without planning it first, as the client would: what comes meets the job."""
        await self.temporal.start_workflow(
            QUANTUM_JOB,
            request,
            id=request.job_id,
            task_queue=self.settings.temporal.task_queue,
            memo={PAYLOAD_HASH: request.payload_hash()},
            **terms,
        )
        return self.client.job(request.job_id)

    async def result(self, handle: JobHandle) -> JobResult:
        """Wait for the end of a job."""
        async with self.skipping_time():
            return await the_end(handle.result)

    async def settled(self, result: JobResult) -> None:
        """Wait until every hardware run of the job has closed its account."""
        async with self.skipping_time():
            for run in result.runs:
                await the_end(self.temporal.get_workflow_handle(run).result)

    @staticmethod
    def run_id(result: JobResult) -> str:
        """The id of the job's hardware run."""
        return next(attempt.run_id for attempt in result.attempts if attempt.run_id)

    @asynccontextmanager
    async def skipping_time(self) -> AsyncIterator[None]:
        """Let virtual time run. The SDK does so only for handles of its own ``start_workflow``."""
        if not self.env.supports_time_skipping:
            yield
            return
        service = self.env.client.test_service
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            yield
        finally:
            await service.lock_time_skipping(LockTimeSkippingRequest())

    async def books_are_clean(self) -> None:
        """The ledger closes and nothing is held any more."""
        books = await self.parts.ledger.books()
        assert books.closed, books
        assert books.held == 0, await self.parts.ledger.held()

    def remote(self, run_id: str) -> list[dict[str, object]]:
        """Ground truth: the remote jobs that were ever accepted for a run."""
        return self.emulator.control.jobs(tag=run_id)

    async def record(self, job_id: str) -> JobRecord:
        """The job's row."""
        record = await self.parts.records.get(job_id)
        assert record is not None
        return record

    async def keep_history(self, name: str, workflow_id: str, run_id: str | None = None) -> int:
        """Number of events; the history is written down when histories are being recorded."""
        handle = self.temporal.get_workflow_handle(workflow_id, run_id=run_id)
        return await self._kept(name, handle)

    async def keep_histories(self, **names: str) -> None:
        """Keep the history of one workflow of each type; visibility has to list it already."""
        for kind, name in names.items():
            queue = self.settings.temporal.task_queue
            query = f"WorkflowType = '{kind}' AND TaskQueue = '{queue}'"
            one = await anext(self.temporal.list_workflows(query, page_size=1))
            await self._kept(name, self.temporal.get_workflow_handle(one.id))

    @staticmethod
    async def _kept(name: str, handle: WorkflowHandle[Any, Any]) -> int:
        workflow_id = handle.id
        history = await handle.fetch_history()
        if folder := os.environ.get("QSAGA_RECORD_HISTORIES"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            kept = {"workflow_id": workflow_id, "history": _portable(history.to_json_dict())}
            (Path(folder) / f"{name}.json").write_text(json.dumps(kept, indent=1))
        return len(history.events)


def _portable(part: Any) -> Any:
    """Without the stack traces, which name folders of the machine that recorded it."""
    if isinstance(part, dict):
        return {name: _portable(value) for name, value in part.items() if name != "stackTrace"}
    return [_portable(value) for value in part] if isinstance(part, list) else part


@asynccontextmanager
async def running_stack(
    env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    folder: Path,
    proxy: str = "",
    changes: dict[str, Any] | None = None,
    **ibm: object,
) -> AsyncIterator[Stack]:
    """A worker on its own task queue, and a client for it."""
    settings = settings_for(folder, proxy or emulator.url, changes, **ibm)
    config = env.client.config()
    config["data_converter"] = data_converter(settings)
    config["header_codec_behavior"] = header_codec(settings)
    client = Client(**config)
    await register_search_attributes(client)
    put_at_head(settings.data_dir / "qsaga.db")
    parts = await worker.build(settings)
    try:
        async with worker.worker(client, settings, parts):
            yield Stack(client, QsagaClient(client, settings), settings, parts, emulator, env)
    finally:
        await parts.engine.dispose()


def abilene(problem: str = "maxcut", **changes: object) -> JobRequest:
    """A request for the Abilene backbone under a new key."""
    edges = [
        line.split()[:2]
        for line in (DATA / "abilene.edges").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    base: dict[str, object] = {
        "key": f"k-{uuid4().hex[:12]}",
        "workload": {
            "kind": "optimise",
            "problem": {"name": problem, "data": {"edges": edges}},
            "algorithm": {"depth": 1},
            "shots": 512,
        },
        "route": "hardware",
        "budgets": {"solve": 0.3, "deadline": 86400},
    }
    return JobRequest.model_validate(base | changes)


def bell(**changes: object) -> JobRequest:
    """A two-qubit circuit to sample."""
    source = (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\n'
        "h q[0];\ncx q[0], q[1];\nc = measure q;\n"
    )
    base: dict[str, object] = {
        "key": f"k-{uuid4().hex[:12]}",
        "workload": {"kind": "sample", "circuit": {"source": source}, "shots": 400},
    }
    return JobRequest.model_validate(base | changes)
