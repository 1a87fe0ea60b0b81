"""Runs the emulator as a child process, and talks to its control API."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from .config import InstanceSpec

_DEFAULT_INSTANCE = InstanceSpec(name="emulator")


class ControlClient:
    """Typed access to the control API.

    Every method raises ``httpx.HTTPStatusError`` when the emulator refuses and
    ``httpx.TransportError`` when it is not there.

    Args:
        url: Base URL of the emulator.
    """

    def __init__(self, url: str) -> None:
        # Other tools' proxy variables must not come between us and loopback.
        self._http = httpx.Client(base_url=url, timeout=70.0, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def health(self) -> dict[str, Any]:
        """Return ``{ok, pid, version}``."""
        return self._get("health")

    def settings(self) -> dict[str, Any]:
        """Return clock (with ``now``), queues, execution, faults, backends and instances."""
        return self._get("settings")

    def patch(self, **parts: Any) -> dict[str, Any]:
        """Change settings: ``clock``, ``queues``, ``execution``, ``faults``; returns them all."""
        reply = self._http.patch("/control/settings", json=parts)
        reply.raise_for_status()
        return dict(reply.json())

    def set_queue(
        self,
        length: int | None = None,
        seconds_per_job: float | None = None,
        *,
        slots: int | None = None,
        requeue: bool | None = None,
        backend: str = "*",
    ) -> None:
        """Change the queue of a backend (``*``: of all).

        ``requeue`` says what a new length means for jobs that already wait: absent, they get at
        most so many ahead (0 drains); true, exactly so many; false, they keep their place.
        """
        patch = {
            "length": length,
            "seconds_per_job": seconds_per_job,
            "slots": slots,
            "requeue": requeue,
        }
        self.patch(queues={backend: {k: v for k, v in patch.items() if v is not None}})

    def set_clock(
        self,
        mode: str | None = None,
        *,
        rate: float | None = None,
        now: float | None = None,
        step: float | None = None,
        url: str | None = None,
    ) -> float:
        """Change the clock and return the virtual time, epoch seconds.

        Args:
            mode: ``rate``, ``stepped`` or ``followed``.
            rate: Virtual seconds per real second.
            now: Set to this moment (never back).
            step: Move forward by so many virtual seconds.
            url: Clock to follow.
        """
        patch = {"mode": mode, "rate": rate, "now": now, "step": step, "url": url}
        done = self.patch(clock={k: v for k, v in patch.items() if v is not None})
        return float(done["clock"]["now"])

    def step(self, seconds: float) -> float:
        """Move the clock forward and return the virtual time."""
        return self.set_clock(step=seconds)

    def now(self) -> float:
        """Return the virtual time in epoch seconds."""
        return float(self.settings()["clock"]["now"])

    def set_execution(
        self, overhead_seconds: float | None = None, seconds_per_shot: float | None = None
    ) -> None:
        """Change how long jobs accepted from now on hold the machine."""
        patch = {"overhead_seconds": overhead_seconds, "seconds_per_shot": seconds_per_shot}
        self.patch(execution={k: v for k, v in patch.items() if v is not None})

    def set_faults(self, **switches: Any) -> dict[str, Any]:
        """Replace fault switches: ``outage``, ``cancel_loses_race``, ``fail_next``,
        ``revoked_keys``; returns all of them.
        """
        return dict(self.patch(faults=switches)["faults"])

    def jobs(self, tag: str | None = None) -> list[dict[str, Any]]:
        """Return the ground truth of every job ever accepted, oldest first."""
        return list(self._get("jobs", **({} if tag is None else {"tag": tag}))["jobs"])

    def summary(self, tag: str | None = None) -> dict[str, Any]:
        """Return counts: posts, created, run, completed, failed, cancelled, pending, charged,
        charged_seconds, cancel_attempts, lost_race.
        """
        return self._get("summary", **({} if tag is None else {"tag": tag}))

    def world(self) -> dict[str, Any]:
        """Return the world document in force."""
        return self._get("world")

    def set_world(self, document: dict[str, Any]) -> dict[str, Any]:
        """Put a world document in force and return it."""
        reply = self._http.put("/control/world", json=document)
        reply.raise_for_status()
        return dict(reply.json())

    def backends(self) -> list[dict[str, Any]]:
        """Return each backend: name, state, queue, calibration, calibrations, maintenance."""
        return list(self._get("backends")["backends"])

    def change_backend(
        self, backend: str, *, paused: bool | None = None, recalibrate: bool = False
    ) -> dict[str, Any]:
        """Pause a backend, let it go on, or calibrate it at once; returns it."""
        body = {"paused": paused, "recalibrate": recalibrate}
        reply = self._http.patch(f"/control/backends/{backend}", json=body)
        reply.raise_for_status()
        return dict(reply.json())

    def sessions(self) -> list[dict[str, Any]]:
        """Return the ground truth of every session, oldest first: backend, mode, state, opened,
        activated, closed, charged_seconds, jobs and more.
        """
        return list(self._get("sessions")["sessions"])

    def set_limits(self, instance: str = "*", **limits: Any) -> None:
        """Change limits of an instance (``*``: of all), see the fields of ``Limits``."""
        self.patch(limits={instance: limits})

    def faults(self) -> dict[str, Any]:
        """Return the fault plan; each rule with ``matched``, ``fired`` and ``description``."""
        return self._get("faults")

    def set_plan(self, *rules: dict[str, Any], seed: int = 0) -> dict[str, Any]:
        """Replace the fault plan by these rules, counters at zero; returns it as ``faults``."""
        return self.put_plan({"version": 1, "seed": seed, "faults": list(rules)})

    def put_plan(self, document: dict[str, Any]) -> dict[str, Any]:
        """Replace the fault plan by a whole document; returns it as ``faults``."""
        reply = self._http.put("/control/faults", json=document)
        reply.raise_for_status()
        return dict(reply.json())

    def add_rules(self, *rules: dict[str, Any]) -> dict[str, Any]:
        """Append rules to the fault plan; returns it as ``faults``."""
        reply = self._http.post("/control/faults", json={"faults": list(rules)})
        reply.raise_for_status()
        return dict(reply.json())

    def clear_plan(self) -> None:
        """Remove all rules of the fault plan."""
        self._http.delete("/control/faults").raise_for_status()

    def posts(self, tag: str | None = None) -> list[dict[str, Any]]:
        """Return every submission, oldest first: at, status (0: a rule kept it from being
        handled), answered (or ``dropped``), job_id, tags, faults.
        """
        return list(self._get("posts", **({} if tag is None else {"tag": tag}))["posts"])

    def request_log(
        self,
        since_id: int = 0,
        *,
        endpoint: str | None = None,
        tag: str | None = None,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Return logged requests with a greater id, oldest first: id, at, wall, method,
        endpoint, path, status (or ``dropped``), ms, job_id, tags, faults.

        Args:
            since_id: Id of the last one already known.
            endpoint: Only of this endpoint, by its short name.
            tag: Only submissions with this tag.
            limit: At most so many, 10,000 at most.
        """
        query = {"endpoint": endpoint, "tag": tag, "since_id": str(since_id), "limit": str(limit)}
        given = {name: value for name, value in query.items() if value is not None}
        return list(self._get("requests/log", **given)["requests"])

    def requests(self) -> dict[str, int]:
        """Return how often each endpoint was called."""
        return dict(self._get("requests")["endpoints"])

    def reset(self) -> None:
        """Forget all jobs and go back to the start-up settings."""
        self._http.post("/control/reset").raise_for_status()

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        reply = self._http.get(f"/control/{path}", params=query)
        reply.raise_for_status()
        return dict(reply.json())


