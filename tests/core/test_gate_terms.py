"""Which jobs a policy's gate is about."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from qsaga.core.facts import Facts, GateTerms, Verb
from qsaga.core.jobs import JobRequest
from qsaga.core.ladder import gate_of
from qsaga.core.states import Rung

TERMS = GateTerms(verbs=("optimise",))


def facts(verb: Verb) -> Facts:
    return Facts(verb=verb, qubits=3, shots=10, queue_budget=1, quantum_seconds=1)


def test_only_jobs_that_hardware_may_answer_are_checked() -> None:
    assert gate_of(TERMS, facts("optimise"), (Rung.ANNEALING, Rung.HARDWARE)) is TERMS
    assert gate_of(TERMS, facts("optimise"), (Rung.ANNEALING, Rung.SIMULATOR)) is None
    assert gate_of(TERMS, facts("sample"), (Rung.HARDWARE,)) is None
    assert gate_of(None, facts("optimise"), (Rung.HARDWARE,)) is None
    everything = GateTerms()
    assert gate_of(everything, facts("estimate"), (Rung.OTHER_BACKEND,)) is everything


def test_terms_that_make_no_sense_are_refused() -> None:
    for wrong in ({"max_qubits": 25}, {"progress": 1.1}, {"seconds": 0}, {"too_large": "maybe"}):
        with pytest.raises(ValidationError):
            GateTerms.model_validate(wrong)


def test_a_peak_is_expected_of_samples_alone() -> None:
    problem = {"name": "maxcut", "data": {"edges": [["a", "b"]]}}
    body = {"key": "k", "workload": {"kind": "optimise", "problem": problem}}
    plain = JobRequest.model_validate(body)
    with pytest.raises(ValidationError, match="expect_peak says nothing of workload 'optimise'"):
        JobRequest.model_validate(body | {"expect_peak": 0.5})
    with_reuse = JobRequest.model_validate(body | {"reuse": 60})
    assert with_reuse.payload_hash() != plain.payload_hash()
