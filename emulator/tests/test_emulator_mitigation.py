"""Error mitigation of the older estimator: what is done, what is refused, what is told."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

from ibm_quantum_emulator.config import BackendSpec
from ibm_quantum_emulator.device import Device
from ibm_quantum_emulator.resilience import repeats
from ibm_quantum_emulator.simulate import simulate
from ibm_quantum_emulator.snapshot import Snapshot
from ibm_quantum_emulator.submission import read_submission

SNAPSHOT = Snapshot(BackendSpec.parse("ibm_torino"))
FILES = {
    "configuration": str(SNAPSHOT.configuration_path),
    "properties": str(SNAPSHOT.properties_path),
}
PAIRS = 12
"""Of CZ gates that undo each other: noise, and nothing else."""
ZNE = {"zne_mitigation": True, "zne": {"extrapolator": ["exponential", "linear"]}}
EIGHT = {"num_randomizations": 8}


@cache
def problem() -> tuple[QuantumCircuit, SparsePauliOp, float]:
    """A noisy circuit on two qubits of the device, an observable, and its value without noise."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    for _ in range(PAIRS):
        circuit.cz(0, 1)
        circuit.barrier()
        circuit.cz(0, 1)
        circuit.barrier()
    observable = SparsePauliOp.from_list([("ZZ", 1.0), ("XX", 0.5)])
    target = Device(**FILES)._target
    isa = generate_preset_pass_manager(1, target=target, seed_transpiler=1).run(circuit)
    assert isa.num_nonlocal_gates() > 2 * PAIRS
    exact = float(Statevector(circuit).expectation_value(observable).real)
    return isa, observable.apply_layout(isa.layout), exact


def ran(noise: str = "full", precision: float = 0.01, **params: Any) -> dict[str, Any]:
    isa, observable, _ = problem()
    pubs = [(isa, observable, None, precision)]
    return answer("estimator", noise, {"pubs": pubs, **params})


def answer(program: str, noise: str, params: dict[str, Any]) -> dict[str, Any]:
    return simulate(
        {
            "program": program,
            "params": json.dumps(params, cls=RuntimeEncoder),
            **FILES,
            "noise": noise,
            "seed": 5,
            "max_active_qubits": 5,
            "max_active_qubits_full": 5,
            "started": 0.0,
            "due": 1.0,
        }
    )


def decoded(said: dict[str, Any]) -> Any:
    assert said["ok"], said
    return json.loads(said["result"], cls=RuntimeDecoder)


def value(said: dict[str, Any]) -> float:
    return float(decoded(said)[0].data.evs)


def test_mitigated_readout_is_nearer_to_the_truth() -> None:
    exact = problem()[2]
    plain = value(ran("readout", resilience_level=0))
    mitigated = value(ran("readout", resilience_level=1, options={"twirling": EIGHT}))
    assert abs(plain - exact) > 0.1
    assert abs(mitigated - exact) < abs(plain - exact) / 2


def test_extrapolation_to_zero_noise_is_nearer_still() -> None:
    exact = problem()[2]
    plain, read, both = (
        abs(value(ran(resilience_level=level, options={"twirling": EIGHT, **more})) - exact)
        for level, more in ((0, {"twirling": {}}), (1, {}), (1, {"resilience": ZNE}))
    )
    assert plain > read > both
    assert both < read / 2


def test_what_was_done_is_told_and_nothing_else() -> None:
    said = decoded(ran("readout", 0.05, options={"resilience": ZNE}, resilience_level=0))
    assert said.metadata["resilience"] == {
        "measure_mitigation": False,
        "zne_mitigation": True,
        "pec_mitigation": False,
        "zne": {"noise_factors": [1, 3, 5], "extrapolator": ["exponential", "linear"]},
    }
    assert said[0].metadata["resilience"]["zne"]["extrapolator"] is not None
    assert said[0].data.evs_noise_factors.shape == (3,)
    assert "ignored" not in said.metadata
    silent = decoded(ran("readout", 0.05))
    assert silent.metadata["resilience"] == {}


