"""The world around the account as the unmodified client sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, RuntimeDecoder, RuntimeEncoder, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError

from ibm_quantum_emulator.config import BackendSpec
from ibm_quantum_emulator.device import Device, Rejected
from ibm_quantum_emulator.process import EmulatorProcess
from ibm_quantum_emulator.simulate import simulate
from ibm_quantum_emulator.snapshot import Snapshot

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0
HOUR = 3600.0

Submit = Callable[..., Any]


def world(**backend: Any) -> dict[str, Any]:
    return {"version": 1, "backends": [{"name": "ibm_torino", **backend}]}


def test_a_backend_in_maintenance_is_not_operational(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit
) -> None:
    control = ibm_emulator.control
    control.set_world(world(maintenance=[{"in_hours": 1, "hours": 2}]))
    assert service.backend("ibm_torino").status().operational
    control.step(HOUR + 1)
    status = service.backend("ibm_torino").status()
    assert (status.operational, status.status_msg) == (False, "maintenance")
    assert [b["state"] for b in control.backends()] == ["maintenance", "online"]
    job = submit()
    control.step(HOUR)
    assert job.status() == "QUEUED"
    assert job.metrics()["estimated_start_time"] is not None
    control.step(HOUR + LONG)
    assert job.status() == "DONE"


def test_a_paused_backend_is_not_chosen(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    control = ibm_emulator.control
    control.change_backend("ibm_torino", paused=True)
    fresh = ibm_emulator.service()
    assert fresh.least_busy().name == "small"
    control.change_backend("small", paused=True)
    with pytest.raises(QiskitBackendNotFoundError):
        ibm_emulator.service().least_busy()
    job = submit()
    control.step(HOUR)
    assert job.metrics()["estimated_start_time"] is None
    control.change_backend("ibm_torino", paused=False)
    assert job.status() == "RUNNING"
    reply = httpx.patch(ibm_emulator.url + "/control/backends/none", json={"paused": True})
    assert reply.status_code == 404
    reply = httpx.patch(ibm_emulator.url + "/control/backends/small", json={"paused": 1})
    assert reply.status_code == 400


def test_the_queue_of_other_people_moves_by_itself(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit
) -> None:
    control = ibm_emulator.control
    service_time = {"kind": "lognormal", "mean_seconds": 60, "sigma": 1.0}
    control.set_world(world(traffic={"jobs_per_hour": 55, "initial": 40, "service": service_time}))
    assert service.backend("ibm_torino").status().pending_jobs == 39
    job = submit()
    assert job.metrics()["position_in_queue"] == 40
    lengths, starts = set(), set()
    for _ in range(8):
        control.step(300)
        lengths.add(service.backend("ibm_torino").status().pending_jobs)
        starts.add(job.metrics()["estimated_start_time"])
    assert len(lengths) > 2
    assert len(starts) > 2
    control.step(8 * HOUR)
    assert job.status() == "DONE"


def test_properties_are_those_of_the_calibration_asked_for(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit, bell: QuantumCircuit
) -> None:
    control = ibm_emulator.control
    control.set_world(world(recalibration={"every_hours": 2, "spread": 0.05}))
    backend = service.backend("ibm_torino")
    before = backend.properties(refresh=True)
    job = submit()
    control.step(5 * HOUR)
    after = backend.properties(refresh=True)
    assert after.t1(5) != before.t1(5)
    assert after.t1(5) == pytest.approx(before.t1(5), rel=0.5)
    now = datetime.fromtimestamp(control.now(), UTC)
    # The clock is finer than the microseconds of a date.
    instant = timedelta(milliseconds=1)
    assert abs(after.last_update_date - (now - timedelta(hours=1))) < instant
    history = control.backends()[0]["calibrations"]
    assert [bool(each["at"]) for each in history] == [False, True, True]
    middle = service.backend("ibm_torino", calibration_id=history[1]["id"])
    assert abs(middle.properties().last_update_date - (now - timedelta(hours=3))) < instant
    earlier = backend.properties(datetime=now - timedelta(hours=1.5))
    assert earlier.t1(5) == middle.properties().t1(5)
    assert backend.properties(datetime=datetime(2020, 1, 1, tzinfo=UTC)) is None
    assert backend.target_history(datetime=now).num_qubits == 133
    raw = service._active_api_client.job_get(job.job_id())
    assert raw["calibration_id"] == history[0]["id"]

    current = service.backend("ibm_torino", calibration_id=history[2]["id"])
    assert SamplerV2(current).run([bell]).job_id()
    with pytest.raises(IBMRuntimeError, match="no longer in force"):
        SamplerV2(middle).run([bell])
    middle._calibration_id = "none"
    with pytest.raises(IBMRuntimeError, match="is not known for ibm_torino"):
        SamplerV2(middle).run([bell])
    control.change_backend("ibm_torino", recalibrate=True)
    assert len(control.backends()[0]["calibrations"]) == 4


def test_a_faulty_qubit_is_told_and_cannot_be_used(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit, backend: Any, bell: QuantumCircuit
) -> None:
    used = next(bell.find_bit(each).index for item in bell.data for each in item.qubits)
    ibm_emulator.control.set_world(
        world(faulty=[{"qubits": [used], "in_hours": 1}, {"gate": "sx", "qubits": [9], "at": 1}])
    )
    fine = submit()
    ibm_emulator.control.step(HOUR)
    facts = service.backend("ibm_torino").properties(refresh=True)
    assert facts.faulty_qubits() == [used]
    assert [(gate.gate, gate.qubits) for gate in facts.faulty_gates()] == [("sx", [9])]
    broken = SamplerV2(backend).run([bell])
    ibm_emulator.control.step(LONG)
    assert fine.status() == "DONE"
    assert broken.status() == "ERROR"
    assert f"qubit {used}, which is faulty" in broken.error_message()


def test_simulation_uses_the_figures_of_the_calibration(tmp_path: Path) -> None:
    snapshot = Snapshot(BackendSpec(name="small", snapshot="manila"))
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    request = {
        "program": "sampler",
        "params": json.dumps({"pubs": [(circuit, None, 2000)]}, cls=RuntimeEncoder),
        "configuration": str(snapshot.configuration_path),
        "noise": "readout",
        "seed": 1,
        "max_active_qubits": 5,
        "max_active_qubits_full": 5,
        "started": 0.0,
        "due": 1.0,
    }
    ones = []
    for error in (0.1, 0.4):
        document = json.loads(snapshot.properties)
        for fact in document["qubits"][0]:
            if fact["name"] == "prob_meas1_prep0":
                fact["value"] = error
        path = tmp_path / f"{error}.json"
        path.write_text(json.dumps(document))
        answer = simulate({**request, "properties": str(path)})
        assert answer["ok"]
        ones.append(_ones(answer["result"]) / 2000)
    assert ones == pytest.approx([0.1, 0.4], abs=0.04)
    facts = {"name": "operational", "value": 0, "unit": "", "date": "2026-01-01T00:00:00Z"}
    document["gates"] = [
        {**gate, "parameters": [*gate["parameters"], facts]} if gate["gate"] == "cx" else gate
        for gate in document["gates"]
    ]
    path.write_text(json.dumps(document))
    nested = QuantumCircuit(5, 1)
    with nested.if_test((nested.clbits[0], 1)):
        nested.cx(1, 0)
    device = Device(str(snapshot.configuration_path), str(path))
    device._check_gates(circuit, list(range(5)))
    with pytest.raises(Rejected, match=r"gate cx on qubits \[1, 0\]"):
        device._check_gates(nested, list(range(5)))


def _ones(result: str) -> int:
    return int(json.loads(result, cls=RuntimeDecoder)[0].data.c.get_counts().get("1", 0))


def test_an_instance_over_its_limit_is_refused(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit
) -> None:
    control = ibm_emulator.control
    control.set_limits("emulator", limit_seconds=3)
    submit()
    control.step(LONG)
    usage = service.usage()
    assert usage["usage_limit_reached"]
    assert usage["usage_remaining_seconds"] == 0
    with (
        pytest.warns(UserWarning, match="has met its usage limit"),
        pytest.raises(IBMRuntimeError, match="met its usage limit: 3 of 3 seconds"),
    ):
        submit()
    # Another instance is not concerned.
    assert not ibm_emulator.service(instance="premium-one").usage()["usage_limit_reached"]
    control.set_limits("emulator", limit_seconds=None)
    assert submit().status() == "RUNNING"
    assert control.summary()["posts"] == 3


def test_pending_jobs_and_execution_time_are_limited(
    ibm_emulator: EmulatorProcess, submit: Submit
) -> None:
    control = ibm_emulator.control
    control.set_limits(max_pending_jobs=2, max_execution_seconds=100)
    with pytest.raises(IBMRuntimeError, match="at most 100 seconds"):
        submit(max_execution_time=300)
    submit()
    submit(max_execution_time=100)
    with pytest.raises(IBMRuntimeError, match="maximum of 2 pending jobs"):
        submit()
    control.step(LONG)
    submit()
    for body in ({"nobody": {}}, {"*": {"limit_seconds": -1}}, {"*": {"typo": 1}}):
        before = control.settings()
        reply = httpx.patch(ibm_emulator.url + "/control/settings", json={"limits": body})
        assert reply.status_code == 400
        assert control.settings() == before


def test_a_session_with_a_time_limit(
    ibm_emulator: EmulatorProcess, service: Any, backend: Any, bell: QuantumCircuit
) -> None:
    control = ibm_emulator.control
    control.set_execution(overhead_seconds=40)
    session = Session(backend=backend, max_time="1m 30s")
    jobs = [SamplerV2(session).run([bell], shots=10) for _ in range(4)]
    control.step(10)
    details = session.details()
    assert (details["state"], details["max_time"], details["mode"]) == ("active", 90, "dedicated")
    assert details["usage_time"] == pytest.approx(10)
    assert [each["status"] for each in details["timestamps"]] == ["open", "active"]
    control.step(200)
    assert session.status() == "Closed"
    assert [job.status() for job in jobs] == ["DONE", "DONE", "DONE", "CANCELLED"]
    assert session.usage() == pytest.approx(120, abs=0.1)
    assert Session.from_id(session.session_id, service).details()["closed_at"]
    assert service.usage()["usage_consumed_seconds"] == pytest.approx(120, abs=0.1)
    (truth,) = control.sessions()
    assert truth["closed"] - truth["activated"] == pytest.approx(90)
    assert [job["id"] for job in truth["jobs"]] == [job.job_id() for job in jobs]
    with pytest.raises(Exception, match="at most 28800"):
        Session(backend=backend, max_time=100_000)


def test_a_batch_is_charged_by_its_jobs(
    ibm_emulator: EmulatorProcess, backend: Any, bell: QuantumCircuit, service: Any
) -> None:
    control = ibm_emulator.control
    with Batch(backend=backend, max_time=600) as batch:
        for _ in range(2):
            SamplerV2(batch).run([bell], shots=10)
        control.step(20)
    assert batch.status() == "Closed"
    assert batch.usage() == 6
    assert service.usage()["usage_consumed_seconds"] == 6
    assert len(service.jobs(session_id=batch.session_id)) == 2
    idle = Batch(backend=backend)
    SamplerV2(idle).run([bell], shots=10)
    control.step(100)
    assert idle.status() == "Pending"
    idle.cancel()
    assert idle.status() == "Closed"


def test_a_session_of_another_backend_is_refused(
    ibm_emulator: EmulatorProcess, service: Any, bell: QuantumCircuit, backend: Any
) -> None:
    session = Session(backend=service.backend("small"))
    session._backend = backend
    with pytest.raises(IBMRuntimeError, match="is not the one of session"):
        SamplerV2(session).run([bell])
