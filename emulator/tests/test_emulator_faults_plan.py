"""The document: what is understood, and what is refused with file, line and field."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from ibm_quantum_emulator.cli import app
from ibm_quantum_emulator.documents import DocumentError, json_line, toml_line
from ibm_quantum_emulator.endpoints import ENDPOINTS, target
from ibm_quantum_emulator.faultplan import described, parse_plan, read_plan
from ibm_quantum_emulator.faultrules import AnyRule

GOOD = """\
version = 1
seed = 7

[[faults]]
name = "twice"
on = "submit"
tag = "run:*"
do = "answer"
when = "after"
status = 504
count = 2
per_job = true

[[faults]]
do = "outage"
from = 2030-01-01T00:00:00Z
until = "+7200"
"""


def test_a_plan_reads_back_as_the_same_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(GOOD)
    plan = read_plan(tmp_path / "plan.toml")
    assert [rule.name for rule in plan.faults] == ["twice", "rule-2"]
    assert plan.faults[1].start == 1893456000.0
    assert plan.faults[1].endpoints == ENDPOINTS
    (tmp_path / "plan.json").write_text(json.dumps(plan.document()))
    assert read_plan(tmp_path / "plan.json") == plan
    assert described(plan.faults[0]) == (
        "twice: answer on submit; tag 'run:*'; per_job True; when 'after'; status 504;"
        " at most 2 times"
    )


# Line of the wrong thing in the TOML text, what comes before it, and what the message says.
WRONG = [
    (3, "version = 1\nseed = 1\n[[faults]]\n", "faults[0].do"),
    (4, 'version = 1\n[[faults]]\ndo = "drop"\non = "jobs"\n', "'jobs' is no endpoint; allowed"),
    (3, 'version = 1\n[[faults]]\non = "job"\ndo = "fail"\n', "allowed: submit"),
    (3, 'version = 1\n[[faults]]\ndo = "explode"\n', "'drop', 'answer', 'outage'"),
    (5, 'version = 1\n[[faults]]\ndo = "drop"\non = "*"\ncolor = 1\n', "unknown field; allowed: "),
    (6, 'version = 1\n[[faults]]\ndo = "answer"\non = "*"\n# high\nstatus = 99\n', "equal to 200"),
    (2, 'version = 1\n[[faults]]\ndo = "answer"\non = "*"\n', "faults[0].status: this field is"),
    (2, 'version = 1\n[[faults]]\ndo = "drop"\n', "on: this field is missing"),
    (4, 'version = 1\n[[faults]]\ndo = "outage"\nprobability = 2.0\n', "less than or equal to 1"),
    (4, 'version = 1\n[[faults]]\ndo = "outage"\nfrom = "soon"\n', "'+N'"),
    (2, 'version = 1\n[[faults]]\ndo = "outage"\nuntil = 5\nfor = 5\n', "exclude each other"),
    (2, 'version = 1\n[[faults]]\ndo = "malformed"\non = "*"\n', "exactly one of"),
    (1, "version = 2\n", "version: Input should be 1; it is 2"),
    (2, "version = 1\nfautls = []\n", "unknown field; allowed: faults, seed, version"),
]


@pytest.mark.parametrize(("line", "text", "told"), WRONG)
@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_wrong_plan_is_refused_with_its_line(
    tmp_path: Path, line: int, text: str, told: str, kind: str
) -> None:
    file = tmp_path / f"plan.{kind}"
    if kind == "toml":
        file.write_text(text)
    else:
        file.write_text(json.dumps(tomllib.loads(text), indent=1))
    with pytest.raises(DocumentError) as caught:
        read_plan(file)
    (problem,) = caught.value.problems
    assert told in problem
    assert problem.startswith(f"{file}, line ")
    if kind == "toml":
        assert problem.startswith(f"{file}, line {line}: ")


def test_a_rule_inside_a_text_is_not_taken_for_one() -> None:
    text = (
        'version = 1\n[[faults]]\ndo = "malformed"\non = "*"\ntext = """\n[[faults]]\n"""\n'
        '[[faults]]\ndo = "stall"\non = "*"\nseconds = 1\n'
    )
    assert toml_line(text, ("faults", 1, "do")) == 9
    assert toml_line(text, ("faults", 1, "nothing")) == 8


def test_lines_of_json_are_found_in_any_layout() -> None:
    text = '{"a": [1, {"b":\n 2,\n "c{": "]"}],\n\n "d": {}}'
    assert json_line(text, ("a", 1, "c{")) == 3
    assert json_line(text, ("a", 1, "b")) == 2
    assert json_line(text, ("d", "missing")) == 5


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [("p.toml", "version = 1\n\n[[faults\n", 3), ("p.json", '{\n "version" 1}', 2)],
)
def test_what_is_not_even_a_document_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, line: int
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DocumentError, match=f"{name}, line {line}: not "):
        read_plan(tmp_path / name)
    with pytest.raises(DocumentError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.toml")


def test_the_readme_names_every_rule_and_its_example_is_a_plan() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    section = readme.split("## Fault plan\n")[1].split("\n## ")[0]
    example = section.split("```toml\n")[1].split("```")[0]
    names = [rule.name for rule in parse_plan(tomllib.loads(example)).faults]
    assert names == ["gateway", "rule-2", "rule-3", "rule-4"]
    for kind in get_args(get_args(AnyRule)[0]):
        assert f"| `{get_args(kind.model_fields['do'].annotation)[0]}` |" in section
    assert all(f"`{name}`" in section for name in ENDPOINTS)


def test_names_must_differ() -> None:
    rule = {"name": "a", "do": "outage"}
    with pytest.raises(DocumentError, match="used twice: a"):
        parse_plan({"version": 1, "faults": [rule, rule]})


def test_the_command_line_checks_and_refuses(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("504", "5040"))
    checked = CliRunner().invoke(app, ["faults", "check", str(good)])
    assert checked.exit_code == 0
    assert "twice: answer on submit; tag 'run:*'" in checked.stdout
    for command in (["faults", "check", str(bad)], ["serve", "--faults", str(bad)]):
        refused = CliRunner().invoke(app, command)
        assert refused.exit_code == 2
        assert f"{bad}, line 10: faults[0].status" in refused.stderr


def test_every_endpoint_has_a_path() -> None:
    entry = "00000000-0000-0000-0000-000000000000"
    paths = {
        "submit": "POST /api/v1/jobs",
        "list": "GET /experimental/jobs",
        "job": "GET /api/v1/jobs/j",
        "delete": "DELETE /api/v1/jobs/j",
        "result": "GET /api/v1/jobs/j/results",
        "logs": "GET /api/v1/jobs/j/logs",
        "metrics": "GET /api/v1/jobs/j/metrics",
        "cancel": "POST /api/v1/jobs/j/cancel",
        "tags": "PUT /api/v1/jobs/j/tags",
        "backends": "GET /api/v1/backends",
        "configuration": "GET /api/v1/backends/b/configuration",
        "properties": "GET /api/v1/backends/b/properties",
        "status": "GET /api/v1/backends/b/status",
        "usage": "GET /api/v1/instances/usage",
        "session_open": "POST /api/v1/sessions",
        "session": "GET /api/v1/sessions/s",
        "session_patch": "PATCH /api/v1/sessions/s",
        "session_close": "DELETE /api/v1/sessions/s/close",
        "catalog": f"GET /api/v1/{entry}",
        "token": "POST /identity/token",
        "search": "POST /v3/resources/search",
        "other": "GET /api/v1/nothing",
    }
    assert set(paths) == set(ENDPOINTS)
    for name, text in paths.items():
        found = target(*text.split())
        assert found.endpoint == name
        assert found.job == ("j" if "/j" in text and "/jobs/j" in text else None)
        assert found.backend == ("b" if "/backends/b" in text else None)


def test_no_field_is_called_like_a_rule() -> None:
    # Places of errors are told apart by that.
    kinds = get_args(get_args(AnyRule)[0])
    names = {get_args(kind.model_fields["do"].annotation)[0] for kind in kinds}
    fields = {f.alias or n for kind in kinds for n, f in kind.model_fields.items()}
    assert len(names) == len(kinds)
    assert not names & fields
