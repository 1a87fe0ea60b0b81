"""A stage with workers of some roles or versions, each a process with a log of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from qsaga.client import QsagaClient
from tools.processes import alive, end, spawn
from tools.servers import ROOT
from tools.stage import READY, Stage, wait_until

DRAIN = 3.0
STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
CHANGED = Path(__file__).parent / "changed_worker.py"


@dataclass(frozen=True)
class Member:
    """A worker process."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Of the process; the first part of the identity that histories name."""
        return self.process.pid

    def told(self, text: str) -> bool:
        """Whether the log says so."""
        return text in self.log.read_text()

    def end(self, seconds: float) -> int:
        """SIGTERM; its exit code, at most ``seconds`` later."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Team(Stage):
    """Temporal and the emulator, and no worker before one is asked for."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(
            folder,
            ui=False,
            deployment="team",
            emulator={"noise": "none", "overhead_seconds": 0.2, "seconds_per_job": 0.5},
        )
        self._changes = {"QSAGA_DRAIN": str(DRAIN), "QSAGA_IBM__CALL_TIMEOUT": "15"} | settings
        self._members: list[Member] = []

    def environment(self) -> dict[str, str]:
        """With the settings of the team."""
        return super().environment() | self._changes

    def begin(self, *arguments: str, script: Path = ROOT / "worker.py", **env: str) -> Member:
        """Start a worker, without waiting until it is ready."""
        log = self.folder / f"member-{len(self._members)}.log"
        variables = self.environment() | {"PYTHONPATH": str(ROOT)} | env
        process = spawn([sys.executable, str(script), *arguments], log, variables)
        self._members.append(member := Member(process, log))
        return member

    def ready(self, *members: Member) -> None:
        """Wait until they are."""
        for member in members:

            def is_ready(member: Member = member) -> bool:
                alive(member.process, member.log)
                return member.told(READY)

            wait_until(is_ready, f"worker {member.pid} is ready")

    def hire(self, *arguments: str, script: Path = ROOT / "worker.py", **env: str) -> Member:
        """Start a worker and wait until it is ready."""
        member = self.begin(*arguments, script=script, **env)
        self.ready(member)
        return member

    def dismiss(self) -> None:
        """No worker works any more."""
        for member in self._members:
            end(member.process, signal.SIGKILL)

    def stop(self) -> None:
        """End everything."""
        self.dismiss()
        super().stop()

    async def client(self) -> QsagaClient:
        """Of the deployment."""
        return await QsagaClient.connect(self.settings())


async def done_by(temporal: Client, workflow_id: str) -> dict[str, set[int]]:
    """Steps of a workflow, each with the processes that did it; ``workflow`` is its own tasks."""
    history = await temporal.get_workflow_handle(workflow_id).fetch_history()
    names, found = {}, {}
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            names[event.event_id] = scheduled.activity_type.name
        elif event.HasField("activity_task_started_event_attributes"):
            started = event.activity_task_started_event_attributes
            name = names[started.scheduled_event_id]
            found.setdefault(name, set()).add(_pid(started.identity))
        elif event.HasField("workflow_task_completed_event_attributes"):
            completed = event.workflow_task_completed_event_attributes
            found.setdefault("workflow", set()).add(_pid(completed.identity))
    return found


def _pid(identity: str) -> int:
    return int(identity.partition("@")[0])


async def under_way(handle: WorkflowHandle[Any, Any], step: str) -> int:
    """Wait until an attempt of a step runs; the process that does it."""
    while True:
        with suppress(RPCError):  # it has not begun yet
            for pending in (await handle.describe()).raw_description.pending_activities:
                if pending.activity_type.name == step and pending.state == STARTED:
                    return _pid(pending.last_worker_identity)
        await asyncio.sleep(0.05)
