"""IBM's service: an emulator without jobs, and a wire to it that misbehaves on request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from adapters.ibm import IBMProvider
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.ports import Compiled
from tests.adapters.ibm_wire import BACKEND, SPEC, Wire, ghz, packed, settings


@pytest.fixture
def emulator(ibm_emulator: EmulatorProcess) -> EmulatorProcess:
    ibm_emulator.control.set_queue(length=0, seconds_per_job=0.0)
    ibm_emulator.control.set_execution(overhead_seconds=0.0, seconds_per_shot=0.0)
    return ibm_emulator


@pytest.fixture(scope="module")
def module_wire(ibm_emulator_process: EmulatorProcess) -> Iterator[Wire]:
    wire = Wire(ibm_emulator_process.url)
    yield wire
    wire.close()


@pytest.fixture
def wire(module_wire: Wire, emulator: EmulatorProcess) -> Iterator[Wire]:
    yield module_wire
    module_wire.faults.clear()
    module_wire.log.clear()


@pytest.fixture(scope="module")
def provider(module_wire: Wire) -> IBMProvider:
    return IBMProvider(settings(module_wire.url, call_timeout=10.0))


@pytest.fixture(scope="module")
def compiled(provider: IBMProvider) -> Compiled:
    return asyncio.run(provider.compile(packed(ghz(2)), BACKEND, 7, SPEC))
