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
        json.dumps(
            request(workload={"kind": "optimise", "problem": {"name": "chess", "data": {}}})
        ),
        [],
        "workload.problem.name: unknown problem 'chess' (allowed: feature_selection, ",
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
    "unknown sensitivity": (
        "g.edges",
        GRAPH,
        ["--sensitivity", "secret"],
        "sensitivity: 'secret' is not known (allowed: 'public', 'internal', 'confidential'",
    ),
    "unknown environment": (
        "g.edges",
        GRAPH,
        ["--environment", "dev"],
        "environment: 'dev' is not",
    ),
    "no region": ("g.edges", GRAPH, ["--region", "eu,,us"], "regions.1: '' does not fit"),
    "no template": ("g.edges", GRAPH, ["--template", "A B"], "template: 'A B' does not fit"),
    "no wait for a person": (
        "g.edges",
        GRAPH,
        ["--approval", "-1"],
        "budgets.approval: -1.0 is out of",
    ),
    "nobody": ("g.edges", GRAPH, ["--by", " "], "requested_by: ' ' does not fit"),
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


TENANT_FILES = {
    "a negative limit": (
        '{"name": "t", "money": {"limit": -5}}',
        "money.limit: -5 is out of range (allowed: at least 0)",
    ),
    "a limit that is no number": (
        '{"name": "t", "money": {"limit": NaN}}',
        "money.limit: not a finite number",
    ),
    "an unknown field": ('{"name": "t", "colour": 1}', "colour: there is no such field"),
    "an unknown period": (
        '{"name": "t", "money": {"limit": 5, "period": "hour"}}',
        "money.period: 'hour' is not known (allowed: 'day', 'week', 'month', 'year' or 'ever')",
    ),
    "an unknown currency": (
        '{"name": "t", "currency": "euro"}',
        "currency: 'euro' does not fit (allowed: text matching ^[A-Z]{3}$)",
    ),
    "no name": ("{}", "name: the field is missing"),
    "a list": ("[1]", "holds no tenant (allowed: a table with name and budgets)"),
    "no JSON": ("{,", "no TOML or JSON"),
}
DECIDE = ["approve", "t/k", "--why", "w"]
SET = ["tenant", "set", "--name", "t"]
BAD = {
    "reason that is empty": (
        ["approve", "t/k", "--why", " "],
        "why: empty (allowed: a reason of 1 to 2000 characters)",
    ),
    "rejection without a reason": (["reject", "t/k", "--why", ""], "why: empty"),
    "deletion without a reason": (["forget", "t/k", "--why", "", "--yes"], "why: empty"),
    "reason that is missing": (["approve", "t/k"], "--why"),
    "negative money": (
        [*DECIDE, "--money=-1"],
        "money: Decimal('-1') is out of range (allowed: at",
    ),
    "money that is no number": (
        [*DECIDE, "--money", "much"],
        "money: 'much' is no number (allowed: a number, 0 or more)",
    ),
    "money without end": ([*DECIDE, "--money", "inf"], "money: not a finite number"),
    "negative quantum seconds": (
        [*DECIDE, "--quantum-seconds=-1"],
        "quantum_seconds: -1.0 is out of range (allowed: at least 0.0)",
    ),
    "rejection with a budget": (["reject", "t/k", "--why", "w", "--money", "1"], "--money"),
    "verdict that is unknown": (["defer", "t/k"], "defer"),
    "decision of nobody": ([*DECIDE, "--by", "/"], "by: '/' does not fit"),
    "inbox of no tenant": (["inbox", "--tenant", "t' OR 1=1"], 'tenant: "t\' OR 1=1" does not fit'),
    "tenant without a name": (
        ["tenant", "set", "--money", "5"],
        "--name: missing (allowed: a name, or a file with all of the tenant)",
    ),
    "tenant of no name": (["tenant", "show", "A B"], "tenant: 'A B' does not fit"),
    "negative budget": ([*SET, "--money=-5"], "money.limit: Decimal('-5') is out of range"),
    "budget of no number": ([*SET, "--money", "x/day"], "money.limit: 'x' is no number"),
    "budget of no period": ([*SET, "--money", "5/hour"], "money.period: 'hour' is not known"),
    "currency that is unknown": ([*SET, "--currency", "usd"], "currency: 'usd' does not fit"),
    "number of jobs": ([*SET, "--jobs=-1"], "jobs: '-1' is out of range (allowed: at least 0)"),
    "what happens when spent": (
        [*SET, "--when-spent", "pray"],
        "when_spent: 'pray' is not known (allowed: 'refuse' or 'fallback')",
    ),
    "retention": ([*SET, "--retention-days", "0"], "retention_days: '0' is out of range"),
    "tenant file that is missing": (["tenant", "set", "nowhere.toml"], "nowhere.toml: cannot be"),
    "state": (["history", "--state", "done"], "state: 'done' is not known (allowed: received, "),
    "verb": (["history", "--verb", "factor"], "verb: 'factor' is not known (allowed: optimise, "),
    "source": (["history", "--source", "x"], "source: 'x' is not known (allowed: hardware, "),
    "time": (["history", "--since", "soon"], "since: 'soon' is no time (allowed: 2026-11-01, "),
    "history limit": (
        ["history", "--limit", "0"],
        "limit: 0 is out of range (allowed: at least 1)",
    ),
    "audit limit": (["audit", "--limit", "99999"], "limit: 99999 is out of range"),
    "audit of no tenant": (["audit", "--tenant", "A"], "tenant: 'A' does not fit"),
    "job without a key": (["forget", "t/", "--why", "w", "--yes"], "job_id: 't/' does not fit"),
    "days": (["retain", "--days", "0"], "days: 0 is out of range (allowed: at least 1)"),
}


