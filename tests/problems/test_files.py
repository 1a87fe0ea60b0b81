"""Readers: round trips, and complaints that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import dimod
import pytest
from dimod.serialization import coo
from hypothesis import given, settings
from hypothesis import strategies as st

from qsaga.core.errors import InvalidRequest
from qsaga.problems import registry
from qsaga.problems.files import read_problem

values = st.floats(-100, 100).map(lambda value: round(value, 6))


@st.composite
def models(draw: st.DrawFn) -> dimod.BinaryQuadraticModel:
    """A random model over 0 … n-1, every variable with a bias, as coo can tell no others."""
    size = draw(st.integers(1, 6))
    model = dimod.BinaryQuadraticModel(draw(st.sampled_from(["BINARY", "SPIN"])))
    for i in range(size):
        model.add_linear(i, draw(values.filter(bool)))
        for j in range(i):
            if draw(st.booleans()):
                model.add_quadratic(i, j, draw(values))
    return model


def modelled(path: Path, format: str | None = None) -> dimod.BinaryQuadraticModel:
    kind, parsed = registry.parse(read_problem(path, format=format))
    return kind.formulate(parsed)


def as_text(model: dimod.BinaryQuadraticModel) -> dimod.BinaryQuadraticModel:
    return model.relabel_variables({v: str(v) for v in model.variables}, inplace=False)


@settings(max_examples=40, deadline=None)
@given(models())
def test_dimod_round_trips(tmp_path_factory: pytest.TempPathFactory, model: dimod.BQM) -> None:
    folder = tmp_path_factory.mktemp("models")
    json_file, coo_file = folder / "m.json", folder / "m.txt"
    model.offset = 2.5
    json_file.write_text(json.dumps(model.to_serializable()))
    assert modelled(json_file) == as_text(model)
    model.offset = 0.0
    coo_file.write_text(coo.dumps(model, vartype_header=True))
    assert modelled(coo_file).is_almost_equal(as_text(model), places=5)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_graph_round_trips(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 8))
    pairs = [(i, j) for i in range(1, size + 1) for j in range(1, i)]
    rows = [
        (*pair, data.draw(values))
        for pair in data.draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    ]
    path = tmp_path_factory.mktemp("graphs") / "graph.txt"
    path.write_text(f"{size} {len(rows)}\n" + "".join(f"{u} {v} {w}\n" for u, v, w in rows))
    _, found = registry.parse(read_problem(path))
    assert found.nodes == tuple(str(i) for i in range(1, size + 1))
    assert found.edges == tuple((str(u), str(v), w) for u, v, w in rows)
    path.write_text("# a graph\n\n" + "".join(f"c{u}  c{v}\t{w} # link\n" for u, v, w in rows))
    _, found = registry.parse(read_problem(path))
    assert found.edges == tuple((f"c{u}", f"c{v}", w) for u, v, w in rows)


def test_sparse_counts_off_diagonals_twice(tmp_path: Path) -> None:
    path = tmp_path / "tiny.sparse"
    path.write_text("3 3\n1 1 -4\n1 2 3\n3 2 -5\n")
    kind, parsed = registry.parse(read_problem(path))
    assert kind.variables(parsed) == ("1", "2", "3")
    assert kind.objective(parsed, {"1": 1, "2": 1, "3": 0}) == -4 + 2 * 3
    assert kind.objective(parsed, {"1": 1, "2": 1, "3": 1}) == -4 + 2 * 3 - 2 * 5


def test_a_graph_becomes_what_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "g.mc"
    path.write_text("3 2\n1 2 1\n2 3 1\n")
    assert read_problem(path).name == "maxcut"
    independent = read_problem(path, "independent_set")
    assert independent.data == {"nodes": ["1", "2", "3"], "edges": [["1", "2"], ["2", "3"]]}


def saved(**changes: object) -> str:
    """A model of a and b as dimod saves it, but for the changes."""
    model = dimod.BinaryQuadraticModel({"a": -1, "b": -5}, {("a", "b"): 2}, 0.5, "BINARY")
    return json.dumps(model.to_serializable() | changes)


WRONG: list[tuple[str, str, int | str, str]] = [
    ("a.edges", "a b\nb b\n", 2, "joins 'b' to itself"),
    ("a.edges", "# x\na b 1\nb a 2\n", 3, "already given on line 2"),
    ("a.edges", "a b\na c nan\n", 2, "'nan' is not finite"),
    ("a.edges", "a b\na c -inf\n", 2, "not finite"),
    ("a.edges", "a b\na c heavy\n", 2, "'heavy' is no number"),
    ("a.edges", "a b\nlonely\n", 2, "1 words"),
    ("a.edges", "# nothing\n", 1, "no edges"),
    ("g.gset", "3 2\n1 2 1\n2 4 1\n", 3, "index 4 is out of range"),
    ("g.gset", "3 2\n1 2 1\n0 1 1\n", 3, "index 0 is out of range"),
    ("g.gset", "3 2\n1 2 1\nx 1 1\n", 3, "'x' is no index"),
    ("g.gset", "3 3\n1 2 1\n2 3 1\n", 3, "2 edges, the header says 3"),
    ("g.gset", "3 1\n1 2\n", 2, "2 words"),
    ("g.gset", "three 1\n1 2 1\n", 1, "header"),
    ("g.gset", "", 1, "empty"),
    ("b.json", '{\n"type": oops}', 2, "no JSON"),
    ("b.json", "[]", 1, "no binary quadratic model"),
    ("b.json", '{"type": "BinaryQuadraticModel"}', " variable_labels", "no list"),
    ("b.json", saved(variable_type="TERNARY"), 1, "not a model that dimod reads"),
    ("b.json", saved(quadratic_head=[-1]), " quadratic_head.0", "-1 is no index"),
    ("b.json", saved(quadratic_tail=[2]), " quadratic_tail.0", "2 is no index"),
    ("b.json", saved(quadratic_tail=[True]), " quadratic_tail.0", "True is no index"),
    ("b.json", saved(quadratic_tail=[0, 1]), " quadratic_tail", "2 values"),
    ("b.json", saved(linear_biases=[-5.0]), " linear_biases", "1 values"),
    ("b.json", saved(linear_biases=[1.0, 10**400]), " linear_biases.1", "no finite number"),
    ("b.json", saved(quadratic_biases=["1"]), " quadratic_biases.0", "'1' is no finite number"),
    ("b.json", saved(offset=float("nan")), " offset", "nan is no finite number"),
    ("b.json", saved(variable_labels=[0, "0"]), " variable_labels", "same name"),
    ("b.json", saved(variable_labels=None), " variable_labels", "no list"),
    ("c.coo", "# vartype=TERNARY\n0 0 1\n", 1, "vartype 'TERNARY'"),
    ("c.coo", "0 0 1\n0 1\n", 2, "2 words"),
    ("c.coo", "0 0 1\n-1 0 1\n", 2, "'-1' is no index"),
    ("s.sparse", "2 1\n1 2 inf\n", 2, "not finite"),
    ("s.sparse", "2 2\n1 2 1\n2 1 1\n", 3, "already given on line 2"),
]


@pytest.mark.parametrize(("name", "text", "line", "problem"), WRONG)
def test_malformed_files(
    tmp_path: Path, name: str, text: str, line: int | str, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        read_problem(path)
    assert caught.value.field == f"{path}:{line}"
    assert problem in caught.value.problem


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.edges", "a b\nb c\nc a\n"),
        ("a.txt", "3 2\n1 2 1\n2 3 1\n"),
        ("a.csv", "city,x,y\nA,0,0\nB,1,1\nC,2,2\n"),
        ("a.json", saved()),
        ("a.dat", "2\n0 1\n1 0\n0 2\n2 0\n"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str, text: str) -> None:
    plain, marked = tmp_path / name, tmp_path / f"marked{name}"
    plain.write_text(text)
    marked.write_bytes(MARK + text.encode())
    assert read_problem(marked) == read_problem(plain)


def test_what_does_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "a.edges"
    path.write_text("a b 2\n")
    with pytest.raises(InvalidRequest, match="edge weight 2"):
        read_problem(path, "independent_set")
    with pytest.raises(InvalidRequest, match="holds no 'qubo'"):
        read_problem(path, "qubo")
    with pytest.raises(InvalidRequest, match="unknown format 'xml'"):
        read_problem(path, format="xml")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_problem(tmp_path / "none.edges")
    (tmp_path / "latin.edges").write_bytes(b"M\xfcnchen Ulm\n")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_problem(tmp_path / "latin.edges")
