"""QAOA: right Hamiltonian, right angles, and better than guessing."""

from __future__ import annotations

import math
from typing import Literal

import dimod
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import Statevector

from adapters.circuits import from_qpy
from adapters.fixed_angles import FIXED_ANGLES
from adapters.qaoa import Ising, QaoaBuilder, angles
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Qaoa
from qsaga.problems.polish import energies
from qsaga.problems.verify import dump_model

Model = dimod.BinaryQuadraticModel

ANGLES: tuple[Literal["auto", "fixed", "ramp"], ...] = ("auto", "fixed", "ramp")


def maxcut(graph: nx.Graph) -> Model:
    model = Model(dimod.SPIN)
    for node in graph:
        model.add_variable(node)
    for u, v, data in graph.edges(data=True):
        weight = data.get("weight", 1.0)
        model.add_quadratic(u, v, weight / 2)
        model.offset -= weight / 2
    return model


def dense_qubo(size: int, seed: int) -> Model:
    random = np.random.default_rng(seed)
    model = Model(dimod.BINARY)
    for i in range(size):
        model.add_linear(i, float(random.integers(-100, 101)))
        for j in range(i):
            model.add_quadratic(i, j, 2 * float(random.integers(-100, 101)))
    return model


def everything(model: Model) -> np.ndarray:
    size = model.num_variables
    bits = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    return energies(model, bits.astype(np.int8))


def outcome(model: Model, algorithm: Qaoa) -> tuple[float, float]:
    """Mean energy, and how far it lies from random guessing (0) to the minimum (1)."""
    circuit = from_qpy(QaoaBuilder().build(dump_model(model), algorithm))
    circuit.remove_final_measurements()
    found = everything(model)
    mean = float(Statevector(circuit).probabilities() @ found)
    return mean, float((found.mean() - mean) / (found.mean() - found.min()))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000), st.sampled_from(["BINARY", "SPIN"]))
def test_hamiltonian_is_the_model(size: int, seed: int, vartype: str) -> None:
    random = np.random.default_rng(seed)
    model = Model(vartype)
    for i in range(size):
        model.add_linear(f"x{i}", random.normal())
        for j in range(i):
            model.add_quadratic(f"x{i}", f"x{j}", random.normal())
    ising = Ising.of(model)
    z = 1 - 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1)
    built = z @ ising.fields + sum(j * z[:, u] * z[:, v] for u, v, j in ising.pairs)
    expected = everything(model)
    assert built - built.mean() == pytest.approx(expected - expected.mean())


def test_circuit_form() -> None:
    algorithm = Qaoa(depth=2, angles="given", gammas=(0.1, 0.2), betas=(0.3, 0.4))
    model = Model({"a": 1.0}, {("a", "b"): 1.0, ("b", "c"): 0.0}, 0.0, "SPIN")
    circuit = from_qpy(QaoaBuilder().build(dump_model(model), algorithm))
    assert [register.name for register in circuit.cregs] == ["meas"]
    assert circuit.num_qubits == 3
    assert not circuit.parameters
    operations = dict(circuit.count_ops())
    assert operations == {"h": 3, "rzz": 2, "rz": 2, "rx": 6, "barrier": 1, "measure": 3}


def test_fixed_angles_on_three_regular_graphs() -> None:
    ratios = []
    for seed in range(2):
        model = maxcut(nx.random_regular_graph(3, 16, seed=seed))
        mean, _ = outcome(model, Qaoa(depth=3))
        ratios.append(mean / everything(model).min())
    assert min(ratios) >= 0.85


def test_depth_one_on_a_large_girth_graph() -> None:
    # Exact at depth 1 on triangle-free graphs: .6924 of the edges (Farhi et al. 2014).
    model = maxcut(nx.petersen_graph())
    mean, _ = outcome(model, Qaoa(depth=1, angles="fixed"))
    assert -mean / 15 == pytest.approx(0.6924, abs=2e-3)


def test_fixed_angles_scale_with_the_weight() -> None:
    plain = nx.random_regular_graph(3, 8, seed=1)
    heavy = plain.copy()
    nx.set_edge_attributes(heavy, 40.0, "weight")
    algorithm = Qaoa(depth=2, angles="fixed")
    assert outcome(maxcut(heavy), algorithm)[0] == pytest.approx(
        40 * outcome(maxcut(plain), algorithm)[0]
    )


