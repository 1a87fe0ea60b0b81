"""Temporal as it is deployed: four services, each a process of its own, on PostgreSQL.

Built by ``python -m tools.system``. A ``tools.stage.TemporalServer``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import temporalio.api.workflowservice.v1 as service
import yaml
from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command, CompleteWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import WorkflowType
from temporalio.api.enums.v1 import CommandType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tools.cluster_programs import find
from tools.postgres import USER, Postgres
from tools.processes import StageError, alive, completed, end, spawn
from tools.servers import ROOT
from tools.stage import wait_until

SERVICES = ("frontend", "history", "matching", "worker")
NAMESPACE = "default"
DATABASES = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""By name, the schema of each."""
CONNECTIONS = 10
"""That each service may hold to each of the two."""
DYNAMIC_CONFIG = ROOT / "deploy" / "temporal" / "dynamicconfig.yaml"
# Below those that Linux gives to outgoing connections: one of them could have the port of a service
# that is down for a moment.
PORTS = range(20_000, 32_000, 16)
CALL = timedelta(seconds=5)
COMPLETE = Command(
    command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
    complete_workflow_execution_command_attributes=CompleteWorkflowExecutionCommandAttributes(),
)


class Cluster:
    """The four services and their PostgreSQL, which has room for other databases as well.

    Args:
        folder: gets logs and settings.

    Raises:
        SetupError: a program is missing.
    """

    ui = ""

    def __init__(self, folder: Path) -> None:
        self._folder, self._programs = folder, find()
        self._guard, ports = _claim(1 + 2 * len(SERVICES))
        self.postgres = Postgres(self._programs.postgresql, folder / "postgresql.log", ports[0])
        self._ports = dict(zip(SERVICES, zip(ports[1::2], ports[2::2], strict=True), strict=True))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        """``host:port`` of the frontend."""
        return f"127.0.0.1:{self._ports['frontend'][0]}"

    @property
    def _settings(self) -> Path:
        return self._folder / "temporal.yaml"

    def start(self) -> None:
        """Start what does not run, and wait until a workflow can be run.

        Raises:
            StageError: a process ended by itself.
        """
        # In a thread, so that a caller's event loop is not in the way.
        with ThreadPoolExecutor(1) as aside:
            aside.submit(self._start).result()

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        if not self._settings.exists():
            self._make_databases()
            self._settings.write_text(yaml.safe_dump(self._config(), sort_keys=False))
            # On an empty database several at once would be in each other's way.
            self._run(SERVICES[0])
            wait_until(self._listens, "the first service listens")
        for name in SERVICES:
            if name not in self._running:
                self._run(name)
        wait_until(self._serves, "the cluster runs a workflow", pause=0.1)

    def kill(self, part: str = "") -> None:
        """``kill -9`` one service, or all and PostgreSQL at once; the data stay."""
        names = [part] if part else list(self._running)
        for name in names:
            self._running[name].send_signal(signal.SIGKILL)
        if not part:
            self.postgres.kill()
        for name in names:
            end(self._running.pop(name), signal.SIGKILL)

    def stop(self) -> None:
        """End everything and delete the data; logs stay. Safe to repeat."""
        self.kill()
        self.postgres.stop()
        self._settings.unlink(missing_ok=True)
        self._guard.close()

    def _run(self, name: str) -> None:
        # fmt: off
        command = [
            str(self._programs.server), "--config-file", str(self._settings), "--allow-no-auth",
            "start", "--service", name,
        ]
        # fmt: on
        self._running[name] = spawn(command, self._log(name), os.environ)

    def _log(self, name: str) -> Path:
        return self._folder / f"temporal-{name}.log"

    def _all_alive(self) -> None:
        for name, process in self._running.items():
            alive(process, self._log(name))

    def _listens(self) -> bool:
        self._all_alive()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._ports["frontend"][0])):
            return True
        return False

    def _serves(self) -> bool:
        self._all_alive()
        return asyncio.run(_runs_a_workflow(self.address))

    # --- set-up ----------------------------------------------------------------------------------

    def _make_databases(self) -> None:
        # fmt: off
        tool = [
            str(self._programs.sql_tool), "--plugin", "postgres12", "--ep", "127.0.0.1",
            "-p", str(self.postgres.port), "-u", USER,
        ]
        # fmt: on
        environment = os.environ | {"SQL_PASSWORD": self.postgres.password}
        for database, schema in DATABASES.items():
            for words in (
                ["create"],
                ["setup-schema", "-v", "0.0"],
                ["update-schema", "--schema-name", f"postgresql/v12/{schema}"],
            ):
                completed([*tool, "--db", database, *words], environment)

    def _config(self) -> dict[str, Any]:
        active = {
            "enabled": True,
            "initialFailoverVersion": 1,
            "rpcName": "frontend",
            "rpcAddress": self.address,
        }
        return {
            "log": {"stdout": True, "level": "warn"},
            "persistence": {
                "defaultStore": "temporal",
                "visibilityStore": "temporal_visibility",
                "numHistoryShards": 4,
                "datastores": {name: {"sql": self._store(name)} for name in DATABASES},
            },
            "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": "127.0.0.1"}},
            "services": {
                name: {
                    "rpc": {
                        "grpcPort": grpc,
                        "membershipPort": membership,
                        "bindOnLocalHost": True,
                    }
                }
                for name, (grpc, membership) in self._ports.items()
            },
            "clusterMetadata": {
                "enableGlobalNamespace": False,
                "failoverVersionIncrement": 10,
                "masterClusterName": "active",
                "currentClusterName": "active",
                "clusterInformation": {"active": active},
            },
            "dcRedirectionPolicy": {"policy": "noop"},
            "dynamicConfigClient": {"filepath": str(DYNAMIC_CONFIG), "pollInterval": "10s"},
        }

    def _store(self, database: str) -> dict[str, Any]:
        return {
            "pluginName": "postgres12",
            "databaseName": database,
            "connectAddr": f"127.0.0.1:{self.postgres.port}",
            "connectProtocol": "tcp",
            "user": USER,
            "password": self.postgres.password,
            "maxConns": CONNECTIONS,
            "maxIdleConns": CONNECTIONS,
            "maxConnLifetime": "1h",
        }


