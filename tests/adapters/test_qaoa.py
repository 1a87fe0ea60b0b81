"""QAOA: right Hamiltonian, right angles, and better than guessing."""

from __future__ import annotations

import math
from typing import Literal

import dimod
import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import Statevector

from adapters.circuits import from_qpy
from adapters.fixed_angles import FIXED_ANGLES
from adapters.ising import Ising
from adapters.qaoa import QaoaBuilder, circuit
from adapters.qaoa_angles import MOST_TUNED, Schedule, schedule, start
from adapters.qaoa_states import QaoaStates
from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import Qaoa
from qsaga.problems.polish import energies
from qsaga.problems.verify import dump_model

Model = dimod.BinaryQuadraticModel

ANGLES: tuple[Literal["tuned", "transferred", "fixed", "ramp"], ...] = (
    "tuned",
    "transferred",
    "fixed",
    "ramp",
)


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
        mean, _ = outcome(model, Qaoa(depth=3, angles="fixed"))
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


def test_graphs_that_are_not_regular() -> None:
    for seed in range(2):
        graph = nx.random_regular_graph(3, 10, seed=seed)
        graph.remove_edges_from(sorted(nx.maximal_matching(graph))[:2])
        nearly = {a: outcome(maxcut(graph), Qaoa(depth=3, angles=a))[1] for a in ANGLES}
        assert nearly["tuned"] > nearly["fixed"] > nearly["ramp"] > 0.5
        far = maxcut(nx.gnp_random_graph(10, 0.4, seed=seed))
        shares = {a: outcome(far, Qaoa(depth=3, angles=a))[1] for a in ANGLES}
        assert shares["tuned"] > shares["transferred"] > 0.6
        assert shares["tuned"] > shares["ramp"] > 0.6
        assert shares["fixed"] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_ramp_on_dense_models(seed: int) -> None:
    model = dense_qubo(11, seed)
    shares = [outcome(model, Qaoa(depth=depth, angles="ramp"))[1] for depth in (1, 3, 6)]
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


def chosen(model: Model, algorithm: Qaoa) -> Schedule:
    return schedule(Ising.of(model), algorithm)


def same(left: Schedule, right: Schedule) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_auto_chooses() -> None:
    small, cubic = dense_qubo(6, 0), maxcut(nx.random_regular_graph(3, MOST_TUNED + 2, seed=1))
    assert same(chosen(small, Qaoa()), chosen(small, Qaoa(angles="tuned")))
    assert same(chosen(cubic, Qaoa()), chosen(cubic, Qaoa(angles="fixed")))
    # Beyond the table, and on other models, what is tuned on a part is transferred.
    large = dense_qubo(MOST_TUNED + 1, 0)
    for model, depth in ((cubic, 6), (large, 1)):
        algorithm = Qaoa(depth=depth)
        transferred = algorithm.model_copy(update={"angles": "transferred"})
        assert same(chosen(model, algorithm), chosen(model, transferred))
    with pytest.raises(InvalidRequest, match="17 qubits are too many to tune on"):
        chosen(large, Qaoa(angles="tuned"))


def test_tuning_begins_with_fixed_angles_where_they_fit() -> None:
    cycle = Ising.of(maxcut(nx.cycle_graph(6)))
    fixed = schedule(cycle, Qaoa(depth=2, angles="fixed"))
    gammas, betas = start(cycle, 2)
    assert fixed.thetas == pytest.approx(np.outer(gammas, cycle.weights))
    assert fixed.betas[:, 0] == pytest.approx(np.array(betas))
    weighted = nx.cycle_graph(6)
    weighted.edges[0, 1]["weight"] = 3.0
    for model in (maxcut(weighted), dense_qubo(4, 0)):
        ramp = chosen(model, Qaoa(depth=2, angles="ramp"))
        assert np.outer(start(Ising.of(model), 2)[0], Ising.of(model).weights) == pytest.approx(
            ramp.thetas
        )


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 1000),
    st.booleans(),
    st.sampled_from([1.0, 0.3]),
)
@example(1, 1, 88, False, 1.0).via("a model whose weights are all 0")
@example(1, 2, 88, True, 0.3).via("a model whose weights are all 0")
def test_states_are_those_of_the_circuit_and_slopes_are_right(
    size: int, depth: int, seed: int, warm: bool, share: float
) -> None:
    random = np.random.default_rng(seed)
    ising = Ising.of(dense_qubo(size, seed))
    count = len(ising.terms)
    tilts = random.uniform(0.2, 2.9, size) if warm else np.full(size, math.pi / 2)
    angles = Schedule(random.normal(size=(depth, count)), random.normal(size=(depth, size)), tilts)
    weights = ising.weights / (ising.strength or 1.0)
    states = QaoaStates(size, ising.terms, weights, tilts, share)
    built = circuit(ising, angles)
    built.remove_final_measurements()
    chances = states.chances(angles.thetas, angles.betas)
    assert chances == pytest.approx(Statevector(built).probabilities(), abs=1e-5)
    value, by_theta, by_beta = states.with_gradient(angles.thetas, angles.betas)
    energies_ = states.energies.astype(float)
    order = np.argsort(energies_)
    taken = np.diff(np.minimum(np.cumsum(chances[order]), share), prepend=0.0)
    assert value == pytest.approx(float(taken @ energies_[order]) / share, abs=1e-4)
    if share < 1:
        return  # its slope jumps where the value at risk does
    small = 1e-2
    for array, slopes in ((angles.thetas, by_theta), (angles.betas, by_beta)):
        for place in np.ndindex(*array.shape):
            moved = []
            for step in (small, -small):
                array[place] += step
                moved.append(states.with_gradient(angles.thetas, angles.betas)[0])
                array[place] -= step
            assert slopes[place] == pytest.approx((moved[0] - moved[1]) / (2 * small), abs=5e-3)


def test_cvar_lowers_the_lowest_share() -> None:
    model = dense_qubo(12, 3)
    found = everything(model)
    order = np.argsort(found)

    def lowest(algorithm: Qaoa) -> float:
        built = from_qpy(QaoaBuilder().build(dump_model(model), algorithm))
        built.remove_final_measurements()
        sums = np.minimum(np.cumsum(Statevector(built).probabilities()[order]), 0.1)
        return float(np.diff(sums, prepend=0.0) @ found[order]) / 0.1

    tuned = Qaoa(depth=1, angles="transferred")
    assert lowest(tuned.model_copy(update={"cvar": 0.1})) < lowest(tuned)


def test_a_warm_start_begins_near_a_greedy_solution() -> None:
    model = dense_qubo(10, 5)
    warm = outcome(model, Qaoa(depth=1, angles="ramp", warm_start=0.1))[1]
    assert warm > outcome(model, Qaoa(depth=1, angles="ramp"))[1]
    cold = Qaoa(depth=2, angles="ramp", warm_start=0.5)
    assert outcome(model, cold)[0] == pytest.approx(
        outcome(model, Qaoa(depth=2, angles="ramp"))[0], rel=1e-5
    )


@pytest.mark.parametrize("seed", range(2))
def test_angles_of_a_part_serve_the_whole(seed: int) -> None:
    model = dense_qubo(14, seed)
    transferred = outcome(model, Qaoa(depth=3, angles="transferred"))[1]
    assert transferred > outcome(model, Qaoa(depth=3, angles="ramp"))[1]


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
