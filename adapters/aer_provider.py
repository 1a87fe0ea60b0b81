"""Qiskit Aer as a provider: the whole life of a hardware job, without hardware or network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qiskit_aer import AerSimulator

from adapters.qiskit_backend import BackendV2Provider, Vendor
from qsaga.core.contract import digest
from qsaga.core.ports import RunSpec, SubmissionKey


class AerProvider(BackendV2Provider):
    """A simulator in this process (implements ``QuantumProvider``); nothing is charged.

    Jobs run one at a time, in Aer's own thread. A job dies with the process that runs it, and can
    be cancelled by that process alone. The same circuit under the same key gives the same counts
    on the same versions.

    Args:
        folder: of the journal.
        imitated: a ``BackendV2`` whose target and noise are imitated; None is a noiseless machine
            that joins every pair of qubits.
        qubits: of the noiseless machine. A state of n qubits takes 16 · 2^n bytes.
        seconds: bound of every call.
    """

    def __init__(
        self,
        folder: Path,
        imitated: Any = None,
        qubits: int = 24,
        seconds: float = 30.0,
    ) -> None:
        if imitated is None:
            machine = AerSimulator(n_qubits=qubits)
        else:
            machine = AerSimulator.from_backend(imitated)
        machine.name = "aer_simulator" if imitated is None else f"aer_{imitated.name}"
        super().__init__("aer", lambda: [machine], folder, Vendor(run_options=_seeded), seconds)


def _seeded(key: SubmissionKey, _spec: RunSpec) -> Mapping[str, Any]:
    return {"seed_simulator": int(digest(key.tag)[:7], 16)}
