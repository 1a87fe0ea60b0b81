"""A simulation that takes long runs in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from contextlib import suppress

import pytest
from qiskit import QuantumCircuit

from adapters import aer
from adapters.aer import AerSimulator
from adapters.circuits import to_qpy
from qsaga.core.errors import SolverError
from qsaga.core.ports import RunSpec

SAMPLE = RunSpec(verb="sample", shots=50)


def layers(qubits: int, count: int) -> bytes:
    circuit = QuantumCircuit(qubits)
    for layer in range(count):
        for qubit in range(qubits):
            circuit.rx(0.1 * layer + qubit, qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return to_qpy(circuit)


def simulating() -> int:
    """How many simulations of this process have processes now."""
    mine = ["ps", "-o", "args", "--ppid", str(os.getpid())]
    told = subprocess.run(mine, capture_output=True, text=True, check=True).stdout
    return sum(" -m adapters.aer" in line for line in told.splitlines())


async def test_it_gives_the_same_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit, simulator = layers(6, 2), AerSimulator()
    here = await simulator.run(circuit, SAMPLE, seed=3)
    monkeypatch.setattr(aer, "AMPLITUDES", 0)
    assert await simulator.run(circuit, SAMPLE, seed=3) == here
    unmeasured = to_qpy(QuantumCircuit(2))
    with pytest.raises(SolverError, match="measures nothing"):
        await simulator.run(unmeasured, SAMPLE, seed=3)


async def test_the_worker_goes_on_meanwhile_and_may_give_it_up() -> None:
    before = simulating()
    running = asyncio.create_task(AerSimulator().run(layers(22, 60), SAMPLE, seed=3))
    longest, last, deadline = 0.0, time.perf_counter(), time.perf_counter() + 60
    while simulating() == before and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    for _ in range(40):
        last = time.perf_counter()
        await asyncio.sleep(0.05)
        longest = max(longest, time.perf_counter() - last)
    assert not running.done()
    assert longest < 4, "a heartbeat is due every two seconds, and missed after eight"
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert simulating() == before
