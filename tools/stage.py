"""A stage for jobs on real servers: Temporal, the emulated quantum cloud and a worker.

Each is a process of its own on a free port of loopback, each logs into one folder, and none of
them outlives the process that started them, even if that one is killed.

    with Stage(folder) as stage:
        stage.start_worker()
        client = await QsagaClient.connect(stage.settings())
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from temporalio.client import Client

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.settings import IBMSettings, Settings, TemporalSettings
from tools.processes import StageError, alive, end, spawn
from tools.servers import ROOT, resolve

START_LIMIT = 60.0
"""Seconds after which a process that does not answer is given up."""
READY = "worker ready"

DYNAMIC_CONFIG = (
    # The stock 20 a second would round every step of a workflow up to 50 ms.
    "history.transferProcessorMaxPollRPS=500",
    # What was forgotten would be deleted half a minute later.
    'history.transferProcessorUpdateAckInterval="500ms"',
    'history.visibilityProcessorUpdateAckInterval="500ms"',
)
PRAGMAS = (
    # A third of the time for a workflow. Who is killed loses nothing all the same, only a machine
    # without power would.
    "journal_mode=wal",
    "synchronous=off",
)
"""Of the file in which the dev server keeps everything."""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    holds: Callable[[], Any], what: str, seconds: float = START_LIMIT, pause: float = 0.02
) -> None:
    """Wait until a condition holds. Raises TimeoutError that says ``what`` did not happen."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        time.sleep(pause)


class TemporalServer(Protocol):
    """A Temporal server that can be killed and started again on its data."""

    @property
    def address(self) -> str:
        """``host:port`` of the frontend."""

    @property
    def ui(self) -> str:
        """Address of the web UI; empty if there is none."""

    def start(self) -> None:
        """Start what does not run, and wait until it serves; the address stays.

        Raises:
            StageError: it ended by itself.
            SetupError: there is no program.
        """

    def kill(self, part: str = "") -> None:
        """``kill -9`` one part, or all of it; the data stay."""

    def stop(self) -> None:
        """End it. Safe to repeat."""


