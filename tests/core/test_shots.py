"""Shots that follow from what is to be seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qsaga.core.jobs import JobRequest, Sample
from qsaga.core.lineage import input_digest
from qsaga.core.shots import MAX_SHOTS, ShotTarget

BELL = "OPENQASM 3.0;\nqubit[1] q;\nbit[1] c;\nc = measure q;\n"


def request(**workload: object) -> JobRequest:
    body = {"kind": "sample", "circuit": {"source": BELL}} | workload
    return JobRequest.model_validate({"key": "k", "workload": body})


def shots(asked: JobRequest) -> int:
    assert isinstance(asked.workload, Sample)
    return asked.workload.shots


@given(st.floats(1e-4, 0.99), st.floats(0.01, 0.9999))
def test_so_many_are_enough_and_one_fewer_is_not(probability: float, confidence: float) -> None:
    needed = ShotTarget(probability=probability, confidence=confidence).shots
    assert 1 - math.pow(1 - probability, needed) >= confidence - 1e-9
    assert needed == 1 or 1 - math.pow(1 - probability, needed - 1) < confidence + 1e-9


def test_known_numbers() -> None:
    assert ShotTarget(probability=0.01).shots == 459
    assert ShotTarget(probability=0.5, confidence=0.5).shots == 1
    assert shots(request(target={"probability": 0.001, "confidence": 0.95})) == 2995


def test_given_shots_win_and_survive_the_wire() -> None:
    asked = request(shots=10, target={"probability": 0.01})
    assert shots(asked) == 10
    derived = request(target={"probability": 0.01})
    again = JobRequest.model_validate_json(derived.model_dump_json())
    assert again == derived
    assert again.payload_hash() == derived.payload_hash()


def test_without_a_target_nothing_has_changed() -> None:
    plain = request()
    assert shots(plain) == 1024
    assert "target" not in plain.workload.model_dump()
    assert plain.payload_hash() != request(target={"probability": 0.01}).payload_hash()
    assert input_digest(plain.workload) == input_digest(request(shots=1024).workload)


def test_more_than_anybody_runs_is_refused() -> None:
    with pytest.raises(ValidationError, match=f"up to {MAX_SHOTS}"):
        request(target={"probability": 1e-7})
    for wrong in ({"probability": 0}, {"probability": 1}, {"probability": 0.1, "confidence": 1}):
        with pytest.raises(ValidationError):
            request(target=wrong)
