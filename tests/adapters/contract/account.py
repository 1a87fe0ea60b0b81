"""An account at the offline vendor whose next calls can be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError

from adapters.circuits import to_qpy
from adapters.qiskit_backend import BackendV2Provider, Vendor, time_taken
from qsaga.core.errors import NoSuchRemoteJob, PermanentProviderError, ProviderError
from qsaga.core.ports import RemoteJob, RunSpec, SubmissionKey
from tests.adapters.contract.acme import AcmeError, AcmeService

SAMPLE = RunSpec(verb="sample", shots=100)
KEY = SubmissionKey(tag="qsaga:k", deployment_tag="qsaga:d")


def acme(
    service: AcmeService, folder: Path, seconds: float = 30.0, *, idempotent: bool = False
) -> BackendV2Provider:
    """The general adapter for the vendor."""

    def options(key: SubmissionKey, spec: RunSpec) -> dict[str, str]:
        service.reached("options")
        return {"client_token": key.tag} if idempotent else {}

    return BackendV2Provider(
        "acme",
        service.backends,
        folder,
        Vendor(
            retrieve_job=service.retrieve_job,
            charge=time_taken(otherwise=1.0),
            run_options=options,
            idempotent=idempotent,
            errors=acme_errors,
            probe=service.online,
        ),
        seconds,
    )


def acme_errors(error: Exception) -> type[ProviderError] | None:
    """What the vendor's errors mean."""
    if not isinstance(error, AcmeError):
        return None
    return {404: NoSuchRemoteJob, 422: PermanentProviderError}.get(error.status)


class Account:
    """A provider of the offline vendor, with what its next calls raise."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self.raises: dict[str, Callable[[], None]] = {}
        self.service = AcmeService(folder / "acme", self._reached)
        self.folder = folder / "journal"
        self.provider = acme(self.service, self.folder, **given)

    def _reached(self, point: str) -> None:
        if point in self.raises:
            self.raises[point]()

    def fail(self, point: str, error: Exception) -> None:
        def work() -> None:
            raise error

        self.raises[point] = work

    async def send(self, spec: RunSpec = SAMPLE, key: SubmissionKey = KEY) -> RemoteJob:
        isa = await self.provider.compile(to_qpy(coin(spec)), "acme_line", 7, spec)
        return await self.provider.submit(isa.qpy, isa.facts.layout, "acme_line", spec, key)


def coin(spec: RunSpec = SAMPLE) -> QuantumCircuit:
    circuit = QuantumCircuit(2, name="coin")
    circuit.h(0)
    if spec.verb == "sample":
        circuit.measure_all()
    return circuit


async def until_ended(provider: BackendV2Provider, job: RemoteJob) -> RemoteJob:
    for _ in range(1000):
        now = await provider.status(job.provider_job_id)
        if now.state.ended:
            return now
        await asyncio.sleep(0.02)
    raise AssertionError("never ended")


NO_REPLY = [
    ConnectionResetError("reset"),
    TimeoutError("no reply"),
    requests.ConnectionError("refused"),
    QiskitError("error 500"),
    AcmeError("internal error", 500),
    ValueError("not JSON"),
]
