"""The scripts of docker-compose.yml, run against a real server outside of containers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.setup.clones import ROOT
from tools.servers import resolve


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli), dev_server_log_level="error"
    ) as environment:
        yield environment


def run(server: WorkflowEnvironment, *command: str, **variables: str) -> tuple[int, str]:
    address = server.client.service_client.config.target_host
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{resolve().cli.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": address,
            "QSAGA_TEMPORAL__ADDRESS": address,
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


async def test_the_namespace_is_made_once(server: WorkflowEnvironment) -> None:
    for _ in range(2):
        code, said = run(server, "sh", "deploy/temporal/namespace.sh", NAMESPACE="another")
        assert code == 0, said
    address = server.client.service_client.config.target_host
    assert (await Client.connect(address, namespace="another")).namespace == "another"


@workflow.defn(sandboxed=False)
class Nothing:
    @workflow.run
    async def run(self) -> None:
        pass


async def test_a_worker_is_healthy_while_it_polls(server: WorkflowEnvironment) -> None:
    check = (sys.executable, "deploy/worker_health.py")
    queue = {"QSAGA_TEMPORAL__TASK_QUEUE": "health"}
    assert run(server, *check, **queue) == (1, "")
    async with Worker(server.client, task_queue="health", workflows=[Nothing], build_id="test"):
        await server.client.execute_workflow(
            Nothing.run, id="health", task_queue="health", run_timeout=timedelta(seconds=20)
        )
        assert run(server, *check, **queue) == (0, "")


def test_without_a_server_a_worker_is_not_healthy() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/worker_health.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "QSAGA_TEMPORAL__ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode != 0
