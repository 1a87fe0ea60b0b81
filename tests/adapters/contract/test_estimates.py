"""Expectation values from a backend that only samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.result import Result

from adapters.circuits import to_qpy
from adapters.qiskit_backend._recipes import Recipe, read, shots_for
from qsaga.core.ports import RemoteState, RunSpec, SubmissionKey
from tests.adapters.contract.account import acme
from tests.adapters.contract.acme import AcmeService

pytestmark = pytest.mark.timeout(60)


def test_shots_give_the_precision_for_the_worst_observable() -> None:
    spec = RunSpec(
        verb="estimate", shots=0, observables=({"XX": 3.0, "II": 9.0}, {"ZI": 1.0}), precision=0.1
    )
    assert shots_for(spec, (("XX",), ("ZI",))) == 900
    both = spec.model_copy(update={"observables": ({"XX": 3.0, "ZI": 4.0},)})
    assert shots_for(both, (("XX",), ("ZI",))) == 2500
    assert shots_for(both, (("XX", "ZI"),)) == 4900


@pytest.mark.parametrize("seed", range(8))
async def test_estimates_of_random_observables(tmp_path: Path, seed: int) -> None:
    """Values within 5 standard errors of the exact ones, the errors within the precision."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(3, name="random")
    for qubit in range(3):
        circuit.u(*rng.uniform(0.3, 2.0, 3), qubit)
    circuit.cx(0, 2)
    circuit.cx(2, 1)
    labels = ["".join(one) for one in rng.choice(list("IXYZ"), (9, 3))]
    observables = tuple(
        {label: float(c) for label, c in zip(labels[i : i + 3], rng.normal(size=3), strict=True)}
        for i in (0, 3, 6)
    )
    spec = RunSpec(verb="estimate", shots=0, observables=observables, precision=0.05)
    provider = acme(AcmeService(tmp_path / "acme"), tmp_path / "journal")
    key = SubmissionKey(tag="qsaga:k", deployment_tag="qsaga:d")
    isa = await provider.compile(to_qpy(circuit), "acme_line", seed, spec)
    job = await provider.submit(isa.qpy, isa.facts.layout, "acme_line", spec, key)
    # The vendor runs a job when it is looked at.
    assert (await provider.status(job.provider_job_id)).state is RemoteState.COMPLETED
    result = await provider.result(job.provider_job_id)
    state = Statevector(circuit)
    for observable, value, error in zip(
        observables, result.values, result.standard_errors, strict=True
    ):
        exact = state.expectation_value(SparsePauliOp.from_list(list(observable.items()))).real
        assert abs(value - exact) <= 5 * error + 1e-9
        # A sample variance exceeds its bound by N / (N - 1) at most.
        assert error <= 0.05 * 1.01


def test_reading_estimates() -> None:
    recipe = Recipe(
        verb="estimate",
        shots=4,
        bits=2,
        observables=({"ZI": 1.0, "IZ": 2.0, "II": 0.5}, {"II": 3.0}),
        groups=(("ZI", "IZ"),),
    )
    counts = {"0x0": 3, "0x1": 1}  # bit 0 is the right end of a label
    result = read(recipe, Result.from_dict(document(counts)))
    assert result.values == (0.5 + 2.0, 3.0)
    # x is 3 three times and -1 once: mean 2, sample variance 4.
    assert result.standard_errors == (math.sqrt(4 / 4), 0.0)
    once = read(recipe, Result.from_dict(document({"0x0": 1})))
    assert once.standard_errors == (3.0, 0.0)


def document(counts: dict[str, int]) -> dict[str, Any]:
    head = {"backend_name": "x", "backend_version": "1", "job_id": "x", "success": True}
    return head | {"results": [{"success": True, "shots": 1, "data": {"counts": counts}}]}