def test_auto_on_graphs_that_are_not_regular() -> None:
    for seed in range(2):
        graph = nx.random_regular_graph(3, 10, seed=seed)
        graph.remove_edges_from(sorted(nx.maximal_matching(graph))[:2])
        nearly = {a: outcome(maxcut(graph), Qaoa(depth=3, angles=a))[1] for a in ANGLES}
        assert nearly["auto"] == nearly["fixed"] > nearly["ramp"] > 0.5
        far = maxcut(nx.gnp_random_graph(10, 0.4, seed=seed))
        shares = {a: outcome(far, Qaoa(depth=3, angles=a))[1] for a in ANGLES}
        assert shares["auto"] == shares["ramp"] > 0.6
        assert shares["fixed"] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_ramp_on_dense_models(seed: int) -> None:
    model = dense_qubo(11, seed)
    shares = [outcome(model, Qaoa(depth=depth))[1] for depth in (1, 3, 6)]
    assert shares[0] > 0.3
    assert shares[1] > 0.55
    assert shares[2] > 0.7
    assert shares == sorted(shares)


def test_ramp_does_not_depend_on_the_unit() -> None:
    model = dense_qubo(8, 1)
    scaled = model.copy()
    scaled.scale(1e-4)
    algorithm = Qaoa(depth=3, angles="ramp")
    assert outcome(model, algorithm)[1] == pytest.approx(outcome(scaled, algorithm)[1])


def test_auto_chooses() -> None:
    cycle = Ising.of(maxcut(nx.cycle_graph(6)))
    assert angles(cycle, Qaoa(depth=2)) == angles(cycle, Qaoa(depth=2, angles="fixed"))
    weighted = nx.cycle_graph(6)
    weighted.edges[0, 1]["weight"] = 3.0
    for model in (maxcut(weighted), dense_qubo(4, 0)):
        ising = Ising.of(model)
        assert angles(ising, Qaoa(depth=2)) == angles(ising, Qaoa(depth=2, angles="ramp"))
    # Beyond the table auto still answers.
    assert angles(cycle, Qaoa(depth=9)) == angles(cycle, Qaoa(depth=9, angles="ramp"))


@pytest.mark.parametrize(
    ("model", "depth", "problem"),
    [
        (dense_qubo(4, 0), 2, "linear terms"),
        (maxcut(nx.cycle_graph(4)), 6, "ends at depth 5"),
        (maxcut(nx.empty_graph(3)), 1, "no couplings"),
    ],
)
def test_no_fixed_angles(model: Model, depth: int, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        QaoaBuilder().build(dump_model(model), Qaoa(depth=depth, angles="fixed"))
    assert caught.value.field == "workload.algorithm.angles"


def walsh(values: np.ndarray) -> np.ndarray:
    """Walsh-Hadamard transform, unnormalised."""
    width = 1
    while width < len(values):
        pairs = values.reshape(-1, 2, width)
        values = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1).reshape(-1)
        width *= 2
    return values


def share_cut(degree: int, gammas: tuple[float, ...], betas: tuple[float, ...]) -> float:
    """Expected share of edges cut on a regular graph of large girth (arXiv:2110.14206, sec. 3)."""
    depth = len(gammas)
    size = 2 * depth + 1
    spins = 1 - 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1)
    path = np.full(2**size, 0.5, dtype=complex)
    for k, beta in enumerate(betas):
        for left, right, sign in ((k, k + 1, 1), (2 * depth - k, 2 * depth - k - 1, -1)):
            same = spins[:, left] == spins[:, right]
            path *= np.where(same, math.cos(beta), sign * 1j * math.sin(beta))
    phases = spins @ np.array([*gammas, 0.0, *(-gamma for gamma in gammas[::-1])]) / 2
    cosines, sines = walsh(np.cos(phases) + 0j), walsh(np.sin(phases) + 0j)
    branch = np.ones(2**size, dtype=complex)
    for _ in range(depth):
        branch = (walsh(walsh(path * branch) * cosines) / 2**size) ** (degree - 1)
    rooted = path * branch * spins[:, depth]
    correlation = 1j * np.sum(rooted * walsh(walsh(rooted) * sines)) / 2**size
    return float(1 + correlation.real) / 2


def test_fixed_angles_are_optimal_on_trees() -> None:
    for (degree, depth), (gammas, betas, share) in FIXED_ANGLES.items():
        assert len(gammas) == len(betas) == depth
        assert share_cut(degree, gammas, betas) == pytest.approx(share, abs=2e-5)
        if depth <= 2:
            for k in range(depth):
                for step in (-0.01, 0.01):
                    moved = tuple(g + step * (i == k) for i, g in enumerate(gammas))
                    assert share_cut(degree, moved, betas) < share
                    moved = tuple(b + step * (i == k) for i, b in enumerate(betas))
                    assert share_cut(degree, gammas, moved) < share
    # As published for degree 3 (arXiv:2107.00677).
    assert [round(FIXED_ANGLES[3, depth].share, 4) for depth in (1, 2)] == [0.6925, 0.7559]
    assert FIXED_ANGLES[3, 3].share == pytest.approx(0.7924, abs=1e-4)
