"""The commands about problems, and pictures of solved ones."""

import json
import sys
from pathlib import Path

import pytest

from qsaga.core.jobs import JobRequest
from qsaga.problems import registry
from qsaga.problems.reduction import REDUCTION
from qsaga.problems.roof import library
from tests.support.sparse import sparse_problem
from tools.stage import Stage

DATA = Path(__file__).parents[2] / "data"


def test_the_list_names_title_sense_and_formats(qsaga) -> None:
    ended = qsaga("problems")
    assert ended.code == 0
    told = " ".join(ended.out.split())
    for name in registry.names():
        kind = registry.get(name)
        assert f"{name} {kind.title} ({kind.sense}; {kind.formats[0].name}" in told
    listed = json.loads(qsaga("problems", "--json").out)
    assert tuple(listed) == registry.names()
    assert "gset" in listed["maxcut"]["formats"]


@pytest.mark.parametrize("name", registry.names())
def test_show_tells_input_formulation_reference_and_example(name: str, qsaga) -> None:
    kind = registry.get(name)
    ended = qsaga("problems", "show", name)
    assert ended.code == 0
    told = " ".join(ended.out.split())
    for words in (kind.title, kind.formulation, kind.reference, " qubits", '"workload"'):
        assert words in told
    for field in kind.model.model_fields:
        assert f"input {field} " in told
        assert f"{field} : " not in told, "a field without a word on it"
    shown = json.loads(qsaga("problems", "show", name, "--json").out)
    assert set(shown["schema"]["properties"]) == set(kind.model.model_fields)
    assert shown["example"] == json.loads(qsaga("problems", "example", name).out)


def test_types_and_limits_are_told(qsaga) -> None:
    told = " ".join(qsaga("problems", "show", "knapsack").out.split())
    assert "list of [name string, value number above 0 to 1e+12, weight integer from 1" in told
    assert "capacity integer from 0" in told
    assert "Penalty: P = 1.5 times the greatest value" in told
    told = " ".join(qsaga("problems", "show", "qubo").out.split())
    assert '"BINARY" or "SPIN", may be left out' in told
    assert "object of number from -1e+12 to 1e+12 by name" in told


def test_an_example_is_a_request(tmp_path: Path, qsaga) -> None:
    file = tmp_path / "e.json"
    file.write_text(qsaga("problems", "example", "knapsack").out)
    assert isinstance(registry.request(json.loads(file.read_text())), JobRequest)
    told = json.loads(qsaga("problems", "size", file, "--json").out)
    assert told == {
        "problem": "knapsack",
        "variables": 7,
        "couplings": 21,
        "qubits": 7,
        "reduced": {
            "version": REDUCTION,
            "library": library(),
            "variables": 7,
            "fixed": 0,
            "solved": 0,
            "components": 1,
            "qubits": 7,
        },
        "warnings": [],
    }


def test_size_before_and_after_the_reduction(tmp_path: Path, qsaga, monkeypatch) -> None:
    file = tmp_path / "sparse.json"
    work = {"kind": "optimise", "problem": {"name": "qubo", "data": sparse_problem()}}
    file.write_text(json.dumps({"key": "k", "workload": work}))
    out = " ".join(qsaga("problems", "size", file).out.split())
    assert "qubits 300 reduced 11 qubits in 2 components, 284 variables fixed, 5 solved" in out
    file.write_text(json.dumps({"key": "k", "workload": work | {"algorithm": {"reduce": False}}}))
    assert "not asked for" in qsaga("problems", "size", file).out
    file.write_text(json.dumps({"key": "k", "workload": work}))
    monkeypatch.setitem(sys.modules, "dwave.preprocessing", None)
    assert "not known without qsaga[reduction]" in qsaga("problems", "size", file).out
    assert json.loads(qsaga("problems", "size", file, "--json").out)["reduced"] is None


def test_size_of_a_file(tmp_path: Path, qsaga) -> None:
    out = qsaga("problems", "size", DATA / "abilene.edges", "--problem", "independent_set").out
    assert " ".join(out.split()) == (
        "problem independent_set variables 11 couplings 14 qubits 11 "
        "reduced 11 qubits, 0 variables fixed"
    )
    far = tmp_path / "far.coo"
    far.write_text("0 0 1e-6\n0 1 1e12\n")
    [hardware, floats] = json.loads(qsaga("problems", "size", far, "--json").out)["warnings"]
    assert "a ratio of 1e+18: hardware" in hardware and "floating point" in floats


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "chess"], "name: unknown problem 'chess' (allowed: "),
        (["example", "chess"], "name: unknown problem 'chess'"),
        (["size", "nowhere.edges"], "nowhere.edges: cannot be read"),
    ],
)
def test_refusals(arguments: list[str], expected: str, qsaga) -> None:
    ended = qsaga("problems", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err


def test_a_circuit_has_no_model(qsaga) -> None:
    ended = qsaga("problems", "size", DATA.parent / "examples" / "estimate.json")
    assert ended.code == 2 and "a circuit has no model" in ended.err


def test_a_large_model_is_not_built(tmp_path: Path, qsaga) -> None:
    names = [f"p{i}" for i in range(1500)]
    file = tmp_path / "p.csv"
    file.write_text("name,size\n" + "".join(f"{name},{i + 1}\n" for i, name in enumerate(names)))
    told = json.loads(qsaga("problems", "size", file, "--json").out)
    assert (told["variables"], told["couplings"]) == (1500, 1500 * 1499 // 2)
    assert told["warnings"] == ["coefficients not looked at: more than 1000000 couplings"]


@pytest.mark.usefixtures("on_stage")
def test_show_draws_the_solution(tmp_path: Path, stage: Stage, qsaga) -> None:
    options = ("--problem", "graph_colouring", "--key", "coloured", "--solve", "0.2")
    assert qsaga("run", DATA / "abilene.edges", *options).code == 0
    picture = tmp_path / "coloured.svg"
    ended = qsaga("show", "coloured", "--picture", picture)
    assert ended.code == 0 and "colours are enough" in " ".join(ended.out.split())
    assert picture.read_text().count("<path") > 14
    assert "is no kind of picture" in qsaga("show", "coloured", "--picture", "a.gif").err
    circuit = DATA.parent / "examples" / "bell_sample.json"
    assert qsaga("run", circuit, "--key", "bell", "--tenant", "default").code == 0
    ended = qsaga("show", "bell", "--picture", picture)
    assert ended.code == 2 and "no solution to draw" in ended.err
