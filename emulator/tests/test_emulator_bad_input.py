from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.exceptions import (
    IBMRuntimeError,
    RuntimeJobFailureError,
    RuntimeJobNotFound,
)

from ibm_quantum_emulator.process import EmulatorProcess

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0


def test_a_circuit_for_another_machine_fails(
    ibm_emulator: EmulatorProcess, service: Any, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    # The client checks by itself; without its check the server must.
    monkeypatch.setattr("qiskit_ibm_runtime.base_primitive.validate_isa_circuits", lambda *_: None)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.measure_all()
    job = SamplerV2(backend).run([circuit])
    ibm_emulator.control.step(LONG)
    with pytest.raises(RuntimeJobFailureError, match="1517; The instruction h on qubits"):
        job.result()
    assert job.usage() == 0


def test_too_many_qubits_fail_with_the_limit(
    ibm_emulator: EmulatorProcess,
    backend: Any,
    isa: Callable[[QuantumCircuit], QuantumCircuit],
) -> None:
    circuit = QuantumCircuit(7)
    circuit.h(0)
    for qubit in range(6):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    job = SamplerV2(backend).run([isa(circuit)])
    ibm_emulator.control.step(LONG)
    with pytest.raises(RuntimeJobFailureError, match=r"7 active qubits.*at most 6"):
        job.result()


def test_too_many_shots_are_refused(submit: Callable[..., Any]) -> None:
    with pytest.raises(IBMRuntimeError, match="shots must be 1 to 100000"):
        submit(shots=100_001)


def test_too_many_tags_are_refused(submit: Callable[..., Any], service: Any) -> None:
    with pytest.raises(IBMRuntimeError, match="at most 8"):
        submit(*[str(index) for index in range(9)])
    assert service.jobs() == []


def test_an_unknown_job(service: Any) -> None:
    with pytest.raises(RuntimeJobNotFound):
        service.job("nothing")


GOOD = {"program_id": "sampler", "backend": "ibm_torino", "params": {"pubs": [["x", None, 10]]}}


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"program_id": "cook"}, 404, "program_id"),
        ({"backend": "ibm_nowhere"}, 404, "backend"),
        ({"params": {}}, 400, "params.pubs"),
        ({"params": {"pubs": []}}, 400, "params.pubs"),
        ({"params": {"pubs": [["x", None, 0]]}}, 400, "shots"),
        ({"params": {"pubs": [["x", None, True]]}}, 400, "shots"),
        ({"params": {"pubs": [["x", {"__type__": "ndarray", "__value__": "!"}]]}}, 400, "params"),
        ({"params": {"pubs": [["x", ["Z"], None, -1.0]]}}, 400, "precision"),
        ({"program_id": "executor", "params": {}}, 400, "params"),
        ({"tags": "one"}, 400, "tags"),
        ({"cost": -1}, 400, "cost"),
        ({"session_id": "none"}, 404, "Session"),
    ],
)
def test_bad_submissions_get_an_envelope(
    ibm_emulator: EmulatorProcess, change: dict[str, Any], status: int, text: str
) -> None:
    token = httpx.post(ibm_emulator.url + "/identity/token", data={"apikey": "k"}).json()
    headers = {
        "authorization": f"Bearer {token['access_token']}",
        "service-crn": ibm_emulator.crn,
    }
    url = ibm_emulator.url + "/api/v1/jobs"
    reply = httpx.post(url, json={**GOOD, **change}, headers=headers)
    assert reply.status_code == status
    assert text in reply.json()["errors"][0]["message"]
    assert ibm_emulator.control.summary()["created"] == 0
    assert ibm_emulator.control.summary()["posts"] == 1


def test_unreadable_pubs_make_a_failed_job(ibm_emulator: EmulatorProcess, service: Any) -> None:
    service._active_api_client.program_run(
        "sampler", "ibm_torino", GOOD["params"], None, None, None
    )
    ibm_emulator.control.step(LONG)
    (job,) = service.jobs()
    assert job.status() == "ERROR"


def test_requests_without_a_token_are_refused(ibm_emulator: EmulatorProcess) -> None:
    for headers in ({}, {"authorization": "apikey x"}, {"authorization": "Bearer x"}):
        reply = httpx.get(ibm_emulator.url + "/api/v1/jobs", headers=headers)
        assert reply.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"queues": {"nowhere": {"length": 1}}},
        {"queues": {"*": {"length": -1}}},
        {"clock": {"now": 1}},
        {"clock": {"mode": "followed"}},
        {"faults": {"typo": True}},
        {"execution": {"overhead_seconds": -1}},
        {"typo": 1},
    ],
)
def test_bad_settings_change_nothing(ibm_emulator: EmulatorProcess, body: dict[str, Any]) -> None:
    before = ibm_emulator.control.settings()
    reply = httpx.patch(ibm_emulator.url + "/control/settings", json=body)
    assert reply.status_code == 400
    assert ibm_emulator.control.settings() == before
