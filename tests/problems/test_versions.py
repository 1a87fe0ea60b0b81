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
    "partition": {"items": [["sofa", 31], ["piano", 27.5], ["desk", 22], ["bed", 19]]},
    "knapsack": {"items": [["tent", 10, 4], ["stove", 7.5, 2], ["lamp", 3, 1]], "capacity": 5},
    "set_cover": {
        "sets": [["A", 3, [*"ne"]], ["B", 2.5, [*"es"]], ["C", 3, [*"sw"]], ["D", 5, [*"nws"]]]
    },
    "graph_colouring": {"edges": [*(edge[:2] for edge in EDGES), ["a", "f"]], "colours": 3},
    "feature_selection": {
        "features": [["a", 0.75], ["b", 0.5], ["c", 0.25], ["d", 0.125]],
        "redundancy": [["a", "b", 0.5], ["c", "d", 0.25]],
        "choose": 2,
        "exactly": False,
        "balance": 0.25,
    },
    "tsp": {
        "cities": [*"abcd"],
        "distances": [[0, 4, 7, 3], [5, 0, 2, 6], [1, 8, 0, 4], [9, 2, 6, 0]],
    },
    "portfolio": {
        "assets": [["a", 0.5], ["b", 0.25], ["c", 0.125]],
        "covariance": [[1.0, 0.25, 0.0], [0.25, 0.5, -0.125], [0.0, -0.125, 0.25]],
        "choose": 2,
        "units": 4,
    },
    "job_shop": {
        "jobs": [
            {"name": "j", "steps": [["a", 2], ["b", 1], ["c", 2]]},
            {"name": "k", "steps": [["a", 1], ["c", 3]]},
        ]
    },
    "quadratic_assignment": {
        "facilities": [*"fgh"],
        "locations": [*"klm"],
        "flow": [[0, 9, 4], [8, 0, 2], [4, 1, 0]],
        "distance": [[0, 1, 3], [1, 0, 2], [3, 5, 0]],
    },
}
FIRST = ("maxcut", "independent_set", "qubo")
"""The problems that what is common to all is pinned with."""

QASM = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nh q[0];\ncx q[0], q[1];\n'
MEASURED = "bit[2] meas;\nbarrier q;\nmeas = measure q;\n"

MOST_ROWS = 64

