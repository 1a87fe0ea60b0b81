"""The examples do what they say."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qsaga.core.facts import BackendFacts, Decision, Facts
from qsaga.core.jobs import Sensitivity
from qsaga.core.policy import decide
from qsaga.core.states import Rung
from qsaga.policies import load_policy
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


def decided(**changes: Any) -> Decision:
    """What the example policy says of a sample job on an idle backend."""
    idle = BackendFacts(name="ibm_torino", provider="ibm", qubits=133, operational=True)
    given = {
        "verb": "sample",
        "qubits": 2,
        "shots": 1000,
        "backends": (idle,),
        "queue_budget": 60.0,
        "quantum_seconds": 60.0,
    }
    return decide(load_policy(EXAMPLES / "policy.toml"), Facts(**(given | changes)))


def asked(**changes: Any) -> str | None:
    approval = decided(**changes).approval
    return approval.rule if approval else None


def test_policy() -> None:
    assert decided().ladder[0] is Rung.HARDWARE and asked() is None
    found = {
        asked(sensitivity=Sensitivity.CONFIDENTIAL): "confidential data",
        asked(shots=30_000): "dear",
        asked(template="nightly", template_runs=0): "first run of a template",
        asked(tenant="finance"): "money of finance",
    }
    assert all(rule == wanted for rule, wanted in found.items())
    rules = {rule.name for rule in load_policy(EXAMPLES / "policy.toml").approvals}
    assert rules == set(found), "a rule of the example that nothing here tries"
    assert asked(template="nightly", template_runs=1) is None
    assert decided(sensitivity=Sensitivity.RESTRICTED).ladder == (Rung.SIMULATOR,)
    assert decided(environment="test").ladder == (Rung.SIMULATOR,)
    assert decided(regions=("eu-de",)).ladder == (Rung.SIMULATOR,)
    assert decided(regions=("us-east",)).ladder[0] is Rung.HARDWARE


def test_tenant(stage: Stage) -> None:
    given, qsaga = EXAMPLES / "tenant.toml", Path(sys.executable).with_name("qsaga")
    ended = subprocess.run(
        [qsaga, "tenant", "set", given, "--json"],
        env=stage.environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    tenant = json.loads(ended.stdout)["tenant"]
    # Every field of a tenant is in the example, and each that is there was taken.
    assert set(re.findall(r"(?m)^\[?(\w+)\b(?: =|\])", given.read_text())) >= set(tenant)
    assert tenant["jobs"] == 4
    assert tenant["classical_seconds"] == {"limit": "7200", "period": "day"}
