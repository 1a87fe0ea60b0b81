"""The worked example of docs/adding-a-problem.md: one file, one line, one request."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-problem.md").read_text()

SOLVE = """
import json, sys
from adapters.annealing import NealSolver
from qsaga.problems import registry
from qsaga.problems.verify import SAMPLE_SET, dump_model, verify
from tests.problems.strategies import decoded, everything

request = registry.request(json.load(sys.stdin))
kind, given = registry.parse(request.workload.problem)
model = dump_model(kind.formulate(given))
answer, _ = verify(request.workload, model, NealSolver().solve(model, 0.1, 1), SAMPLE_SET)
bits = everything(kind, given)
best = kind.objectives(given, bits)[kind.feasibles(given, bits)].min()
print(json.dumps([answer.quality.objective, best, answer.solution, answer.explanation]))
"""


def block(language: str) -> str:
    found = re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the page's file is installed with the page's line."""
    (tmp_path / "vertex_cover.py").write_text(block("python"))
    points = tomllib.loads(block("toml"))["project"]["entry-points"]
    info = tmp_path / "cameras-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cameras\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n{name} = {at}\n" for group, of in points.items() for name, at in of.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    path = [str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(part for part in path if part)}


def python(code: str, environment: dict[str, str], given: str = "") -> Any:
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_example_is_found_and_solved(installed: dict[str, str]) -> None:
    value, best, solution, words = json.loads(python(SOLVE, installed, block("json")))
    assert value == best == 2
    assert solution == {"chosen": ["church", "port"]}
    assert f"{words}\n" in PAGE, "the page shows another answer"


def test_the_command_line_knows_it(installed: dict[str, str]) -> None:
    show = "from qsaga.cli.app import run; run(['problems', 'show', 'vertex_cover'])"
    told = " ".join(python(show, installed).split())
    assert "streets between two crossings" in told
    assert "every P above 1 makes the lowest energy that of a cover" in told
    assert "4 variables, 3 couplings, 4 qubits" in told


def test_bad_input_is_refused_as_the_page_says(installed: dict[str, str]) -> None:
    request = json.loads(block("json"))
    edges = request["workload"]["problem"]["data"]["edges"]
    edges[2] = edges[0][::-1]
    code = (
        "import json, sys; from qsaga.core.errors import InvalidRequest\n"
        "from qsaga.problems import registry\n"
        "try:\n    registry.request(json.load(sys.stdin))\n"
        "except InvalidRequest as error:\n    print(f'error: {error}', end='')"
    )
    refusal = python(code, installed, json.dumps(request))
    assert refusal and refusal in PAGE