class EmulatorProcess:
    """An emulator in a child process. Use as a context manager or call :meth:`start`.

    Args:
        data: Directory of everything kept; a temporary one when absent, removed by
            :meth:`stop` unless it was given.
        exit_with_parent: Whether it stops when this process dies.
        options: Options of ``serve``, in Python spelling: ``queue_length=10``, ``noise="none"``,
            ``backend=["ibm_torino", "ibm_fez"]``, ``stepped=True`` and so on.
    """

    def __init__(
        self, data: Path | None = None, *, exit_with_parent: bool = True, **options: Any
    ) -> None:
        self._temporary = None if data else tempfile.TemporaryDirectory(prefix="emulator-")
        self.data = Path(data or (self._temporary.name if self._temporary else ""))
        self._options = {"exit_with_parent": exit_with_parent, **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None
        self._control: ControlClient | None = None

    @property
    def url(self) -> str:
        """Base URL, the same after a restart.

        Raises:
            RuntimeError: Never started.
        """
        if self._url is None:
            raise RuntimeError("the emulator has not been started")
        return self._url

    @property
    def pid(self) -> int:
        """Process id.

        Raises:
            RuntimeError: Not running.
        """
        if self._process is None:
            raise RuntimeError("the emulator is not running")
        return self._process.pid

    @property
    def control(self) -> ControlClient:
        """Client of its control API."""
        if self._control is None:
            self._control = ControlClient(self.url)
        return self._control

    @property
    def crn(self) -> str:
        """CRN of the first instance."""
        return str(self.control.settings()["instances"][0]["crn"])

    def start(self, timeout: float = 30.0) -> Self:
        """Start and wait until it answers.

        Raises:
            RuntimeError: It ended at once; the text has the end of its output.
            TimeoutError: It does not answer in time.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        ready, output = self.data / "ready.json", self.data / "stderr.log"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "ibm_quantum_emulator.cli", "serve"]
        options = {**self._options, "data": self.data, "ready_file": ready}
        if self._url is not None:
            options["port"] = int(self._url.rpartition(":")[2])
        with output.open("ab") as errors:
            self._process = subprocess.Popen(
                command + _arguments(options), stdout=subprocess.DEVNULL, stderr=errors
            )
        deadline = time.monotonic() + timeout
        while not ready.exists():
            if self._process.poll() is not None:
                tail = output.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the emulator ended with {self._process.returncode}: {tail}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"the emulator was not ready after {timeout} seconds")
            time.sleep(0.01)
        self._url = json.loads(ready.read_text())["url"]
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Stop it cleanly (SIGTERM; SIGKILL after ``timeout``) and drop a temporary directory."""
        self._end(signal.SIGTERM, timeout)
        if self._temporary is not None:
            self._temporary.cleanup()

    def kill(self) -> None:
        """Kill it like a crash would (SIGKILL); the data stays."""
        self._end(signal.SIGKILL, 10.0)

    def restart(self, timeout: float = 30.0) -> Self:
        """Start again on the same data and the same port, stopping it first if it runs."""
        self._end(signal.SIGTERM, 10.0)
        return self.start(timeout)

    def service(self, **options: Any) -> Any:
        """Return a ``QiskitRuntimeService`` that talks to this emulator.

        Sets ``IAM_URL`` in this process, because the client takes the identity service's
        address from there only. ``options`` go to the service's constructor.
        """
        # Importing the client takes seconds; whoever only needs the process need not wait.
        from qiskit_ibm_runtime import QiskitRuntimeService

        os.environ.update(self.environment())
        settings = {
            "channel": "ibm_quantum_platform",
            "token": "emulator-key",
            "url": "http://emulator.test",
            "instance": _DEFAULT_INSTANCE.name,
            "proxies": {"urls": {"http": self.url}},
        }
        return QiskitRuntimeService(**{**settings, **options})

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the client needs."""
        return {"IAM_URL": self.url}

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

    def _end(self, number: signal.Signals, timeout: float) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)


def _arguments(options: dict[str, Any]) -> list[str]:
    arguments: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif value is False or value is None:
            continue
        elif isinstance(value, list | tuple):
            arguments += [part for item in value for part in (flag, str(item))]
        else:
            arguments += [flag, str(value)]
    return arguments
