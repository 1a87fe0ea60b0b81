"""Qiskit Aer: circuits simulated on this machine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import Any

from qiskit import QuantumCircuit, transpile
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerError
from qiskit_aer import AerSimulator as Backend
from qiskit_aer.noise import NoiseModel
from qiskit_aer.primitives import EstimatorV2, SamplerV2

from adapters.circuits import from_qpy
from adapters.noise import noisy
from qsaga.core.errors import InvalidRequest, SolverError
from qsaga.core.ports import CircuitResult, RunSpec

# What Aer runs itself; whatever else a circuit holds is broken down into these.
_BASIS = ["h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "p", "rx", "ry", "rz", "u"]
_BASIS += ["cx", "cz", "swap", "rxx", "ryy", "rzz", "ccx", "measure", "reset", "barrier"]

AMPLITUDES = 5e7
"""Amplitudes that a circuit changes, gate by gate, in about half a second on one core."""

METHOD = "statevector"
REFUSED = 3
"""Exit code of a simulation apart that cannot be run; its output says why."""


class AerSimulator:
    """State-vector simulation, noiseless unless noise is given (implements ``Simulator``).

    The state of n qubits takes 16 · 2^n bytes: 16 MB at 20 qubits, 256 MB at 24, 4 GB at 28.

    Args:
        max_qubits: larger circuits are refused.
        threads: that one simulation may use; 0 takes every core where that may be worth it.
        shot_noise: False gives expectation values exactly, with standard error 0, whatever
            precision is asked; True draws them with that precision, as a device would.
        device: that holds the state: ``CPU``, or ``GPU`` where Aer was built for one.

    Raises InvalidRequest, with ``QSAGA_SIMULATOR__DEVICE`` as field, for one that is not there.
    """

    def __init__(
        self,
        max_qubits: int = 24,
        threads: int = 0,
        shot_noise: bool = False,
        device: str = "CPU",
    ) -> None:
        if device not in (there := Backend().available_devices()):
            raise InvalidRequest(
                "QSAGA_SIMULATOR__DEVICE",
                f"Aer finds no {device} on this machine",
                f"{', '.join(there)}, or the package qiskit-aer-gpu in place of qiskit-aer",
            )
        self.name = "aer" if device == "CPU" else f"aer-{device.lower()}"
        self._device = device
        self._max_qubits = max_qubits
        self._shot_noise = shot_noise
        self._threads = threads

    async def run(
        self, qpy: bytes, spec: RunSpec, seed: int, calibration: bytes | None = None
    ) -> CircuitResult:
        """Simulate, in a thread or apart. Raises SolverError for a circuit that it cannot run.

        ``calibration``: see ``Simulator``; a circuit with noise always has a process of its own.

        The same circuit, spec and seed give the same result on the same versions. Aer holds the
        interpreter's lock while it runs: what takes long has a process of its own, or the worker
        would neither send heartbeats nor hear that it is to end. A cancellation kills the process.
        """
        if calibration is None:
            done = await asyncio.to_thread(self._unless_long, qpy, spec, seed)
            if done is not None:
                return done
        given = {
            "max_qubits": self._max_qubits,
            "threads": self._threads,
            "shot_noise": self._shot_noise,
            "device": self._device,
            "qpy": base64.b64encode(qpy).decode(),
            "spec": spec.model_dump(mode="json"),
            "seed": seed,
            "calibration": None if calibration is None else calibration.decode(),
        }
        return await _apart(json.dumps(given).encode())

    def _unless_long(self, qpy: bytes, spec: RunSpec, seed: int) -> CircuitResult | None:
        circuit = self._read(qpy)
        if _amplitudes(circuit) > AMPLITUDES:
            return None
        return self._run(circuit, spec, seed)

    def run_here(
        self, qpy: bytes, spec: RunSpec, seed: int, calibration: bytes | None = None
    ) -> CircuitResult:
        """Simulate in this thread, however long it takes."""
        if calibration is None:
            return self._run(self._read(qpy), spec, seed)
        try:
            small, noise = noisy(from_qpy(qpy), calibration)
        except ValueError as error:
            raise SolverError(str(error)) from error
        return self._run(self._fits(small), spec, seed, noise)

    def _read(self, qpy: bytes) -> QuantumCircuit:
        try:
            circuit = from_qpy(qpy)
        except ValueError as error:
            raise SolverError(str(error)) from error
        return self._fits(circuit)

    def _fits(self, circuit: QuantumCircuit) -> QuantumCircuit:
        if circuit.num_qubits > self._max_qubits:
            raise SolverError(
                f"{circuit.num_qubits} qubits, the simulator takes {self._max_qubits}"
            )
        return circuit

    def _run(
        self, circuit: QuantumCircuit, spec: RunSpec, seed: int, noise: NoiseModel | None = None
    ) -> CircuitResult:
        try:
            return (
                self._sample(circuit, spec, seed, noise)
                if spec.verb == "sample"
                else self._estimate(circuit, spec, seed)
            )
        except (QiskitError, AerError, ValueError) as error:
            raise SolverError(f"the simulator cannot run this circuit: {error}") from error

    def _sample(
        self, circuit: QuantumCircuit, spec: RunSpec, seed: int, noise: NoiseModel | None
    ) -> CircuitResult:
        if not circuit.count_ops().get("measure"):
            raise SolverError("the circuit measures nothing")
        backend_options = self._options(circuit, spec)
        if noise is not None:
            backend_options["noise_model"] = noise
            if 2**circuit.num_qubits < spec.shots:
                # It costs 4^n once, a state vector 2^n for each shot.
                backend_options["method"] = "density_matrix"
        options = {"backend_options": backend_options}
        sampler = SamplerV2(default_shots=spec.shots, seed=seed, options=options)
        # Noise is of the device's own gates: they must stay.
        known = self._basis(circuit) if noise is None else circuit
        data = sampler.run([known]).result()[0].data
        counts = {name: dict(sorted(data[name].get_counts().items())) for name in data}
        return CircuitResult(verb="sample", shots=spec.shots, counts=counts)

    def _estimate(self, circuit: QuantumCircuit, spec: RunSpec, seed: int) -> CircuitResult:
        precision = (spec.precision or 0.0) if self._shot_noise else 0.0
        options: dict[str, Any] = {
            "default_precision": precision,
            "backend_options": self._options(circuit, spec),
            "run_options": {"seed_simulator": seed},
        }
        operators = [SparsePauliOp.from_list(list(one.items())) for one in spec.observables]
        pub = (self._basis(circuit), operators, None, precision)
        data = EstimatorV2(options=options).run([pub]).result()[0].data
        return CircuitResult(
            verb="estimate",
            shots=spec.shots,
            values=tuple(float(value) for value in data.evs),
            standard_errors=tuple(float(error) for error in data.stds),
        )

    def _basis(self, circuit: QuantumCircuit) -> QuantumCircuit:
        if any(instruction.operation.name not in _BASIS for instruction in circuit.data):
            return transpile(circuit, Backend(method=METHOD), optimization_level=0)
        return circuit

    def _options(self, circuit: QuantumCircuit, spec: RunSpec) -> dict[str, Any]:
        # Threads of Aer wait for each other by spinning: on a busy machine a circuit of a
        # millisecond takes twenty, and those cores are lost to everybody else.
        short = _amplitudes(circuit) * (spec.shots or 1) <= AMPLITUDES
        return {
            "method": METHOD,
            "device": self._device,
            "max_parallel_threads": self._threads or int(short),
        }


def _amplitudes(circuit: QuantumCircuit) -> int:
    amplitudes: int = 2**circuit.num_qubits * len(circuit.data)
    return amplitudes


async def _apart(given: bytes) -> CircuitResult:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "adapters.aer",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        said, complaint = await process.communicate(given)
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode == 0:
        return CircuitResult.model_validate_json(said)
    if process.returncode == REFUSED:
        raise SolverError(said.decode())
    last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
    raise SolverError(f"the simulator ended with code {process.returncode}: {last}")


def main() -> int:
    """Simulate what standard input says, for another process."""
    given = json.load(sys.stdin)
    how = {name: given[name] for name in ("max_qubits", "threads", "shot_noise", "device")}
    simulator = AerSimulator(**how)
    spec = RunSpec.model_validate(given["spec"])
    try:
        calibration = given["calibration"].encode() if given["calibration"] else None
        qpy = base64.b64decode(given["qpy"])
        result = simulator.run_here(qpy, spec, given["seed"], calibration)
    except SolverError as error:
        sys.stdout.write(str(error))
        return REFUSED
    sys.stdout.write(result.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
