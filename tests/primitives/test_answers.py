"""What the primitives answer, beside Qiskit's own on the same PUBs."""

import asyncio

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import (
    BaseEstimatorV2,
    BaseSamplerV2,
    BitArray,
    PrimitiveResult,
    PubResult,
    SamplerPubResult,
    StatevectorEstimator,
    StatevectorSampler,
)
from qiskit.quantum_info import SparsePauliOp

from qsaga.client import QsagaClient
from qsaga.core.errors import InvalidRequest
from qsaga.primitives import EstimatorV2, NoAnswer, SamplerV2
from qsaga.settings import Settings
from tools.stage import Stage

ANGLE, TURN = Parameter("angle"), Parameter("turn")


def pair() -> QuantumCircuit:
    """Two qubits in two registers that always agree."""
    left, right = ClassicalRegister(1, "left"), ClassicalRegister(2, "right")
    circuit = QuantumCircuit(QuantumRegister(2), left, right, metadata={"made": "here"})
    circuit.ry(ANGLE, 0)
    circuit.cx(0, 1)
    circuit.measure(0, left[0])
    circuit.measure(1, right[1])
    return circuit


def turned() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(ANGLE, 0)
    circuit.cx(0, 1)
    circuit.rx(TURN, 1)
    return circuit


@pytest.fixture(scope="module")
def sampler(there: Settings) -> SamplerV2:
    return SamplerV2(experiment="answers", client=there, route="simulator", timeout=60)


@pytest.fixture(scope="module")
def estimator(there: Settings) -> EstimatorV2:
    return EstimatorV2(experiment="answers", client=there, route="simulator", timeout=60)


def test_a_sampler_result_has_qiskits_shapes(sampler: SamplerV2) -> None:
    assert isinstance(sampler, BaseSamplerV2)
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    pubs = [(pair(), np.array([[0.0], [np.pi]])), (bell, None, 70)]
    result = sampler.run(pubs, shots=90).result()
    wanted = StatevectorSampler(seed=1).run(pubs, shots=90).result()
    assert isinstance(result, PrimitiveResult) and len(result) == 2
    for found, other in zip(result, wanted, strict=True):
        assert isinstance(found, SamplerPubResult)
        assert list(found.data) == list(other.data) and found.data.shape == other.data.shape
        for name, array in found.data.items():
            like = other.data[name]
            assert isinstance(array, BitArray)
            assert (array.shape, array.num_shots, array.num_bits) == (
                like.shape,
                like.num_shots,
                like.num_bits,
            )
    certain = result[0].data
    assert certain.left.get_counts(0) == {"0": 90} and certain.left.get_counts(1) == {"1": 90}
    assert certain.right.get_counts(1) == {"10": 90}
    assert result[0].metadata["circuit_metadata"] == {"made": "here"}


def test_registers_of_one_shot_stay_together(sampler: SamplerV2) -> None:
    found = sampler.run([(pair(), np.pi / 2)], shots=400).result()[0]
    joint = found.join_data(["left", "right"]).get_counts()
    (other,) = StatevectorSampler(seed=1).run([(pair(), np.pi / 2)], shots=400).result()
    assert set(joint) == set(other.join_data(["left", "right"]).get_counts())
    assert sum(joint.values()) == 400


def test_any_slice_of_the_shots_is_a_fair_sample(sampler: SamplerV2) -> None:
    plus = QuantumCircuit(1)
    plus.h(0)
    plus.measure_all()
    shots = sampler.run([plus], shots=1000).result()[0].data.meas
    ones = shots.slice_shots(range(500)).get_counts()["1"]
    # Counts laid out in order would give 0 or nearly all; 6 standard deviations are 67.
    assert abs(ones - 250) < 67


def test_the_same_run_twice_is_two_samples(sampler: SamplerV2) -> None:
    plus = QuantumCircuit(6)
    plus.h(range(6))
    plus.measure_all()
    first, second = (sampler.run([plus], shots=64) for _ in range(2))
    assert first.job_id() != second.job_id()
    assert first.job_id().endswith(".0") and second.job_id().endswith(".1")


def test_metadata_say_where_an_answer_came_from(sampler: SamplerV2) -> None:
    job = sampler.run([(pair(), [0.1, 0.2])], shots=10)
    assert job.job_id().startswith("default/answers.run.")
    told = job.result()[0].metadata["qsaga"]
    assert tuple(one["job_id"] for one in told) == job.job_ids
    assert {one["source"] for one in told} == {"simulator"}
    assert {(one["state"], one["money"], one["currency"]) for one in told} == {
        ("completed", "0", "USD")
    }


PUBS = {
    "one": (turned(), "ZZ", [0.3, 0.4]),
    "grid": (turned(), [["ZZ"], ["XX"], ["YZ"]], np.array([[0.3, 0.4], [1.0, 2.0], [0.5, 0.1]])),
    "pairs": (
        turned(),
        ["ZZ", SparsePauliOp.from_list([("XI", 0.5), ("IZ", 2)])],
        [[1, 2], [3, 4]],
    ),
    "bound": (turned().assign_parameters([0.3, 0.4]), [["ZI", "IZ"], ["XX", "YY"]]),
}


