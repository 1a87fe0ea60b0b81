"""What the contract is tested on: each provider with an account of its own, offline."""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from qiskit_aer.jobs import utils

from adapters.aer_provider import AerProvider
from adapters.ibm import IBMProvider
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.ports import QuantumProvider
from tests.adapters.contract.account import acme
from tests.adapters.contract.acme import SECONDS, AcmeService
from tests.adapters.ibm_wire import BACKEND, Wire, settings

PATIENCE = 1.0
"""Bound of a call, in seconds, where nobody answers."""


class Bench(ABC):
    """One account at one provider.

    ``backend`` runs without noise; ``seconds`` is the charge of a job, None where that varies.
    """

    backend: str
    seconds: float | None = None

    @abstractmethod
    def provider(self) -> QuantumProvider:
        """A new object for the account, as a process makes it that has just started."""

    @abstractmethod
    def hold(self) -> None:
        """Jobs stay in the queue."""

    @abstractmethod
    def release(self) -> None:
        """The queue moves on, at once."""

    @abstractmethod
    @contextmanager
    def silent(self) -> Iterator[QuantumProvider]:
        """A provider that is not answered, with ``PATIENCE`` as the bound of its calls."""


class AerBench(Bench):
    backend = "aer_simulator"
    seconds = 0.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free = threading.Event()

    def provider(self) -> QuantumProvider:
        return AerProvider(self._folder, qubits=5)

    def hold(self) -> None:
        self._free.clear()
        utils.DEFAULT_EXECUTOR.submit(self._free.wait)

    def release(self) -> None:
        self._free.set()

    @contextmanager
    def silent(self) -> Iterator[QuantumProvider]:
        # What can hang here is the journal, under somebody's lock.
        with closing(sqlite3.connect(self._folder / "journal.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield AerProvider(self._folder, qubits=5, seconds=PATIENCE)


class AcmeBench(Bench):
    """The general adapter on a vendor that keeps its jobs."""

    backend = "acme_line"
    seconds = SECONDS
    idempotent = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service = AcmeService(folder / "acme")

    def provider(self) -> QuantumProvider:
        return self._of(AcmeService(self._folder / "acme"))

    def _of(self, service: AcmeService, seconds: float = 30.0) -> QuantumProvider:
        return acme(service, self._folder / "journal", seconds, idempotent=self.idempotent)

    def hold(self) -> None:
        self._service.hold()

    def release(self) -> None:
        self._service.release()

    @contextmanager
    def silent(self) -> Iterator[QuantumProvider]:
        answers = threading.Event()

        def wait(point: str) -> None:
            answers.wait(60)

        try:
            yield self._of(AcmeService(self._folder / "acme", wait), PATIENCE)
        finally:
            answers.set()


class AcmeTokenBench(AcmeBench):
    """The same vendor, its tokens used."""

    idempotent = True


class IBMBench(Bench):
    backend = BACKEND

    def __init__(self, emulator: EmulatorProcess) -> None:
        self._emulator = emulator
        emulator.control.reset()
        emulator.control.set_execution(overhead_seconds=0.0, seconds_per_shot=0.0)
        self.release()

    def provider(self) -> QuantumProvider:
        return IBMProvider(settings(self._emulator.url))

    def hold(self) -> None:
        self._emulator.control.set_queue(length=50, seconds_per_job=3600.0)

    def release(self) -> None:
        self._emulator.control.set_queue(length=0, seconds_per_job=0.0)

    @contextmanager
    def silent(self) -> Iterator[QuantumProvider]:
        with closing(Wire(self._emulator.url)) as wire:
            for method in ("GET", "POST"):
                wire.add(method, "", hang=60.0)
            yield IBMProvider(settings(wire.url, call_timeout=PATIENCE))


MAKERS: dict[str, Callable[[pytest.FixtureRequest, Path], Bench]] = {
    "aer": lambda request, folder: AerBench(folder),
    "backend_v2": lambda request, folder: AcmeBench(folder),
    "backend_v2_with_tokens": lambda request, folder: AcmeTokenBench(folder),
    "ibm": lambda request, folder: IBMBench(request.getfixturevalue("ibm_emulator_process")),
}