def _claim(count: int) -> tuple[socket.socket, list[int]]:
    """So many ports in a row, and a socket before them that keeps others like us away."""
    for base in random.SystemRandom().sample(PORTS, len(PORTS)):
        guard = socket.socket()
        ports = list(range(base + 1, base + 1 + count))
        if _bound(guard, base) and all(_is_free(port) for port in ports):
            return guard, ports
        guard.close()
    raise StageError(f"no {count + 1} free ports in a row from {PORTS.start} to {PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return _bound(probe, port)


def _bound(one: socket.socket, port: int) -> bool:
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


async def _runs_a_workflow(address: str) -> bool:
    """Start one, take its task and complete it: that needs frontend, history and matching."""
    try:
        client = await asyncio.wait_for(Client.connect(address, namespace=NAMESPACE), 5.0)
        await _make_namespace(client)
        return await _probe(client)
    except Exception:  # noqa: BLE001 - whatever is wrong now, the caller asks again until its limit
        return False


async def _make_namespace(client: Client) -> None:
    request = service.RegisterNamespaceRequest(
        namespace=client.namespace,
        workflow_execution_retention_period=Duration(seconds=24 * 3600),
    )
    try:
        await client.workflow_service.register_namespace(request, timeout=CALL)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


async def _probe(client: Client) -> bool:
    name = f"probe-{uuid4().hex}"
    queue = TaskQueue(name=name)
    await client.workflow_service.start_workflow_execution(
        service.StartWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_id=name,
            workflow_type=WorkflowType(name="probe"),
            task_queue=queue,
            workflow_execution_timeout=Duration(seconds=60),
            request_id=name,
        ),
        timeout=CALL,
    )
    task = await client.workflow_service.poll_workflow_task_queue(
        service.PollWorkflowTaskQueueRequest(namespace=client.namespace, task_queue=queue),
        timeout=CALL,
    )
    await client.workflow_service.respond_workflow_task_completed(
        service.RespondWorkflowTaskCompletedRequest(
            namespace=client.namespace, task_token=task.task_token, commands=[COMPLETE]
        ),
        timeout=CALL,
    )
    return True
