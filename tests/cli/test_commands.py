"""Every command against real servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sparse import sparse_problem
from tools.stage import Stage, wait_until

ROOT = Path(__file__).parents[2]
ABILENE = ROOT / "data" / "abilene.edges"
G14 = ROOT / "data" / "G14.txt"

pytestmark = pytest.mark.usefixtures("on_stage")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            [ABILENE, "--backend", "ibm_nowhere"],
            "backend: unknown backend 'ibm_nowhere' (allowed: ibm_torino)",
        ),
        ([G14, "--route", "hardware"], "route: 800 qubits are more than the hardware takes"),
        ([G14, "--route", "simulator"], "route: 800 qubits are more than the simulator takes"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_refused_by_what_the_worker_knows(command, arguments, expected, qsaga, stage) -> None:
    before = stage.emulator.control.summary()["created"]
    ended = qsaga(command, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert stage.emulator.control.summary()["created"] == before


def test_plan(qsaga) -> None:
    ended = qsaga("plan", ABILENE)
    assert ended.code == 0
    for words in ("annealing → hardware", "small problems stay classical", "11 for 11 variables"):
        assert words in ended.out
    decision = json.loads(qsaga("plan", ABILENE, "--route", "hardware", "--json").out)
    assert decision["ladder"][0] == "hardware"
    assert decision["forecast"]["backend"] == "ibm_torino"


def test_plan_shows_what_was_refused(qsaga) -> None:
    assert "800 qubits is too big for the hardware" in " ".join(qsaga("plan", G14).out.split())


def test_plan_and_explain_tell_what_the_reduction_leaves(qsaga, tmp_path: Path) -> None:
    file = tmp_path / "sparse.json"
    problem = {"name": "qubo", "data": sparse_problem()}
    work = {"kind": "optimise", "problem": problem}
    file.write_text(json.dumps({"key": "left", "workload": work, "route": "simulator"}))
    assert "11 after reduction for 300 variables" in " ".join(qsaga("plan", file).out.split())
    assert qsaga("run", file).code == 0
    shown = " ".join(qsaga("show", "left").out.split())
    assert "reduction 11 qubits in 2 components, 284 variables fixed, 5 solved" in shown
    told = " ".join(qsaga("explain", "left").out.split())
    assert "300 variables, 11 qubits after reduction" in told


def test_run_show_watch_on_hardware(qsaga, stage: Stage) -> None:
    arguments = [ABILENE, "--route", "hardware", "--key", "shown", "--tenant", "t"]
    ended = qsaga("run", *arguments)
    assert ended.code == 0
    assert "12 of 14 edges" in " ".join(ended.out.split())
    assert "completed" in ended.err  # the progress
    result = json.loads(qsaga("run", *arguments, "--json").out)
    assert result["state"] == "completed" and result["provenance"]["source"] == "hardware"
    assert json.loads(qsaga("watch", "t/shown", "--json").out) == result

    shown = qsaga("show", "t/shown").out
    for words in ("decision", "attempts", "charges", "provenance", "two-qubit gates", "sha256"):
        assert words in shown
    account = json.loads(qsaga("show", "t/shown", "--json").out)
    assert account["closed"] is True
    [charge] = account["charges"]
    assert charge["provider_job_id"] in shown
    assert len(stage.emulator.control.jobs(result["provenance"]["run_id"])) == 1

    other = qsaga("run", *arguments, "--shots", "7")
    assert other.code == 3 and "another payload" in other.err


@pytest.mark.parametrize("name", ["bell_sample", "estimate"])
def test_run_circuits(name: str, qsaga) -> None:
    ended = qsaga("run", ROOT / "examples" / f"{name}.json")
    assert ended.code == 0
    assert ("counts c" if name == "bell_sample" else "values") in ended.out


def test_detach_and_cancel(qsaga, stage: Stage) -> None:
    control = stage.emulator.control
    control.set_queue(3, 3600.0)
    try:
        options = ["--route", "hardware", "--key", "long", "--detach"]
        started = qsaga("run", ABILENE, *options)
        assert (started.code, started.out) == (0, "default/long\n")
        wait_until(lambda: any(j["state"] == "Queued" for j in control.jobs()), "it is queued")
        shown = json.loads(qsaga("show", "long", "--json").out)
        assert shown["job"]["state"] == "encoded" and shown["run"]["run_id"]
        assert qsaga("cancel", "long").code == 0
        ended = qsaga("watch", "long")
        assert ended.code == 1  # it has no answer
        assert "cancelled by the caller" in ended.out

        def closed() -> bool:
            return bool(json.loads(qsaga("show", "long", "--json").out)["closed"])

        wait_until(closed, "the account is closed")
    finally:
        control.set_queue(0, 0.5)
    assert "had ended already: cancelled" in qsaga("cancel", "long").out
    [job] = control.jobs(shown["run"]["run_id"])
    assert job["state"] == "Cancelled" and job["charged_seconds"] == 0


@pytest.mark.parametrize("command", ["show", "watch", "cancel"])
def test_unknown_job(command: str, qsaga) -> None:
    ended = qsaga(command, "t/nothing")
    assert ended.code == 7
    assert "no job 't/nothing' is known" in ended.err


def test_doctor_masks_secrets(qsaga) -> None:
    ended = qsaga("doctor")
    assert ended.code == 0
    assert "emulator-key" not in ended.out and "**********" in ended.out
    assert "on task queue 'qsaga'" in " ".join(ended.out.split())


def test_problems(qsaga) -> None:
    listed = qsaga("problems").out
    assert all(name in listed for name in ("maxcut", "independent_set", "qubo"))


def test_as_a_program(stage: Stage) -> None:
    program = Path(sys.executable).with_name("qsaga")
    ended = subprocess.run(
        [program, "run", ABILENE, "--solve", "0.2"],
        env=stage.environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0
    assert "12 of 14 edges" in " ".join(ended.stdout.split())


def test_the_client_needs_no_command_line() -> None:
    look = "import qsaga.client, sys; print({'typer', 'rich', 'qiskit'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=ROOT)
    assert shown.stdout == "set()\n"


def test_plan_without_a_worker(qsaga, monkeypatch) -> None:
    monkeypatch.setattr("qsaga.client.WORKER_SLACK", 0.5)
    monkeypatch.setenv("QSAGA_TEMPORAL__TASK_QUEUE", "nobody")
    request = ROOT / "examples" / "maxcut.json"
    ended = qsaga("plan", request, "--deadline", "1", "--queue", "1")
    assert ended.code == 6
    assert "no worker on task queue 'nobody' answered within 1.5 s" in ended.err
