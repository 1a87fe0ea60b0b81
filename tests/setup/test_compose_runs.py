"""docker-compose.yml at work without containers: its own commands, with its own settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from qsaga.cli.app import run
from tests.setup.clones import ROOT
from tests.setup.composed import WORKERS, Composed, database_server
from tests.support.databases import BACKENDS
from tools.stage import wait_until

BACKEND = BACKENDS[-1]
PASSWORD = "100% s'e\"c\\r@t:/$1"
STEPS = ["keys", "payload-keys", *(["database"] if BACKEND == "postgresql" else [])]
MAXCUT = ("run", "examples/maxcut.json")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All that ``docker compose up`` starts, after the one-shot steps have run."""
    folder = tmp_path_factory.mktemp("compose")
    given = {"POSTGRES_QSAGA_PASSWORD": PASSWORD}
    with (
        database_server(BACKEND, folder) as server,
        Composed(folder, given, server) as composed,
    ):
        for step in STEPS:
            done = composed.run(step)
            assert done.returncode == 0, done.stderr
        for service in WORKERS:
            assert composed.services[service]["command"] == ["python", "worker.py"]
        composed.start_workers()
        yield composed
        # Nobody waits for what they would finish.
        composed.kill_workers()


def token(composed: Composed, who: str, roles: str = "submitter,approver") -> str:
    done = composed.run("token", "--sub", who, "--tenants", "examples", "--roles", roles)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def alice(composed: Composed) -> str:
    return token(composed, "alice")


def qsaga(composed: Composed, token: str, *arguments: str) -> tuple[int, str, str]:
    """``docker compose run --rm -e QSAGA_IDENTITY__TOKEN=… qsaga …``, in this process."""
    variables = composed.variables("qsaga") | {"QSAGA_IDENTITY__TOKEN": token}
    out, err = StringIO(), StringIO()
    with (
        patch.dict(os.environ, variables, clear=True),
        chdir(ROOT),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = run(list(arguments))
    return code, " ".join(out.getvalue().split()), err.getvalue()


def database(composed: Composed) -> URL:
    """As the worker reaches it."""
    url = make_url(composed.variables("worker")["QSAGA_DATABASE_URL"])
    if BACKEND == "sqlite":
        return url
    return url.set(drivername="postgresql+psycopg", password=PASSWORD)


def test_the_example_runs_with_a_token(composed: Composed, alice: str) -> None:
    done = composed.run("qsaga", *MAXCUT, "--json", QSAGA_IDENTITY__TOKEN=alice)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["state"], result["submitter"]) == ("completed", "alice")
    assert result["decision"]["policy_version"].endswith("-asking")
    # 3.024 quantum seconds by deploy/prices.toml, and too little to ask a person.
    assert result["decision"]["forecast"]["money"] == "3.87072"
    assert result["approval"] is None
    engine = create_engine(database(composed))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT job_id, submitter FROM jobs")).all()
    engine.dispose()
    assert ("examples/example-maxcut", "alice") in rows
    assert not list(composed.volume("qsaga-data").glob("*.db"))


def test_nobody_starts_a_job_without_a_token(composed: Composed) -> None:
    code, out, err = qsaga(composed, "", *MAXCUT, "--key", "anybody")
    said = "error: token: missing (allowed: a signed token with role 'submitter')\n"
    assert (code, out, err) == (8, "", said)


def test_a_dear_run_waits_for_a_second_person(composed: Composed, alice: str) -> None:
    bob, job = token(composed, "bob", "approver"), "examples/dear"
    started = qsaga(composed, alice, *MAXCUT, "--shots", "4096", "--key", "dear", "--detach")
    assert started[:2] == (0, job), started[2]
    waiting = f"approval_asked {job}: approval asked: the run is expected to cost more than 5 USD"
    wait_until(lambda: waiting in composed.worker_log.read_text(), "the notice is in the log")
    shown = qsaga(composed, bob, "inbox")[1]
    assert f"job {job} plan" in shown and "asked dear runs: " in shown
    assert "submitted by alice" in shown and "not the submitter" in shown
    yes = ("approve", job, "--why", "worth it")
    code, _, err = qsaga(composed, alice, *yes)
    assert (code, "four eyes: 'alice' submitted the job" in err) == (4, True)
    assert qsaga(composed, bob, *yes)[:2] == (0, f"{job} approved by bob")
    code, out, err = qsaga(composed, alice, "watch", job, "--json")
    assert (code, json.loads(out)["state"]) == (0, "completed"), err


def test_the_steps_may_run_again_and_at_once(composed: Composed, alice: str) -> None:
    def kept() -> dict[Path, bytes]:
        files = [
            *composed.volume("signing-key").iterdir(),
            *composed.volume("worker-keys").iterdir(),
        ]
        return {file: file.read_bytes() for file in files}

    before = kept()
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in before}
    assert modes == {"private.pem": "0o600", "worker.key": "0o600", "jwks.json": "0o644"}
    with ThreadPoolExecutor(2) as at_once:
        done = list(at_once.map(composed.run, [*STEPS, "keys"]))
    assert [step.returncode for step in done] == [0] * len(done)
    assert kept() == before
    rotated = composed.run("keys", "--rotate")
    assert rotated.returncode == 0, rotated.stderr
    changed = {file.name for file, content in kept().items() if content != before[file]}
    assert changed == {"private.pem", "jwks.json"}
    # The worker reads the new keys while it runs, and still knows the old ones.
    for given in (alice, token(composed, "carol")):
        assert qsaga(composed, given, "plan", "examples/maxcut.json")[0] == 0


def test_the_workers_health_is_seen(composed: Composed) -> None:
    for service in WORKERS:
        healthy = composed.services[service]["healthcheck"]["test"]
        composed.services[service]["check"] = healthy[1:]
        done = composed.run(service, key="check")
        assert (healthy[0], done.returncode, done.stderr) == ("CMD", 0, ""), service


def test_one_setting_switches_identity_off(composed: Composed) -> None:
    # The last test: the workers stay like this.
    composed.given["QSAGA_IDENTITY__REQUIRED"] = "false"
    composed.kill_workers()
    composed.start_workers()
    code, _, err = qsaga(composed, "", "plan", "examples/maxcut.json")
    assert (code, err) == (0, "")
