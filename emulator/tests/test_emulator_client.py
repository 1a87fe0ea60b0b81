"""What the unmodified client sees when nothing goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Batch, EstimatorV2, QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler

from ibm_quantum_emulator.process import EmulatorProcess

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0

Isa = Callable[[QuantumCircuit], QuantumCircuit]


def test_instances_are_found_by_search_and_catalogue(service: Any) -> None:
    assert [(i["name"], i["plan"]) for i in service.instances()] == [
        ("emulator", "open"),
        ("premium-one", "premium"),
    ]
    assert service.usage()["usage_remaining_seconds"] == 36000


def test_another_region_is_another_host_and_sees_other_jobs(
    ibm_emulator: EmulatorProcess, submit: Callable[..., Any]
) -> None:
    submit()
    other = ibm_emulator.service(instance="premium-one")
    assert ":eu-de:" in other.active_instance()
    assert other.jobs() == []
    by_plan = ibm_emulator.service(instance=None, plans_preference=["premium"])
    assert by_plan.active_instance() == other.active_instance()


def test_direct_mode_needs_no_search(
    ibm_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "1")
    monkeypatch.setenv("IAM_URL", ibm_emulator.url)
    for options in (
        {"url_resolver": lambda *_: ibm_emulator.url + "/api/v1"},
        {"url": ibm_emulator.url + "/experimental"},
    ):
        direct = QiskitRuntimeService(
            channel="ibm_quantum_platform", token="t", instance=ibm_emulator.crn, **options
        )
        assert {b.name for b in direct.backends()} == {"ibm_torino", "small"}


def test_backends_serve_real_calibration_data(service: Any, backend: Any) -> None:
    assert {b.name for b in service.backends()} == {"ibm_torino", "small"}
    assert backend.num_qubits == 133
    assert backend.status().operational
    assert 1e-6 < backend.properties().t1(5) < 1e-2
    assert service.least_busy(min_num_qubits=100).name == "ibm_torino"


def test_queue_length_is_reported(ibm_emulator: EmulatorProcess, service: Any) -> None:
    ibm_emulator.control.set_queue(7, backend="ibm_torino")
    assert service.backend("ibm_torino").status().pending_jobs == 7
    assert service.backend("small").status().pending_jobs == 0


@pytest.mark.parametrize("make", [SamplerV2, Sampler])
def test_sampler(
    ibm_emulator: EmulatorProcess, backend: Any, bell: QuantumCircuit, make: Any
) -> None:
    job = make(backend).run([bell], shots=1000)
    ibm_emulator.control.step(LONG)
    counts = job.result()[0].data.meas.get_counts()
    assert set(counts) == {"00", "11"}
    assert sum(counts.values()) == 1000
    assert 400 < counts["00"] < 600


@pytest.mark.parametrize("make", [SamplerV2, Sampler])
def test_sampler_with_a_sweep_of_parameters_and_two_registers(
    ibm_emulator: EmulatorProcess, backend: Any, isa: Isa, make: Any
) -> None:
    angle, other = Parameter("a"), Parameter("b")
    one, two = ClassicalRegister(1, "one"), ClassicalRegister(2, "two")
    circuit = QuantumCircuit(QuantumRegister(3), one, two)
    circuit.rx(angle, 0)
    circuit.rx(other, 1)
    circuit.cx(1, 2)
    circuit.measure(0, one[0])
    circuit.measure([1, 2], two)
    values = np.array([[0, np.pi], [np.pi, 0], [np.pi, np.pi]])
    job = make(backend).run([(isa(circuit), values)], shots=50)
    ibm_emulator.control.step(LONG)
    data = job.result()[0].data
    assert [data.one.get_counts(i) for i in range(3)] == [{"0": 50}, {"1": 50}, {"1": 50}]
    assert [data.two.get_counts(i) for i in range(3)] == [{"11": 50}, {"00": 50}, {"11": 50}]


@pytest.mark.parametrize("make", [EstimatorV2, Estimator])
def test_estimator(ibm_emulator: EmulatorProcess, backend: Any, isa: Isa, make: Any) -> None:
    angle = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    circuit = isa(circuit)
    observables = [[SparsePauliOp(p).apply_layout(circuit.layout)] for p in ("ZZ", "XX", "IZ")]
    job = make(backend).run([(circuit, observables, np.array([[0.0], [np.pi / 2], [np.pi]]))])
    ibm_emulator.control.step(LONG)
    evs = job.result()[0].data.evs
    np.testing.assert_allclose(evs[0], [1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(evs[1], [0, 1, 0], atol=0.1)
    np.testing.assert_allclose(evs[2], [1, 0, -1], atol=0.1)


def test_the_seed_decides_the_result(
    ibm_emulator: EmulatorProcess, submit: Callable[..., Any]
) -> None:
    seen = []
    for _ in range(2):
        ibm_emulator.control.reset()
        jobs = [submit(shots=500), submit(shots=500)]
        ibm_emulator.control.step(LONG)
        seen.append([job.result()[0].data.meas.get_bitstrings() for job in jobs])
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[0][1]


def test_metrics_logs_usage_and_inputs(
    ibm_emulator: EmulatorProcess, service: Any, submit: Callable[..., Any]
) -> None:
    job = submit(shots=1000)
    before = job.metrics()
    assert before["usage"]["status"] == "pending"
    assert job.usage() == 0
    ibm_emulator.control.step(LONG)
    assert job.status() == "DONE"
    stamps = job.metrics()["timestamps"]
    ran = datetime.fromisoformat(stamps["finished"]) - datetime.fromisoformat(stamps["running"])
    assert abs(ran - timedelta(seconds=2.26)) < timedelta(milliseconds=1)
    assert job.usage() == 3
    assert service.usage()["usage_consumed_seconds"] == 3
    assert "Completed" in job.logs()
    assert job.inputs["pubs"][0][2] == 1000
    assert service.job(job.job_id()).result()[0].data.meas.num_shots == 1000
    assert job.properties() is not None


def test_listing_filters_and_pages(ibm_emulator: EmulatorProcess, service: Any) -> None:
    ibm_emulator.control.set_queue(1000)
    client = service._active_api_client
    params = {"pubs": [["never run", None, 10]]}
    made = []
    for index in range(23):
        ibm_emulator.control.step(1)
        reply = client.program_run(
            "sampler", "ibm_torino", params, None, None, None, ["all", f"n{index % 2}"]
        )
        made.append(reply["id"])
    newest_first = made[::-1]

    def ids(**query: Any) -> list[str]:
        return [job.job_id() for job in service.jobs(**query)]

    assert ids(limit=None) == newest_first
    assert ids(limit=5, skip=3) == newest_first[3:8]
    assert ids(limit=None, descending=False) == made
    assert ids(limit=None, job_tags=["all", "n1"]) == newest_first[1::2]
    assert ids(job_tags=["all", "none"]) == []
    assert ids(limit=None, pending=True) == newest_first
    assert ids(pending=False) == []
    assert ids(program_id="estimator") == []
    assert ids(backend_name="small") == []
    moment = datetime.fromtimestamp(ibm_emulator.control.jobs()[20]["created"], UTC)
    assert ids(created_after=moment) == made[:19:-1]
    assert len(ids(limit=None, created_before=moment)) == 21


def test_tags_are_replaced_and_limited(submit: Callable[..., Any], service: Any) -> None:
    job = submit("old")
    assert job.update_tags(["new", "newer"]) == ["new", "newer"] or set(job.tags) == {
        "new",
        "newer",
    }
    assert service.jobs(job_tags=["old"]) == []
    assert [j.job_id() for j in service.jobs(job_tags=["new"])] == [job.job_id()]
    with pytest.raises(Exception, match="at most 8"):
        job.update_tags([str(i) for i in range(9)])
    with pytest.raises(Exception, match="86 characters"):
        job.update_tags(["x" * 87])
    job.update_tags(["x" * 86])


def test_delete(ibm_emulator: EmulatorProcess, service: Any, submit: Callable[..., Any]) -> None:
    job = submit()
    with pytest.raises(Exception, match="409"):
        service.delete_job(job.job_id())
    ibm_emulator.control.step(LONG)
    service.delete_job(job.job_id())
    assert service.jobs() == []
    assert [j["deleted"] for j in ibm_emulator.control.jobs()] == [True]


def test_maximum_execution_time(ibm_emulator: EmulatorProcess, submit: Callable[..., Any]) -> None:
    job = submit(max_execution_time=1)
    ibm_emulator.control.step(LONG)
    assert job.status() == "ERROR"
    with pytest.raises(Exception, match="1305"):
        job.result()
    assert job.usage() == 1


@pytest.mark.parametrize("kind", [Session, Batch])
def test_sessions(
    ibm_emulator: EmulatorProcess,
    service: Any,
    backend: Any,
    bell: QuantumCircuit,
    kind: Any,
) -> None:
    ibm_emulator.control.set_queue(10, 60)
    session = kind(backend=backend)
    first = SamplerV2(session).run([bell], shots=10)
    assert session.status() == "Pending"
    ibm_emulator.control.step(601)
    assert first.status() == "RUNNING"
    second = SamplerV2(session).run([bell], shots=10)
    ibm_emulator.control.step(LONG)
    assert second.status() == "DONE"
    session.close()
    assert session.status() == "Closed"
    reopened = kind.from_id(session.session_id, service)
    with pytest.raises(IBMRuntimeError, match="is closed"):
        SamplerV2(reopened).run([bell])


def test_noise_full_errs_as_often_as_calibrated(isa: Isa) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    for _ in range(40):
        circuit.cz(0, 1)
        circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    with EmulatorProcess(noise="full", rate=1000, workers=1) as emulator:
        backend = emulator.service().backend("ibm_torino")
        data = SamplerV2(backend).run([isa(circuit)], shots=4000).result()[0].data
        facts = backend.properties()
    right = data.c.get_counts()["01"] / 4000
    # A depolarising channel of strength s leaves the state with 1 - s and else any of the four.
    kept = (1 - facts.gate_error("cz", [0, 1]) * 4 / 3) ** 40
    read = (1 - facts.readout_error(0)) * (1 - facts.readout_error(1))
    assert right == pytest.approx((kept + (1 - kept) / 4) * read, abs=0.06)
