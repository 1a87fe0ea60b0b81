"""The lineage of a job: put together from what its steps said, and from nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from qsaga.core.contract import ArtefactRef
from qsaga.core.facts import Decision, Facts
from qsaga.core.jobs import JobRequest
from qsaga.core.lineage import Lineage, Reproduction, input_digest, lineage_of
from qsaga.core.ports import RunSpec
from qsaga.core.reduction import Reduced
from qsaga.core.results import CircuitFacts, SampleAnswer
from qsaga.core.states import Rung
from qsaga.core.steps import Encoded, Raw, Verified


def ref(letter: str, size: int = 10) -> ArtefactRef:
    return ArtefactRef(sha256=letter * 64, size=size, media="x/y")


def request(**changes: Any) -> JobRequest:
    base: dict[str, Any] = {
        "key": "k",
        "workload": {
            "kind": "optimise",
            "problem": {"name": "maxcut", "data": {"edges": [["a", "b"]]}},
        },
        "dataset": "grid 2026-03",
        "experiment": "e1",
        "template": "nightly",
        "environment": "test",
    }
    return JobRequest.model_validate(base | changes)


FACTS = CircuitFacts(
    backend="ibm_torino",
    qubits=2,
    depth=9,
    two_qubit_gates=1,
    layout=(5, 6),
    seed_transpiler=7,
    optimization_level=3,
    sha256="f" * 64,
    measurements=2,
    payload_bytes=321,
    transpiler={"optimization_level": 3, "layout_passes": ["VF2Layout"]},
)
REDUCED = Reduced(
    version="roof-duality/1",
    library="a-library 1",
    variables=2,
    fixed=0,
    solved=0,
    components=1,
    qubits=2,
)
ENCODED = Encoded(
    model=ref("a", 111),
    circuit=ref("b", 222),
    reduction=ref("d", 33),
    reduced=REDUCED,
    spec=RunSpec(verb="sample", shots=512),
    qubits=2,
    input_sha256="1" * 64,
    formulation="maxcut-ising/1, qaoa/1",
    preprocessing="problem-input/1",
    variables=2,
    couplings=1,
    parameter_sets=1,
)
HARDWARE = Raw(
    rung=Rung.HARDWARE,
    provider="ibm",
    result=ref("c"),
    circuit=FACTS,
    isa_circuit=ref("d"),
    calibration=ref("e", 500_000),
)
ANNEALED = Raw(rung=Rung.ANNEALING, provider="neal", result=ref("0"))
VERIFIED = Verified(
    answer=SampleAnswer(counts={"meas": {"0": 1}}, shots=1),
    software={"qiskit": "2.6.2"},
    postprocessing="verify/1, maxcut-sides/1, descend",
    machine={"python": "CPython 3.11"},
)
DECISION = Decision(
    policy_version="p9",
    rule="r",
    reason="because",
    wanted=Rung.HARDWARE,
    ladder=(Rung.HARDWARE, Rung.ANNEALING),
    facts=Facts.model_construct(),
)


def test_every_field_of_a_hardware_answer_is_filled() -> None:
    found = lineage_of(
        request(),
        decision=DECISION,
        encoded=ENCODED,
        raw=HARDWARE,
        verified=VERIFIED,
        raws=(ANNEALED, HARDWARE),
    )
    assert found == Lineage(
        input_sha256="1" * 64,
        dataset="grid 2026-03",
        experiment="e1",
        template="nightly",
        environment="test",
        policy_version="p9",
        formulation="maxcut-ising/1, qaoa/1",
        preprocessing="problem-input/1",
        postprocessing="verify/1, maxcut-sides/1, descend",
        variables=2,
        couplings=1,
        qubits=2,
        parameter_sets=1,
        shots=512,
        encoded_bytes=111,
        payload_bytes=321,
        measurements=2,
        transpiler=FACTS.transpiler,
        calibration=ref("e", 500_000),
        partial={"annealing": ref("0")},
        machine={"python": "CPython 3.11"},
        reduction=REDUCED,
    )
    left_out = {name for name, value in found if value in (None, {}, "")}
    assert left_out == set()
    assert Lineage.model_validate_json(found.model_dump_json()) == found


def test_what_a_rung_made_that_was_not_served_is_partial() -> None:
    found = lineage_of(
        request(),
        decision=DECISION,
        encoded=ENCODED,
        raw=ANNEALED,
        verified=VERIFIED,
        raws=(HARDWARE, ANNEALED),
    )
    assert found.partial == {"hardware": HARDWARE.result}
    # No circuit took part in this answer.
    assert (found.shots, found.parameter_sets, found.payload_bytes) == (None, None, None)
    assert (found.calibration, found.transpiler, found.measurements) == (None, {}, None)
    assert found.encoded_bytes == 111


def test_a_job_that_ended_early_has_the_lineage_that_there_is() -> None:
    refused = lineage_of(request())
    assert refused.input_sha256 == input_digest(request().workload)
    assert (refused.policy_version, refused.formulation, refused.partial) == (None, None, {})
    unserved = lineage_of(request(), decision=DECISION, encoded=ENCODED, raws=(HARDWARE,))
    assert unserved.partial == {"hardware": HARDWARE.result}
    assert unserved.postprocessing is None
    assert unserved.shots == 512


def test_a_circuit_without_a_model_is_what_was_encoded() -> None:
    encoded = ENCODED.model_copy(update={"model": None, "variables": None, "couplings": None})
    found = lineage_of(request(), encoded=encoded)
    assert (found.encoded_bytes, found.variables, found.qubits) == (222, None, 2)
    annealed_only = ENCODED.model_copy(update={"circuit": None})
    assert lineage_of(request(), encoded=annealed_only).qubits is None


def test_the_input_hash_is_that_of_the_workload_alone() -> None:
    one = input_digest(request().workload)
    assert one == input_digest(request(key="other", seed=9, dataset=None).workload)
    other = {"name": "maxcut", "data": {"edges": [["a", "c"]]}}
    assert one != input_digest(request(workload={"kind": "optimise", "problem": other}).workload)


@pytest.mark.parametrize("first", ["lineage", "results", "steps", "jobs", "records"])
def test_the_module_can_be_loaded_in_any_order(first: str) -> None:
    program = f"import qsaga.core.{first}\nfrom qsaga.core.lineage import lineage_of"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_reproduction_travels() -> None:
    given = Reproduction(job_id="t/k", same=True, checks=())
    assert Reproduction.model_validate_json(given.model_dump_json()) == given


def test_a_reduction_is_told_in_words() -> None:
    more = {"variables": 300, "fixed": 284, "solved": 5, "components": 2, "qubits": 11}
    told = REDUCED.model_copy(update=more).text()
    assert told == "11 qubits in 2 components, 284 variables fixed, 5 solved in small components"
    assert REDUCED.text() == "2 qubits, 0 variables fixed"
