"""What may be asked about the noise of a device, what it costs, and what is told of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError
from qiskit_ibm_runtime.options import EstimatorOptions, SamplerOptions

from qsaga.core.applied import not_applied, on_hardware, options_text
from qsaga.core.errors import InvalidRequest
from qsaga.core.facts import BackendFacts, Facts
from qsaga.core.jobs import Circuit, Estimate, JobRequest, Optimise, Sample
from qsaga.core.lineage import input_digest
from qsaga.core.loop_rules import point_request
from qsaga.core.loops import LoopRequest, PointShare
from qsaga.core.mitigation import (
    LEARNING_SHOTS,
    Mitigation,
    Suppression,
    for_run,
)
from qsaga.core.policy import Policy, forecast
from qsaga.core.ports import CircuitResult, RunSpec
from qsaga.core.validation import parse_request

SAMPLE = {"kind": "sample", "circuit": {"source": "OPENQASM 3.0;"}}
ESTIMATE = {"kind": "estimate", "circuit": {"source": "OPENQASM 3.0;"}, "observables": [{"Z": 1.0}]}
OPTIMISE = {"kind": "optimise", "problem": {"name": "maxcut", "data": {}}}
TWIRL = {"enable_gates": True, "enable_measure": False}


def request(workload: dict[str, Any], mitigation: Any) -> JobRequest:
    return parse_request({"key": "k", "workload": {**workload, "mitigation": mitigation}})


@pytest.mark.parametrize("workload", [SAMPLE, ESTIMATE, OPTIMISE])
@pytest.mark.parametrize("nothing", [None, {}, {"twirling": {}}, {"dynamical_decoupling": {}}])
def test_nothing_asked_is_as_if_there_were_no_such_field(
    workload: dict[str, Any], nothing: Any
) -> None:
    plain = parse_request({"key": "k", "workload": workload})
    said = request(workload, nothing)
    assert said.payload_hash() == plain.payload_hash()
    assert input_digest(said.workload) == input_digest(plain.workload)
    assert "mitigation" not in plain.workload.model_dump(mode="json")
    assert for_run(said.workload.mitigation) is None


@pytest.mark.parametrize(
    ("workload", "mitigation"),
    [
        (SAMPLE, {"twirling": TWIRL}),
        (OPTIMISE, {"twirling": TWIRL}),
        (ESTIMATE, {"resilience_level": 0}),
    ],
)
def test_other_options_are_another_input(workload: dict[str, Any], mitigation: Any) -> None:
    plain, said = request(workload, None), request(workload, mitigation)
    assert said.payload_hash() != plain.payload_hash()
    assert input_digest(said.workload) != input_digest(plain.workload)
    again = JobRequest.model_validate_json(said.model_dump_json())
    assert again == said
    assert again.workload.model_dump(mode="json")["mitigation"] == mitigation


REFUSED = [
    (SAMPLE, {"resilience_level": 1}, "resilience_level", "dynamical_decoupling and twirling"),
    (OPTIMISE, {"resilience": {}}, "resilience", "dynamical_decoupling and twirling"),
    (SAMPLE, {"twirling": {"num_randomizations": 8}},
     "twirling.num_randomizations", "enable_gates"),
    (SAMPLE, {"dynamical_decoupling": {"sequence_type": "XX"}},
     "dynamical_decoupling.sequence_type", "enable: true"),
    (SAMPLE, {"dynamical_decoupling": {"enable": True, "sequence_type": "YY"}},
     "dynamical_decoupling.sequence_type", "XpXm"),
    (SAMPLE, {"twirling": TWIRL | {"num_randomizations": 0}},
     "twirling.num_randomizations", "at least 1"),
    (SAMPLE, {"twirling": TWIRL | {"num_randomizations": 2, "shots_per_randomization": 10}},
     "twirling.num_randomizations", "at least as many"),
    (SAMPLE, {"zne": True}, "zne", ""),
    (ESTIMATE, {"resilience_level": 3}, "resilience_level", "at most 2"),
    (ESTIMATE, {"resilience": {"zne_mitigation": True, "pec_mitigation": True}},
     "resilience.pec_mitigation", "one of the two"),
    (ESTIMATE, {"resilience_level": 2, "resilience": {"pec_mitigation": True}},
     "resilience.pec_mitigation", "zne_mitigation: false"),
    (ESTIMATE, {"resilience": {"zne": {"noise_factors": [1, 3]}}},
     "resilience.zne", "zne_mitigation"),
    (ESTIMATE, {"resilience": {"pec": {"max_overhead": 10}}}, "resilience.pec", "pec_mitigation"),
    (ESTIMATE, {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [0.5, 1]}}},
     "resilience.zne.noise_factors.0", "at least 1"),
    (ESTIMATE, {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [3, 3]}}},
     "resilience.zne.noise_factors", "each once"),
    (ESTIMATE, {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1]}}},
     "resilience.zne.noise_factors", "at least 2"),
    (ESTIMATE, {"resilience_level": 2,
                "resilience": {"zne": {"noise_factors": [1, 2],
                                       "extrapolator": "polynomial_degree_2"}}},
     "resilience.zne.noise_factors", "at least 3"),
]  # fmt: skip


@pytest.mark.parametrize(("workload", "mitigation", "path", "allowed"), REFUSED)
def test_what_cannot_be_asked_is_named(
    workload: dict[str, Any], mitigation: Any, path: str, allowed: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request(workload, mitigation)
    assert str(refused.value).startswith(f"workload.mitigation.{path}: ")
    assert allowed in str(refused.value)


maybe = st.none() | st.booleans()
decoupling = st.fixed_dictionaries(
    {}, optional={"enable": maybe, "sequence_type": st.sampled_from(["XX", "XpXm", "XY4"])}
)
twirling = st.fixed_dictionaries(
    {},
    optional={
        "enable_gates": maybe,
        "enable_measure": maybe,
        "num_randomizations": st.integers(1, 500) | st.just("auto"),
        "shots_per_randomization": st.integers(1, 500) | st.just("auto"),
        "strategy": st.sampled_from(["active", "active-accum", "active-circuit", "all"]),
    },
)
EXTRAPOLATORS = ["linear", "exponential", "double_exponential", "polynomial_degree_4", "fallback"]
resilience = st.fixed_dictionaries(
    {},
    optional={
        "measure_mitigation": maybe,
        "zne_mitigation": maybe,
        "pec_mitigation": maybe,
        "zne": st.fixed_dictionaries(
            {},
            optional={
                "noise_factors": st.lists(st.floats(1, 25), min_size=1, max_size=6),
                "extrapolator": st.sampled_from(EXTRAPOLATORS)
                | st.lists(st.sampled_from(EXTRAPOLATORS), min_size=1, max_size=3),
                "amplifier": st.sampled_from(["gate_folding", "gate_folding_back", "pea"]),
            },
        ),
        "pec": st.fixed_dictionaries(
            {},
            optional={
                "max_overhead": st.floats(1, 100),
                "noise_gain": st.floats(0, 2) | st.just("auto"),
            },
        ),
    },
)
suppression = st.fixed_dictionaries(
    {}, optional={"dynamical_decoupling": decoupling, "twirling": twirling}
)
mitigation = st.fixed_dictionaries(
    {},
    optional={
        "dynamical_decoupling": decoupling,
        "twirling": twirling,
        "resilience_level": st.integers(0, 2),
        "resilience": resilience,
    },
)


def accepted(kind: type[Suppression], options: dict[str, Any]) -> Suppression | None:
    try:
        return kind.model_validate(options)
    except ValidationError:
        return None


@settings(max_examples=300)
@given(suppression)
def test_the_released_sampler_takes_every_allowed_request(options: dict[str, Any]) -> None:
    asked = accepted(Suppression, options)
    if asked is None:
        return
    told = asked.model_dump(mode="json")
    taken = SamplerOptions(**told)
    inputs = SamplerOptions._get_program_inputs(asdict(taken))["options"]
    assert {name: inputs[name] for name in told} == told


@settings(max_examples=500)
@given(mitigation)
def test_the_released_estimator_takes_every_allowed_request(options: dict[str, Any]) -> None:
    asked = accepted(Mitigation, options)
    if asked is None:
        return
    told = asked.model_dump(mode="json")
    inputs = EstimatorOptions._get_program_inputs(asdict(EstimatorOptions(**told)))
    sent = {**inputs["options"]}
    if "resilience_level" in inputs:
        sent["resilience_level"] = inputs["resilience_level"]
    assert {name: json.loads(json.dumps(sent[name])) for name in told} == told


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({"resilience_level": 0}, 1000),
        ({"resilience_level": 0, "dynamical_decoupling": {"enable": True}}, 1000),
        # 16 randomisations of 64 shots, and as many again to calibrate the readout
        ({"resilience_level": 1}, 2 * 1024),
        ({"resilience_level": 2}, 4 * 1024),
        ({"twirling": {"num_randomizations": 300}}, 2 * 1200),
        ({"resilience_level": 0, "resilience": {"zne_mitigation": True}}, 3 * 1000),
        ({"resilience_level": 0,
          "resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 2, 3, 4, 5]}}}, 5000),
        ({"resilience_level": 0,
          "resilience": {"pec_mitigation": True, "pec": {"max_overhead": 20}}},
         20 * 1024 + LEARNING_SHOTS),
    ],
)  # fmt: skip
def test_mitigation_is_reckoned_in_shots(options: dict[str, Any], runs: int) -> None:
    assert Mitigation.model_validate(options).executions(1000) == runs


def test_a_forecast_counts_all_that_runs() -> None:
    rules = {verb: ["hardware"] for verb in ("optimise", "sample", "estimate")}
    policy = Policy.model_validate({"version": "1", "ladders": rules, "rules": []})
    terms = policy.hardware
    backend = BackendFacts(name="b", provider="p", qubits=5, operational=True)
    facts = Facts(
        verb="estimate",
        qubits=2,
        shots=1000,
        queue_budget=60.0,
        quantum_seconds=60.0,
        executions=4096,
    )
    plain = facts.model_copy(update={"executions": None})
    with_all, without = forecast(policy, facts, backend), forecast(policy, plain, backend)
    per_shot = terms.quantum_seconds_per_1000_shots / 1000
    assert without.quantum_seconds == pytest.approx(
        terms.quantum_seconds_overhead + 1000 * per_shot
    )
    assert with_all.quantum_seconds == pytest.approx(
        terms.quantum_seconds_overhead + 4096 * per_shot
    )


def test_what_is_told_is_what_the_provider_says() -> None:
    asked = Mitigation.model_validate({"resilience_level": 2})
    done = on_hardware(asked, {"resilience": {"zne_mitigation": True, "measure_mitigation": True}})
    assert done is not None
    assert (done.asked, done.mitigated, done.note) == ({"resilience_level": 2}, True, "")
    off: dict[str, JsonValue] = {
        "measure_mitigation": False,
        "zne_mitigation": False,
        "pec_mitigation": False,
    }
    nothing = on_hardware(asked, {"resilience": off})
    assert nothing is not None and nothing.mitigated is False
    silent = on_hardware(asked, None)
    assert silent is not None
    assert (silent.applied, silent.mitigated) == (None, None)
    assert "does not say" in silent.note
    counts = on_hardware(asked, {"twirling": {"enable_gates": True}})
    assert counts is not None and counts.mitigated is None
    by_itself = on_hardware(None, {"resilience": {"measure_mitigation": True}})
    assert by_itself is not None
    assert (by_itself.asked, by_itself.mitigated) == ({}, True)
    assert by_itself.note == "by the provider's defaults"
    assert on_hardware(None, None) is on_hardware(Mitigation(), None) is None
    simulated = not_applied(asked, "simulator")
    assert (simulated.applied, simulated.mitigated) == ({}, False)
    assert "simulator" in simulated.note


def test_options_are_told_in_one_line() -> None:
    asked: dict[str, JsonValue] = {
        "resilience_level": 2,
        "resilience": {"zne": {"noise_factors": [1.0, 2.5]}, "pec_mitigation": False},
    }
    assert options_text(asked) == (
        "resilience_level 2; resilience.zne.noise_factors 1, 2.5; resilience.pec_mitigation off"
    )


def test_messages_of_before_are_written_as_they_were() -> None:
    assert "mitigation" not in RunSpec(verb="sample", shots=1).model_dump(mode="json")
    assert "applied" not in CircuitResult(verb="sample", shots=1).model_dump(mode="json")
    for kind, given_ in ((Sample, SAMPLE), (Estimate, ESTIMATE), (Optimise, OPTIMISE)):
        assert "mitigation" not in kind.model_validate(given_).model_dump()


def test_every_point_of_a_loop_is_asked_with_the_options_of_the_loop() -> None:
    workload = {**ESTIMATE, "mitigation": {"resilience_level": 2}}
    loop = LoopRequest.model_validate({"key": "k", "workload": workload})
    allowed = PointShare(deadline=60, quantum_seconds=1)
    point = point_request(loop, 0, 0, Circuit(source="OPENQASM 3.0;"), None, allowed)
    assert point.workload.mitigation == Mitigation(resilience_level=2)
