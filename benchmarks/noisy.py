"""Runs circuits on the emulator's noisy backend through IBM's client, as hardware runs do."""

from __future__ import annotations

import asyncio
from typing import Self

from pydantic import SecretStr

from adapters.ibm import IBMProvider
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.ports import CircuitResult, RemoteState, RunSpec, SubmissionKey
from qsaga.settings import IBMSettings

BACKEND = "ibm_torino"
PAUSE = 0.05
QUBITS = 20
"""Active ones at most: 16 variables may be routed by way of others."""
LONGEST = 3600.0
"""Seconds for a simulation: a dense model of 16 variables takes minutes for each layer."""
OPEN = (RemoteState.QUEUED, RemoteState.RUNNING)


class Noisy:
    """An emulator whose noise comes from the backend's calibration. Use as a context manager."""

    def __init__(self) -> None:
        self._emulator = EmulatorProcess(
            noise="full",
            backend=[BACKEND],
            simulation_timeout=LONGEST,
            max_active_qubits_full=QUBITS,
        )
        self._number = 0

    def __enter__(self) -> Self:
        """Start it."""
        self._emulator.start()
        self._emulator.control.set_queue(length=0, seconds_per_job=0.0)
        self._emulator.control.set_execution(overhead_seconds=0.0, seconds_per_shot=0.0)
        self._provider = IBMProvider(
            IBMSettings(
                token=SecretStr("benchmark"),
                instance="emulator",
                url="http://emulator.test",
                proxy=self._emulator.url,
                iam_url=self._emulator.url,
            )
        )
        return self

    def __exit__(self, *_of: object) -> None:
        """Stop it."""
        self._emulator.stop()

    async def run(self, qpy: bytes, spec: RunSpec, seed: int) -> CircuitResult:
        """Compile, submit, wait, fetch."""
        self._number += 1
        isa = await self._provider.compile(qpy, BACKEND, seed, spec)
        tag = f"qsaga:bench-{self._number}"
        job = await self._provider.submit(
            isa.qpy,
            isa.facts.layout,
            BACKEND,
            spec,
            SubmissionKey(tag=tag, deployment_tag="qsaga:bench"),
        )
        while (await self._provider.status(job.provider_job_id)).state in OPEN:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)  # it is in another process
        return await self._provider.result(job.provider_job_id)
