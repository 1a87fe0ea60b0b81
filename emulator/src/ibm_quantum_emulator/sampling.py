"""Samples a circuit part by part: what is not entangled need not share a state vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives.containers import BitArray
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.primitives import SamplerV2

from .device import Device, Limits, active_qubits, density_fits, relabelled
from .trajectories import sample_histories

_SMALL = 8
_SEEDS = 2**31 - 1

_Array = np.ndarray[Any, Any]


def sample(
    device: Device,
    circuit: QuantumCircuit,
    values: _Array,
    *,
    shots: int,
    seed: int,
    limits: Limits,
    places: list[int] | None = None,
) -> dict[str, BitArray]:
    """Sample a circuit on all its parameter sets.

    Args:
        values: Shape ``(..., parameters)``, in the order of ``circuit.parameters``.
        shots: Shots per parameter set.
        places: Where the qubits of a circuit that was cut down lie on the device. Such a circuit
            has many parameter sets of few shots: small parts get Aer's density matrix in place of
            noisy histories, which is far faster then.

    Returns:
        Classical register to bits of shape ``(...)``.

    Raises:
        Rejected: A part is too large to simulate.
    """
    shape = values.shape[:-1]
    position = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    bits = {
        register.name: np.zeros((*shape, shots, math.ceil(register.size / 8)), dtype=np.uint8)
        for register in circuit.cregs
    }
    for number, qubits in enumerate(_packed(_parts(circuit), min(_SMALL, limits.most))):
        small = relabelled(circuit, qubits)
        used = list(small.parameters)
        chosen = values[..., [position[parameter] for parameter in used]]
        part_seed = (seed + 104729 * number) % _SEEDS
        exact = places is not None
        where = [places[qubit] for qubit in qubits] if places is not None else qubits
        part = _Part(device, small, where, limits, shots, part_seed, exact)
        found = part.histories(chosen) if part.flat else part.shots_one_by_one(chosen)
        for name, array in found.items():
            # Every classical bit is written by one part only and is zero in the others.
            bits[name] |= array
    sizes = {register.name: register.size for register in circuit.cregs}
    return {name: BitArray(array, sizes[name]) for name, array in bits.items()}


@dataclass
class _Part:
    """A part of a circuit, relabelled, with all that is needed to sample it."""

    device: Device
    circuit: QuantumCircuit
    qubits: list[int]
    limits: Limits
    shots: int
    seed: int
    exact: bool

    @property
    def flat(self) -> bool:
        """Whether gate noise is wanted and can be drawn beforehand."""
        if self.exact and density_fits(len(self.qubits), self.shots):
            return False
        return self.limits.noise == "full" and not self.circuit.has_control_flow_op()

    def histories(self, values: _Array) -> dict[str, _Array]:
        """Sample with noisy histories, see :mod:`.trajectories`."""
        backend = self.device.simulator(self.qubits, self.limits, self.shots, gate_noise=False)
        strengths = self.device.strengths(self.circuit, self.qubits)
        shape = values.shape[:-1]
        rows: list[dict[str, _Array]] = []
        for number, index in enumerate(np.ndindex(*shape)):
            bound = self.circuit.assign_parameters(values[index])
            seed = (self.seed + 15485863 * number) % _SEEDS
            rows.append(sample_histories(bound, strengths, backend, shots=self.shots, seed=seed))
        if not rows:
            return {}
        return {
            name: np.stack([row[name] for row in rows]).reshape(*shape, *rows[0][name].shape)
            for name in rows[0]
        }

    def shots_one_by_one(self, values: _Array) -> dict[str, _Array]:
        """Let Aer do everything."""
        shape, used = values.shape[:-1], list(self.circuit.parameters)
        backend = self.device.simulator(self.qubits, self.limits, self.shots)
        if used:
            pub = SamplerPub(self.circuit, BindingsArray({tuple(used): values}), self.shots)
        else:
            pub = SamplerPub(self.circuit, shots=self.shots * math.prod(shape))
        data = SamplerV2.from_backend(backend, seed=self.seed).run([pub]).result()[0].data
        return {name: found.array.reshape(*shape, self.shots, -1) for name, found in data.items()}


def _parts(circuit: QuantumCircuit) -> list[list[int]]:
    """Return the sets of qubits that gates or classical bits tie together and that are measured."""
    active = active_qubits(circuit)
    if circuit.num_vars:
        return [active]
    parent: dict[Any, Any] = {}

    def root(item: Any) -> Any:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    measured = set()
    for instruction in circuit.data:
        if instruction.operation.name == "barrier":
            continue
        items = [*instruction.qubits, *instruction.clbits]
        for other in items[1:]:
            parent[root(other)] = root(items[0])
    for clbit in circuit.clbits:
        if clbit in parent:
            measured.add(root(clbit))
    parts: dict[Any, list[int]] = {}
    for index in active:
        key = root(circuit.qubits[index])
        if key in measured:
            parts.setdefault(key, []).append(index)
    return list(parts.values())


def _packed(parts: list[list[int]], size: int) -> list[list[int]]:
    """Join small parts: a run of Aer costs more than a few more qubits."""
    packed: list[list[int]] = []
    bin_: list[int] = []
    for part in sorted(parts, key=len, reverse=True):
        if len(part) > size // 2:
            packed.append(part)
        elif len(bin_) + len(part) > size:
            packed.append(sorted(bin_))
            bin_ = list(part)
        else:
            bin_ += part
    return packed + ([sorted(bin_)] if bin_ else [])
