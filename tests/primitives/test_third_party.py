"""Other people's code takes the primitives as they are.

It is imported where it is used: every process that runs tests reads every file, and that
takes seconds.
"""

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qsaga.primitives import EstimatorV2, SamplerV2
from qsaga.settings import Settings
from tools.stage import Stage

# Its own word to whoever brings another sampler than Qiskit's; qsaga compiles for the backend.
pytestmark = pytest.mark.filterwarnings("ignore:Using Sampler V2:UserWarning")

RING = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
STEPS = 6


class Counted(SamplerV2):
    """Notes the jobs that it is asked for."""

    def __init__(self, **terms: object) -> None:
        super().__init__(**terms)
        self.job_ids: list[str] = []

    def run(self, pubs: object, *, shots: int | None = None) -> object:
        job = super().run(pubs, shots=shots)
        self.job_ids += job.job_ids
        return job


def cut(sampler: SamplerV2, steps: int = STEPS) -> float:
    from qiskit_optimization.algorithms import MinimumEigenOptimizer
    from qiskit_optimization.applications import Maxcut
    from qiskit_optimization.minimum_eigensolvers import QAOA
    from qiskit_optimization.optimizers import COBYLA

    qaoa = QAOA(sampler, COBYLA(maxiter=steps), reps=1, initial_point=[0.4, 0.6])
    return float(MinimumEigenOptimizer(qaoa).solve(Maxcut(RING).to_quadratic_program()).fval)


def test_qaoa_of_qiskit_optimization(there: Settings, another_process: None) -> None:
    terms = {"experiment": "ring", "client": there, "timeout": 60, "default_shots": 200}
    first = Counted(route="simulator", **terms)
    assert cut(first) == 4
    assert len(first.job_ids) == len(set(first.job_ids)) >= STEPS
    # The same loop in another process follows the answers that are there, step by step.
    first.rewind()
    again = Counted(route="simulator", **terms)
    assert cut(again) == 4
    assert again.job_ids == first.job_ids


def test_qaoa_on_emulated_hardware(there: Settings, stage: Stage) -> None:
    before = len(stage.emulator.control.jobs())
    terms = {"experiment": "ring", "client": there, "timeout": 60, "default_shots": 200}
    sampler = Counted(route="hardware", **terms)
    assert cut(sampler, 4) == 4
    assert len(stage.emulator.control.jobs()) - before == len(sampler.job_ids)


HYDROGEN = SparsePauliOp.from_list(
    [("II", -1.0524), ("IZ", 0.3979), ("ZI", -0.3979), ("ZZ", -0.0113), ("XX", 0.1809)]
)


def test_vqe_of_qiskit_algorithms(there: Settings) -> None:
    from qiskit_algorithms import VQE, optimizers

    def lowest(estimator: object) -> float:
        ansatz = efficient_su2(2, su2_gates=["ry"], reps=1)
        vqe = VQE(estimator, ansatz, optimizers.COBYLA(maxiter=8), initial_point=[0.1] * 4)
        return float(vqe.compute_minimum_eigenvalue(HYDROGEN).eigenvalue.real)

    ours = EstimatorV2(experiment="hydrogen", client=there, route="simulator", timeout=60)
    # Both are exact, so the optimiser goes the same way.
    assert lowest(ours) == pytest.approx(lowest(StatevectorEstimator()), abs=1e-6)


def test_gradients_of_qiskit_algorithms(there: Settings) -> None:
    from qiskit_algorithms.gradients import ParamShiftEstimatorGradient

    angle = Parameter("angle")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    estimator = EstimatorV2(experiment="slope", client=there, route="simulator", timeout=60)
    gradient = ParamShiftEstimatorGradient(estimator)
    (found,) = gradient.run([circuit], [SparsePauliOp("Z")], [[0.7]]).result().gradients
    assert found == pytest.approx([-np.sin(0.7)], abs=1e-9)
