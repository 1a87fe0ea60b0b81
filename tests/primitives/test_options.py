"""Options of a vendor's primitives: what is handed through, what is refused and where it goes."""

from __future__ import annotations

from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.options import EstimatorOptions, SamplerOptions

from qsaga.core.errors import InvalidRequest
from qsaga.core.mitigation import Mitigation, Suppression
from qsaga.primitives import EstimatorV2, SamplerV2
from qsaga.primitives.options import options_of
from qsaga.settings import Settings
from tools.stage import Stage

TWIRL = {"enable_gates": True, "num_randomizations": 16}
LEVEL_2 = {"resilience_level": 2, "twirling": {"strategy": "all"}}


def ibm_options() -> EstimatorOptions:
    options = EstimatorOptions()
    options.resilience_level = 2
    options.twirling.strategy = "all"
    return options


@pytest.mark.parametrize(
    ("kind", "given", "wanted"),
    [
        (Suppression, None, None),
        (Suppression, {"twirling": TWIRL}, {"twirling": TWIRL}),
        (Suppression, SamplerOptions(), {}),
        (Suppression, SamplerOptions(twirling=TWIRL), {"twirling": TWIRL}),
        (Mitigation, Mitigation.model_validate(LEVEL_2), LEVEL_2),
        (Mitigation, ibm_options(), LEVEL_2),
    ],
)
def test_options_are_taken_as_they_come(kind: Any, given: Any, wanted: Any) -> None:
    found = options_of(kind, given)
    assert (found and found.model_dump(mode="json")) == wanted or found == wanted
    assert (found is None) == (given is None)


@pytest.mark.parametrize(
    ("given", "path", "instead"),
    [
        ({"default_shots": 100}, "options.default_shots", "shots of run"),
        (SamplerOptions(max_execution_time=9), "options.max_execution_time", "budgets"),
        (SamplerOptions(environment={"job_tags": ["a"]}), "options.environment", "arguments"),
        ({"resilience_level": 1}, "options.resilience_level", "an estimate workload"),
        ({"experimental": {"a": 1}}, "options.experimental", ""),
        (7, "options", "a mapping"),
    ],
)
def test_what_no_job_can_have_is_refused(given: Any, path: str, instead: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        options_of(Suppression, given)
    assert str(refused.value).startswith(f"{path}: ")
    assert instead in str(refused.value)


def test_a_primitives_options_reach_the_service(stage: Stage, there: Settings) -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    terms: dict[str, Any] = {"client": there, "route": "hardware", "timeout": 60}
    estimator = EstimatorV2(experiment="mitigated", options={"resilience_level": 1}, **terms)
    found = estimator.run([(circuit, "X")], precision=0.1).result()[0]
    told = found.metadata["qsaga"][0]
    assert told["mitigation"]["asked"] == {"resilience_level": 1}
    assert told["mitigation"]["mitigated"] is True
    service = stage.emulator.service()
    assert service.job(told["remote_jobs"][0]).inputs["resilience_level"] == 1

    circuit.measure_all()
    sampler = SamplerV2(experiment="mitigated", options=SamplerOptions(twirling=TWIRL), **terms)
    told = sampler.run([circuit], shots=64).result()[0].metadata["qsaga"][0]
    assert service.job(told["remote_jobs"][0]).inputs["options"] == {"twirling": TWIRL}
    plain = SamplerV2(experiment="mitigated", **terms).run([circuit], shots=64)
    assert plain.result()[0].metadata["qsaga"][0]["job_id"] != told["job_id"]