def refused_before_anybody_is_asked(ended: Any, expected: str) -> None:
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1


@pytest.mark.parametrize("case", TENANT_FILES)
def test_refused_tenant_file(case: str, tmp_path: Path, qsaga, monkeypatch) -> None:
    monkeypatch.setenv("QSAGA_TEMPORAL__ADDRESS", "127.0.0.1:1")
    text, expected = TENANT_FILES[case]
    file = tmp_path / "tenant.json"
    file.write_text(text)
    ended = qsaga("tenant", "set", file)
    refused_before_anybody_is_asked(ended, expected)
    assert f"{file}" in ended.err


@pytest.mark.parametrize("case", BAD)
def test_refused_words(case: str, qsaga, monkeypatch) -> None:
    monkeypatch.setenv("QSAGA_TEMPORAL__ADDRESS", "127.0.0.1:1")
    arguments, expected = BAD[case]
    refused_before_anybody_is_asked(qsaga(*arguments), expected)


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "FILE"],
        ["run", "FILE"],
        ["show", "t/k"],
        ["explain", "t/k"],
        ["watch", "t/k"],
        ["cancel", "t/k"],
        ["inbox"],
        DECIDE,
        ["reject", "t/k", "--why", "w"],
        SET,
        ["tenant", "show", "t"],
        ["tenant", "list"],
        ["books"],
        ["reconcile"],
        ["history", "--since", "7d"],
        ["audit"],
        ["forget", "t/k", "--why", "w", "--yes"],
        ["retain"],
        ["rebuild"],
    ],
    ids=" ".join,
)
def test_nobody_answers(arguments: list[str], qsaga, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QSAGA_TEMPORAL__ADDRESS", "127.0.0.1:1")
    file = tmp_path / "g.edges"
    file.write_text(GRAPH)
    ended = qsaga(*(str(file) if word == "FILE" else word for word in arguments))
    assert ended.code == 6
    assert "no Temporal server answers at 127.0.0.1:1" in ended.err