PINNED = {
    "problem-input/1": "96c9c33cb48915e9d3b86f96405c6f8a9039a34ccdd5545a5b5538cb7a174144",
    "maxcut-ising/1": "328ec59966aa506911b28d048e1fd4c7478806048b4d95caa119736b8f130a1c",
    "independent-set-penalty/1": "20f84494f12b2b6d4cfda3013b994fa8e458763120d83e72bf796802ab41b5b2",
    "qubo-as-given/1": "bfac38dbb24100e1aa5aa8cc264ca5956854ba6d6baca9f12cdcdfe889d4e6ef",
    "maxcut-sides/2": "2eb39c5c0011aaf7ba7c3ae65bebd9b1f6e62ee242f7b8af0ec9bf2621781456",
    "independent-set-repair/2": "31f6deb78083edbd97be4b474622024664538acc57991878791adfea1a347763",
    "qubo-values/2": "02eabe88386ea07a3c06ae633b20acdd8072449dc870b7c7433e2a9159820cf5",
    "partition-squares/1": "3ce98fb4d8aa096bc6069bd682ad26870a3332667bdb3e08298a0af8051625de",
    "partition-groups/2": "d099f9334db1e12f0391ea2bdd3b338c46641248669dcfdade6c0b75030983dd",
    "knapsack-slack/1": "d623caf7ed27786c9edd18abc1691ac6d54cd8a38a215fa271085a91ab3fcbdf",
    "knapsack-repair/2": "46ade4b5563d0e0f78348f7e112b5b20bc36737880d9183a77a554cfa67fc7cb",
    "set-cover-product/1": "9633abe55180b5a1ad87d22595359b0e08180c939169d269e4fc603bab0dccbb",
    "set-cover-repair/2": "086f65312fc76d34e6778385e2ab3121d8091e31c6e57cf1c0e846f974593301",
    "graph-colouring-onehot/1": "9f83f8b5e0b38e5e1c98e6fe0ca88ba1f672f365508ad5ca6bcb95695c18d23b",
    "graph-colouring-kempe/1": "fbfd1ad326cfe30e8e7e0c0c40546d78b2be009dab101d46505d206c76bcf609",
    "feature-selection-count/1": "33e5a82659ad7db9ba733132459c40c09b8bb783417a50ef1093c2436980a8fa",
    "feature-selection-swaps/2": "7191bf818240b72f412153f0794285cb6dfcfcee4b25046a3ea8ba7278c97237",
    "tsp-stops/2": "0a2bfcb7bfcb879bcd5e8b9ce518204e64a6e63a43688d974c1825e8b13db858",
    "tsp-insertion-2opt/2": "7e2273b3a65a8b4b750da500a4c46746eb90d762b512051373f2b630750a955d",
    "portfolio-units/1": "88f46227400eeb5936e2614d36a22d84b2b169fdd724135ec0f2f38cfee61632",
    "portfolio-exchange/2": "c3521e9305b75ccec5e231082a87b9e7e34b35226cd6b89e926e95fa2eb7391b",
    "job-shop-time-makespan/1": "053facd6e3ed9a9df49b09a33f989085e4a5db7b969c678b965e973ea4e9fd8b",
    "job-shop-list-tabu/2": "11be8ccc1e9c4c3f10bd633975b4457cc50f5c1d708b76861c42ac2ed26785dc",
    "qap-square/1": "ea8c4204d6d15d42bd4f2eccca07486b0b61d2fbec569c7e6a8fb7352121535a",
    "qap-exchange/2": "f0bf3f5028c777c82d276b8c352b07c3a28b2c3523e757a1450a62752912f71e",
    "verify/3": "6925fd7a90e6ba8ebb9ff96c91b49db4bea7cca2351f033a85af65f0b7174e65",
    "qaoa/2": "9a27a5dc79c23edb1bf3a9b794ac5f0861abfe29c3a75d3596baadf6652a3e4d",
    "circuit/1": "e85d57559d967c96b62fc22683a98999f87835dd81622a8346367d10d7cc8364",
    "measurements/2": "e85d57559d967c96b62fc22683a98999f87835dd81622a8346367d10d7cc8364",
}


def problem(name: str) -> Any:
    return registry.parse(Problem(name=name, data=GIVEN[name]))


def preprocessed() -> dict[str, str]:
    inputs = {name: problem(name)[1].model_dump(mode="json") for name in FIRST}
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
    greedy = kind.baseline(given)
    told = [None if greedy is None else kind.objective(given, greedy), kind.bound(given)]
    rows = everything(kind, given)
    # Of many assignments an even share: improving each of thousands would take a minute.
    for row in rows[:: max(1, len(rows) // MOST_ROWS)]:
        solution = kind.repair(given, decoded(kind, given, row))
        told += [kind.solution_json(given, solution), kind.explain(given, solution)]
        if kind.feasible(given, solution):
            improved = kind.improve(given, solution)
            told += [kind.solution_json(given, improved)] if improved != solution else []
    return {kind.decoding: digest(canonical_json(rounded(told)))}


def rounded(value: Any) -> Any:
    """Without the last digits of numbers, which are the machine's."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def verified() -> dict[str, str]:
    told = []
    counts = {"00000": 3, "10101": 2, "01011": 5, "11111": 1}
    for name in FIRST:
        data = GIVEN[name]
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
    for name in FIRST:
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
        qpy, _ = reader.read("qasm3", QASM + MEASURED, verb)
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
    assert postprocessing(workload) == "verify/3, maxcut-sides/2, descend"
    assert postprocessing(workload, steepest_descent).endswith(", steepest_descent")
    bits = np.zeros((1, 5), dtype=np.int8)
    kind, given = problem("maxcut")
    assert descend(kind.formulate(given), bits).shape == (1, 5)