def test_expectation_values_are_those_of_qiskit(estimator: EstimatorV2) -> None:
    assert isinstance(estimator, BaseEstimatorV2)
    job = estimator.run(PUBS.values(), precision=0.1)
    # All observables of the same values are one job: 1 + 3 + 2 + 1.
    assert len(job.job_ids) == 7
    wanted = StatevectorEstimator().run(PUBS.values()).result()
    for name, found, other in zip(PUBS, job.result(), wanted, strict=True):
        assert isinstance(found, PubResult)
        assert found.data.shape == other.data.shape, name
        assert found.data.evs.shape == found.data.stds.shape == other.data.evs.shape, name
        assert found.data.evs == pytest.approx(other.data.evs, abs=1e-9), name
        assert found.metadata["target_precision"] == 0.1
        assert found.metadata["qsaga"][0]["confidence"] == "interval"


def test_projectors_are_observables_too(estimator: EstimatorV2) -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(0.8, 0)
    found = estimator.run([(circuit, ["01", "I+", "0r"])]).result()[0].data.evs
    one = np.sin(0.4) ** 2
    assert found == pytest.approx([one, (1 + np.sin(0.8)) / 2, 0.5], abs=1e-9)


def test_hardware_gives_errors_with_its_values(there: Settings, stage: Stage) -> None:
    estimator = EstimatorV2(experiment="answers", client=there, route="hardware", timeout=60)
    found = estimator.run([(turned(), ["ZZ", "IX"], [1.0, 0.2])], precision=0.05).result()[0]
    (exact,) = StatevectorEstimator().run([(turned(), ["ZZ", "IX"], [1.0, 0.2])]).result()
    assert np.all(found.data.stds > 0) and np.all(found.data.stds < 0.1)
    assert np.all(abs(found.data.evs - exact.data.evs) < 6 * found.data.stds + 1e-9)
    told = found.metadata["qsaga"][0]
    assert told["source"] == "hardware" and told["backend"] == "ibm_torino"
    assert float(told["money"]) > 0
    known = {job["id"] for job in stage.emulator.control.jobs()}
    assert set(told["remote_jobs"]) <= known and len(told["remote_jobs"]) == 1


def test_a_running_loop_is_not_in_the_way(sampler: SamplerV2, there: Settings) -> None:
    """As in a notebook; a client that was connected on that loop is taken as well."""

    async def cell() -> dict[str, int]:
        client = await QsagaClient.connect(there)
        given = SamplerV2(experiment="loops", client=client, route="simulator", timeout=60)
        given.run([(pair(), 0.0)], shots=3).result()
        return given.run([(pair(), 0.0)], shots=4).result()[0].data.left.get_counts()

    assert asyncio.run(cell()) == {"0": 4}


def test_an_address_is_enough(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stage.environment().items():
        if name.startswith("QSAGA_") and "ADDRESS" not in name:
            monkeypatch.setenv(name, value)
    sampler = SamplerV2(experiment="loops", client=stage.temporal_address, route="simulator")
    assert sampler.run([(pair(), 0.0)], shots=5).result(timeout=60)[0].metadata["shots"] == 5


def unmeasured() -> QuantumCircuit:
    return QuantumCircuit(1)


REFUSED_SAMPLES = {
    "unbound": ((pair(),), ValueError, "number of values"),
    "unmeasured": ((unmeasured(),), InvalidRequest, r"pubs\.0\.circuit: .*measures nothing"),
    "shots": ((pair(), 0.0, 2_000_000), InvalidRequest, r"pubs\.0\.shots: 2000000 is out of"),
    "many": ((pair(), np.zeros((40, 30, 1))), InvalidRequest, "1200 sets of parameter values"),
}
REFUSED_ESTIMATES = {
    "unbound": ((turned(), "ZZ"), ValueError, "number of values"),
    "width": ((turned(), "ZZZ", [1, 2]), ValueError, "number of qubits"),
    "exact": ((turned(), "ZZ", [1, 2], 0.0), InvalidRequest, r"pubs\.0\.precision: 0"),
    "shapes": ((turned(), ["ZZ", "XX"], np.zeros((3, 2))), ValueError, "not broadcastable"),
    "huge": ((QuantumCircuit(13), "0" * 13), InvalidRequest, "8192 Pauli terms"),
}


@pytest.mark.parametrize("case", REFUSED_SAMPLES)
def test_what_cannot_be_sampled_is_refused(sampler: SamplerV2, case: str) -> None:
    pub, error, text = REFUSED_SAMPLES[case]
    with pytest.raises(error, match=text):
        sampler.run([pub])


@pytest.mark.parametrize("case", REFUSED_ESTIMATES)
def test_what_cannot_be_estimated_is_refused(estimator: EstimatorV2, case: str) -> None:
    pub, error, text = REFUSED_ESTIMATES[case]
    with pytest.raises(error, match=text):
        estimator.run([pub])


def test_too_large_is_refused_before_it_is_sent(there: Settings, stage: Stage) -> None:
    before = len(stage.emulator.control.jobs())
    big = QuantumCircuit(200)
    big.h(range(200))
    big.measure_all()
    sampler = SamplerV2(experiment="answers", client=there, route="hardware")
    with pytest.raises(InvalidRequest, match="200 qubits are more than the hardware takes"):
        sampler.run([big])
    # Where the policy chooses the route, it is the job that says so.
    free = SamplerV2(experiment="answers", client=there, timeout=60).run([big])
    with pytest.raises(NoAnswer, match=r"is rejected: .*200 qubits") as raised:
        free.result()
    assert raised.value.result.cost.money == 0
    assert len(stage.emulator.control.jobs()) == before


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"experiment": "Not a name"}, "experiment: 'Not a name' does not fit"),
        ({"experiment": "ok", "route": "annealing"}, "cannot answer workload 'sample'"),
        ({"experiment": "ok", "tennant": "me"}, "tennant: there is no such field"),
    ],
)
def test_terms_that_no_job_can_have_are_refused(given: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        SamplerV2(**given)
