"""Cases that only a person can decide, from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.stage import Stage, wait_until

ROOT = Path(__file__).parents[2]
RUN = ["run", ROOT / "data" / "abilene.edges", "--solve", "0.2", "--route", "hardware"]
LOST = {"do": "drop", "on": "submit", "when": "after", "count": 1}
DENIED = {"do": "answer", "status": 403, "on": ["list", "job", "cancel"], "after": 1}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("quarantine"), ui=False) as stage:
        stage.start_worker()
        yield stage


pytestmark = pytest.mark.usefixtures("on_stage")


@pytest.fixture
def case(stage: Stage, qsaga: Any) -> Iterator[dict[str, Any]]:
    """A submission whose reply was lost, at a provider that lets nobody look for it."""
    stage.emulator.control.set_plan(LOST, DENIED)
    done = qsaga(*RUN, "--key", "lost-1", "--json")
    assert json.loads(done.out)["state"] == "degraded", done.err
    wait_until(lambda: json.loads(qsaga("quarantine", "--json").out), "a case appears")
    (found,) = json.loads(qsaga("quarantine", "--json").out)
    yield found
    stage.emulator.control.clear_plan()


def test_a_case_from_the_list_to_its_end(stage: Stage, qsaga: Any, case: dict[str, Any]) -> None:
    shown = qsaga("quarantine")
    assert shown.code == 0
    for said in (case["run_id"], "default/lost-1", "status 403", "without a reply"):
        assert said in shown.out
    (job,) = stage.emulator.control.jobs(tag=case["run_id"])
    for wrong, says in (
        ([], "0 of them are given"),
        (["--never-accepted", "--job", "d1"], "2 of them are given"),
        (["--charged", "d1"], "has no '='"),
        (["--charged", "d1=much"], "quantum_seconds"),
    ):
        refused = qsaga("resolve", case["run_id"], *wrong, "--why", "x", "--by", "olga")
        assert (refused.code, says in refused.err) == (2, True), refused.err
    unknown = qsaga("resolve", "qsaga:none", "--never-accepted", "--why", "x", "--by", "olga")
    assert unknown.code == 7
    assert "waits for a person" in unknown.err
    done = qsaga(
        "resolve", case["run_id"], "--charged", f"{job['id']}=3", "--why", "invoice", "--by", "olga"
    )
    assert done.code == 0, done.err
    assert "its account is being closed" in done.out
    wait_until(lambda: not json.loads(qsaga("quarantine", "--json").out), "it ends")
    assert "no submission waits" in qsaga("quarantine").out
    kept = json.loads(qsaga("show", "lost-1", "--json").out)
    assert kept["charges"][0]["cost"]["quantum_seconds"] == 3.0
    assert len(stage.emulator.control.posts()) == 1
