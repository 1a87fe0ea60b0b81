"""Samples a circuit part by part: what is not entangled need not share a state vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives.containers import BitArray
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.primitives import SamplerV2

from .device import Device, Limits, active_qubits, relabelled

_SMALL = 8


def sample(
    device: Device,
    circuit: QuantumCircuit,
    values: np.ndarray[Any, Any],
    *,
    shots: int,
    seed: int,
    limits: Limits,
) -> dict[str, BitArray]:
    """Sample a circuit on all its parameter sets.

    Args:
        values: Shape ``(..., parameters)``, in the order of ``circuit.parameters``.
        shots: Shots per parameter set.

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
    for number, qubits in enumerate(_packed(_parts(circuit))):
        small = relabelled(circuit, qubits)
        backend = device.simulator(qubits, limits, shots)
        sampler = SamplerV2.from_backend(backend, seed=(seed + number) % (2**31 - 1))
        used = list(small.parameters)
        if used:
            chosen = values[..., [position[parameter] for parameter in used]]
            pub = SamplerPub(small, BindingsArray({tuple(used): chosen}), shots)
        else:
            pub = SamplerPub(small, shots=shots * math.prod(shape))
        data = sampler.run([pub]).result()[0].data
        for name, found in data.items():
            # Every classical bit is written by one part only and is zero in the others.
            bits[name] |= found.array.reshape(bits[name].shape)
    sizes = {register.name: register.size for register in circuit.cregs}
    return {name: BitArray(array, sizes[name]) for name, array in bits.items()}


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


def _packed(parts: list[list[int]]) -> list[list[int]]:
    """Join small parts: a run of Aer costs more than a few more qubits."""
    packed: list[list[int]] = []
    bin_: list[int] = []
    for part in sorted(parts, key=len, reverse=True):
        if len(part) > _SMALL // 2:
            packed.append(part)
        elif len(bin_) + len(part) > _SMALL:
            packed.append(sorted(bin_))
            bin_ = list(part)
        else:
            bin_ += part
    return packed + ([sorted(bin_)] if bin_ else [])
