"""World documents and the live page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import Session

from ibm_quantum_emulator.documents import DocumentError
from ibm_quantum_emulator.process import EmulatorProcess
from ibm_quantum_emulator.worldcheck import read_fitting

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0
HOUR = 3600.0

Submit = Callable[..., Any]

WORLD = """\
version = 1
seed = 7

[[backends]]
name = "ibm_torino"
snapshot = "torino"

[backends.traffic]
every_seconds = 100
initial = 4
service = { kind = "constant", mean_seconds = 100 }

[[backends.maintenance]]
in_hours = 2
hours = 1
weekly = true

[backends.recalibration]
every_hours = 6

[[backends]]
name = "small"
snapshot = "manila"
paused = true

[limits]
max_pending_jobs = 2

[limits.instances.emulator]
limit_seconds = 600
"""


def world(**backend: Any) -> dict[str, Any]:
    return {"version": 1, "backends": [{"name": "ibm_torino", **backend}]}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "ibm_quantum_emulator.cli", *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_a_world_file_is_served_and_survives_a_crash(tmp_path: Path) -> None:
    file = tmp_path / "world.toml"
    file.write_text(WORLD)
    told = command("world", "check", str(file))
    assert told.returncode == 0
    assert "ibm_torino: traffic every 100 s, 4 at first, constant service of 100 s" in told.stdout
    with EmulatorProcess(tmp_path / "data", stepped=True, world=file) as emulator:
        control = emulator.control
        states = {each["name"]: each["state"] for each in control.backends()}
        assert states == {"ibm_torino": "online", "small": "paused"}
        assert control.settings()["limits"]["emulator"] == {"limit_seconds": 600}
        control.step(2.5 * HOUR)
        key = httpx.post(emulator.url + "/identity/token", data={"apikey": "k"}).json()
        httpx.post(
            emulator.url + "/api/v1/sessions",
            json={"backend": "small", "mode": "batch", "max_ttl": 600},
            headers={
                "authorization": f"Bearer {key['access_token']}",
                "service-crn": emulator.crn,
            },
        ).raise_for_status()
        sessions = control.sessions()
        assert [(each["mode"], each["max_ttl"]) for each in sessions] == [("batch", 600)]
        before = control.backends(), control.world(), control.settings()["limits"]
        assert before[0][0]["state"] == "maintenance"
        assert before[0][0]["queue"] > 4
        emulator.kill()
        emulator.start()
        control = emulator.control
        assert (control.backends(), control.world(), control.settings()["limits"]) == before
        assert control.sessions() == sessions
        document = {"version": 1, "limits": {"max_pending_jobs": 7}}
        other = tmp_path / "other.json"
        other.write_text(json.dumps(document))
        assert command("world", "set", str(other), "--url", emulator.url).returncode == 0
        assert control.world() == document
        assert [each["state"] for each in control.backends()] == ["online", "online"]
        control.reset()
        assert [each["state"] for each in control.backends()] == ["online", "paused"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("every_seconds = 100", "every_seconds = 0", 9, "greater than or equal to 0.01"),
        ("weekly = true", "weakly = true", 16, "allowed: at, in_hours, hours, every_hours"),
        ('"constant"', '"fast"', 11, "'constant', 'exponential', 'lognormal', 'pareto'"),
        ("in_hours = 2\n", "", 13, "exactly one of 'at' and 'in_hours'"),
        ("limit_seconds = 600", 'limit_seconds = "x"', 30, "valid integer"),
        ("seed = 7", "seed = = 7", 2, "not TOML"),
        ('name = "small"', 'name = "ibm_torino"', 1, "used twice: ibm_torino"),
        ('"manila"', '"atlantis"', 23, "no calibration snapshot 'atlantis'; known: "),
        ("paused = true", "faulty = [{ qubits = [5], at = 1 }]", 24, "qubits 0 to 4"),
        ("paused = true", 'faulty = [{ gate = "cz", qubits = [0], at = 1 }]', 24, "gates: cx, id"),
    ],
)
def test_a_wrong_world_file_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    file = tmp_path / "world.toml"
    assert WORLD.count(old) == 1
    file.write_text(WORLD.replace(old, new))
    with pytest.raises(DocumentError) as error:
        read_fitting(file, {})
    assert f"{file}, line {line}: " in str(error.value)
    assert says in str(error.value)


def test_the_example_in_the_readme_is_right(tmp_path: Path) -> None:
    readme = Path(__file__).parent.parent / "README.md"
    (example,) = re.findall(
        r"```toml\n(version = 1\nseed = 7 .*?)```", readme.read_text(), re.DOTALL
    )
    file = tmp_path / "world.toml"
    file.write_text(example)
    assert [each.name for each in read_fitting(file, {}).backends] == ["ibm_torino", "my_qpu"]


def test_the_command_refuses_a_wrong_file(tmp_path: Path) -> None:
    file = tmp_path / "world.toml"
    file.write_text(WORLD.replace("hours = 1", "hours = 0"))
    for arguments in (["world", "check", str(file)], ["serve", "--world", str(file)]):
        told = command(*arguments)
        assert told.returncode == 2
        assert f"{file}, line 15: backends[0].maintenance[0].hours" in told.stderr


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"version": 2}, "version"),
        (world(typo=1), "backends[0].typo: unknown field; allowed: name"),
        (world(traffic={"jobs_per_hour": 1}), "backends[0].traffic.service: this field is missing"),
        ({"version": 1, "backends": [{"name": "none"}]}, "no backend 'none'"),
        (world(faulty=[{"qubits": [133], "at": 1}]), "faulty[0].qubits: the backend has"),
        ({"version": 1, "limits": {"instances": {"none": {}}}}, "no instance 'none'"),
    ],
)
def test_a_wrong_world_changes_nothing(
    ibm_emulator: EmulatorProcess, body: dict[str, Any], says: str
) -> None:
    control = ibm_emulator.control
    control.set_world(world(recalibration={"every_hours": 1}, paused=True))
    before = control.world(), control.backends(), control.settings()
    reply = httpx.put(ibm_emulator.url + "/control/world", json=body)
    assert reply.status_code == 400
    assert says in reply.json()["errors"][0]["message"]
    assert (control.world(), control.backends(), control.settings()) == before


def test_the_page_is_one_file_and_puts_only_text_into_itself(
    ibm_emulator: EmulatorProcess,
) -> None:
    for path in ("/", "/control/page"):
        reply = httpx.get(ibm_emulator.url + path)
        assert reply.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert not re.search(r"https?://|\bsrc=|@import|<link|innerHTML|outerHTML", reply.text)


def test_the_page_is_told_of_everything(
    ibm_emulator: EmulatorProcess, submit: Submit, backend: Any, bell: QuantumCircuit
) -> None:
    control = ibm_emulator.control
    tag = "<script>alert(1)</script>"
    jobs = [submit(tag).job_id() for _ in range(3)]
    Session(backend=backend)
    control.step(LONG)
    control.jobs()
    url = ibm_emulator.url + "/control/overview"
    told = httpx.get(url, params={"limit": 2}).json()
    assert [job["id"] for job in told["jobs"]] == jobs[:0:-1]
    assert told["jobs"][0]["tags"] == [tag]
    assert told["jobs"][0]["charged_seconds"] == 3
    assert told["count"] == 3
    assert [each["name"] for each in told["backends"]] == ["ibm_torino", "small"]
    assert [each["state"] for each in told["sessions"]] == ["open"]
    assert told["now"] == control.now()
    older = httpx.get(url, params={"limit": 2, "offset": 2}).json()
    assert [job["id"] for job in older["jobs"]] == jobs[:1]
    assert httpx.get(url, params={"offset": "x"}).status_code == 400
