"""Every ``do`` of the fault plan, on the wire and in the ground truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ibm_quantum_emulator.process import ControlClient, EmulatorProcess

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0

# Ends as Cancelled with reason code 1305 and a charge, and needs no simulation for that.
BODY = {
    "program_id": "sampler",
    "backend": "ibm_torino",
    "params": {"pubs": [["never run", None, 10]]},
    "cost": 1,
}


@pytest.fixture
def control(ibm_emulator: EmulatorProcess) -> ControlClient:
    return ibm_emulator.control


@pytest.fixture
def post(control: ControlClient, http: httpx.Client) -> Callable[..., httpx.Response]:
    control.set_queue(10, 60)

    def submit(*tags: str, **changes: Any) -> httpx.Response:
        return http.post("jobs", json={**BODY, "tags": list(tags), **changes})

    return submit


@pytest.fixture
def make(post: Callable[..., httpx.Response]) -> Callable[..., str]:
    def submit(*tags: str, **changes: Any) -> str:
        reply = post(*tags, **changes)
        assert reply.status_code == 200
        return str(reply.json()["id"])

    return submit


def listed(http: httpx.Client, **query: Any) -> tuple[list[str], int]:
    page = http.get("jobs", params={"sort": "ASC", **query}).json()
    return [job["id"] for job in page["jobs"]], page["count"]


def counts(control: ControlClient) -> list[tuple[int, int]]:
    return [(rule["matched"], rule["fired"]) for rule in control.faults()["faults"]]


# -- the reply ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("when", "jobs"), [("before", 0), ("after", 1)])
def test_drop(control: ControlClient, post: Any, when: str, jobs: int) -> None:
    control.set_plan({"name": "cut", "on": "submit", "do": "drop", "when": when})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        post("t")
    assert [job["faults"] for job in control.jobs("t")] == [["cut"]] * jobs
    (told,) = control.posts("t")
    assert (told["status"], told["answered"], told["faults"]) == (200 * jobs, "dropped", ["cut"])
    (row,) = control.request_log(endpoint="submit")
    assert (row["status"], row["faults"], row["tags"]) == ("dropped", ["cut"], ["t"])
    assert control.summary("t")["posts"] == 1


def test_a_large_body_is_read_before_the_connection_is_dropped(
    control: ControlClient, post: Any
) -> None:
    control.set_plan({"on": "submit", "do": "drop"})
    # Closing with unread bytes would reset the connection, and tell the two cases apart.
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        post(params={"pubs": ["x" * 4_000_000]})


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"body": "<html>"}, "text/plain; charset=utf-8", "<html>"),
        ({"body": "<p>", "headers": {"Content-Type": "text/html"}}, "text/html", "<p>"),
        ({"json": {"a": [1]}}, "application/json", '{"a":[1]}'),
    ],
)
def test_answer(
    control: ControlClient, http: httpx.Client, fields: Any, kind: str, text: str
) -> None:
    control.set_plan({"on": "usage", "do": "answer", "status": 418, **fields})
    reply = http.get("instances/usage")
    assert (reply.status_code, reply.headers["content-type"], reply.text) == (418, kind, text)


def test_answer_with_headers_and_an_envelope(control: ControlClient, http: httpx.Client) -> None:
    rule = {"on": "list", "do": "answer", "status": 429, "headers": {"Retry-After": "7"}}
    control.set_plan({"name": "slow down", **rule})
    reply = http.get("jobs")
    assert reply.headers["retry-after"] == "7"
    assert reply.json()["errors"][0]["code"] == 429
    assert "slow down" in reply.text
    control.set_plan({"on": "list", "do": "answer", "status": 204})
    assert http.get("jobs").content == b""


def test_answer_after_acceptance_only_where_something_was_accepted(
    control: ControlClient, post: Any
) -> None:
    rule = {"on": "submit", "do": "answer", "when": "after", "status": 500, "count": 1}
    control.set_plan(rule)
    assert post(program_id="cook").status_code == 404
    assert post("t").status_code == 500
    assert post("t").status_code == 200
    assert len(control.jobs()) == 2
    assert counts(control) == [(2, 1)]


def test_stall(control: ControlClient, http: httpx.Client) -> None:
    control.set_plan({"on": "status", "do": "stall", "seconds": 0.3, "backend": "ibm_torino"})
    assert http.get("backends/ibm_torino/status").elapsed.total_seconds() >= 0.3
    assert http.get("backends/small/status").elapsed.total_seconds() < 0.3
    assert counts(control) == [(1, 1)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_submission_that_the_caller_gave_up_is_accepted_all_the_same(
    control: ControlClient, post: Any, http: httpx.Client, when: str
) -> None:
    control.set_plan({"name": "slow", "on": "submit", "do": "stall", "seconds": 0.4, "when": when})
    with pytest.raises(httpx.ReadTimeout):
        http.post("jobs", json={**BODY, "tags": ["t"]}, timeout=0.2)
    deadline = time.monotonic() + 10
    while not control.jobs("t") or control.jobs("t")[0]["faults"] != ["slow"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_drip(control: ControlClient, http: httpx.Client) -> None:
    control.set_plan({"on": "backends", "do": "drip", "seconds": 0.3})
    pieces, began = [], time.monotonic()
    with http.stream("GET", "backends") as reply:
        pieces = list(reply.iter_raw())
    assert time.monotonic() - began >= 0.3
    assert len(pieces) > 5
    control.clear_plan()
    assert b"".join(pieces) == http.get("backends").content


def test_malformed(control: ControlClient, http: httpx.Client) -> None:
    whole = http.get("backends").text
    control.set_plan({"on": "backends", "do": "malformed", "fraction": 0.5})
    assert http.get("backends").text == whole[: len(whole) // 2]
    control.set_plan({"on": "backends", "do": "malformed", "text": "{"})
    assert http.get("backends").text == "{"


@pytest.mark.parametrize(
    ("window", "before", "within", "after"),
    [
        ({"from": "+100", "until": "+200"}, 200, 503, 200),
        ({"from": "+100", "for": 100}, 200, 503, 200),
        ({"for": 150}, 503, 503, 200),
        ({"from": "+100"}, 200, 503, 503),
        ({}, 503, 503, 503),
    ],
)
def test_outage(
    control: ControlClient,
    http: httpx.Client,
    window: Any,
    before: int,
    within: int,
    after: int,
) -> None:
    control.set_plan({"do": "outage", **window})
    seen = [http.get("jobs").status_code]
    for _ in range(2):
        control.step(100)
        seen.append(http.get("jobs").status_code)
    # The window ends where it says, not after.
    if "from" in window and "for" not in window and "until" not in window:
        control.step(1000)
        assert http.get("jobs").status_code == 503
    assert seen == [before, within, after]
    control.clear_plan()
    assert http.get("jobs").status_code == 200


def test_an_outage_of_some_endpoints_at_absolute_times(
    control: ControlClient, http: httpx.Client
) -> None:
    now = control.now()
    control.set_plan(
        {"do": "outage", "on": ["list", "token"], "status": 500, "from": now, "until": now + 1}
    )
    assert http.get("jobs").status_code == 500
    assert http.get("backends").status_code == 200
    control.step(1)
    assert http.get("jobs").status_code == 200


# -- jobs -----------------------------------------------------------------------------------------


def test_show_status(control: ControlClient, http: httpx.Client, make: Any) -> None:
    job, other = make("t"), make()
    control.set_plan({"do": "show_status", "text": "In limbo", "tag": "t"})
    for view in (http.get(f"jobs/{job}").json(), http.get("jobs?sort=ASC").json()["jobs"][0]):
        assert (view["status"], view["state"]["status"]) == ("In limbo", "In limbo")
    assert http.get(f"jobs/{other}").json()["status"] == "Queued"
    assert [truth["state"] for truth in control.jobs()] == ["Queued", "Queued"]


@pytest.mark.parametrize("direct", [False, True])
def test_list_late(control: ControlClient, http: httpx.Client, make: Any, direct: bool) -> None:
    control.set_plan({"name": "late", "do": "list_late", "seconds": 50, "direct": direct})
    job = make("t")
    control.clear_plan()
    for wait, visible in ((0, False), (49, False), (1, True)):
        control.step(wait)
        assert listed(http, tags="t") == (([job], 1) if visible else ([], 0))
        assert listed(http) == (([job], 1) if visible else ([], 0))
        assert (http.get(f"jobs/{job}").status_code == 200) == (visible or not direct)
    assert control.jobs("t")[0]["faults"] == ["late"]


def test_list_missing(control: ControlClient, http: httpx.Client, make: Any) -> None:
    one, two, three = make("a"), make("b"), make("c")
    control.set_plan({"do": "list_missing", "tag": "b"})
    assert listed(http) == ([one, three], 2)
    assert listed(http, limit=1, offset=1) == ([three], 2)
    control.set_plan({"do": "list_missing", "job": two, "counted": True, "count": 1})
    assert listed(http, tags="a") == ([one], 1)
    assert listed(http) == ([one, three], 3)
    assert listed(http) == ([one, two, three], 3)


def test_list_twice(control: ControlClient, http: httpx.Client, make: Any) -> None:
    one, two = make("a"), make("b")
    control.set_plan({"do": "list_twice", "tag": "a"})
    assert listed(http) == ([one, one, two], 3)
    assert [listed(http, limit=2, offset=start)[0] for start in (0, 2)] == [[one, one], [two]]
    control.set_plan({"do": "list_twice", "tag": "a", "counted": False})
    assert listed(http) == ([one, one, two], 2)


def test_list_count(control: ControlClient, http: httpx.Client, make: Any) -> None:
    one = make("a")
    control.set_plan({"do": "list_count", "by": 5, "tag": "a"}, {"do": "list_count", "by": -9})
    assert listed(http) == ([one], 0)
    control.set_plan({"do": "list_count", "by": 5, "tag": "a"})
    assert listed(http) == ([one], 1)
    assert listed(http, tags="a") == ([one], 6)


@pytest.mark.parametrize("status", [204, 404, 410])
def test_result_gone(control: ControlClient, http: httpx.Client, submit: Any, status: int) -> None:
    job = submit().job_id()
    control.set_plan({"do": "result_gone", "status": status, "count": 1})
    assert http.get(f"jobs/{job}/results").status_code == 204
    assert counts(control) == [(0, 0)]
    control.step(LONG)
    assert http.get(f"jobs/{job}/results").status_code == status
    assert http.get(f"jobs/{job}/results").status_code == 200


@pytest.mark.parametrize("status", [204, 404])
def test_result_late(control: ControlClient, http: httpx.Client, submit: Any, status: int) -> None:
    job = submit().job_id()
    control.step(LONG)
    done = control.jobs()[0]["finished"]
    control.set_plan({"do": "result_late", "seconds": 100, "status": status})
    assert http.get(f"jobs/{job}").json()["status"] == "Completed"
    assert http.get(f"jobs/{job}/results").status_code == status
    control.step(done + 100 - control.now())
    assert http.get(f"jobs/{job}/results").status_code == 200


@pytest.mark.parametrize(("charged", "seconds"), [(False, 0), (True, 3)])
def test_fail(
    control: ControlClient, http: httpx.Client, make: Any, charged: bool, seconds: int
) -> None:
    rule = {"name": "cold", "do": "fail", "reason": "Cold.", "reason_code": 5, "charged": charged}
    control.set_plan({**rule, "count": 1})
    job, other = make(cost=None), make()
    control.step(3600)
    state = http.get(f"jobs/{job}").json()["state"]
    assert (state["status"], state["reason"], state["reason_code"]) == ("Failed", "Cold.", 5)
    truth = control.jobs()
    assert (truth[0]["charged_seconds"], truth[0]["faults"]) == (seconds, ["cold"])
    assert (truth[1]["id"], truth[1]["state"], truth[1]["faults"]) == (other, "Cancelled", [])


@pytest.mark.parametrize("reply", [204, 409])
def test_cancel_loses_race(
    control: ControlClient, http: httpx.Client, make: Any, reply: int
) -> None:
    control.set_plan(
        {"name": "race", "do": "cancel_loses_race", "reply": reply, "count": 1, "per_job": True}
    )
    one, two = make("a"), make("b")
    assert [http.post(f"jobs/{job}/cancel").status_code for job in (one, two)] == [reply] * 2
    assert http.post(f"jobs/{two}/cancel").status_code == 204
    control.step(3600)
    first, second = control.jobs()
    assert (first["reason_code"], first["charged_seconds"], first["lost_race"]) == (1305, 1, True)
    assert (second["reason_code"], second["charged_seconds"]) == (None, 0)
    assert first["faults"] == ["race"]


# -- identity -------------------------------------------------------------------------------------


def token(emulator: EmulatorProcess, key: str) -> httpx.Response:
    return httpx.post(emulator.url + "/identity/token", data={"apikey": key}, trust_env=False)


@pytest.mark.parametrize("told", [True, False])
def test_token_lifetime(
    ibm_emulator: EmulatorProcess, control: ControlClient, http: httpx.Client, told: bool
) -> None:
    control.set_plan({"do": "token_lifetime", "seconds": 1, "told": told})
    issued = token(ibm_emulator, "raw").json()
    assert issued["expires_in"] == (1 if told else 3600)
    fresh = {"authorization": f"Bearer {issued['access_token']}"}
    assert http.get("jobs", headers=fresh).status_code == 200
    deadline = time.monotonic() + 10
    while http.get("jobs", headers=fresh).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert http.get("jobs").status_code == 200


def test_expire_tokens(
    ibm_emulator: EmulatorProcess, control: ControlClient, http: httpx.Client
) -> None:
    control.set_plan({"do": "expire_tokens", "on": "list", "after": 1})
    assert [http.get("jobs").status_code for _ in range(3)] == [200, 401, 401]
    issued = token(ibm_emulator, "raw").json()
    http.headers["authorization"] = f"Bearer {issued['access_token']}"
    assert http.get("jobs").status_code == 200


def test_revoke_key(
    ibm_emulator: EmulatorProcess, control: ControlClient, http: httpx.Client
) -> None:
    control.set_plan({"do": "revoke_key", "key": "raw"})
    assert http.get("jobs").status_code == 401
    assert token(ibm_emulator, "raw").status_code == 400
    assert token(ibm_emulator, "other").status_code == 200
    control.clear_plan()
    assert http.get("jobs").status_code == 200
