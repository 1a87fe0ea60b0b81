"""When a rule fires: order, counts, filters, probability; and that all of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from ibm_quantum_emulator.cli import app
from ibm_quantum_emulator.process import ControlClient, EmulatorProcess

ANSWER = {"on": "list", "do": "answer", "status": 418}


@pytest.fixture
def control(ibm_emulator: EmulatorProcess) -> ControlClient:
    return ibm_emulator.control


@pytest.fixture
def post(control: ControlClient, http: httpx.Client) -> Callable[..., int]:
    control.set_queue(10, 60)
    body = {
        "program_id": "sampler",
        "backend": "ibm_torino",
        "params": {"pubs": [["never run", None, 10]]},
    }

    def submit(*tags: str, **changes: Any) -> int:
        return http.post("jobs", json={**body, "tags": list(tags), **changes}).status_code

    return submit


def statuses(http: httpx.Client, times: int) -> list[int]:
    return [http.get("jobs").status_code for _ in range(times)]


def test_after_and_count(control: ControlClient, http: httpx.Client) -> None:
    control.set_plan({**ANSWER, "after": 2, "count": 2})
    assert statuses(http, 6) == [200, 200, 418, 418, 200, 200]
    (rule,) = control.faults()["faults"]
    assert (rule["matched"], rule["fired"]) == (6, 2)


def test_the_first_rule_that_replaces_the_reply_hides_the_request_from_the_others(
    control: ControlClient, http: httpx.Client
) -> None:
    control.set_plan({**ANSWER, "count": 1}, {**ANSWER, "status": 419, "count": 1})
    assert statuses(http, 3) == [418, 419, 200]


def test_probability_depends_on_seed_and_rule_only(
    control: ControlClient, http: httpx.Client
) -> None:
    rule = {**ANSWER, "name": "dice", "probability": 0.5}
    control.set_plan(rule, seed=1)
    first = statuses(http, 40)
    assert 8 < first.count(418) < 32
    control.set_plan(
        {**ANSWER, "on": "usage"}, {"on": "list", "do": "drip", "seconds": 0}, rule, seed=1
    )
    assert statuses(http, 40) == first
    control.set_plan(rule, seed=2)
    assert statuses(http, 40) != first


def test_tags_backends_and_jobs_choose(
    control: ControlClient, http: httpx.Client, post: Any
) -> None:
    rule = {"on": "submit", "do": "answer", "status": 418}
    control.set_plan({**rule, "tag": "run:*"})
    assert [post("run:1"), post("a", "run:"), post("ru"), post()] == [418, 418, 200, 200]
    control.set_plan({**rule, "tag": "run"})
    assert [post("run"), post("run:1")] == [418, 200]
    control.set_plan({**rule, "backend": "small"})
    assert [post(), post(backend="small")] == [200, 418]
    known = control.jobs("run:1")[0]["id"]
    for fits, where in ((True, {"job": known}), (True, {"tag": "run:*"}), (False, {"tag": "x"})):
        control.set_plan({"on": ["job", "metrics"], "do": "answer", "status": 418, **where})
        assert http.get(f"jobs/{known}/metrics").status_code == (418 if fits else 200)
    control.set_plan({**ANSWER, "tag": "run:1"})
    assert http.get("jobs", params={"tags": "run:1"}).status_code == 418
    assert http.get("jobs").status_code == 200


def test_per_job(control: ControlClient, http: httpx.Client, post: Any) -> None:
    rule = {"do": "answer", "status": 418, "count": 1, "per_job": True}
    control.set_plan({**rule, "on": "submit"}, {**rule, "on": "job"})
    assert [post("a"), post("b"), post("a"), post("b")] == [418, 418, 200, 200]
    one, two = (job["id"] for job in control.jobs())
    seen = [http.get(f"jobs/{job}").status_code for job in (one, one, two, two)]
    assert seen == [418, 200, 418, 200]
    assert [rule["fired"] for rule in control.faults()["faults"]] == [2, 2]


def test_a_plan_is_replaced_extended_and_cleared(
    control: ControlClient, http: httpx.Client
) -> None:
    control.set_plan({**ANSWER, "name": "first", "count": 1})
    statuses(http, 2)
    plan = control.add_rules({**ANSWER, "status": 419})
    assert [(rule["name"], rule["matched"]) for rule in plan["faults"]] == [
        ("first", 2),
        ("rule-2", 0),
    ]
    assert statuses(http, 1) == [419]
    control.set_plan({**ANSWER, "name": "first", "count": 1})
    assert statuses(http, 2) == [418, 200]
    control.clear_plan()
    assert control.faults()["faults"] == []


@pytest.mark.parametrize(
    ("method", "body", "told"),
    [
        ("PUT", {"version": 1, "faults": [{**ANSWER, "status": 99}]}, "faults[0].status: "),
        ("PUT", {"faults": []}, "version: this field is missing"),
        ("PUT", {"version": 1, "extra": 1}, "allowed: faults, seed, version"),
        ("POST", {"faults": [{**ANSWER, "name": "kept"}]}, "used twice: kept"),
        ("POST", {"faults": [{**ANSWER, "on": "jobs"}]}, "faults[1].on: 'jobs' is no endpoint"),
        ("POST", {"rules": []}, "faults: a list"),
        ("PUT", [], "not a JSON object"),
    ],
)
def test_a_wrong_body_changes_nothing(
    ibm_emulator: EmulatorProcess, http: httpx.Client, method: str, body: Any, told: str
) -> None:
    ibm_emulator.control.set_plan({**ANSWER, "name": "kept", "count": 3})
    statuses(http, 1)
    before = ibm_emulator.control.faults()
    reply = http.request(method, ibm_emulator.url + "/control/faults", json=body)
    assert reply.status_code == 400
    assert told in reply.json()["errors"][0]["message"]
    assert ibm_emulator.control.faults() == before


def authorised(emulator: EmulatorProcess) -> httpx.Client:
    issued = httpx.post(emulator.url + "/identity/token", data={"apikey": "raw"}, trust_env=False)
    headers = {
        "authorization": f"Bearer {issued.json()['access_token']}",
        "service-crn": emulator.crn,
    }
    return httpx.Client(base_url=emulator.url + "/api/v1/", headers=headers, trust_env=False)


def test_a_killed_emulator_goes_on_in_the_middle_of_its_plan(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'version = 1\n[[faults]]\non = "list"\ndo = "answer"\nstatus = 418\nafter = 1\ncount = 3\n'
        '[[faults]]\non = "usage"\ndo = "answer"\nstatus = 419\nprobability = 0.5\n'
        '[[faults]]\non = "backends"\ndo = "outage"\nfor = 100\n'
    )
    emulator = EmulatorProcess(tmp_path / "data", stepped=True, faults=plan)

    def ask(times: int) -> list[int]:
        with authorised(emulator) as http:
            pages = [http.get("jobs").status_code for _ in range(times)]
            return pages + [http.get("instances/usage").status_code for _ in range(times)]

    try:
        emulator.start()
        whole = ask(8)
        emulator.control.reset()
        parts = [ask(2)]
        with authorised(emulator) as http:
            assert http.get("backends").status_code == 503
            emulator.control.step(99)
            emulator.kill()
            emulator.start()
            assert http.get("backends").status_code == 503
            emulator.control.step(1)
            assert http.get("backends").status_code == 200
        parts.append(ask(6))
        assert whole[:8] == [200, 418, 418, 418, 200, 200, 200, 200]
        assert parts[0][:2] + parts[1][:6] == whole[:8]
        assert parts[0][2:] + parts[1][6:] == whole[8:]
        assert set(whole[8:]) == {200, 419}

    finally:
        emulator.stop()


def test_the_command_line_shows_and_changes_the_plan(
    ibm_emulator: EmulatorProcess, http: httpx.Client, tmp_path: Path
) -> None:
    def run(*arguments: str, url: str = ibm_emulator.url) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["faults", *arguments, "--url", url])
        return done.exit_code, done.output

    plan = tmp_path / "plan.toml"
    plan.write_text('version = 1\n[[faults]]\non = "list"\ndo = "answer"\nstatus = 418\ncount = 1')
    assert run("set", str(plan)) == (0, "1 rules in force\n")
    assert statuses(http, 2) == [418, 200]
    told = "rule-1: answer on list; status 418; at most 1 times (matched 2, fired 1)\n"
    assert run("show") == (0, told)
    assert run("clear")[0] == 0
    assert run("show") == (0, "")
    code, told = run("show", url="http://127.0.0.1:1")
    assert code == 1
    assert "no emulator at http://127.0.0.1:1" in told