@pytest.mark.parametrize(
    ("resilience", "ignored"),
    [
        ({"pec_mitigation": True}, "resilience.pec_mitigation"),
        ({"zne_mitigation": True, "zne": {"amplifier": "pea"}}, "resilience.zne_mitigation"),
    ],
)
def test_what_is_not_emulated_is_accepted_and_said_to_be_ignored(
    resilience: dict[str, Any], ignored: str
) -> None:
    options = {"resilience": resilience, "dynamical_decoupling": {"enable": True}}
    said = decoded(ran("none", 0.1, resilience_level=0, options=options)).metadata
    assert said["ignored"] == [ignored, "dynamical_decoupling"]
    methods = ("measure_mitigation", "zne_mitigation", "pec_mitigation")
    assert [said["resilience"][name] for name in methods] == [False, False, False]
    assert said["dynamical_decoupling"] == {"enable": False}


def test_a_sampler_takes_suppression_and_says_that_it_does_nothing() -> None:
    isa = problem()[0].copy()
    isa.measure_active()
    options = {"twirling": {"enable_gates": True}}
    said = decoded(answer("sampler", "none", {"pubs": [(isa, None, 50)], "options": options}))
    assert said.metadata["twirling"] == {"enable_gates": False, "enable_measure": False}
    assert said.metadata["ignored"] == ["twirling"]
    plain = decoded(answer("sampler", "none", {"pubs": [(isa, None, 50)]}))
    assert "twirling" not in plain.metadata


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"resilience_level": 3}, "resilience_level"),
        ({"options": {"resilience": {"zne_mitigation": True, "pec_mitigation": True}}}, "pec"),
        ({"options": {"resilience": {"zne": {"noise_factors": [0.5, 1, 2]}}}}, "noise_factors"),
        ({"options": {"twirling": {"num_randomizations": 0}}}, "num_randomizations"),
        ({"options": {"dynamical_decoupling": {"sequence_type": "YY"}}}, "sequence_type"),
        ({"options": {"no_such_option": 1}}, "no_such_option"),
    ],
)
def test_what_the_schema_does_not_know_fails_with_the_option(
    params: dict[str, Any], says: str
) -> None:
    said = ran("none", 0.1, **params)
    assert (said["ok"], said["code"]) == (False, 1518)
    assert says in said["reason"]


def test_a_sampler_has_no_resilience() -> None:
    isa = problem()[0].copy()
    isa.measure_active()
    params = {"pubs": [(isa, None, 50)], "options": {"resilience": {"zne_mitigation": True}}}
    said = answer("sampler", "none", params)
    assert (said["ok"], said["code"]) == (False, 1518)


@pytest.mark.parametrize(
    ("params", "times"),
    [
        ({}, 1),
        ({"resilience_level": 0}, 1),
        ({"resilience_level": 1}, 2),
        ({"resilience_level": 2}, 4),
        ({"options": {"dynamical_decoupling": {"enable": True}}}, 2),
        ({"resilience_level": 0, "options": {"resilience": {"zne_mitigation": True}}}, 3),
        ({"resilience_level": 2, "options": {"resilience": {"zne": {"noise_factors": [1, 2]}}}}, 3),
        ({"resilience_level": 0, "options": {"resilience": {"pec_mitigation": True}}}, 1),
    ],
)
def test_machine_time_counts_what_runs(params: dict[str, Any], times: int) -> None:
    assert repeats(params) == times
    pubs = [["circuit", {"Z": 1.0}, None, 0.1]]
    document = {
        "program_id": "estimator",
        "backend": "ibm_torino",
        "params": {"pubs": pubs, **params},
    }
    assert read_submission(document, {"ibm_torino": SNAPSHOT}).executions == 100 * times
