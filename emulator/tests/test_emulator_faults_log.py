"""The request log: what is in it, that it is kept, and that it does not grow for ever."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from ibm_quantum_emulator.cli import app
from ibm_quantum_emulator.process import ControlClient, EmulatorProcess
from ibm_quantum_emulator.requestlog import SCHEMA, RequestLog

BODY = {
    "program_id": "sampler",
    "backend": "ibm_torino",
    "params": {"pubs": [["never run", None, 10]]},
}


@pytest.fixture
def control(ibm_emulator: EmulatorProcess) -> ControlClient:
    ibm_emulator.control.set_queue(10, 60)
    return ibm_emulator.control


def test_what_is_logged(control: ControlClient, http: httpx.Client) -> None:
    control.set_plan({"name": "slow", "on": "job", "do": "stall", "seconds": 0.05})
    last = control.request_log()[-1]["id"]
    began, moment = time.time(), control.now()
    made = http.post("jobs", json={**BODY, "tags": ["a", "b"]}).json()["id"]
    http.post("jobs", json={**BODY, "tags": ["c"], "program_id": "cook"})
    http.get(f"jobs/{made}", params={"exclude_params": "true"})
    http.get("nothing/there")
    rows = control.request_log(last)
    assert [(row["method"], row["endpoint"], row["status"]) for row in rows] == [
        ("POST", "submit", 200),
        ("POST", "submit", 404),
        ("GET", "job", 200),
        ("GET", "other", 404),
    ]
    assert [row["tags"] for row in rows] == [["a", "b"], ["c"], [], []]
    assert [row["job_id"] for row in rows] == [made, None, made, None]
    assert [row["faults"] for row in rows] == [[], [], ["slow"], []]
    assert rows[2]["path"] == f"/api/v1/jobs/{made}?exclude_params=true"
    assert rows[2]["ms"] >= 50
    assert all(row["at"] == pytest.approx(moment, abs=1e-3) for row in rows)
    assert all(began - 1 < row["wall"] <= time.time() for row in rows)


def test_the_log_is_filtered_and_paged(
    ibm_emulator: EmulatorProcess, control: ControlClient, http: httpx.Client
) -> None:
    for tag in ("a", "b", "a"):
        http.post("jobs", json={**BODY, "tags": [tag]})
        http.get("jobs")
    assert len(control.request_log(endpoint="list")) == 3
    assert len(control.request_log(tag="a")) == 2
    assert control.request_log(tag="a", endpoint="list") == []
    rows = control.request_log(endpoint="submit")
    assert control.request_log(endpoint="submit", limit=1) == rows[:1]
    assert control.request_log(rows[0]["id"], endpoint="submit") == rows[1:]
    for query in ("endpoint=jobs", "since_id=x", "limit=-1"):
        reply = httpx.get(f"{ibm_emulator.url}/control/requests/log?{query}", trust_env=False)
        assert reply.status_code == 400
        assert query.split("=")[0] in reply.json()["errors"][0]["message"]
    printed = CliRunner().invoke(app, ["requests", "--tag", "b", "--url", ibm_emulator.url])
    assert [json.loads(line)["tags"] for line in printed.stdout.splitlines()] == [["b"]]


def test_the_log_outlives_a_kill(tmp_path: Path) -> None:
    def written(database: Path) -> list[Any]:
        with sqlite3.connect(database) as db:
            return db.execute("SELECT status FROM request_log").fetchall()

    emulator = EmulatorProcess(tmp_path / "data", stepped=True).start()
    try:
        assert httpx.get(emulator.url + "/api/v1/jobs", trust_env=False).status_code == 401
        deadline = time.monotonic() + 20
        while not written(tmp_path / "data" / "emulator.sqlite3"):
            assert time.monotonic() < deadline, "nobody wrote the log"
            time.sleep(0.02)
        emulator.kill()
        emulator.start()
        assert [row["status"] for row in emulator.control.request_log()] == [401]
    finally:
        emulator.stop()


def test_the_oldest_rows_make_room() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    log = RequestLog(db, max_rows=10)
    for number in range(25):
        log.add(
            at=float(number),
            wall=0.0,
            method="GET",
            endpoint="list",
            path="/",
            status=None,
            seconds=0.0,
            job_id=None,
            tags=(),
            faults=(),
        )
        if number % 4 == 0:
            log.flush()
    log.flush()
    rows = log.rows(0, None, None, 100)
    assert [row["at"] for row in rows] == [float(number) for number in range(15, 25)]
    assert {row["status"] for row in rows} == {"dropped"}
    db.close()
