"""What a role is made of, which queues it serves, and which settings say so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.worker import FixedSizeSlotSupplier, ResourceBasedSlotSupplier

import worker
from composition.workers import cores, tuner
from qsaga.core.roles import ALL_ROLES, ROLE_OF, WorkerRole, role_queues
from qsaga.settings import (
    EncryptionSettings,
    IBMSettings,
    IdentitySettings,
    Settings,
    SlotSettings,
    TemporalSettings,
)
from tools.servers import ROOT

LIGHT = ("qiskit", "qiskit_aer", "qiskit_ibm_runtime", "neal", "dwave")
ABSENT = {
    WorkerRole.WORKFLOW: LIGHT,
    WorkerRole.SOLVE: ("qiskit_ibm_runtime", "sqlalchemy"),
    WorkerRole.COMPILE: ("sqlalchemy", "neal"),
}

LOADED = """
import asyncio, os, sys
from pathlib import Path
import worker
from qsaga.settings import IBMSettings, Settings
settings = Settings(
    data_dir=Path(sys.argv[1]),
    ibm=IBMSettings(token="x", instance="y"),
    temporal={"role_queues": True},
    roles=sys.argv[2],
)
asyncio.run(worker.build(settings))
print(*sys.modules, flush=True)
os._exit(0)
"""


def name(step: object) -> str:
    return str(activity._Definition.must_from_callable(step).name)


async def test_every_step_is_made_for_the_role_that_the_table_names(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, ibm=IBMSettings(token="x", instance="y"))
    parts = await worker.build(settings)
    await parts.close()
    for step, role in ROLE_OF.items():
        assert name(step) in {name(made) for made in parts.steps[role]}, step
    # Whatever else there is waits on the workflow's own queue.
    rest = {name(made) for made in parts.activities} - {name(step) for step in ROLE_OF}
    assert rest <= {name(made) for made in (*parts.desk, *parts.steps[WorkerRole.WORKFLOW])}


@pytest.mark.parametrize("role", ABSENT, ids=str)
def test_a_role_loads_no_vendor_of_the_others(role: WorkerRole, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, tmp_path, role],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert not set(ABSENT[role]) & set(done.stdout.split())


def test_roles_are_settings_or_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.settings_of([]).roles == ALL_ROLES
    monkeypatch.setenv("QSAGA_TEMPORAL__ROLE_QUEUES", "true")
    monkeypatch.setenv("QSAGA_ROLES", "solve, watch")
    assert worker.settings_of([]).roles == (WorkerRole.SOLVE, WorkerRole.WATCH)
    assert worker.settings_of(["--role", "compile"]).roles == (WorkerRole.COMPILE,)
    assert worker.settings_of(["--role", "all"]).roles == ALL_ROLES


@pytest.mark.parametrize("arguments", [["--role", "solve"], ["--role", "workflow", "provider"]])
def test_roles_without_queues_are_refused(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        worker.settings_of(arguments)
    assert ended.value.code == 2
    assert "needs QSAGA_TEMPORAL__ROLE_QUEUES=true" in capsys.readouterr().err


def test_queues_are_named_after_the_deployments() -> None:
    assert TemporalSettings(task_queue="q").queues == {}
    assert TemporalSettings(task_queue="q", role_queues=True).queues == role_queues("q")
    assert set(role_queues("q").values()) == {"q-provider", "q-compile", "q-solve", "q-watch"}


def test_computing_is_bounded_by_the_cores_or_by_what_the_machine_bears() -> None:
    def activities(slots: SlotSettings, role: WorkerRole) -> object:
        return tuner(slots, role)._get_activity_task_slot_supplier()

    fixed, tuned = SlotSettings(), SlotSettings(tuned=True, solve=3, target_cpu=0.5)
    assert activities(fixed, WorkerRole.SOLVE) == FixedSizeSlotSupplier(cores())
    assert activities(fixed, WorkerRole.PROVIDER) == FixedSizeSlotSupplier(64)
    assert activities(tuned, WorkerRole.PROVIDER) == FixedSizeSlotSupplier(64)
    supplier = activities(tuned, WorkerRole.SOLVE)
    assert isinstance(supplier, ResourceBasedSlotSupplier)
    assert (supplier.slot_config.minimum_slots, supplier.slot_config.maximum_slots) == (1, 3)
    assert supplier.tuner_config.target_cpu_usage == 0.5


def test_tokens_that_would_be_kept_in_clear_are_told_of(tmp_path: Path) -> None:
    identity = IdentitySettings(required=True)
    keys = EncryptionSettings(keys_file=tmp_path / "keys.json")
    (told,) = worker.warnings(Settings(identity=identity))
    assert "QSAGA_ENCRYPTION__KEYS_FILE" in told
    assert worker.warnings(Settings(identity=identity, encryption=keys)) == ()
    assert worker.warnings(Settings()) == ()
