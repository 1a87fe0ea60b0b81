"""prefect-qiskit in an environment of its own below the cache, and its servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx

from benchmarks.environments import environment
from tools.servers import ROOT
from tools.stage import free_port, wait_until

PINS = {
    "prefect-qiskit": "0.2.1",
    "prefect": "3.8.8",
    # The newest Prefect does not start with a newer one.
    "fastapi": "0.139.2",
    "qiskit": "2.6.2",
    "qiskit-ibm-runtime": "0.51.0",
    "qiskit-qasm3-import": "0.6.0",
}
START_LIMIT = 180.0
FLOWS_LOG = "prefect-flows.log"


class Route:
    """A process in which prefect-qiskit runs flows."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def run(self, what: str = "") -> dict[str, Any]:
        """Have it do what its script makes of the line: ``delivered``, ``error``, ``seconds``."""
        stdin, _ = self._pipes()
        stdin.write(f"{what}\n")
        stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Its next line. Raises RuntimeError with the end of its log if it has ended."""
        for line in self._pipes()[1]:
            if line.startswith("{"):
                return dict(json.loads(line))
        told = self._log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"prefect-qiskit's process ended with {self._process.wait()}:\n{told}")

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("started without pipes")
        return self._process.stdin, self._process.stdout


def route(
    url: str, crn: str, backend: str, job: dict[str, Any], logs: Path
) -> AbstractContextManager[Route]:
    """prefect-qiskit on an emulator, one flow at a time. Its logs go to ``logs``."""
    return _served("prefect_route.py", [url, crn, backend, json.dumps(job)], logs)


def aer_route(job: dict[str, Any], logs: Path) -> AbstractContextManager[Route]:
    """prefect-qiskit on Aer. Its logs go to ``logs``."""
    return _served("prefect_aer.py", [json.dumps(job)], logs)


@contextmanager
def _served(script: str, arguments: list[str], logs: Path) -> Iterator[Route]:
    """A script on a Prefect server of its own."""
    python, port = environment("prefect-qiskit", PINS), free_port()
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {
            "PREFECT_HOME": home,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_PROXY": "127.0.0.1",
        }
        # fmt: off
        server: list[str | Path] = [
            python, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port),
        ]
        # fmt: on
        with _process(server, env, logs / "prefect-server.log"):
            health = f"http://127.0.0.1:{port}/api/health"
            wait_until(lambda: _answers(health), "Prefect answers", START_LIMIT, 0.2)
            path = ROOT / "benchmarks" / script
            # -P: the modules beside the script are not for it (one is called like a package).
            client: list[str | Path] = [python, "-P", path, *arguments]
            with _process(client, env, logs / FLOWS_LOG) as process:
                ready = Route(process, logs / FLOWS_LOG)
                ready.read()
                yield ready


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def _process(
    command: Sequence[str | Path], env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if log.name == FLOWS_LOG else errors,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(10)
