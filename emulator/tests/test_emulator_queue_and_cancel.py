from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from qiskit_ibm_runtime.exceptions import (
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
)

from ibm_quantum_emulator.process import EmulatorProcess

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0

Submit = Callable[..., Any]


def test_a_job_waits_for_those_ahead(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    control = ibm_emulator.control
    control.set_queue(100, 60)
    job = submit(shots=1000)
    assert job.metrics()["position_in_queue"] == 101
    control.step(5999)
    assert job.status() == "QUEUED"
    assert job.metrics()["position_in_queue"] == 1
    control.step(1)
    assert job.status() == "RUNNING"
    control.step(2.3)
    assert job.status() == "DONE"
    truth = control.jobs()[0]
    assert truth["running"] - truth["created"] == pytest.approx(6000)
    assert truth["finished"] - truth["running"] == pytest.approx(2.26)
    assert truth["charged_seconds"] == 3


def test_a_leap_over_the_whole_life_of_jobs(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    control = ibm_emulator.control
    control.set_queue(480, 60)
    jobs = [submit(shots=1000) for _ in range(3)]
    control.step(9 * 3600)
    assert [job.status() for job in jobs] == ["DONE"] * 3
    truth = control.jobs()
    for earlier, later in itertools.pairwise(truth):
        assert later["running"] == pytest.approx(earlier["finished"])
    assert control.summary()["charged_seconds"] == 9


def test_a_drained_queue_lets_waiting_jobs_start(
    ibm_emulator: EmulatorProcess, submit: Submit
) -> None:
    ibm_emulator.control.set_queue(1000, 60)
    job = submit()
    ibm_emulator.control.set_queue(0)
    assert job.status() == "RUNNING"


def test_a_new_pace_applies_to_waiting_jobs(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    control = ibm_emulator.control
    control.set_queue(100, 60)
    job = submit()
    control.step(3000)
    control.set_queue(seconds_per_job=1)
    control.step(49)
    assert job.status() == "QUEUED"
    control.step(1.5)
    assert job.status() == "RUNNING"


def test_a_queue_can_grow_in_front_of_a_waiting_job(
    ibm_emulator: EmulatorProcess, submit: Submit
) -> None:
    control = ibm_emulator.control
    control.set_queue(10, 60)
    job = submit()
    control.set_queue(1000, requeue=True)
    control.step(3600)
    assert job.status() == "QUEUED"


def test_a_clock_with_a_rate_runs_by_itself(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    control = ibm_emulator.control
    control.set_queue(60, 60)
    control.set_clock("rate", rate=36000)
    began = time.monotonic()
    job = submit()
    assert job.result() is not None
    assert time.monotonic() - began < 10
    truth = control.jobs()[0]
    assert truth["finished"] - truth["created"] == pytest.approx(3602.02, abs=0.1)


def test_cancel_in_the_queue_costs_nothing(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    ibm_emulator.control.set_queue(10, 60)
    job = submit("t")
    job.cancel()
    assert job.status() == "CANCELLED"
    assert ibm_emulator.control.summary("t") == {
        "tag": "t",
        "posts": 1,
        "created": 1,
        "run": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 1,
        "pending": 0,
        "charged": 0,
        "charged_seconds": 0,
        "cancel_attempts": 1,
        "lost_race": 0,
    }


def test_cancel_while_running_costs_the_time_used(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit
) -> None:
    control = ibm_emulator.control
    control.set_execution(overhead_seconds=100)
    job = submit()
    other = submit()
    control.step(40.5)
    job.cancel()
    job = service.job(job.job_id())
    assert job.status() == "CANCELLED"
    assert job.usage() == 41
    with pytest.raises(RuntimeInvalidStateError):
        job.result()
    assert other.status() == "RUNNING"
    assert control.jobs()[1]["running"] == pytest.approx(control.jobs()[0]["finished"])


def test_cancel_after_the_end_is_refused(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    job = submit()
    ibm_emulator.control.step(LONG)
    with pytest.raises(RuntimeInvalidStateError):
        job.cancel()
    assert ibm_emulator.control.jobs()[0]["cancel_attempts"] == 1
    assert job.status() == "DONE"


@pytest.mark.parametrize("reply", [204, 409])
def test_a_cancel_that_loses_the_race(
    ibm_emulator: EmulatorProcess, service: Any, submit: Submit, reply: int
) -> None:
    control = ibm_emulator.control
    control.set_faults(cancel_loses_race={"tags": ["unlucky"], "reply": reply})
    control.set_queue(10, 60)
    unlucky, lucky = submit("unlucky"), submit("lucky")
    if reply == 204:
        unlucky.cancel()
    else:
        with pytest.raises(RuntimeInvalidStateError):
            unlucky.cancel()
    lucky.cancel()
    control.step(3600)
    assert service.job(unlucky.job_id()).status() == "DONE"
    assert service.job(lucky.job_id()).status() == "CANCELLED"
    summary = control.summary("unlucky")
    assert (summary["charged_seconds"], summary["lost_race"]) == (3, 1)


def test_a_job_that_fails_on_purpose(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    ibm_emulator.control.set_faults(
        fail_next=[{"count": 1, "reason": "The fridge is warm.", "reason_code": 9999}]
    )
    broken, fine = submit(), submit()
    ibm_emulator.control.step(LONG)
    with pytest.raises(RuntimeJobFailureError, match="9999; The fridge is warm"):
        broken.result()
    assert broken.usage() == 0
    assert fine.status() == "DONE"


def test_an_outage_ends(ibm_emulator: EmulatorProcess, service: Any) -> None:
    ibm_emulator.control.set_faults(outage=True)
    reply = httpx.get(ibm_emulator.url + "/api/v1/backends")
    assert reply.status_code == 503
    assert reply.json()["errors"][0]["code"] == 503
    ibm_emulator.control.set_faults(outage=False)
    assert service.jobs() == []


def test_a_revoked_key(ibm_emulator: EmulatorProcess, service: Any) -> None:
    ibm_emulator.control.set_faults(revoked_keys=["emulator-key"])
    with pytest.raises(Exception, match="revoked"):
        service.jobs()


def test_requests_are_counted(ibm_emulator: EmulatorProcess, submit: Submit) -> None:
    submit()
    counts = ibm_emulator.control.requests()
    assert counts["POST /api/v1/jobs"] == 1
