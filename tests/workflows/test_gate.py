"""The simulator gate: what does not pass it never reaches the provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import JobRequest
from qsaga.core.results import JobResult, SampleAnswer
from qsaga.core.states import JobState, Layer, Rung
from tests.support.ladders import answered, estimate, with_policy
from tests.support.stack import Stack, abilene, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")
LADDERS = {
    "optimise": ["hardware", "annealing"],
    "sample": ["hardware", "simulator"],
    "estimate": ["hardware", "simulator"],
}


def gate_of(result: JobResult) -> dict[str, Any]:
    """What the gate said before the run that answered."""
    assert result.provenance is not None
    said = result.provenance.detail["gate"]
    assert isinstance(said, dict)
    return said


async def kept_off(stack: Stack, result: JobResult, why: str) -> None:
    """The rung failed with the reason, and nothing was ever sent, held or charged."""
    assert result.attempts[0].rung is Rung.HARDWARE
    assert (result.attempts[0].outcome, result.attempts[0].layer) == ("failed", Layer.SIMULATE)
    assert result.attempts[0].reason.startswith("simulator gate: ")
    assert why in result.attempts[0].reason
    assert result.state is JobState.DEGRADED
    assert result.cost.quantum_seconds == 0
    assert stack.emulator.control.summary()["posts"] == 0
    assert stack.emulator.control.jobs() == []
    await stack.books_are_clean()


async def test_a_circuit_that_beats_guessing_goes_to_hardware(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    terms = "[gate]\nprogress = 0.1"
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, terms) as stack:
        result = await stack.run(abilene(route="hardware"))
        assert answered(result) == [(Rung.HARDWARE, "answered")]
        assert len(stack.emulator.control.jobs()) == 1
        said = gate_of(result)
        assert said["passed"] and said["simulated"]
        assert 0.1 <= said["measured"]["progress"] <= 1
        assert Layer.SIMULATE in [timing.layer for timing in result.timings]
        await stack.settled(result)
        await stack.keep_history("gate_passed.job", result.job_id)
        await stack.books_are_clean()


async def test_a_circuit_that_does_not_is_answered_by_the_next_rung(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    terms = "[gate]\nprogress = 0.1"
    # Angles of nothing: every assignment is as likely as any other.
    flat = {"depth": 1, "angles": "given", "gammas": [0.0], "betas": [0.0]}
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, terms) as stack:
        request = abilene(route="hardware")
        workload = request.workload.model_dump(mode="json") | {"algorithm": flat}
        result = await stack.run(abilene(route="hardware", workload=workload))
        assert answered(result) == [(Rung.HARDWARE, "failed"), (Rung.ANNEALING, "answered")]
        await kept_off(stack, result, "of the way from guessing")
        await stack.keep_history("gate_refused.job", result.job_id)


async def test_another_backend_does_not_get_it_either(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["hardware", "other_backend", "simulator"]}
    terms = "[gate]"
    with EmulatorProcess(noise="none", backend=["ibm_a=torino", "ibm_b=fez"]) as two:
        async with with_policy(dev_env, two, tmp_path, ladders, terms) as stack:
            result = await stack.run(bell(route="hardware", expect_peak=0.9))
            assert answered(result) == [
                (Rung.HARDWARE, "failed"),
                (Rung.OTHER_BACKEND, "failed"),
                (Rung.SIMULATOR, "answered"),
            ]
            await kept_off(stack, result, "90.0% is expected")
            simulated = [one for one in result.timings if one.layer is Layer.SIMULATE]
            assert len(simulated) == 2, "asked once; the other is the rung"


async def test_what_a_caller_expects_of_a_sample(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, "[gate]") as stack:
        refused = await stack.run(bell(route="hardware", expect_peak=0.9))
        await kept_off(stack, refused, "90.0% is expected")
        passed = await stack.run(bell(route="hardware", expect_peak=0.4))
        assert answered(passed) == [(Rung.HARDWARE, "answered")]
        assert 0.4 <= gate_of(passed)["measured"]["peak"] <= 0.6
        assert isinstance(passed.answer, SampleAnswer) and isinstance(refused.answer, SampleAnswer)
        far = passed.answer.distance
        assert far is not None and 0 < far.total_variation < 0.3, "the noise of a real machine"
        assert refused.answer.distance is None, "a simulator is not far from itself"
        without = await stack.run(estimate(route="hardware"))
        assert gate_of(without)["reason"] == "it runs"
        assert len(stack.emulator.control.jobs()) == 2
        for result in (passed, without):
            await stack.settled(result)
        await stack.books_are_clean()


async def test_a_circuit_that_is_too_large_passes_or_not_as_the_policy_says(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    refuse = '[gate]\nmax_qubits = 1\ntoo_large = "refuse"'
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, refuse) as stack:
        result = await stack.run(bell(route="hardware"))
        await kept_off(stack, result, "not simulated: 2 qubits, the policy simulates up to 1")
    passing = "[gate]\nmax_qubits = 1"
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, passing) as stack:
        result = await stack.run(bell(route="hardware"))
        assert answered(result) == [(Rung.HARDWARE, "answered")]
        assert not gate_of(result)["simulated"]
        await stack.settled(result)


async def test_verbs_that_the_gate_is_not_about_go_by(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    terms = '[gate]\nverbs = ["optimise"]'
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, terms) as stack:
        result = await stack.run(bell(route="hardware", expect_peak=0.9))
        assert result.decision is not None and result.decision.gate is None
        assert answered(result) == [(Rung.HARDWARE, "answered")]
        await stack.settled(result)


async def test_with_the_noise_of_the_backend(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """Without noise every shot of these reads 11; the deep one is drowned by what gates do."""
    terms = "[gate]\nnoise = true\nseconds = 120.0"
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, terms) as stack:
        short = await stack.run(echoes(1, route="hardware", expect_peak=0.8))
        assert answered(short) == [(Rung.HARDWARE, "answered")]
        said = gate_of(short)
        assert said["noise_of"] == "ibm_torino" and said["simulated"]
        assert 0.8 <= said["measured"]["peak"] < 1
        assert short.lineage is not None and short.lineage.calibration is not None
        await stack.settled(short)
        sent = len(stack.emulator.control.jobs())

        long = await stack.run(echoes(60, route="hardware", expect_peak=0.8))
        assert answered(long) == [(Rung.HARDWARE, "failed"), (Rung.SIMULATOR, "answered")]
        assert "with the noise of ibm_torino" in long.attempts[0].reason
        assert len(stack.emulator.control.jobs()) == sent
        assert long.cost.quantum_seconds == 0
        await stack.books_are_clean()


async def test_an_estimate_is_not_simulated_with_noise(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    terms = "[gate]\nnoise = true"
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, terms) as stack:
        result = await stack.run(estimate(route="hardware"))
        said = gate_of(result)
        assert said["passed"] and said["simulated"]
        assert "noise_of" not in said
        await stack.settled(result)


def echoes(pairs: int, **changes: object) -> JobRequest:
    """Gates that undo each other on two qubits that are one."""
    echo = "cz q[0], q[1];\nbarrier q;\ncz q[0], q[1];\nbarrier q;\n"
    source = (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nx q;\n'
        + echo * pairs
        + "c = measure q;\n"
    )
    return bell(workload={"kind": "sample", "circuit": {"source": source}, "shots": 400}, **changes)
