"""The account under test: every submission goes through the purse, every job is ended."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import dataclass, field
from uuid import uuid4

from qiskit import QuantumCircuit, qpy

from adapters.ibm import IBMProvider
from qsaga.core.ports import RemoteJob, RunSpec, SubmissionKey
from qsaga.settings import IBMSettings
from tests.real_account.purse import Purse

SUITE_TAG = "qsaga:account-suite"
MOST_SECONDS = 30
"""Execution time at which the service is asked to stop a job of this suite."""


@dataclass
class Account:
    """A provider, a backend, and the purse; ``notes`` are told at the end of the run."""

    settings: IBMSettings
    provider: IBMProvider
    backend: str
    purse: Purse
    patience: float
    notes: list[str] = field(default_factory=list)

    @classmethod
    async def open(cls, settings: IBMSettings, limit: float, patience: float) -> Account:
        """Sign in and choose the backend with the shortest queue. Submits nothing."""
        provider = IBMProvider(settings)
        open_now = [b for b in await provider.backends() if b.operational]
        assert open_now, "no backend of the account is operational"
        backend = min(open_now, key=lambda b: b.queue_length or 0)
        purse = Purse(limit, await provider.usage())
        return cls(settings, provider, backend.name, purse, patience)

    async def submit(
        self, circuit: QuantumCircuit, spec: RunSpec, session: str | None = None
    ) -> tuple[SubmissionKey, RemoteJob]:
        """Compile and send one circuit under a new key, if the purse allows it."""
        key = SubmissionKey(tag=f"qsaga:{uuid4().hex}", deployment_tag=SUITE_TAG)
        spec = spec.model_copy(update={"max_seconds": MOST_SECONDS})
        compiled = await self.provider.compile(packed(circuit), self.backend, 7, spec)
        self.purse.check(MOST_SECONDS, await self.provider.usage())
        # Noted before it is sent: whatever becomes of the request, it may cost this much.
        self.purse.began(key.tag, MOST_SECONDS)
        job = await self.provider.submit(
            compiled.qpy, compiled.facts.layout, self.backend, spec, key, session
        )
        return key, job

    async def ended(self, key: SubmissionKey, job: RemoteJob) -> RemoteJob:
        """The job as it ended, its charge told."""
        until = time.monotonic() + self.patience
        pause = 0.2
        while time.monotonic() < until:
            now = await self.provider.status(job.provider_job_id)
            if now.state.ended and now.quantum_seconds is not None:
                self.purse.ended(key.tag, now.quantum_seconds)
                return now
            await asyncio.sleep(pause)
            pause = min(10.0, pause * 1.5)
        raise AssertionError(f"{job.provider_job_id} did not end within {self.patience:g} s")

    async def listed(self, key: SubmissionKey) -> float:
        """Seconds until the job was listed by its tag."""
        began = time.monotonic()
        until = began + self.settings.listing_grace
        while time.monotonic() < until:
            if await self.provider.find(key.tag):
                return time.monotonic() - began
            await asyncio.sleep(0.2)
        raise AssertionError(f"not listed within {self.settings.listing_grace:g} s")

    async def close(self) -> list[str]:
        """Cancel whatever stands, also of earlier runs; returns what was used, in words."""
        standing = await self.provider.pending(SUITE_TAG)
        for job in standing:
            await self.provider.cancel(job.provider_job_id)
        used, limit = self.purse.charged, self.purse.limit
        lines = [f"quantum seconds charged to ended jobs of this run: {used:g} (limit {limit:g})"]
        if standing:
            names = ", ".join(job.provider_job_id for job in standing)
            lines.append(f"cancelled at the end: {names}")
        return lines


def packed(circuit: QuantumCircuit) -> bytes:
    """A circuit as QPY bytes."""
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return buffer.getvalue()


def bell(*, measured: bool = True) -> QuantumCircuit:
    """Two qubits that agree."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit
