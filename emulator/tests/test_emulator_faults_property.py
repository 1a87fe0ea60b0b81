"""Whatever goes wrong on the wire: an accepted job is never lost, doubled or charged anew."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ibm_quantum_emulator.process import EmulatorProcess

ENDED = ("Completed", "Failed", "Cancelled")

# It ends without a simulation: as Cancelled with a charge when its second is over.
BODY = {
    "program_id": "sampler",
    "backend": "ibm_torino",
    "params": {"pubs": [["never run", None, 10]]},
    "cost": 1,
}

ENDPOINTS = st.sampled_from(["submit", "list", "job", "cancel", "result", "delete", "*"])
WHEN = st.sampled_from(["before", "after"])
DEEDS = st.one_of(
    st.fixed_dictionaries({"do": st.just("drop"), "on": ENDPOINTS, "when": WHEN}),
    st.fixed_dictionaries(
        {
            "do": st.just("answer"),
            "on": ENDPOINTS,
            "when": WHEN,
            "status": st.sampled_from([200, 204, 401, 409, 429, 500, 504]),
        }
    ),
    st.fixed_dictionaries({"do": st.just("malformed"), "on": ENDPOINTS, "fraction": st.just(0.5)}),
    st.fixed_dictionaries(
        {"do": st.just("stall"), "on": ENDPOINTS, "when": WHEN, "seconds": st.just(0.01)}
    ),
    st.fixed_dictionaries({"do": st.just("outage"), "for": st.sampled_from([30, 120])}),
    st.fixed_dictionaries({"do": st.just("fail"), "charged": st.booleans()}),
    st.fixed_dictionaries({"do": st.just("list_late"), "seconds": st.sampled_from([50, 500])}),
    st.fixed_dictionaries(
        {"do": st.sampled_from(["list_missing", "list_twice"]), "counted": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"do": st.just("cancel_loses_race"), "reply": st.sampled_from([204, 409])}
    ),
    st.fixed_dictionaries({"do": st.just("show_status"), "text": st.just("Lost")}),
    st.fixed_dictionaries({"do": st.just("expire_tokens")}),
)
COUNTS = st.fixed_dictionaries(
    {},
    optional={
        "after": st.integers(0, 2),
        "count": st.integers(1, 4),
        "probability": st.sampled_from([0.3, 0.7]),
        "per_job": st.booleans(),
    },
)
RULES = st.lists(
    st.builds(lambda deed, counts: {**deed, **counts}, DEEDS, COUNTS), min_size=1, max_size=5
)
ANY = st.integers(0, 9)
STEPS = st.one_of(
    st.just(("submit",)),
    st.just(("list",)),
    st.tuples(st.sampled_from(["read", "result", "cancel", "cancel", "delete"]), ANY),
    st.tuples(st.just("step"), st.sampled_from([1, 61, 400])),
    st.tuples(st.just("plan"), RULES, ANY),
)
# Every story begins with something to lose.
STORIES = st.lists(STEPS, min_size=8, max_size=25).map(lambda steps: [("submit",)] * 3 + steps)


# Without shrinking: it would repeat the story for minutes, a crash in each.
SETTINGS = settings(
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass
class Story:
    """A caller of the API who keeps count, and the ground truth as it was last seen."""

    emulator: EmulatorProcess
    http: httpx.Client
    answered: dict[str, str] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Return the reply, None when the connection broke."""
        try:
            reply = self.http.request(method, path, **more)
            if reply.status_code == 401:
                issued = self.http.post(
                    self.emulator.url + "/identity/token", data={"apikey": "k"}
                ).json()
                self.http.headers["authorization"] = f"Bearer {issued['access_token']}"
        except (httpx.TransportError, ValueError, LookupError, TypeError):
            return None
        return reply

    def submit(self) -> None:
        tag = f"s{next(self.numbers)}"
        self.sent.append(tag)
        reply = self.ask("POST", "jobs", json={**BODY, "tags": [tag]})
        if reply is not None and reply.status_code == 200 and '"id"' in reply.text:
            self.answered[tag] = reply.text

    def crash(self, delay: float) -> None:
        caller = threading.Thread(target=self.submit)
        caller.start()
        caller.join(delay)
        self.emulator.kill()
        caller.join()
        self.emulator.start()

    def tell(self, step: Any) -> None:
        name, control = step[0], self.emulator.control
        if name == "submit":
            self.submit()
        elif name == "list":
            self.ask("GET", "jobs")
        elif name == "step":
            control.step(step[1])
        elif name == "plan":
            control.set_plan(*step[1], seed=step[2])
        elif self.known:
            job = list(self.known)[step[1] % len(self.known)]
            method, path = {
                "read": ("GET", f"jobs/{job}"),
                "result": ("GET", f"jobs/{job}/results"),
                "cancel": ("POST", f"jobs/{job}/cancel"),
                "delete": ("DELETE", f"jobs/{job}"),
            }[name]
            self.ask(method, path)

    def check(self) -> None:
        control = self.emulator.control
        truth = {job["id"]: job for job in control.jobs()}
        assert set(self.known) <= set(truth), "a job is lost"
        fixed = ("created", "tags", "seq", "instance")
        for job_id, before in self.known.items():
            now = truth[job_id]
            assert {key: now[key] for key in fixed} == {key: before[key] for key in fixed}
            assert set(before["faults"]) <= set(now["faults"])
            if before["state"] in ENDED:
                kept = ("state", "charged_seconds", "reason_code", "finished")
                assert {key: now[key] for key in kept} == {key: before[key] for key in kept}
        tags = [tag for job in truth.values() for tag in job["tags"]]
        assert len(tags) == len(set(tags)), "one POST made two jobs"
        assert set(tags) <= set(self.sent)
        posts = control.posts()
        accepted = [post["job_id"] for post in posts if post["status"] == 200]
        assert sorted(accepted) == sorted(truth), "posts and jobs do not match"
        assert all((post["job_id"] is None) == (post["status"] != 200) for post in posts)
        for tag, text in self.answered.items():
            (job,) = (job for job in truth.values() if tag in job["tags"])
            # Half of a malformed answer holds the whole id or a part of it.
            assert f'{{"id":"{job["id"]}"'.startswith(text[:27])
        self.known = truth


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    data: Path = tmp_path_factory.mktemp("property")
    with EmulatorProcess(data, stepped=True, queue_length=1, seconds_per_job=60) as process:
        yield process


@pytest.fixture(scope="module")
def http(emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    headers = {"service-crn": emulator.crn}
    base = emulator.url + "/api/v1/"
    with httpx.Client(base_url=base, headers=headers, trust_env=False) as client:
        yield client


def begun(emulator: EmulatorProcess, http: httpx.Client, rules: Any, seed: int) -> Story:
    emulator.control.reset()
    story = Story(emulator, http)
    story.ask("GET", "jobs")
    emulator.control.set_plan(*rules, seed=seed)
    return story


def told(story: Story, steps: Any) -> None:
    for step in steps:
        story.tell(step)
        story.check()


def ended(story: Story) -> None:
    # Out of everybody's way, all jobs end; then nothing changes any more.
    story.emulator.control.clear_plan()
    story.emulator.control.step(100_000)
    story.check()
    assert all(job["state"] in ENDED for job in story.known.values())
    story.check()


@given(rules=RULES, seed=ANY, steps=STORIES)
@settings(SETTINGS, max_examples=20)
def test_no_accepted_job_is_lost_or_doubled(
    emulator: EmulatorProcess, http: httpx.Client, rules: Any, seed: int, steps: Any
) -> None:
    story = begun(emulator, http, rules, seed)
    told(story, steps)
    ended(story)


# A crash costs a second or more: few stories, each with one, while a submission is under way.
@given(
    rules=RULES,
    seed=ANY,
    steps=STORIES,
    delay=st.sampled_from([0.001, 0.003, 0.005, 0.008]),
    later=st.lists(STEPS, min_size=3, max_size=10),
)
@settings(SETTINGS, max_examples=3)
def test_no_accepted_job_is_lost_in_a_crash(
    emulator: EmulatorProcess,
    http: httpx.Client,
    rules: Any,
    seed: int,
    steps: Any,
    delay: float,
    later: Any,
) -> None:
    story = begun(emulator, http, rules, seed)
    told(story, steps)
    plan = emulator.control.faults()
    story.crash(delay)
    names = [rule["name"] for rule in emulator.control.faults()["faults"]]
    assert names == [rule["name"] for rule in plan["faults"]]
    story.check()
    told(story, later)
    ended(story)
