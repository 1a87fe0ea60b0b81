"""Crashes, restarts, clean ends, and staying responsive."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2

from ibm_quantum_emulator.pool import HEADER
from ibm_quantum_emulator.process import EmulatorProcess

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(part) for part in text.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module", autouse=True)
def own_simulators() -> Iterator[None]:
    """Nobody else's, but where a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IBM_QUANTUM_EMULATOR_SIMULATORS", raising=False)
        yield


@pytest.fixture
def simulators(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Simulators for emulators that look for them at ``tmp_path / "simulators"``."""
    path = tmp_path / "simulators"
    command = [sys.executable, "-m", "ibm_quantum_emulator.cli", "simulators", str(path)]
    with subprocess.Popen([*command, "--exit-with-parent"]) as process:
        until(path.exists, 60.0)
        yield process
        process.kill()


def test_emulators_share_simulators_and_do_without_when_they_are_gone(
    tmp_path: Path, bell: QuantumCircuit, simulators: subprocess.Popen[bytes]
) -> None:
    options: dict[str, Any] = {"stepped": True, "noise": "none", "workers": 1}
    emulator = EmulatorProcess(tmp_path / "data", simulators=tmp_path / "simulators", **options)
    emulator.start()
    try:
        sampler = SamplerV2(emulator.service().backend("ibm_torino"))

        def runs() -> bool:
            job = sampler.run([bell], shots=100)
            emulator.control.step(LONG)
            return sum(job.result()[0].data.meas.get_counts().values()) == 100

        assert runs()
        assert not children(emulator.pid)
        (first,) = children(simulators.pid)
        emulator.kill()
        until(lambda: not alive(first))
        emulator.start()
        assert runs()
        (second,) = children(simulators.pid)
        simulators.kill()
        os.kill(second, signal.SIGKILL)
        assert runs()
        assert len(children(emulator.pid)) == 1, "one of its own"
    finally:
        emulator.stop()


def test_a_simulator_ends_with_whoever_asked_without_hearing_the_answer(
    tmp_path: Path, simulators: subprocess.Popen[bytes]
) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(tmp_path / "simulators"))
        assert asking.recv(1, socket.MSG_PEEK), "it is ready"
        (pid,) = children(simulators.pid)
    until(lambda: not alive(pid))


def test_a_simulator_ends_with_whoever_asked_half_a_question(
    tmp_path: Path, simulators: subprocess.Popen[bytes]
) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(tmp_path / "simulators"))
        stream = asking.makefile("rb")
        (size,) = HEADER.unpack(stream.read(HEADER.size))
        pid = json.loads(stream.read(size))["pid"]
        asking.sendall(HEADER.pack(100) + b"{")
        stream.close()
    until(lambda: not alive(pid))


def test_a_killed_emulator_forgets_nothing(tmp_path: Path, bell: QuantumCircuit) -> None:
    emulator = EmulatorProcess(tmp_path / "data", stepped=True, noise="none", workers=1)
    emulator.start()
    try:
        service = emulator.service()
        sampler = SamplerV2(service.backend("ibm_torino"))
        emulator.control.set_faults(cancel_loses_race=True)
        sampler.options.environment.job_tags = ["a", "b"]
        done = sampler.run([bell], shots=100)
        emulator.control.step(LONG)
        counts = done.result()[0].data.meas.get_counts()
        sampler.options.environment.job_tags = []
        running = sampler.run([bell], shots=100)
        emulator.control.set_queue(50, 60)
        queued = sampler.run([bell], shots=100)
        before, settings = emulator.control.jobs(), emulator.control.settings()
        workers = children(emulator.pid)
        assert workers
        emulator.kill()
        until(lambda: not any(alive(pid) for pid in workers))

        emulator.start()
        assert emulator.control.settings() == settings
        keep = ("id", "seq", "tags", "state", "created", "running", "due", "charged_seconds")
        for old, new in zip(before, emulator.control.jobs(), strict=True):
            assert {k: old[k] for k in keep} == {k: new[k] for k in keep}
        again = service.job(done.job_id())
        assert again.result()[0].data.meas.get_counts() == counts
        assert again.tags == ["a", "b"]
        emulator.control.step(LONG)
        assert sum(running.result()[0].data.meas.get_counts().values()) == 100
        assert queued.status() == "QUEUED"
        emulator.control.step(50 * 60)
        assert queued.status() == "DONE"
        assert emulator.control.summary()["created"] == 3

        workers = children(emulator.pid)
        pid = emulator.pid
        began = time.monotonic()
        emulator.stop()
        assert time.monotonic() - began < 9
        assert not any(alive(each) for each in [pid, *workers])
    finally:
        emulator.stop()


class FakeTime(BaseHTTPRequestHandler):
    now = 2_000_000_000.0

    def do_GET(self) -> None:
        body = b'{"now": %f}' % FakeTime.now
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def outside_clock() -> Any:
    server = HTTPServer(("127.0.0.1", 0), FakeTime)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_outside_clock_is_followed(
    ibm_emulator: EmulatorProcess, submit: Callable[..., Any], outside_clock: str
) -> None:
    ibm_emulator.control.set_queue(480, 60)
    ibm_emulator.control.set_clock("followed", url=outside_clock)
    assert ibm_emulator.control.now() == 2_000_000_000.0
    job = submit()
    assert job.creation_date.year == 2033
    FakeTime.now += 8 * 3600 - 1
    assert job.status() == "QUEUED"
    FakeTime.now += 10
    assert job.status() == "DONE"


def test_http_answers_at_once_while_a_simulation_runs(
    ibm_emulator: EmulatorProcess, submit: Callable[..., Any], isa: Any
) -> None:
    circuit = QuantumCircuit(6, 6)
    # Measuring in between keeps Aer from sampling one final state: every shot is run.
    for _ in range(4):
        circuit.h(range(6))
        circuit.measure(range(6), range(6))
    ibm_emulator.control.set_clock("rate", rate=1)
    warm = submit()
    until(lambda: ibm_emulator.control.jobs()[0]["simulated"])
    job = submit(circuits=[isa(circuit)], shots=30_000)
    until(lambda: job.status() == "RUNNING")
    waits = []
    with httpx.Client(base_url=ibm_emulator.url, trust_env=False) as http:
        while not ibm_emulator.control.jobs()[1]["simulated"] and len(waits) < 200:
            began = time.perf_counter()
            assert http.get("/control/settings").status_code == 200
            waits.append(time.perf_counter() - began)
    assert len(waits) > 5
    assert np.median(waits) < 0.05
    assert warm.status() in ("RUNNING", "DONE")


def test_a_simulator_that_dies_is_replaced(
    ibm_emulator: EmulatorProcess, submit: Callable[..., Any]
) -> None:
    first = submit()
    ibm_emulator.control.step(LONG)
    assert first.status() == "DONE"
    for pid in children(ibm_emulator.pid):
        os.kill(pid, signal.SIGKILL)
    second = submit()
    ibm_emulator.control.step(LONG)
    assert second.status() == "DONE"


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time; from ibm_quantum_emulator.process import EmulatorProcess;"
        f"e = EmulatorProcess(__import__('pathlib').Path({str(tmp_path / 'd')!r})).start();"
        "print(e.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(pid))


@pytest.mark.parametrize(
    "arguments",
    [["--backend", "ibm_nowhere"], ["--rate", "0"], ["--noise", "loud"], ["--queue-length", "-1"]],
)
def test_bad_options_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ibm_quantum_emulator.cli", "serve", "--data", str(tmp_path)]
    done = subprocess.run(command + arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error" in done.stderr.lower()
