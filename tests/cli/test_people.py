"""Approvals, budgets and records from the command line, on real servers with a real worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client

from tools.stage import Stage, wait_until

ROOT = Path(__file__).parents[2]
ABILENE = ROOT / "data" / "abilene.edges"
ASK = """
version = "test"
[ladders]
optimise = ["hardware", "annealing"]
sample = ["hardware", "simulator"]
estimate = ["hardware", "simulator"]
[hardware]
seconds_per_queued_job = 20.0
[hardware.prices.default]
per_quantum_second = "1.60"
[[rules]]
name = "tests stay here"
environment = "test"
verbs = ["optimise"]
route = "annealing"
because = "a test needs no hardware"
[[rules]]
name = "hardware"
route = "hardware"
because = "hardware is what is tried"
[[approvals]]
name = "two for what is restricted"
sensitivity_at_least = "restricted"
approvals = 2
four_eyes = true
approvers = ["ada", "bob", "eve"]
because = "its data are restricted"
[[approvals]]
name = "dear"
money_above = 1
because = "it costs more than 1 USD"
"""
RUN = ["run", ABILENE, "--solve", "0.2", "--by", "ada"]

DELETION = 100.0
"""Seconds; a dev server takes about twenty to delete a workflow."""

T = TypeVar("T")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("people")
    (folder / "policy.toml").write_text(ASK)
    emulator = {"overhead_seconds": 0.2, "seconds_per_job": 0.5}
    with Stage(folder, ui=False, emulator=emulator) as stage:
        stage.start_worker(QSAGA_POLICY_FILE=str(folder / "policy.toml"))
        yield stage


pytestmark = pytest.mark.usefixtures("on_stage")


@pytest.fixture
def waiting(qsaga) -> Callable[..., str]:
    """Starts a job and waits until it waits for a person."""

    def start(key: str, *options: str) -> str:
        started = qsaga(*RUN, "--key", key, "--tenant", "lab", "--detach", *options)
        assert started.code == 0, started.err
        job = f"lab/{key}"
        wait_until(lambda: job in listed(qsaga), f"{job} waits for a person")
        return job

    return start


def listed(qsaga) -> dict[str, Any]:
    found = qsaga("inbox", "--tenant", "lab", "--json")
    assert found.code == 0, found.err
    return {record["request"]["job_id"]: record for record in json.loads(found.out)}


def flat(text: str) -> str:
    return " ".join(text.split())


def on_server(stage: Stage, work: Callable[[Client], Awaitable[T]]) -> T:
    async def connected() -> T:
        return await work(await Client.connect(stage.temporal_address))

    return asyncio.run(connected())


def test_plan_shows_who_is_asked_and_the_most_it_can_cost(qsaga) -> None:
    ended = qsaga("plan", ABILENE, "--quantum-seconds", "10")
    assert ended.code == 0, ended.err
    shown = flat(ended.out)
    assert "approval asked by rule 'dear': it costs more than 1 USD" in shown
    assert "at most 10 quantum seconds, 16.00 USD" in shown
    kept = qsaga("plan", ABILENE, "--environment", "test", "--region", "mars", "--json")
    decision = json.loads(kept.out)
    assert decision["rule"] == "tests stay here" and decision["approval"] is None
    assert decision["facts"]["regions"] == ["mars"]
    assert "the job allows mars" in decision["refused"][0]["reason"]


def test_approved_for_less(qsaga, waiting, stage: Stage) -> None:
    job = waiting("less", "--quantum-seconds", "20")
    other = waiting("other")
    assert qsaga("inbox", "--tenant", "nobody").out == "nothing waits for a person\n"
    shown = flat(qsaga("inbox").out)
    for words in (
        f"job {job} plan optimise of 11 variables",
        "USD and 3.024 quantum seconds expected, at most 32.00 USD and 20",
        "queue 0 s expected",
        "asked dear: it costs more than 1 USD",
        "submitted by ada",
        "expires in 2",
        "approvals 0 of 1; may decide: every approver of the tenant",
        "instead annealing: up to 0.2 s of classical work",
    ):
        assert words in shown
    for command in ("show", "explain"):
        assert "it costs more than 1 USD" in flat(qsaga(command, job).out)
    assert json.loads(qsaga("show", job, "--json").out)["job"]["state"] == "awaiting_approval"

    created = stage.emulator.control.summary()["created"]
    dear = qsaga("approve", job, "--why", "go", "--money", "99", "--by", "bob")
    assert (dear.code, dear.out) == (4, "")
    assert dear.err == "error: money: 99 is above what was asked (allowed: up to 32.00)\n"
    assert stage.emulator.control.summary()["created"] == created
    assert not listed(qsaga)[job]["decided"]

    said = qsaga("approve", job, "--why", "good [/value]", "--money", "16", "--by", "bob")
    assert (said.code, said.out) == (0, f"{job} approved by bob\n")
    result = json.loads(qsaga("watch", job, "--json").out)
    assert result["state"] == "completed" and result["submitter"] == "ada"
    assert result["decision"]["forecast"]["ceiling"]["quantum_seconds"] == 10
    assert set(listed(qsaga)) == {other}

    for verdict in (["approve", "--by", "eve"], ["reject"]):
        again = qsaga(verdict[0], job, "--why", "late", *verdict[1:])
        assert (again.code, again.out) == (4, "")
        assert again.err == f"error: job {job} has ended: completed\n"
    account = flat(qsaga("show", job).out)
    for words in ("submitted by ada", "approve bob", "good [/value]", "sensitivity internal"):
        assert words in account
    told = flat(qsaga("explain", job).out)
    assert "It was approved by bob at" in told
    assert "with at most a cost of 16: good [/value]." in told
    assert "were given back." in told and "It ended completed at" in told
    assert qsaga("reject", other, "--why", "enough", "--json").code == 0


def test_two_must_say_yes_and_not_the_submitter(qsaga, waiting) -> None:
    job = waiting("two", "--sensitivity", "restricted")
    refusals = {
        "ada": "four eyes: 'ada' submitted the job and may not decide on it",
        "mallory": "by: 'mallory' is not asked (allowed: ada, bob, eve)",
    }
    for who, why in refusals.items():
        ended = qsaga("approve", job, "--why", "yes", "--by", who)
        assert (ended.code, ended.out, ended.err) == (4, "", f"error: {why}\n")
    first = qsaga("approve", job, "--why", "fine", "--by", "bob")
    assert first.out == f"{job} approved by bob; 1 more approval must follow\n"
    again = qsaga("approve", job, "--why", "fine", "--by", "bob")
    assert "already approved by 'bob'" in again.err
    shown = flat(qsaga("inbox").out)
    assert "approvals 1 of 2; bob: fine; may decide: ada, bob, eve; not the submitter" in shown
    said = json.loads(qsaga("approve", job, "--why", "so be it", "--by", "eve", "--json").out)
    assert said["by"] == "eve" and said["refused"] == ""
    watched = qsaga("watch", job)
    assert watched.code == 0
    # The policy keeps what is restricted off the hardware, a person's yes or not.
    assert "annealing" in watched.out and "degraded" in watched.out


def test_rejected(qsaga, waiting, on_stage: Stage, monkeypatch) -> None:
    job = waiting("no")
    monkeypatch.setenv("QSAGA_USER", "eve")
    assert qsaga("reject", job, "--why", "not today").out == f"{job} rejected by eve\n"
    ended = qsaga("watch", job)
    assert ended.code == 4
    assert "rejected by eve: not today" in flat(ended.out)
    assert "It was rejected by eve at" in flat(qsaga("explain", job).out)
    story = json.loads(qsaga("explain", job, "--json").out)
    assert story["job_id"] == job
    assert story["story"][-1].endswith("without an answer: rejected by eve: not today.")


def test_watch_says_what_it_waits_for(qsaga, waiting) -> None:
    job = waiting("watched", "--approval", "3s")
    ended = qsaga("watch", job)
    assert ended.code == 1
    assert "awaiting_approval · 0 of 1 approvals by any approver until" in ended.err
    assert "it costs more than 1 USD" in ended.err
    told = flat(qsaga("explain", job).out)
    assert "Not enough people decided, and the request lapsed at" in told
    assert "It ran out of time at" in told
    late = qsaga("approve", job, "--why", "late", "--by", "bob")
    assert (late.code, late.err) == (4, f"error: job {job} has ended: timed_out\n")


def test_nothing_to_decide(qsaga) -> None:
    unknown = qsaga("approve", "lab/nothing", "--why", "w", "--by", "bob")
    assert (unknown.code, unknown.err) == (7, "error: no job 'lab/nothing' is known\n")
    assert qsaga(*RUN, "--key", "free", "--tenant", "lab", "--environment", "test").code == 0
    ended = qsaga("reject", "lab/free", "--why", "w", "--by", "bob")
    assert (ended.code, ended.err) == (4, "error: job lab/free has ended: completed\n")


def test_tenants_and_books(qsaga, tmp_path: Path) -> None:
    file = tmp_path / "tenant.toml"
    file.write_text(
        'name = "books"\ncurrency = "USD"\nwhen_spent = "refuse"\n'
        '[money]\nlimit = "4.00"\nperiod = "week"\n'
    )
    made = qsaga("tenant", "set", file)
    assert made.code == 0, made.err
    assert "4 of 4 USD left" in flat(made.out) and "this week" in flat(made.out)
    changed = qsaga(
        *("tenant", "set", "--name", "books", "--classical-seconds", "100/day"),
        *("--jobs", "3", "--retention-days", "30"),
    )
    assert changed.code == 0, changed.err
    statement = json.loads(qsaga("tenant", "show", "books", "--json").out)
    terms = statement["tenant"]
    assert terms["money"] == {"limit": "4.00", "period": "week"}
    assert (terms["jobs"], terms["retention_days"]) == (3, 30)
    assert terms["classical_seconds"] == {"limit": "100", "period": "day"}
    assert "records kept 30 days" in flat(qsaga("tenant", "show", "books").out)

    before = qsaga("tenant", "show", "books", "--json").out
    for wrong in (["--money=-1"], ["--currency", "dollars"], ["--jobs", "many"]):
        assert qsaga("tenant", "set", "--name", "books", *wrong).code == 2
    file.write_text('name = "books"\ncolour = "red"\n')
    assert qsaga("tenant", "set", file).code == 2
    after = json.loads(qsaga("tenant", "show", "books", "--json").out)
    assert after["tenant"] == json.loads(before)["tenant"]

    short = qsaga("run", ABILENE, "--tenant", "books", "--key", "dear", "--quantum-seconds", "60")
    assert short.code == 4
    assert "96 USD wanted, tenant 'books' has 4 of 4 left this week" in flat(short.out)
    assert "96 USD wanted" in flat(qsaga("explain", "books/dear").out)
    free = qsaga("tenant", "set", "--name", "books", "--money", "none", "--json")
    assert json.loads(free.out)["tenant"]["money"] is None
    assert "tenant books" in flat(qsaga("tenant", "list").out)
    assert [one["tenant"]["name"] for one in json.loads(qsaga("tenant", "list", "--json").out)] == [
        "books"
    ]
    unknown = qsaga("tenant", "show", "nobody")
    assert unknown.code == 2 and "tenant: 'nobody' is not known" in unknown.err

    closed = qsaga("books")
    assert closed.code == 0 and "the books close" in closed.out
    assert all(
        float(total) == 0 for total in json.loads(qsaga("books", "--json").out)["sums"].values()
    )
    compared = qsaga("reconcile")
    assert compared.code == 0, compared
    assert "remote jobs" in compared.out
    assert json.loads(qsaga("reconcile", "--repair", "--json").out)["differences"] == []


def test_who_asks(qsaga, monkeypatch) -> None:
    monkeypatch.setenv("QSAGA_USER", "grace")
    again = [ABILENE, "--solve", "0.2", "--key", "w1", "--tenant", "who", "--environment", "test"]
    first = json.loads(qsaga("run", *again, "--json").out)
    assert first["submitter"] == "grace"
    # Whoever repeats the request finds the same job.
    assert json.loads(qsaga("run", *again, "--by", "hal", "--json").out) == first
    monkeypatch.setenv("QSAGA_USER", "/")
    refused = qsaga("run", *again)
    assert refused.code == 2 and "settings.user: '/' does not fit" in refused.err


def test_history_and_audit(qsaga) -> None:
    options = ["--tenant", "hist", "--environment", "test", "--experiment", "autumn"]
    assert qsaga(*RUN, "--key", "h1", *options).code == 0
    found = json.loads(qsaga("history", "--tenant", "hist", "--since", "1d", "--json").out)
    assert [row["job_id"] for row in found] == ["hist/h1"]
    assert found[0]["source"] == "annealing" and found[0]["submitter"] == "ada"
    shown = qsaga("history", "--experiment", "autumn", "--source", "annealing").out
    assert "hist/h1" in shown and "completed" in shown
    assert "hist/h1" not in qsaga("history", "--until", "1d").out
    assert json.loads(qsaga("history", "--tenant", "hist", "--verb", "sample", "--json").out) == []

    qsaga("tenant", "set", "--name", "hist", "--jobs", "7", "--by", "olga")
    log = qsaga("audit", "--tenant", "hist")
    assert log.code == 0, log.err
    assert "olga (unverified)" in log.out and "put_tenant" in log.out
    assert "the chain is unbroken" in log.out
    rows = json.loads(qsaga("audit", "--tenant", "hist", "--json").out)
    assert any(row["entry"]["who"] == "olga" for row in rows)


def test_what_temporal_has_forgotten(qsaga, stage: Stage) -> None:
    options = ["--tenant", "old", "--environment", "test", "--dataset", "v3"]
    assert qsaga(*RUN, "--key", "o1", *options).code == 0
    before = json.loads(qsaga("show", "old/o1", "--json").out)
    told = qsaga("explain", "old/o1").out

    async def delete(client: Client) -> None:
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace="default", workflow_execution=WorkflowExecution(workflow_id="old/o1")
            )
        )

    on_server(stage, delete)
    wait_until(
        lambda: "'old/o1' is known" in qsaga("watch", "old/o1").err,
        "it is forgotten",
        DELETION,
        0.5,
    )
    after = json.loads(qsaga("show", "old/o1", "--json").out)
    assert after["result"] == before["result"] and after["closed"]
    assert qsaga("explain", "old/o1").out == told
    assert "It ended completed at" in told
    late = qsaga("approve", "old/o1", "--why", "w", "--by", "bob")
    assert (late.code, late.err) == (4, "error: job old/o1 has ended: completed\n")


def test_forget(qsaga, monkeypatch) -> None:
    assert qsaga(*RUN, "--key", "f1", "--tenant", "gone", "--environment", "test").code == 0
    monkeypatch.setattr("sys.stdin", StringIO())
    asked = qsaga("forget", "gone/f1", "--why", "asked to")
    assert asked.code == 1 and asked.err.endswith("error: nothing was done\n")
    assert json.loads(qsaga("show", "gone/f1", "--json").out)["result"]["answer"] is not None

    done = qsaga("forget", "gone/f1", "--why", "asked to", "--yes", "--by", "olga")
    assert done.code == 0, done.err
    assert "job gone/f1 is forgotten" in done.out

    def gone() -> bool:
        return "forgotten" in qsaga("show", "gone/f1").out

    wait_until(gone, "Temporal has deleted it too", DELETION, 0.5)
    record = json.loads(qsaga("show", "gone/f1", "--json").out)
    assert record["result"] is None and record["request"] is None
    assert "was deleted on request" in flat(qsaga("explain", "gone/f1").out)
    unknown = qsaga("forget", "gone/none", "--why", "w", "--yes")
    assert unknown.code == 7
    assert qsaga("retain", "--days", "1", "--json").code == 0
    assert "are written" in qsaga("rebuild").out
    assert json.loads(qsaga("show", "gone/f1", "--json").out)["result"] is None


def test_no_worker(qsaga, monkeypatch) -> None:
    monkeypatch.setattr("qsaga.cli.books.LONG", 0.5)
    monkeypatch.setenv("QSAGA_TEMPORAL__TASK_QUEUE", "nobody")
    ended = qsaga("books")
    assert ended.code == 6
    assert ended.err == "error: no worker on task queue 'nobody' answered within 0.5 s\n"
