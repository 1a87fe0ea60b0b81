"""What the simulator gate measures, on circuits whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import dimod
import pytest
from qiskit import QuantumCircuit

from activities.gate import Gate, improves, peaked, random_mean
from adapters.aer import AerSimulator
from adapters.artefacts import FolderArtefacts
from adapters.circuits import to_qpy
from adapters.compiling import compile_for
from adapters.ibm._compiling import decoded, kept
from adapters.qaoa import QaoaBuilder
from ibm_quantum_emulator.config import BackendSpec
from ibm_quantum_emulator.snapshot import Snapshot
from qsaga.core.facts import GateTerms
from qsaga.core.gate import GateInput
from qsaga.core.jobs import Circuit, Optimise, Problem, Qaoa, Sample
from qsaga.core.ports import CircuitResult, RunSpec
from qsaga.core.steps import CompiledCircuit
from tests.adapters.ibm_wire import ghz

SPEC = RunSpec(verb="sample", shots=400)
RING = dimod.BinaryQuadraticModel({}, {(i, (i + 1) % 6): 1.0 for i in range(6)}, 0.5, "SPIN")


def counted(**counts: int) -> CircuitResult:
    told = {name.removeprefix("b"): times for name, times in counts.items()}
    return CircuitResult(verb="sample", shots=sum(told.values()), counts={"meas": told})


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_the_mean_of_guessing_is_that_of_all_assignments(
    vartype: Literal["SPIN", "BINARY"],
) -> None:
    model = dimod.generators.gnp_random_bqm(7, 0.5, vartype, random_state=3)
    every = dimod.ExactSolver().sample(model)
    assert random_mean(model) == pytest.approx(every.record.energy.mean())


@pytest.mark.parametrize(
    ("counts", "progress"),
    [
        ({"b010101": 10}, 1.0),  # every pair differs: the optimum
        ({"b010101": 5, "b000000": 5}, 0.0),
        ({"b000000": 10}, -1.0),
        ({"b010101": 3, "b000011": 1}, (3 * 6 - 2) / 4 / 6),
    ],
)
def test_progress_is_from_guessing_to_the_best(counts: dict[str, int], progress: float) -> None:
    found = improves(RING, counted(**counts), 0.5)
    assert found.measured["progress"] == pytest.approx(progress, abs=1e-6)
    assert found.measured["best_known"] == -5.5
    assert found.passed is (progress >= 0.5)


def test_variable_zero_is_the_rightmost_bit() -> None:
    model = dimod.BinaryQuadraticModel({0: -1.0, 1: 0.0, 2: 0.0}, {}, 0.0, "BINARY")
    assert improves(model, counted(b001=1), 0.5).measured["mean"] == -1
    assert improves(model, counted(b100=1), 0.5).measured["mean"] == 0


def test_where_all_assignments_are_equally_good_there_is_nothing_to_find() -> None:
    model = dimod.BinaryQuadraticModel({0: 0.0, 1: 0.0}, {}, 3.0, "BINARY")
    assert not improves(model, counted(b01=4), 0.1).passed


def test_the_most_frequent_outcome() -> None:
    result = CircuitResult(
        verb="sample", shots=10, counts={"a": {"0": 6, "1": 4}, "b": {"00": 9, "01": 1}}
    )
    assert peaked(result, 0.9).passed
    assert not peaked(result, 0.91).passed


@pytest.fixture
def artefacts(tmp_path: Path) -> FolderArtefacts:
    return FolderArtefacts(tmp_path)


async def test_tuned_angles_pass_and_angles_of_nothing_do_not(artefacts: FolderArtefacts) -> None:
    with RING.to_file() as file:
        model = file.read()
    workload = Optimise(
        problem=Problem(
            name="maxcut", data={"edges": [[f"n{i}", f"n{(i + 1) % 6}"] for i in range(6)]}
        )
    )
    verdicts = []
    for algorithm in (
        Qaoa(depth=2),
        Qaoa(depth=1, angles="given", gammas=(0.0,), betas=(0.0,)),
    ):
        given = GateInput(
            workload=workload,
            circuit=artefacts.put(QaoaBuilder().build(model, algorithm), "circuit"),
            model=artefacts.put(model, "model"),
            spec=SPEC,
            seed=7,
            terms=GateTerms(progress=0.3),
        )
        verdicts.append(await Gate(artefacts, AerSimulator()).gate(given))
    assert [verdict.passed for verdict in verdicts] == [True, False]
    assert abs(verdicts[1].measured["progress"]) < 0.15


@pytest.mark.parametrize(("too_large", "passed"), [("pass", True), ("refuse", False)])
async def test_what_takes_too_long_is_not_simulated(
    artefacts: FolderArtefacts, too_large: str, passed: bool
) -> None:
    given = GateInput(
        workload=Sample(circuit=Circuit(source="OPENQASM 3.0;")),
        circuit=artefacts.put(to_qpy(ghz(22)), "circuit"),
        model=None,
        spec=SPEC,
        seed=7,
        terms=GateTerms.model_validate({"seconds": 0.05, "too_large": too_large}),
    )
    verdict = await Gate(artefacts, AerSimulator()).gate(given)
    assert (verdict.passed, verdict.simulated) == (passed, False)
    assert "longer than 0.05 s" in verdict.reason


async def test_a_circuit_that_does_not_run_does_not_pass(artefacts: FolderArtefacts) -> None:
    circuit = ghz(2)
    circuit.remove_final_measurements()
    given = GateInput(
        workload=Sample(circuit=Circuit(source="OPENQASM 3.0;")),
        circuit=artefacts.put(to_qpy(circuit), "circuit"),
        model=None,
        spec=SPEC,
        seed=7,
        terms=GateTerms(),
    )
    verdict = await Gate(artefacts, AerSimulator()).gate(given)
    assert not verdict.passed
    assert "measures nothing" in verdict.reason


def torino() -> bytes:
    """The calibration that comes with the emulator, as the IBM adapter keeps it."""
    shipped = Snapshot(BackendSpec.parse("ibm_torino"))
    documents = (shipped.configuration_path, shipped.properties_path)
    configuration, properties = (json.loads(Path(path).read_text()) for path in documents)
    return kept("ibm_torino", "", configuration, properties)


def echoes(pairs: int) -> QuantumCircuit:
    """Gates that undo each other: without noise every shot reads 11."""
    circuit = QuantumCircuit(2)
    circuit.x([0, 1])
    for _ in range(pairs):
        circuit.cz(0, 1)
        circuit.barrier()
        circuit.cz(0, 1)
        circuit.barrier()
    circuit.measure_all()
    return circuit


def noisy_input(
    artefacts: FolderArtefacts, circuit: QuantumCircuit, calibration: bytes | None, **terms: Any
) -> GateInput:
    compiled = compile_for(decoded(torino()).machine, to_qpy(circuit), 7, SPEC)
    return GateInput(
        workload=Sample(circuit=Circuit(source="OPENQASM 3.0;")),
        circuit=artefacts.put(to_qpy(circuit), "circuit"),
        model=None,
        spec=SPEC,
        seed=7,
        terms=GateTerms.model_validate({"noise": True, "seconds": 300, **terms}),
        peak=0.8,
        compiled=CompiledCircuit(
            isa=artefacts.put(compiled.qpy, "circuit"),
            facts=compiled.facts,
            calibration=None if calibration is None else artefacts.put(calibration, "calibration"),
        ),
    )


@pytest.mark.timeout(300)
async def test_what_the_noise_drowns_does_not_pass(artefacts: FolderArtefacts) -> None:
    gate = Gate(artefacts, AerSimulator())
    short, long = (noisy_input(artefacts, echoes(pairs), torino()) for pairs in (1, 60))
    passed, drowned = await gate.gate(short), await gate.gate(long)
    assert passed.passed and passed.simulated
    assert 0.8 <= passed.measured["peak"] < 1
    assert not drowned.passed and drowned.simulated
    assert (passed.noise_of, drowned.noise_of) == ("ibm_torino", "ibm_torino")
    assert drowned.reason.startswith("with the noise of ibm_torino its most frequent outcome")
    without = await gate.gate(long.model_copy(update={"compiled": None}))
    assert without.passed and without.noise_of is None
    assert without.measured["peak"] == 1


@pytest.mark.parametrize(("too_large", "passed"), [("pass", True), ("refuse", False)])
@pytest.mark.parametrize(
    ("calibration", "says"), [(None, "ibm_torino tells no calibration"), (b"{}", "no noise can be")]
)
@pytest.mark.timeout(300)
async def test_noise_that_cannot_be_known_is_for_the_policy(
    artefacts: FolderArtefacts, too_large: str, passed: bool, calibration: bytes | None, says: str
) -> None:
    given = noisy_input(artefacts, echoes(1), calibration, too_large=too_large)
    verdict = await Gate(artefacts, AerSimulator()).gate(given)
    assert (verdict.passed, verdict.simulated) == (passed, False)
    assert says in verdict.reason
