"""The optimisers on functions whose minimum is known, and circuits at points."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

from activities.looping import setup_of
from adapters.ansatz import QiskitAnsatz, QiskitAnsatzReader, common_unit
from adapters.circuits import from_qpy, to_qpy
from adapters.optimisers import BUILT_IN, optimiser
from qsaga.core.errors import InvalidRequest
from qsaga.core.loops import LoopRequest
from qsaga.core.optimisers import MAX_POINTS, Asked, Measured, Setup, Spectrum
from tests.support.loops import GROUND, HYDROGEN, ising_chain, loop, lowest

EXAMPLES = Path(__file__).parents[2] / "examples" / "loops"

Function = Callable[[Sequence[float]], float]


def setup(n: int = 2, **changes: Any) -> Setup:
    given: dict[str, Any] = {
        "initial": tuple([0.8] * n),
        "seed": 3,
        "iterations": 60,
        "spectrum": tuple([Spectrum(unit=1.0, degree=1)] * n),
    }
    return Setup(**(given | changes))


def waves(at: Sequence[float]) -> float:
    """Zero at the origin, its minimum; each coordinate as a rotation would turn it."""
    return sum(1 - math.cos(x) for x in at)


def told(points: Sequence[Sequence[float]], function: Function) -> list[Measured]:
    return [Measured(value=function(point), standard_error=0.01) for point in points]


def search(name: str, given: Setup, function: Function) -> tuple[list[Asked], list[float]]:
    """All that was asked, the state sent through JSON each time, and the estimate at the end."""
    one = optimiser(name)
    rounds = [one.begin(given)]
    while len(rounds) < given.iterations:
        last = rounds[-1]
        state = json.loads(json.dumps(last.state))
        # Another process may do the next step.
        rounds.append(optimiser(name).tell(given, state, told(last.points, function)))
        if not rounds[-1].points:
            return rounds, one.estimate(given, last.state, told(last.points, function))
    last = rounds[-1]
    return rounds, one.estimate(given, last.state, told(last.points, function))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_each_finds_the_minimum(name: str, noise: float) -> None:
    draw = np.random.default_rng(1)
    _, found = search(name, setup(), lambda at: waves(at) + noise * draw.standard_normal())
    assert waves(found) < 0.05, found


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_the_same_seed_asks_the_same_points(name: str) -> None:
    short = setup(iterations=8)
    first, again = (search(name, short, waves) for _ in range(2))
    assert first == again
    if name != "adam":
        assert search(name, short.model_copy(update={"seed": 4}), waves) != first


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_numpys_own_generator_is_left_alone(name: str) -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    search(name, setup(iterations=3), waves)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index,union-attr]


def test_spsa_calibrates_its_first_step() -> None:
    given = setup(1, options={"calibration": 4, "first_step": 0.3}, iterations=40)
    rounds, _ = search("spsa", given, lambda at: 10 * at[0])
    assert [len(one.points) for one in rounds[:3]] == [8, 2, 2]
    assert rounds[0].purpose == "calibrate"
    before, after = (np.mean(one.points) for one in rounds[1:3])
    assert before - after == pytest.approx(0.3), "downhill, as far as was aimed at"


def test_spsa_with_blocking_goes_back_from_a_worse_point() -> None:
    given = setup(1, initial=(0.0,), options={"a": 5.0, "blocking": True, "tolerated": 0.0})
    one = optimiser("spsa")
    first = one.begin(given)
    assert len(first.points) == 3
    assert first.points[2] == (0.0,)
    second = one.tell(given, first.state, told(first.points, lambda at: at[0]))
    assert second.points[2] != (0.0,)
    values = [Measured(value=value, standard_error=0.0) for value in (1.0, 0.0, 9.0)]
    third = one.tell(given, second.state, values)
    assert third.points[2] == (0.0,), "it was worse than the point before"


@given(
    at=st.lists(st.floats(-3, 3), min_size=2, max_size=2),
    slope=st.sampled_from([1.0, -1.0, 2.0, 0.5]),
)
def test_the_gradient_of_adam_is_exact_for_rotations(at: list[float], slope: float) -> None:
    turned = Spectrum(unit=slope, degree=1)
    given = setup(2, initial=tuple(at), spectrum=(turned, turned))
    one = optimiser("adam")
    asked = one.begin(given)
    assert len(asked.points) == 5
    values = told(asked.points, lambda x: math.cos(slope * x[0]) * math.sin(slope * x[1]))
    state: Any = one.tell(given, asked.state, values).state
    exact = [
        -slope * math.sin(slope * at[0]) * math.sin(slope * at[1]),
        slope * math.cos(slope * at[0]) * math.cos(slope * at[1]),
    ]
    assert np.array(state["mean"]) / 0.1 == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("spsa", {"options": {"a": -1}}, "optimiser.options.a"),
        ("adam", {"options": {"beta1": 1}}, "optimiser.options.beta1"),
        ("adam", {"spectrum": (Spectrum(unit=1.0, degree=1), None)}, "optimiser.name"),
        ("adam", {"spectrum": (Spectrum(unit=1.0, degree=25),) * 2}, "optimiser.name"),
        ("cma_es", {"initial": (0.0,)}, "optimiser.name"),
        ("cma_es", {"options": {"population": MAX_POINTS + 1}}, "optimiser.options.population"),
        ("cma_es", {"options": {"tolx": 1}}, "optimiser.options.tolx"),
    ],
)
def test_what_an_optimiser_cannot_do_it_refuses(
    name: str, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        optimiser(name).begin(setup(**changes))
    assert refused.value.field == field


def test_an_unknown_optimiser_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="adam, cma_es, spsa"):
        optimiser("newton")


def test_an_optimiser_is_installed_by_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "grid_search-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: grid-search\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[qsaga.optimisers]\ngrid = grid_search:Grid\n")
    (tmp_path / "grid_search.py").write_text("class Grid:\n    version = 'grid/1'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert optimiser("grid").version == "grid/1"
    with pytest.raises(InvalidRequest, match="adam, cma_es, grid, spsa"):
        optimiser("newton")


# --- circuits ------------------------------------------------------------------------------------


def qpy(circuit: QuantumCircuit) -> dict[str, str]:
    return {"format": "qpy", "source": base64.b64encode(to_qpy(circuit)).decode()}


def of(circuit: QuantumCircuit) -> QiskitAnsatz:
    """As it is read from QPY, with the identity as observable."""
    request = loop(observable={"I" * circuit.num_qubits: 1.0}, initial=[])
    body = request.model_dump(mode="json")
    body["workload"]["circuit"] = qpy(circuit)
    return QiskitAnsatzReader().read(type(request).model_validate(body))


def test_a_point_is_bound_by_name_and_not_by_place() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(b, 0)
    circuit.ry(a, 0)
    body = loop(observable={"Z": 1.0}, parameters=["b", "a"], initial=[]).model_dump(mode="json")
    body["workload"]["circuit"] = qpy(circuit)
    ansatz = QiskitAnsatzReader().read(type(loop()).model_validate(body))
    assert ansatz.names == ("b", "a")
    bound = from_qpy(base64.b64decode(ansatz.bound([0.25, 0.75]).source))
    assert [float(one.operation.params[0]) for one in bound.data] == [0.25, 0.75]


def test_elements_of_a_vector_are_in_the_order_of_their_index() -> None:
    theta = ParameterVector("t", 12)
    circuit = QuantumCircuit(1)
    for element in theta:
        circuit.rx(element, 0)
    assert of(circuit).names == tuple(f"t[{index}]" for index in range(12))


def test_the_same_point_is_the_same_bytes_in_every_process() -> None:
    request = loop()
    first, second = (QiskitAnsatzReader().read(request).bound([0.5]) for _ in range(2))
    assert first == second


def test_the_shift_rule_is_offered_where_it_is_exact() -> None:
    a, b, c, d, e, f, g = (Parameter(name) for name in "abcdefg")
    circuit = QuantumCircuit(2)
    circuit.rx(2 * a + 1, 0)
    circuit.rzz(-b, 0, 1)
    circuit.ry(c, 0)
    circuit.ry(1.5 * c, 1)
    circuit.crx(d, 0, 1)
    circuit.rx(e * e, 0)
    circuit.p(f, 0)
    circuit.rx(g, 0)
    circuit.rx(math.pi * g, 0)
    circuit.global_phase = 3 * f
    units = [one and (one.unit, one.degree) for one in of(circuit).spectrum()]
    assert units == [(2.0, 1), (-1.0, 1), (0.5, 5), (0.5, 2), None, (1.0, 1), None]


def test_a_parameter_of_a_gate_of_its_own_has_no_known_spectrum() -> None:
    a = Parameter("a")
    inner, circuit = QuantumCircuit(1), QuantumCircuit(1)
    inner.rx(a, 0)
    circuit.append(inner.to_gate(), [0])
    assert of(circuit).spectrum() == (None,)


@given(
    unit=st.sampled_from([1.0, 0.37, 2e-3, 41.0]),
    times=st.lists(st.integers(1, 30), min_size=1, max_size=6),
)
def test_whole_multiples_have_their_greatest_unit(unit: float, times: list[int]) -> None:
    assert common_unit([unit * one for one in times]) == pytest.approx(unit * math.gcd(*times))


def test_numbers_without_a_common_unit_have_none() -> None:
    assert common_unit([1.0, math.sqrt(2)]) is None
    assert common_unit([1.0, 1.0 + 1e-6]) is None


def test_the_shift_rule_is_exact_on_a_real_circuit() -> None:
    """Against the derivative by finite differences, on a state vector."""
    angles = [Parameter(name) for name in "abc"]
    circuit = QuantumCircuit(2)
    circuit.ry(angles[0], 0)
    circuit.rxx(2 * angles[1], 0, 1)
    circuit.p(0.5 * angles[2], 1)
    circuit.h(1)
    circuit.crx(angles[0], 0, 1)
    circuit.ry(-1.5 * angles[1], 1)
    circuit.cp(angles[2], 1, 0)
    circuit.u(angles[0], 0.3 + angles[2], angles[1], 0)
    circuit.cry(2 * angles[1], 1, 0)
    ansatz = of(circuit)
    operator = SparsePauliOp.from_list(list(HYDROGEN.items()))

    def energy(at: Sequence[float]) -> float:
        bound = from_qpy(base64.b64decode(ansatz.bound(at).source))
        return float(Statevector(bound).expectation_value(operator).real)

    at, h = (0.3, 0.7, -0.4), 1e-5
    given = setup(3, initial=at, spectrum=ansatz.spectrum())
    one = optimiser("adam")
    asked = one.begin(given)
    state: Any = one.tell(given, asked.state, told(asked.points, energy)).state
    steps = np.eye(3) * h
    numeric = [(energy(at + step) - energy(at - step)) / (2 * h) for step in steps]
    assert np.array(state["mean"]) / 0.1 == pytest.approx(numeric, abs=1e-8)


def test_adam_finds_the_angles_of_qaoa() -> None:
    """On an even ring depth 1 cuts 3/4 of the edges (Farhi et al. 2014, arXiv:1411.4028)."""
    gamma, beta = Parameter("gamma"), Parameter("beta")
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    for vertex in range(4):
        circuit.rzz(gamma, vertex, (vertex + 1) % 4)
    circuit.rx(2 * beta, range(4))
    ansatz = of(circuit)
    assert [one and one.degree for one in ansatz.spectrum()] == [4, 4]
    ring = SparsePauliOp.from_list([(edge, 1.0) for edge in ("IIZZ", "IZZI", "ZZII", "ZIIZ")])

    def energy(at: Sequence[float]) -> float:
        bound = from_qpy(base64.b64decode(ansatz.bound(at).source))
        return float(Statevector(bound).expectation_value(ring).real)

    start = setup(2, initial=(0.3, 0.4), spectrum=ansatz.spectrum(), options={"rate": 0.05})
    rounds, end = search("adam", start, energy)
    assert {len(one.points) for one in rounds} == {17}
    assert energy(end) == pytest.approx(-2.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "exact"), [("vqe_h2", GROUND), ("vqe_heh", -4.0130632077), ("vqe_lih", -1.0781937587)]
)
def test_published_energies(name: str, exact: float) -> None:
    request = LoopRequest.model_validate_json((EXAMPLES / f"{name}.json").read_text())
    assert lowest(request.workload.observables[0]) == pytest.approx(exact, abs=1e-9)


def test_the_energy_of_two_spins() -> None:
    # Two spins: -Z Z - X - X has the ground energy -sqrt(5).
    assert lowest(ising_chain(2, 1.0)) == pytest.approx(-math.sqrt(5), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "within"),
    [("vqe_h2", 2e-3), ("vqe_heh", 2e-3), ("vqe_lih", 2e-3), ("vqe_chain", 0.03)],
)
def test_the_examples_reach_the_energy_of_exact_diagonalisation(name: str, within: float) -> None:
    request = LoopRequest.model_validate_json((EXAMPLES / f"{name}.json").read_text())
    observable = request.workload.observables[0]
    operator = SparsePauliOp.from_list(list(observable.items()))
    ansatz = QiskitAnsatzReader().read(request)

    def energy(at: Sequence[float]) -> float:
        bound = from_qpy(base64.b64decode(ansatz.bound(at).source))
        return float(Statevector(bound).expectation_value(operator).real)

    rounds, end = search(request.optimiser.name, setup_of(request, ansatz), energy)
    found = min(energy(end), *(energy(point) for one in rounds for point in one.points))
    assert -1e-9 <= found - lowest(observable) <= within
