"""A backend as the simulator sees it: target, noise on the active qubits, limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit, QuantumRegister
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data
from qiskit_ibm_runtime.utils.utils import is_isa_circuit

_NOT_ISA = 1517
_NOT_EMULATED = 1000
# Gates of software, and what the readout error already covers.
_FREE = ("rz", "reset", "measure", "delay")


class Rejected(Exception):
    """A job that cannot be run; the text is the reason its owner sees.

    Args:
        reason: For a person.
        code: The service's reason code where a public one exists.
    """

    def __init__(self, reason: str, code: int = _NOT_EMULATED) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Limits:
    """What is simulated, and up to how many active qubits."""

    noise: str
    max_active_qubits: int
    max_active_qubits_full: int

    @property
    def most(self) -> int:
        """The limit that applies."""
        return self.max_active_qubits_full if self.noise == "full" else self.max_active_qubits


class Device:
    """One calibration snapshot.

    Args:
        configuration, properties: Paths of the snapshot's JSON files.
    """

    def __init__(self, configuration: str, properties: str) -> None:
        raw = json.loads(Path(configuration).read_text())
        self._target: Target = convert_to_target(
            configuration=configuration_from_server_data(raw, use_fractional_gates=None),
            properties=None,
        )
        self._max_shots = int(raw.get("max_shots") or 100_000)
        props = json.loads(Path(properties).read_text())
        self._qubits = [
            {fact["name"]: fact["value"] for fact in facts} for facts in props["qubits"]
        ]
        self._broken_qubits = {
            number for number, facts in enumerate(self._qubits) if facts.get("operational") == 0
        }
        self._broken_gates = {
            (gate["gate"], frozenset(gate["qubits"]))
            for gate in props["gates"]
            if any(i["name"] == "operational" and not i["value"] for i in gate["parameters"])
        }
        self._gates: dict[tuple[str, tuple[int, ...]], float] = {
            (gate["gate"], tuple(gate["qubits"])): item["value"]
            for gate in props["gates"]
            for item in gate["parameters"]
            if item["name"] == "gate_error"
        }

    def check(self, circuit: QuantumCircuit) -> None:
        """Raise :class:`Rejected` unless the circuit uses only what the backend has."""
        if message := is_isa_circuit(circuit, self._target):
            raise Rejected(
                f"{message} Transpile your circuits for the target before submitting a primitive"
                " query.",
                _NOT_ISA,
            )
        broken = self._broken_qubits.intersection(active_qubits(circuit))
        if broken:
            raise Rejected(f"The circuit uses qubit {min(broken)}, which is faulty.", _NOT_ISA)
        if self._broken_gates:
            self._check_gates(circuit, list(range(circuit.num_qubits)))

    def _check_gates(self, circuit: QuantumCircuit, places: list[int]) -> None:
        for item in circuit.data:
            qubits = [places[circuit.find_bit(qubit).index] for qubit in item.qubits]
            if (item.operation.name, frozenset(qubits)) in self._broken_gates:
                raise Rejected(
                    f"The circuit uses gate {item.operation.name} on qubits {qubits}, which is"
                    " faulty.",
                    _NOT_ISA,
                )
            for block in getattr(item.operation, "blocks", ()):
                self._check_gates(block, qubits)

    def simulator(
        self, active: list[int], limits: Limits, shots: int, gate_noise: bool = True
    ) -> Any:
        """Return an Aer backend on which qubit ``i`` stands for ``active[i]``.

        Args:
            gate_noise: Without it, noise ``full`` is reduced to readout errors.

        Raises:
            Rejected: More active qubits or shots than are simulated.
        """
        if shots > self._max_shots:
            raise Rejected(f"{shots} shots exceed the backend's limit of {self._max_shots}.")
        full = limits.noise == "full" and gate_noise
        if len(active) > limits.most:
            raise Rejected(
                f"The circuit uses {len(active)} active qubits; with noise {limits.noise!r} this"
                f" emulator simulates at most {limits.most}."
            )
        method = "statevector"
        if full and density_fits(len(active), shots):
            method = "density_matrix"
        return AerSimulator(
            method=method,
            noise_model=self._noise(active, limits.noise, full),
            max_parallel_threads=1,
            n_qubits=len(active),
        )

    def strengths(self, circuit: QuantumCircuit, active: list[int]) -> list[float]:
        """Return the depolarising strength after each instruction of a relabelled circuit."""
        found = []
        for item in circuit.data:
            qubits = tuple(active[circuit.find_bit(qubit).index] for qubit in item.qubits)
            error = self._gates.get((item.operation.name, qubits), 0.0)
            free = item.operation.name in _FREE
            found.append(0.0 if free else _strength(error, max(1, len(qubits))))
        return found

    def _noise(self, active: list[int], mode: str, gates: bool) -> NoiseModel | None:
        if mode == "none":
            return None
        model = NoiseModel()
        place = {qubit: index for index, qubit in enumerate(active)}
        for qubit, index in place.items():
            facts = self._qubits[qubit]
            average = facts.get("readout_error", 0.0)
            one = _probability(facts.get("prob_meas1_prep0", average))
            zero = _probability(facts.get("prob_meas0_prep1", average))
            model.add_readout_error(ReadoutError([[1 - one, one], [zero, 1 - zero]]), [index])
        if gates:
            for (name, qubits), error in self._gates.items():
                if all(qubit in place for qubit in qubits) and name not in _FREE:
                    channel = depolarizing_error(_strength(error, len(qubits)), len(qubits))
                    model.add_quantum_error(channel, name, [place[qubit] for qubit in qubits])
        return model


def density_fits(qubits: int, shots: int) -> bool:
    """Whether a density matrix, which costs 4^n once, is cheaper than 2^n per shot."""
    return bool(2**qubits < shots)


def active_qubits(circuit: QuantumCircuit) -> list[int]:
    """Return the qubits that something other than a barrier acts on, in order; never empty."""
    used = {
        circuit.find_bit(qubit).index
        for instruction in circuit.data
        if instruction.operation.name != "barrier"
        for qubit in instruction.qubits
    }
    return sorted(used) or [0]


def relabelled(circuit: QuantumCircuit, qubits: list[int]) -> QuantumCircuit:
    """Return the part of a circuit that acts on these qubits, relabelled from 0.

    Classical registers stay as they are; the global phase, which no measurement sees, is dropped.
    """
    register = QuantumRegister(len(qubits), "q")
    loose = [bit for bit in circuit.clbits if not circuit.find_bit(bit).registers]
    small = QuantumCircuit(
        register, *circuit.cregs, loose, name=circuit.name, metadata=circuit.metadata
    )
    for variable in circuit.iter_declared_vars():
        small.add_uninitialized_var(variable)
    place = {circuit.qubits[qubit]: register[index] for index, qubit in enumerate(qubits)}
    for instruction in circuit.data:
        inside = [place[qubit] for qubit in instruction.qubits if qubit in place]
        if instruction.operation.name == "barrier":
            if inside:
                small.barrier(inside, label=instruction.operation.label)
        elif len(inside) == len(instruction.qubits):
            small.append(instruction.operation, inside, instruction.clbits, copy=False)
    return small


def _probability(value: float) -> float:
    return min(max(float(value), 0.0), 0.5)


def _strength(error: float, qubits: int) -> float:
    # The calibration gives the average gate infidelity r; the channel wants r * d / (d - 1).
    dimension: int = 2**qubits
    return float(min(max(error * dimension / (dimension - 1), 0.0), 1.0))
