"""Runs outlive the script: killed and run again, it finds what it had started."""

import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.providers import JobStatus

from qsaga.core.errors import Unreachable
from qsaga.core.states import JobState
from qsaga.primitives import DegradedAnswer, DurableJob, NoAnswer, SamplerV2
from qsaga.primitives.naming import ORDINALS
from qsaga.settings import Settings, TemporalSettings
from tools.stage import Stage, free_port, wait_until

SCRIPT = Path(__file__).parents[2] / "examples" / "durable_script.py"


def coin() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    return circuit


def started(stage: Stage) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT],
        env=stage.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(script: subprocess.Popen[str]) -> str:
    assert script.stdout is not None
    return script.stdout.readline().strip()


def remote(stage: Stage) -> list[str]:
    return [str(job["id"]) for job in stage.emulator.control.jobs()]


def asked_here(stage: Stage) -> DurableJob:
    sampler = SamplerV2(experiment="read", client=stage.settings(), route="hardware", timeout=60)
    job = sampler.run([coin()], shots=41)
    job.result()
    return job


def test_a_killed_script_finds_its_job_again(held: Stage) -> None:
    control, before = held.emulator.control, len(remote(held))
    with started(held) as script:
        job_id = first_line(script)
        wait_until(lambda: len(remote(held)) > before, "the remote job is there")
        script.send_signal(signal.SIGKILL)
        assert script.wait(10) == -signal.SIGKILL
    with started(held) as again:
        assert first_line(again) == job_id
        control.set_queue(0, 0.1)
        out, complaint = again.communicate(timeout=60)
    assert again.returncode == 0, complaint
    assert complaint == ""
    assert "answered by hardware" in out and "'0000': " in out and "'1111': " in out
    assert len(remote(held)) == before + 1


def test_an_answer_that_is_there_is_read_again(stage: Stage, another_process: None) -> None:
    """At another place, and after the job: nothing is asked of the provider."""
    first = asked_here(stage)
    before = remote(stage)
    ORDINALS.rewind("")
    again = asked_here(stage)
    assert again.job_id() == first.job_id() and remote(stage) == before
    assert np.array_equal(again.result()[0].data.meas.array, first.result()[0].data.meas.array)


def test_a_run_can_be_waited_for_cancelled_and_told_of(held: Stage, there: Settings) -> None:
    before = len(remote(held))
    sampler = SamplerV2(experiment="held", client=there, route="hardware", timeout=0.2)
    job = sampler.run([coin()], shots=11)
    wait_until(lambda: job.status() is JobStatus.QUEUED, "it waits at the provider")
    assert len(remote(held)) == before + 1
    assert not (job.done() or job.running() or job.cancelled() or job.in_final_state())
    with pytest.raises(TimeoutError, match=r"held\..* had not ended after 0.2 s"):
        job.result()
    job.cancel()
    wait_until(job.in_final_state, "it has ended")
    assert job.cancelled() and not job.done() and job.status() is JobStatus.CANCELLED
    with pytest.raises(NoAnswer, match=r"is cancelled: .*fresh=True") as raised:
        job.result(timeout=30)
    assert raised.value.state is JobState.CANCELLED
    wait_until(
        lambda: held.emulator.control.jobs()[-1]["state"] == "Cancelled", "and the remote job too"
    )


def test_a_degraded_answer_warns_once(held: Stage, there: Settings) -> None:
    sampler = SamplerV2(
        experiment="late", client=there, route="hardware", budgets={"queue": 0.5}, timeout=60
    )
    job = sampler.run([coin(), coin()], shots=12)
    with pytest.warns(DegradedAnswer, match="2 of 2 jobs .* by simulator: .* queue 60 s") as found:
        result = job.result()
    assert len(found) == 1
    told = result[0].metadata["qsaga"][0]
    assert (told["state"], told["source"]) == ("degraded", "simulator")
    assert [one["rung"] for one in told["attempts"]] == ["simulator"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert job.result() is result
    assert job.status() is JobStatus.DONE


def test_the_warning_says_what_went_wrong(stage: Stage, there: Settings) -> None:
    stage.emulator.control.set_faults(fail_next={"count": 1, "reason": "laser on fire"})
    sampler = SamplerV2(experiment="late", client=there, route="hardware", timeout=60)
    with pytest.warns(DegradedAnswer, match="1 of 1 jobs .* answered by .*laser on fire"):
        result = sampler.run([coin()], shots=14).result()
    assert result[0].metadata["qsaga"][0]["attempts"][0]["rung"] == "hardware"


def test_a_job_without_an_answer_says_why(held: Stage, there: Settings) -> None:
    """Another budget is another job, and this one leaves no time for any rung."""
    sampler = SamplerV2(
        experiment="never", client=there, route="hardware", budgets={"deadline": 0.01}, timeout=60
    )
    with pytest.raises(NoAnswer) as raised:
        sampler.run([coin()], shots=13).result()
    assert raised.value.state is JobState.TIMED_OUT
    assert raised.value.unanswered.reason in str(raised.value)


def test_the_same_calls_find_the_same_jobs(there: Settings, another_process: None) -> None:
    def asked(**more: bool) -> list[str]:
        sampler = SamplerV2(experiment="same", client=there, route="simulator", **more)
        return [sampler.run([coin()], shots=shots).job_id() for shots in (21, 21)]

    first = asked()
    assert len(set(first)) == 2
    # Another primitive of the experiment goes on counting.
    more = asked()
    assert not {*first} & {*more}
    ORDINALS.rewind("")
    assert asked() == first
    SamplerV2(experiment="same", client=there).rewind()
    assert asked() == first
    new = asked(fresh=True)
    assert not {*new} & {*first, *more} and not {*new} & {*asked(fresh=True)}


def test_a_run_that_could_not_be_started_is_not_counted(there: Settings) -> None:
    nowhere = there.model_copy(
        update={"temporal": TemporalSettings(address=f"127.0.0.1:{free_port()}")}
    )
    with pytest.raises(Unreachable):
        SamplerV2(experiment="lost", client=nowhere, route="simulator").run([coin()], shots=31)
    found = SamplerV2(experiment="lost", client=there, route="simulator").run([coin()], shots=31)
    assert found.job_id().endswith(".0")


WAITS = """
import sys, threading
from qiskit import QuantumCircuit
from qsaga.primitives import SamplerV2
circuit = QuantumCircuit(1, 1)
circuit.measure(0, 0)
job = SamplerV2(experiment="waits", route="hardware").run([circuit])
threading.Thread(target=job.result, daemon=True).start()
print(job.status())
"""


def test_a_script_that_ends_while_it_waits_ends_at_once(held: Stage) -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "default::ResourceWarning", "-c", WAITS],
        env=held.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert "ResourceWarning" not in ended.stderr and "Task was destroyed" not in ended.stderr
    assert time.monotonic() - began < 40