class DevServer:
    """Temporal's dev server, which keeps everything in a SQLite file; it has one part.

    Args:
        folder: gets data and log.
        ui: whether the web UI is served.
    """

    def __init__(self, folder: Path, *, ui: bool) -> None:
        self._folder, self._log, self._with_ui = folder, folder / "temporal.log", ui
        self._port = self._ui_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` of the frontend."""
        return f"127.0.0.1:{self._port}"

    @property
    def ui(self) -> str:
        """Address of the web UI; empty if there is none."""
        return f"http://127.0.0.1:{self._ui_port}" if self._with_ui else ""

    def start(self) -> None:
        """Start it; a second time on the same address and data."""
        program = str(resolve().cli)
        first = not self._port
        # A free port may be taken before the server has it: then others are tried.
        for attempt in range(5):
            if first:
                self._port, self._ui_port = free_port(), free_port()
            # fmt: off
            command = [
                program, "server", "start-dev", "--ip", "127.0.0.1",
                "--port", str(self._port), "--log-level", "warn",
                "--db-filename", str(self._folder / "temporal.sqlite"),
                *(["--ui-port", str(self._ui_port)] if self._with_ui else ["--headless"]),
            ]
            # fmt: on
            for value in DYNAMIC_CONFIG:
                command += ["--dynamic-config-value", value]
            for value in PRAGMAS:
                command += ["--sqlite-pragma", value]
            self._process = spawn(command, self._log, os.environ)
            try:
                self._await()
                return
            except StageError:
                if attempt == 4 or not first:
                    raise

    def _await(self) -> None:
        def answers() -> bool:
            alive(self._process, self._log)
            return asyncio.run(_serves(self.address))

        # In a thread, so that a caller's event loop is not in the way.
        with ThreadPoolExecutor(1) as aside:
            aside.submit(wait_until, answers, "Temporal answers").result()

    def kill(self, part: str = "") -> None:
        """``kill -9``."""
        end(self._process, signal.SIGKILL)
        self._process = None

    def stop(self) -> None:
        """End it. Safe to repeat."""
        end(self._process, signal.SIGTERM, 5.0)
        self._process = None


class Stage:
    """Temporal and emulator, with a worker that can be killed and started again.

    All methods block; a coroutine calls them through ``asyncio.to_thread``.

    Args:
        folder: gets the logs and everything that is kept; what is in it is taken up again.
        ui: whether Temporal's web UI is served.
        deployment: name of the deployment that the worker belongs to.
        emulator: options of ``EmulatorProcess``: ``queue_length=3``, ``noise="none"``, …
        temporal: the Temporal server; None is the dev server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ui: bool = True,
        deployment: str = "stage",
        emulator: Mapping[str, Any] | None = None,
        temporal: TemporalServer | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.deployment = deployment
        self.emulator = EmulatorProcess(self.folder / "emulator", **dict(emulator or {}))
        self._temporal: TemporalServer = temporal or DevServer(self.folder, ui=ui)
        self._worker: subprocess.Popen[bytes] | None = None

    # --- where things are --------------------------------------------------------------------

    @property
    def temporal_address(self) -> str:
        """``host:port`` of the Temporal frontend."""
        return self._temporal.address

    @property
    def ui(self) -> str:
        """Address of Temporal's web UI; empty if there is none."""
        return self._temporal.ui

    @property
    def worker_log(self) -> Path:
        """What all workers of this stage wrote."""
        return self.folder / "worker.log"

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker; None while there is none."""
        return self._worker.pid if self._worker else None

    def settings(self) -> Settings:
        """Settings of a client, or of a worker inside a test, of this stage."""
        return Settings(
            deployment=self.deployment,
            data_dir=self.folder / "data",
            hardware=True,
            temporal=TemporalSettings(
                address=self.temporal_address,
                # After kill -9 a workflow would wait ten seconds for its old worker.
                sticky_timeout=1.0,
            ),
            ibm=IBMSettings.model_validate(self._ibm()),
        )

    def environment(self) -> dict[str, str]:
        """The same settings as variables, beside what this process has that is not qsaga's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QSAGA_")}
        return kept | {
            "QSAGA_DEPLOYMENT": self.deployment,
            "QSAGA_DATA_DIR": str(self.folder / "data"),
            "QSAGA_TEMPORAL__ADDRESS": self.temporal_address,
            "QSAGA_TEMPORAL__STICKY_TIMEOUT": "1",
            **{f"QSAGA_IBM__{name.upper()}": value for name, value in self._ibm().items()},
        }

    def _ibm(self) -> dict[str, str]:
        return {
            "token": "emulator-key",
            "instance": "emulator",
            "url": "http://emulator.test",
            "proxy": self.emulator.url,
            "iam_url": self.emulator.url,
            # The emulator lists a job as soon as it has accepted it.
            "listing_grace": "1",
            "call_timeout": "5",
        }

    # --- start and stop ----------------------------------------------------------------------

    def start(self) -> Self:
        """Start Temporal and the emulator. Raises StageError, SetupError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # Both at once: each is a matter of seconds.
            with ThreadPoolExecutor(1) as beside:
                emulator = beside.submit(self.emulator.start, START_LIMIT)
                self.start_temporal()
                emulator.result()
        except BaseException:
            self.stop()
            raise
        return self

    def start_temporal(self) -> None:
        """Start what of Temporal does not run; again on the same address and data."""
        self._temporal.start()

    def kill_temporal(self, part: str = "") -> None:
        """Kill Temporal, or one part of it, like a crash would; its data stay."""
        self._temporal.kill(part)

    def start_worker(self, **env: str) -> int:
        """Start ``python worker.py`` and wait until it is ready.

        Args:
            **env: variables on top of ``environment()``: ``QSAGA_HARDWARE="false"``.

        Returns:
            Its process id.

        Raises:
            StageError: it ended by itself.
            RuntimeError: there is one already.
        """
        if self._worker is not None:
            raise RuntimeError("the worker runs already")
        self.worker_log.touch()
        seen = self.worker_log.stat().st_size
        self._worker = spawn(
            [sys.executable, str(ROOT / "worker.py")], self.worker_log, self.environment() | env
        )

        def ready() -> bool:
            with self.worker_log.open("rb") as log:
                log.seek(seen)
                if READY.encode() in log.read():
                    return True
            alive(self._worker, self.worker_log)
            return False

        wait_until(ready, "the worker is ready")
        return self._worker.pid

    def kill_worker(self) -> None:
        """``kill -9`` the worker: no clean-up of its own runs."""
        end(self._worker, signal.SIGKILL)
        self._worker = None

    def stop_worker(self, seconds: float = 25.0) -> None:
        """Ask the worker to finish what is under way and end; kill it after ``seconds``."""
        end(self._worker, signal.SIGTERM, seconds)
        self._worker = None

    def restart_worker(self, **env: str) -> int:
        """Stop the worker if it runs, and start one with other variables."""
        self.stop_worker()
        return self.start_worker(**env)

    def stop(self) -> None:
        """End everything that this stage started. Safe to repeat."""
        end(self._worker, signal.SIGTERM, 3.0)
        self._worker = None
        self._temporal.stop()
        self.emulator.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


async def _serves(address: str) -> bool:
    try:
        client = await asyncio.wait_for(Client.connect(address), 5.0)
        # The frontend answers before the namespace is there.
        async for _ in client.list_workflows(limit=1):
            pass
    except Exception:  # noqa: BLE001 - whatever is wrong now, the caller asks again until its limit
        return False
    return True
