"""What goes wrong in a run, and when: drawn from a seed, so that it can be repeated.

All times in a plan are in real seconds until ``rules`` turns those that the emulator counts in
virtual time into such.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

RATE = 40.0
"""Virtual seconds of the emulator in a real one."""
CALL_TIMEOUT = 3.5
LISTING_GRACE = 1.5
"""Seconds: the settings of the workers. What is listed later than this breaks what was promised."""
KEY = "emulator-key"

Rule = dict[str, Any]
Draw = Callable[[random.Random], Rule]

READS = ["list", "job", "result", "metrics", "backends", "configuration", "properties", "status"]


def _some(dice: random.Random, rule: Rule) -> Rule:
    """Often, but not for ever: what is asked again comes through."""
    return rule | {"probability": round(dice.uniform(0.2, 0.6), 2), "count": dice.randint(4, 12)}


def _often(dice: random.Random, rule: Rule) -> Rule:
    """For requests that are few."""
    return rule | {"count": dice.randint(4, 8)}


def _submission(**rule: Any) -> Draw:
    return lambda dice: _some(dice, {"on": "submit"} | rule)


def _statuses(on: str | list[str], when: str, *statuses: int) -> Draw:
    def draw(dice: random.Random) -> Rule:
        rule = {"do": "answer", "on": on, "when": when, "status": dice.choice(statuses)}
        return _some(dice, rule)

    return draw


def _patience(on: str | list[str]) -> Draw:
    def draw(dice: random.Random) -> Rule:
        headers = {"Retry-After": str(dice.choice((1, 2, 4)))}
        return _some(dice, {"do": "answer", "on": on, "status": 429, "headers": headers})

    return draw


def _stall(on: str | list[str], when: str) -> Draw:
    def draw(dice: random.Random) -> Rule:
        seconds = round(CALL_TIMEOUT + dice.uniform(0.2, 1.5), 2)
        return _some(dice, {"do": "stall", "on": on, "when": when, "seconds": seconds})

    return draw


def _malformed(on: str | list[str]) -> Draw:
    def draw(dice: random.Random) -> Rule:
        shape = dice.choice(({"fraction": round(dice.random(), 2)}, {"text": "<html>busy</html>"}))
        return _some(dice, {"do": "malformed", "on": on} | shape)

    return draw


def _late_listing(*, direct: bool) -> Draw:
    def draw(dice: random.Random) -> Rule:
        seconds = round(dice.uniform(0.2, 0.9) * LISTING_GRACE * RATE, 1)
        return _some(dice, {"do": "list_late", "seconds": seconds, "direct": direct})

    return draw


def _window(**rule: Any) -> Draw:
    def draw(dice: random.Random) -> Rule:
        start, lasting = dice.uniform(0, 4) * RATE, dice.uniform(1, 4) * RATE
        return rule | {"from": f"+{start:.1f}", "for": round(lasting, 1)}

    return draw


def _result_late(dice: random.Random) -> Rule:
    seconds = round(dice.uniform(0.5, 3) * RATE, 1)
    return _some(dice, {"do": "result_late", "seconds": seconds, "status": dice.choice((204, 404))})


def _failing(dice: random.Random) -> Rule:
    reason = dice.choice(("Internal error.", "The circuit did not run."))
    charged = dice.choice((True, False))
    return _some(dice, {"do": "fail", "reason": reason, "reason_code": 1000, "charged": charged})


def _count_off(dice: random.Random) -> Rule:
    return _some(dice, {"do": "list_count", "by": dice.choice((-1, 1, 3))})


def _race_lost(dice: random.Random) -> Rule:
    return _often(dice, {"do": "cancel_loses_race", "reply": dice.choice((204, 409))})


def _refused_cancel(*statuses: int) -> Draw:
    def draw(dice: random.Random) -> Rule:
        return _often(dice, {"do": "answer", "on": "cancel", "status": dice.choice(statuses)})

    return draw


def _dropped_cancel(dice: random.Random) -> Rule:
    return _often(dice, {"do": "drop", "on": "cancel", "when": "after"})


def _short_tokens(dice: random.Random) -> Rule:
    return {"do": "token_lifetime", "seconds": 2.0, "told": dice.choice((True, False)), "count": 4}


KINDS: dict[str, Draw] = {
    "submit_dropped_before": _submission(do="drop", when="before"),
    "submit_dropped_after": _submission(do="drop", when="after"),
    "submit_4xx": _statuses("submit", "before", 400, 403, 409),
    "submit_401": _statuses("submit", "before", 401),
    "submit_408": _statuses("submit", "before", 408),
    "submit_429": _patience("submit"),
    "submit_5xx_before": _statuses("submit", "before", 500, 502, 503, 504),
    "submit_5xx_after": _statuses("submit", "after", 500, 502, 503, 520),
    "submit_504_after": _statuses("submit", "after", 504),
    "submit_stalled_before": _stall("submit", "before"),
    "submit_stalled_after": _stall("submit", "after"),
    "submit_malformed": _malformed("submit"),
    "submit_dripped": _submission(do="drip", seconds=2.0),
    "list_late": _late_listing(direct=False),
    "list_late_direct": _late_listing(direct=True),
    "list_twice": lambda dice: _some(dice, {"do": "list_twice", "counted": True}),
    "list_twice_uncounted": lambda dice: _some(dice, {"do": "list_twice", "counted": False}),
    "list_count": _count_off,
    "list_malformed": _malformed("list"),
    "read_dropped": lambda dice: _some(dice, {"do": "drop", "on": READS}),
    "read_4xx": _statuses(READS[:4], "before", 403, 404),
    "read_429": _patience(READS),
    "read_5xx": _statuses(READS, "before", 500, 502, 503, 504),
    "read_stalled": _stall(READS[:4], "before"),
    "read_malformed": _malformed(READS[1:]),
    "unknown_status": _window(do="show_status", text="Reticulating", on=["job", "list"]),
    "result_late": _result_late,
    "result_gone": lambda dice: _some(dice, {"do": "result_gone", "status": 410}),
    "result_dripped": lambda dice: _some(dice, {"do": "drip", "on": "result", "seconds": 2.0}),
    "fails": _failing,
    "cancel_loses_race": _race_lost,
    "cancel_dropped_after": lambda dice: _some(
        dice, {"do": "drop", "on": "cancel", "when": "after"}
    ),
    "cancel_5xx": _refused_cancel(500, 503, 504),
    "cancel_4xx": _refused_cancel(403, 404),
    "expire_tokens": lambda dice: {"do": "expire_tokens", "after": dice.randint(3, 30), "count": 3},
    "token_lifetime": _short_tokens,
    "token_5xx": _statuses("token", "before", 500, 503),
    "outage": _window(do="outage", status=503),
    "key_revoked": _window(do="revoke_key", key=KEY),
}
"""Every fault that is played, by the name that ground truth bears.

