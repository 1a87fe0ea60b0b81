"""Many jobs, heavy simulations, and kills at any moment."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder, SamplerV2

from ibm_quantum_emulator.config import InstanceSpec
from ibm_quantum_emulator.model import COMPLETED, Job, new_job_id
from ibm_quantum_emulator.process import EmulatorProcess
from ibm_quantum_emulator.store import Store

CRN = InstanceSpec(name="emulator").crn


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextmanager
def client(emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emulator.url + "/api/v1/", trust_env=False, timeout=30) as http:
        reply = http.post(emulator.url + "/identity/token", data={"apikey": "raw"})
        http.headers["authorization"] = f"Bearer {reply.json()['access_token']}"
        http.headers["service-crn"] = CRN
        yield http


def stored(path: Path, count: int) -> None:
    store = Store(path / "emulator.sqlite3")
    with store.together():
        for number in range(count):
            job = Job(
                id=new_job_id(),
                instance=CRN,
                backend="ibm_torino",
                program="sampler",
                created=1e9 + number,
                executions=100,
                duration=2.0,
                ahead=0.0,
                ahead_at=1e9 + number,
                tags=[f"group-{number % 100}", f"one-{number}", "all"],
                state=COMPLETED,
                started=1e9 + number,
                finished=1e9 + number + 2,
                charged=2,
            )
            store.add_job(job, "{}")
    store.close()


def timed(http: httpx.Client, path: str, count: int, **query: Any) -> list[float]:
    waits = []
    for _ in range(count):
        began = time.perf_counter()
        reply = http.get(path, params=query)
        waits.append(time.perf_counter() - began)
        assert reply.status_code == 200
    return waits


def median(http: httpx.Client, path: str, **query: Any) -> float:
    # The best of three: what other processes take from the machine is not measured here.
    return min(float(np.median(timed(http, path, 15, **query))) for _ in range(3))


def test_ten_thousand_jobs_are_listed_quickly(tmp_path: Path) -> None:
    tmp_path.joinpath("data").mkdir()
    stored(tmp_path / "data", 10_000)
    with (
        EmulatorProcess(tmp_path / "data", stepped=True, workers=1) as emulator,
        client(emulator) as http,
    ):
        found = http.get("jobs", params={"tags": "group-7", "limit": 200}).json()
        assert (found["count"], len(found["jobs"])) == (100, 100)
        queries: dict[str, dict[str, Any]] = {
            "one": {"tags": "one-4321"},
            "group": {"tags": "group-7", "limit": 20},
            "none": {"tags": "nothing"},
            "all": {"tags": "all", "limit": 20, "offset": 5000},
        }
        medians = {what: median(http, "jobs", **query) for what, query in queries.items()}
        page = median(http, emulator.url + "/control/overview", offset=9900)
    print(medians, page)
    assert max(medians["one"], medians["group"], medians["none"]) < 0.02
    # Counting ten thousand matches takes its time.
    assert max(medians["all"], page) < 0.1


def test_requests_are_answered_while_heavy_jobs_are_simulated(
    ibm_emulator: EmulatorProcess, backend: Any, isa: Any, submit: Callable[..., Any]
) -> None:
    circuit = QuantumCircuit(6, 6)
    # Measuring in between keeps Aer from sampling one final state: every shot is run.
    for _ in range(6):
        circuit.h(range(6))
        circuit.measure(range(6), range(6))
    heavy, control = isa(circuit), ibm_emulator.control
    control.set_queue(slots=4)
    submit()
    until(lambda: control.jobs()[0]["simulated"])
    jobs = [SamplerV2(backend).run([heavy], shots=100_000) for _ in range(4)]

    def measured(_: int) -> list[float]:
        with client(ibm_emulator) as http:
            return timed(http, f"jobs/{jobs[3].job_id()}", 150, exclude_params="true")

    slowest: list[float] = []
    # Measured again when other processes may have taken the machine.
    while not slowest or (slowest[-1] >= 0.05 and len(slowest) < 4):
        with ThreadPoolExecutor(2) as threads:
            waits = [each for part in threads.map(measured, range(2)) for each in part]
        slowest.append(float(np.percentile(waits, 99)))
    print(slowest, float(np.median(waits)))
    # Otherwise nothing was simulated meanwhile.
    assert [job["simulated"] for job in control.jobs()[1:]].count(False) > 0
    assert slowest[-1] < 0.05
    for job in jobs:
        job.cancel()


@pytest.fixture
def body(bell: QuantumCircuit) -> dict[str, Any]:
    params = json.loads(json.dumps({"pubs": [[bell, None, 10]]}, cls=RuntimeEncoder))
    return {"program_id": "sampler", "backend": "ibm_torino", "params": params}


class Load:
    """Threads that submit until the server is gone, and what they were answered."""

    def __init__(self, emulator: EmulatorProcess, body: dict[str, Any]) -> None:
        self.accepted: list[str] = []
        # One entry for each: appending is atomic, counting is not.
        self.attempts: list[None] = []
        self._stop = threading.Event()
        self._body = body
        self._emulator = emulator
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            with client(self._emulator) as http:
                while not self._stop.is_set():
                    self.attempts.append(None)
                    reply = http.post("jobs", json=self._body)
                    assert reply.status_code == 200
                    self.accepted.append(reply.json()["id"])
        except httpx.TransportError:
            return


def test_no_accepted_job_is_lost_by_kills_under_load(tmp_path: Path, body: dict[str, Any]) -> None:
    rng = random.Random(5)
    options = {"rate": 50, "overhead_seconds": 1.0, "noise": "none", "slots": 2, "workers": 1}
    emulator = EmulatorProcess(tmp_path / "data", **options)
    emulator.start()
    try:
        accepted: list[str] = []
        ended: dict[str, tuple[Any, ...]] = {}
        sent = 0
        for _ in range(3):
            # From the second round on, jobs of the earlier ones have ended or end meanwhile.
            until(lambda first=not accepted: first or ended_ones(emulator))
            load = Load(emulator, body)
            wanted = rng.randint(3, 25)
            until(lambda load=load, wanted=wanted: len(load.accepted) >= wanted)
            rows = known(emulator)
            emulator.kill()
            load.join()
            accepted, sent = accepted + load.accepted, sent + len(load.attempts)
            ended |= {row["id"]: fate(row) for row in rows if row["finished"] is not None}
            emulator.start()
            truth = {row["id"]: row for row in known(emulator)}
            assert set(accepted) <= set(truth)
            # A submission that was cut off may have been accepted, but none more than that.
            assert len(truth) <= sent
            assert all(fate(truth[job]) == told for job, told in ended.items())
        assert ended
        until(lambda: all(row["finished"] for row in known(emulator)), 60)
        rows = emulator.control.jobs()
        assert all((row["state"], row["charged_seconds"]) == (COMPLETED, 2) for row in rows)
        assert all(row["posts"] == 1 for row in rows)
        assert {row["id"]: fate(row) for row in rows}.items() >= ended.items()
    finally:
        emulator.stop()


def known(emulator: EmulatorProcess) -> list[dict[str, Any]]:
    """Return all jobs as they are, without waiting for simulations."""
    reply = httpx.get(emulator.url + "/control/overview", params={"limit": 500}, timeout=30)
    told = reply.json()
    assert len(told["jobs"]) == told["count"]
    return list(told["jobs"])


def ended_ones(emulator: EmulatorProcess) -> list[str]:
    return [row["id"] for row in known(emulator) if row["finished"] is not None]


def fate(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["state"], row["running"], row["finished"], row["charged_seconds"]
