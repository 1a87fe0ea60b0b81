"""A formulation, decoding or encoding that changes must change its version.

Each version is pinned to a digest of what it makes of small fixed inputs. When a test here fails,
an old record could no longer be made again under the name that it carries: raise the version, and
put the new pair below.
"""

from __future__ import annotations

import base64
from typing import Any

import dimod
import numpy as np
import pytest

from adapters.annealing import steepest_descent
from adapters.circuits import QiskitCircuitReader
from adapters.qaoa import QaoaBuilder
from qsaga.core.contract import canonical_json, digest
from qsaga.core.jobs import Optimise, Problem, Qaoa
from qsaga.core.ports import CircuitResult
from qsaga.problems import registry
from qsaga.problems.polish import descend
from qsaga.problems.verify import (
    CIRCUIT_RESULT,
    POSTPROCESSING,
    dump_model,
    postprocessing,
    verify,
)
from tests.problems.strategies import decoded, everything

EDGES = [["a", "b", 1.5], ["b", "c"], ["c", "d", -0.5], ["d", "e"], ["e", "a", 2.0], ["b", "e"]]
GIVEN: dict[str, dict[str, Any]] = {
    "maxcut": {"nodes": [*"edcba"], "edges": EDGES},
    "independent_set": {
        "edges": [edge[:2] for edge in EDGES],
        "weights": {"a": 1.5, "e": 2.5, "c": 0.5},
    },
    "qubo": {
        "linear": {"x": -1.0, "y": 0.5},
        "quadratic": [["x", "y", 2.0], ["y", "z", -1.25]],
        "offset": 0.75,
        "vartype": "SPIN",
    },
}
QASM = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nh q[0];\ncx q[0], q[1];\n'

PINNED = {
    "problem-input/1": "96c9c33cb48915e9d3b86f96405c6f8a9039a34ccdd5545a5b5538cb7a174144",
    "maxcut-ising/1": "328ec59966aa506911b28d048e1fd4c7478806048b4d95caa119736b8f130a1c",
    "independent-set-penalty/1": "20f84494f12b2b6d4cfda3013b994fa8e458763120d83e72bf796802ab41b5b2",
    "qubo-as-given/1": "bfac38dbb24100e1aa5aa8cc264ca5956854ba6d6baca9f12cdcdfe889d4e6ef",
    "maxcut-sides/1": "2eb39c5c0011aaf7ba7c3ae65bebd9b1f6e62ee242f7b8af0ec9bf2621781456",
    "independent-set-repair/1": "31f6deb78083edbd97be4b474622024664538acc57991878791adfea1a347763",
    "qubo-values/1": "02eabe88386ea07a3c06ae633b20acdd8072449dc870b7c7433e2a9159820cf5",
    "verify/1": "f9f41e65a973c54efdc63c9bfd83680e4c5163c7ec9657942ec71db60c719646",
    "qaoa/1": "d27424ecbd3a756f32b4cb70830e453044a7650ba30f5a628b8376c1b4c0e7b6",
    "circuit/1": "e85d57559d967c96b62fc22683a98999f87835dd81622a8346367d10d7cc8364",
    "measurements/1": "e85d57559d967c96b62fc22683a98999f87835dd81622a8346367d10d7cc8364",
}


def problem(name: str) -> Any:
    return registry.parse(Problem(name=name, data=GIVEN[name]))


def preprocessed() -> dict[str, str]:
    inputs = {name: problem(name)[1].model_dump(mode="json") for name in GIVEN}
    return {registry.PREPROCESSING: digest(canonical_json(inputs))}


def formulated(name: str) -> dict[str, str]:
    kind, given = problem(name)
    model = kind.formulate(given)
    told = [
        model.vartype.name,
        list(model.variables),
        [model.get_linear(v) for v in model.variables],
        sorted([*sorted(pair), bias] for pair, bias in model.quadratic.items()),
        model.offset,
    ]
    return {kind.formulation: digest(canonical_json(told))}


def decodings(name: str) -> dict[str, str]:
    kind, given = problem(name)
    told = [kind.objective(given, kind.baseline(given)), kind.bound(given)]
    for row in everything(kind, given):
        solution = kind.repair(given, decoded(kind, given, row))
        told += [kind.solution_json(given, solution), kind.explain(given, solution)]
    return {kind.decoding: digest(canonical_json(told))}


