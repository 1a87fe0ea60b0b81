"""The examples do what they say."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.stage import Stage

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage"), ui=False) as stage:
        stage.start_worker()
        yield stage


def run(stage: Stage, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / name],
        env=stage.environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_application(stage: Stage) -> None:
    assert len((EXAMPLES / "application.py").read_text().splitlines()) < 40
    ended = run(stage, "application.py")
    assert ended.returncode == 0, ended.stderr
    assert "5 of 6 edges, weight 6" in ended.stdout
    assert "completed: answered by annealing (neal), seed 7" in ended.stdout
    # The same key again: the same job, found and not run.
    again = run(stage, "application.py")
    assert again.stdout.splitlines()[-3:] == ended.stdout.splitlines()[-3:]


def test_parent_workflow(stage: Stage) -> None:
    ended = run(stage, "parent_workflow.py")
    assert ended.returncode == 0, ended.stderr
    chosen = ended.stdout.strip().removeprefix("may share a frequency: ").split(", ")
    assert sorted(chosen) in (["east", "west"], ["north", "south"])