Not among them, since nobody could be exact then: a 4xx after acceptance, and a listing that leaves
out a job for longer than ``LISTING_GRACE`` (``list_missing`` does so at any time).
"""


@dataclass(frozen=True)
class Asked:
    """One job. Seconds: after the round began, of its queue budget, after which it is cancelled."""

    key: str
    at: float
    queue: float | None = None
    cancelled_after: float | None = None


@dataclass(frozen=True)
class Kill:
    """A worker, by its place, that is killed so many seconds after the round began."""

    at: float
    worker: int


@dataclass(frozen=True)
class Round:
    """What happens together; ``rules`` replaces the fault plan of the round before."""

    number: int
    seed: int
    rules: tuple[Rule, ...]
    jobs: tuple[Asked, ...]
    kills: tuple[Kill, ...]

    def document(self) -> dict[str, Any]:
        """For a file; ``plan`` is what the emulator takes."""
        whole = asdict(self)
        rules = list(whole.pop("rules"))
        return whole | {"plan": {"version": 1, "seed": self.seed, "faults": rules}}


def draw(seed: int, submissions: int, size: int, faults: int, workers: int) -> list[Round]:
    """Every round of a run.

    The kinds of faults are dealt like cards, so that each comes up before one comes again.

    Args:
        seed: decides everything.
        submissions: in all.
        size: of them in a round.
        faults: rules in a plan.
        workers: of whom one is killed now and then.
    """
    dice = random.Random(seed)
    deck: list[str] = []
    rounds = []
    for number in range(-(-submissions // size)):
        kinds: list[str] = []
        while len(kinds) < faults:
            if not deck:
                deck = dice.sample(sorted(KINDS), len(KINDS))
            kind = deck.pop()
            if kind not in kinds:
                kinds.append(kind)
        rules = tuple({"name": f"{kind}#{number}"} | KINDS[kind](dice) for kind in kinds)
        count = min(size, submissions - number * size)
        jobs = tuple(_asked(dice, f"r{number}-{place}") for place in range(count))
        kills = tuple(
            Kill(round(dice.uniform(0.5, 10), 2), dice.randrange(workers))
            for _ in range(dice.choice((0, 1, 1, 2)))
        )
        kills = tuple(sorted(kills, key=lambda kill: kill.at))
        rounds.append(Round(number, dice.randrange(2**31), rules, jobs, kills))
    return rounds


def _asked(dice: random.Random, key: str) -> Asked:
    chance = dice.random()
    at = round(dice.uniform(0, 5), 2)
    if chance < 0.16:
        return Asked(key, at, queue=round(dice.uniform(0.4, 1.5), 2))
    if chance < 0.3:
        return Asked(key, at, cancelled_after=round(dice.uniform(0.2, 10), 2))
    return Asked(key, at)


def kind_of(name: str) -> str:
    """The kind of a rule, from its name."""
    return name.partition("#")[0]
