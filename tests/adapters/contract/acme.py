"""A vendor of a ``BackendV2`` without a network: its service is a folder, shared by processes.

It takes an optional client token, keeps its jobs for ever, runs them without noise when they are
looked at, and tells of a result what the schema of Qiskit asks for and no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit.providers import JobError, JobStatus, JobV1
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.result import Result
from qiskit_aer import AerSimulator

SECONDS = 0.25
"""What every job takes."""


class AcmeError(QiskitError):
    """A reply of the service that is an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AcmeBackend(GenericBackendV2):
    """A machine of five qubits in a row."""

    def __init__(self, service: AcmeService) -> None:
        line = [[i, i + 1] for i in range(4)]
        super().__init__(5, coupling_map=[*line, *([b, a] for a, b in line)], seed=7)
        self.name = "acme_line"
        self.service = service

    def run(self, run_input: Any, client_token: str | None = None, **options: Any) -> AcmeJob:
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        self.service.reached("sending")
        job = self.service.create(self, circuits, options["shots"], client_token)
        self.service.reached("accepted")
        return job


class AcmeJob(JobV1):
    """A job of the service."""

    def __init__(self, backend: AcmeBackend, job_id: str) -> None:
        super().__init__(backend, job_id)
        self.service = backend.service

    def job_id(self) -> str:
        self.service.reached("named")
        return super().job_id()

    def submit(self) -> None:
        raise NotImplementedError

    def status(self) -> JobStatus:
        said = self.service.state(self._job_id)["status"]
        return JobStatus.__members__.get(said, said)

    def result(self) -> Result:
        told = self.service.state(self._job_id)
        if "result" not in told:
            raise JobError(f"job {self._job_id} has no result")
        return Result.from_dict(told["result"])

    def cancel(self) -> None:
        self.service.cancel(self._job_id)


class AcmeService:
    """The account.

    Args:
        folder: where the service keeps everything.
        reached: called with the name of each point that a submission passes, and ``looking``
            whenever a job is looked at.
    """

    def __init__(self, folder: Path, reached: Callable[[str], None] = lambda point: None) -> None:
        self.folder, self.reached = folder, reached
        (folder / "tokens").mkdir(parents=True, exist_ok=True)
        self._backend = AcmeBackend(self)

    def backends(self) -> list[AcmeBackend]:
        return [self._backend]

    def online(self, backend: AcmeBackend) -> tuple[bool, int]:
        self.reached("looking")
        return True, len(self.jobs())

    def jobs(self) -> list[str]:
        return [file.stem for file in self.folder.glob("*.json")]

    def hold(self) -> None:
        (self.folder / "held").touch()

    def release(self) -> None:
        (self.folder / "held").unlink(missing_ok=True)

    def create(
        self, backend: AcmeBackend, circuits: list[QuantumCircuit], shots: int, token: str | None
    ) -> AcmeJob:
        if shots > 10**6:
            raise AcmeError("too many shots", 422)
        job_id = uuid4().hex
        with (self.folder / f"{job_id}.qpy").open("wb") as file:
            qpy.dump(circuits, file)
        if token is not None:
            name = self.folder / "tokens" / hashlib.sha256(token.encode()).hexdigest()
            (self.folder / f"{job_id}.token").write_text(job_id)
            try:
                os.link(self.folder / f"{job_id}.token", name)
            except FileExistsError:
                return AcmeJob(backend, name.read_text())
        self.change(job_id, {"status": "QUEUED", "shots": shots})
        return AcmeJob(backend, job_id)

    def retrieve_job(self, job_id: str) -> AcmeJob:
        if not (self.folder / f"{job_id}.json").exists():
            raise AcmeError(f"no job {job_id}", 404)
        return AcmeJob(self._backend, job_id)

    def change(self, job_id: str, told: dict[str, Any]) -> None:
        file = self.folder / f"{job_id}.json"
        # Renamed, so that no other process reads half of it.
        new = file.with_suffix(f".{uuid4().hex}")
        new.write_text(json.dumps(told))
        new.rename(file)

    def cancel(self, job_id: str) -> None:
        told = self._read(job_id)
        if told["status"] != "QUEUED":
            raise AcmeError(f"job {job_id} is {told['status']}", 409)
        self.change(job_id, told | {"status": "CANCELLED"})

    def state(self, job_id: str) -> dict[str, Any]:
        self.reached("looking")
        told = self._read(job_id)
        if told["status"] == "QUEUED" and not (self.folder / "held").exists():
            told = told | {"status": "DONE", "result": self._run(job_id, told["shots"])}
            self.change(job_id, told)
        return told

    def _read(self, job_id: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / f"{job_id}.json").read_text()))

    def _run(self, job_id: str, shots: int) -> dict[str, Any]:
        with (self.folder / f"{job_id}.qpy").open("rb") as file:
            circuits = qpy.load(file)
        done = AerSimulator(seed_simulator=17).run(circuits, shots=shots).result()
        counts = [done.data(index)["counts"] for index in range(len(circuits))]
        return {
            "backend_name": self._backend.name,
            "backend_version": "1",
            "job_id": job_id,
            "success": True,
            "time_taken": SECONDS,
            "results": [
                {"success": True, "shots": shots, "data": {"counts": one}} for one in counts
            ],
        }


def wait_for_ever(point: str) -> None:
    """A service that never answers."""
    time.sleep(3600)