def verified() -> dict[str, str]:
    told = []
    counts = {"00000": 3, "10101": 2, "01011": 5, "11111": 1}
    for name, data in GIVEN.items():
        width = len(problem(name)[0].variables(problem(name)[1]))
        raw = CircuitResult(
            verb="sample", shots=11, counts={"meas": {b[:width]: n for b, n in counts.items()}}
        )
        workload = Optimise(problem=Problem(name=name, data=data))
        answer, polished = verify(
            workload, None, raw.model_dump_json().encode(), CIRCUIT_RESULT, descend
        )
        told += [answer.model_dump(mode="json"), polished]
    return {POSTPROCESSING: digest(canonical_json(told))}


def built() -> dict[str, str]:
    told = []
    for name in GIVEN:
        kind, given = problem(name)
        # Tuned angles are left out: their last digits are the machine's.
        for depth, warm in ((1, None), (2, None), (2, 0.25)):
            algorithm = Qaoa(depth=depth, angles="ramp", warm_start=warm)
            qpy = QaoaBuilder().build(dump_model(kind.formulate(given)), algorithm)
            told.append(QiskitCircuitReader().digest(qpy))
    return {QaoaBuilder.version: digest(*told)}


def read() -> dict[str, str]:
    reader = QiskitCircuitReader()
    told = []
    for verb in ("sample", "estimate"):
        qpy, _ = reader.read("qasm3", QASM, verb)
        again, _ = reader.read("qpy", base64.b64encode(qpy).decode(), verb)
        told += [reader.digest(qpy), reader.digest(again)]
    found = digest(*told)
    return {reader.formulation: found, reader.preprocessing: found}


MADE = {
    "preprocessing": preprocessed,
    **{f"formulation of {name}": lambda name=name: formulated(name) for name in GIVEN},
    **{f"decoding of {name}": lambda name=name: decodings(name) for name in GIVEN},
    "verification": verified,
    "ansatz": built,
    "circuit reader": read,
}


@pytest.mark.parametrize("what", MADE)
def test_what_a_version_stands_for_has_not_changed(what: str) -> None:
    for version, found in MADE[what]().items():
        assert version in PINNED, f"{what}: pin the new version {version!r} to {found!r}"
        assert found == PINNED[version], (
            f"{what}: {version} makes something else than before. Raise its version and pin the "
            f"new one to {found!r}; records of {version} cannot be made again by this code."
        )


def test_every_installed_problem_is_pinned_and_no_two_share_a_version() -> None:
    kinds = [registry.get(name) for name in registry.names()]
    assert set(GIVEN) == {kind.name for kind in kinds}
    for attribute in ("formulation", "decoding"):
        versions = [getattr(kind, attribute) for kind in kinds]
        assert len(set(versions)) == len(versions)
    made = [version for what in MADE.values() for version in what()]
    assert sorted(made) == sorted(PINNED), "a pin that nothing makes any more"


def test_a_changed_formulation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qsaga.problems.independent_set.PENALTY", 3.0)
    with pytest.raises(AssertionError, match="independent-set-penalty/1 makes something else"):
        test_what_a_version_stands_for_has_not_changed("formulation of independent_set")


def test_the_bytes_of_a_model_are_the_same_each_time() -> None:
    kind, given = problem("maxcut")
    first, again = dump_model(kind.formulate(given)), dump_model(kind.formulate(given))
    assert first == again
    assert isinstance(dimod.BinaryQuadraticModel.from_file(first), dimod.BinaryQuadraticModel)


def test_postprocessing_names_what_decodes_and_polishes() -> None:
    workload = Optimise(problem=Problem(name="maxcut", data=GIVEN["maxcut"]))
    assert postprocessing(workload) == "verify/1, maxcut-sides/1, descend"
    assert postprocessing(workload, steepest_descent).endswith(", steepest_descent")
    bits = np.zeros((1, 5), dtype=np.int8)
    kind, given = problem("maxcut")
    assert descend(kind.formulate(given), bits).shape == (1, 5)
