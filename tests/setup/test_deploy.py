"""The scripts of docker-compose.yml, run against a real server outside of containers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.setup.clones import ROOT
from tests.setup.composed import database_server, environment
from tests.support.databases import BACKENDS
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


if "postgresql" in BACKENDS:

    def test_qsagas_database_is_made_beside_what_is_there(tmp_path: Path) -> None:
        with database_server("postgresql", tmp_path) as server:
            socket = server["postgresql"]

            def make(password: str) -> None:
                own = environment("database", {"POSTGRES_QSAGA_PASSWORD": password})
                paths = {"PATH": f"{server['PATH']}:{os.defpath}", "PGHOST": socket}
                done = subprocess.run(
                    ["sh", "deploy/postgresql/database.sh"],
                    cwd=ROOT,
                    env=own | paths,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert (done.returncode, done.stderr) == (0, "")
                assert done.stdout == "database qsaga is there\n"

            def enter(user: str, **password: str) -> psycopg.Connection:
                return psycopg.connect(
                    host=socket, user=user, dbname="qsaga", autocommit=True, **password
                )

            with ThreadPoolExecutor(4) as at_once:
                list(at_once.map(make, ["first"] * 4))
            with enter("qsaga", password="first") as own:
                own.execute("CREATE TABLE kept (n int)")
            make(new := "100% s'e\"c\\r@t:/$1")
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                enter("qsaga", password="first")
            with enter("qsaga", password=new) as own:
                assert own.execute("SELECT count(*) FROM kept").fetchone() == (0,)
                alone = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles"
                found = own.execute(f"{alone} WHERE rolname = current_user").fetchone()
                assert found == (False,)
            with enter("temporal") as admin:
                admin.execute("CREATE ROLE stranger LOGIN")
                with pytest.raises(psycopg.OperationalError, match="permission denied"):
                    enter("stranger")
                admin.execute("DROP ROLE stranger")
