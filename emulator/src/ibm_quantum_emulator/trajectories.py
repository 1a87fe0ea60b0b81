"""Gate noise as random Pauli errors: a few hundred noisy histories stand for all shots.

Aer draws one history per shot, which costs seconds to minutes at a dozen qubits. Here a history
is shared by a few shots, and all shots without any error by one; the distribution stays the same
in expectation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.circuit.library import XGate, YGate, ZGate
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.primitives import SamplerV2

_HISTORIES = 256
_PAULIS = (None, XGate(), YGate(), ZGate())


def sample_histories(
    circuit: QuantumCircuit,
    strengths: list[float],
    backend: Any,
    *,
    shots: int,
    seed: int,
) -> dict[str, np.ndarray[Any, Any]]:
    """Sample one bound circuit without control flow.

    Args:
        strengths: Depolarising strength after each instruction of ``circuit.data``.
        backend: Aer backend with readout noise only.

    Returns:
        Classical register to packed bits of shape ``(shots, bytes)``.
    """
    rng = np.random.default_rng(seed)
    histories = min(shots, _HISTORIES)
    share = np.full(histories, shots // histories)
    share[: shots % histories] += 1
    widths = np.array([4 ** len(item.qubits) for item in circuit.data])
    # Depolarising leaves the identity in place once in 4^n.
    chance = np.array(strengths) * (widths - 1) / widths
    hits = rng.random((histories, len(chance))) < chance
    noisy = np.flatnonzero(hits.any(axis=1))
    clean = shots - int(share[noisy].sum())
    pubs, wanted = [], []
    if clean:
        pubs.append(SamplerPub(circuit, shots=clean))
        wanted.append(clean)
    most = int(share.max())
    for history in noisy:
        broken = _broken(circuit, np.flatnonzero(hits[history]), rng)
        pubs.append(SamplerPub(broken, shots=most))
        wanted.append(int(share[history]))
    results = SamplerV2.from_backend(backend, seed=seed).run(pubs).result()
    order = rng.permutation(shots)
    return {
        name: np.concatenate(
            [result.data[name].array[:count] for result, count in zip(results, wanted, strict=True)]
        )[order]
        for name in results[0].data
    }


def _broken(
    circuit: QuantumCircuit, places: np.ndarray[Any, Any], rng: np.random.Generator
) -> QuantumCircuit:
    broken = circuit.copy()
    # Not as a new list of all instructions: Qiskit checks each of them again, which takes longer
    # than Aer's work on a dozen qubits.
    for place in sorted(places, reverse=True):
        qubits = circuit.data[place].qubits
        code = int(rng.integers(1, 4 ** len(qubits)))
        for qubit in qubits:
            code, letter = divmod(code, 4)
            if (gate := _PAULIS[letter]) is not None:
                broken.data.insert(int(place) + 1, CircuitInstruction(gate, (qubit,), ()))
    return broken
