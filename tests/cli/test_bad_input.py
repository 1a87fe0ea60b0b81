"""What cannot be accepted is refused before anything is asked of a server."""

import json
from pathlib import Path
from typing import Any

import pytest

GRAPH = "a b\nb c\n"


def request(**changes: Any) -> dict[str, Any]:
    problem = {"name": "maxcut", "data": {"edges": [["a", "b"], ["b", "c"]]}}
    return {"key": "k", "workload": {"kind": "optimise", "problem": problem}} | changes


def with_edges(*edges: list[Any]) -> str:
    data = request()
    data["workload"]["problem"]["data"]["edges"] = list(edges)
    return json.dumps(data)


CASES = {
    "malformed edge list": ("g.edges", "a b\nb\n", [], "g.edges:2: 1 words"),
    "malformed JSON": ("r.json", '{"workload":\n{,', [], "r.json:2: no JSON"),
    "malformed TOML": ("r.toml", "[workload\n", [], "r.toml: no TOML"),
    "malformed G-set": ("g.gset", "3 2\n1 2 1\n", [], "g.gset:2: 1 edges, the header says 2"),
    "self-loop in a file": ("g.edges", "a b\nb b\n", [], "g.edges:2: the edge joins 'b' to itself"),
    "self-loop": (
        "r.json",
        with_edges(["a", "b"], ["c", "c"]),
        [],
        "workload.problem.data.edges.1: the edge joins 'c' to itself",
    ),
    "NaN weight in a file": ("g.edges", "a b nan\n", [], "g.edges:1: 'nan' is not finite"),
    "NaN weight": (
        "r.json",
        with_edges(["a", "b", float("nan")]),
        [],
        "workload.problem.data.edges.0.weight: not a finite number",
    ),
    "infinite weight": (
        "r.json",
        with_edges(["a", "b", float("inf")]),
        [],
        "workload.problem.data.edges.0.weight: not a finite number",
    ),
    "negative shots": ("g.edges", GRAPH, ["--shots", "-5"], "workload.shots: -5 is out of range"),
    "zero shots": ("g.edges", GRAPH, ["--shots", "0"], "workload.shots: 0 is out of range"),
    "unknown problem of a file": (
        "g.edges",
        GRAPH,
        ["--problem", "tsp"],
        "problem: a file of format edges holds no 'tsp'",
    ),
    "unknown problem": (
        "r.json",
        json.dumps(request(workload={"kind": "optimise", "problem": {"name": "tsp", "data": {}}})),
        [],
        "workload.problem.name: unknown problem 'tsp' (allowed: independent_set, maxcut, qubo)",
    ),
    "unknown format": ("g", GRAPH, ["--format", "xls"], "format: unknown format 'xls'"),
    "unknown route": ("g.edges", GRAPH, ["--route", "magic"], "route: 'magic' is not known"),
    "contradictory budgets": (
        "g.edges",
        GRAPH,
        ["--deadline", "10", "--queue", "20"],
        "budgets: budgets contradict each other: queue is 20 s but the deadline is 10 s",
    ),
    "hardware without quantum seconds": (
        "g.edges",
        GRAPH,
        ["--route", "hardware", "--quantum-seconds", "0"],
        "budgets.quantum_seconds is 0 but route is hardware",
    ),
    "no duration": ("g.edges", GRAPH, ["--queue", "soon"], "budgets.queue: 'soon' is no duration"),
    "negative duration": ("g.edges", GRAPH, ["--queue", "-1"], "budgets.queue: -1.0 is out of"),
    "key with a slash": ("g.edges", GRAPH, ["--key", "a/b"], "key: 'a/b' does not fit"),
    "no such field": ("r.json", json.dumps(request(colour=1)), [], "colour: there is no such"),
    "no workload": ("r.json", '{"key": "k"}', [], "r.json: workload: the field is missing"),
    "neither number nor word": ("g.edges", GRAPH, ["--shots", "many"], "--shots"),
    "no such file": (None, "", [], "missing.edges: cannot be read"),
    "no such request": ("", "", [], "cannot be read"),
}


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("case", CASES)
def test_refused(command: str, case: str, tmp_path: Path, qsaga, monkeypatch) -> None:
    # Nobody listens there: whoever asked a server would end with 6.
    monkeypatch.setenv("QSAGA_TEMPORAL__ADDRESS", "127.0.0.1:1")
    name, text, options, expected = CASES[case]
    file = tmp_path / (name or ("missing.edges" if name is None else "missing.json"))
    if name:
        file.write_text(text)
    ended = qsaga(command, file, *options)
    assert ended.code == 2
    assert ended.out == ""
    assert expected in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["nope"], ["plan"], ["plan", "x", "--nope"], ["show"]])
def test_usage(arguments: list[str], qsaga) -> None:
    ended = qsaga(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1


def test_bad_settings(qsaga, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QSAGA_TEMPORAL__STICKY_TIMEOUT", "-1")
    ended = qsaga("doctor")
    assert ended.code == 2
    assert "settings.temporal.sticky_timeout: '-1' is out of range" in ended.err


@pytest.mark.parametrize("command", ["plan", "run", "show", "watch", "cancel"])
def test_nobody_answers(command: str, qsaga, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QSAGA_TEMPORAL__ADDRESS", "127.0.0.1:1")
    file = tmp_path / "g.edges"
    file.write_text(GRAPH)
    ended = qsaga(command, file if command in ("plan", "run") else "t/k")
    assert ended.code == 6
    assert "no Temporal server answers at 127.0.0.1:1" in ended.err
