"""Qiskit's primitives on qsaga: the same calls, every run a job that outlives the script.

    from qsaga.primitives import SamplerV2

    sampler = SamplerV2(experiment="bell")
    counts = sampler.run([circuit], shots=1000).result()[0].data.meas.get_counts()

Needs Qiskit: ``pip install "qsaga[qiskit]"``. See docs/primitives.md.
"""

try:
    import qiskit.primitives  # noqa: F401 - asked for here, to say what is missing
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'qsaga.primitives needs Qiskit: pip install "qsaga[qiskit]"', name=error.name
    ) from error

from qsaga.primitives.estimator import DurableEstimator
from qsaga.primitives.job import DegradedAnswer, DurableJob, NoAnswer
from qsaga.primitives.sampler import DurableSampler

SamplerV2 = DurableSampler
EstimatorV2 = DurableEstimator

__all__ = [
    "DegradedAnswer",
    "DurableEstimator",
    "DurableJob",
    "DurableSampler",
    "EstimatorV2",
    "NoAnswer",
    "SamplerV2",
]
