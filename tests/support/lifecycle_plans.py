"""What may happen to a batch of jobs: requests, policies, faults, and who says what when.

Times are virtual seconds: of jobs and outages since the batch began, of acts since their job did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from hypothesis import assume
from hypothesis import strategies as st

from tests.support.stack import abilene, bell

BACKENDS = ("ibm_first", "ibm_second")
TENANTS = ("free", "asked", "poor")
"""Without limits; whose every job a person must allow; with hardly any budget."""
SOON = 60.0
"""Nothing is said earlier: by then every job has come to where it waits, and none computes.

A cancellation that meets an activity at work would stop the clock of a time-skipping server.
"""
ActKind = Literal[
    "cancel", "approve", "lower", "reject", "supply", "signal_yes", "junk", "give_up", "look",
    "forge", "repeat", "another",
]  # fmt: skip
ACTS: tuple[ActKind, ...] = ActKind.__args__  # type: ignore[attr-defined]
PATIENT = (SOON, 130.0, 800.0)
YES: tuple[ActKind, ...] = ("approve", "supply")
"""When one who answers every question looks whether there is one, and what he says."""
RING = {"edges": [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"], ["e", "a"]]}
TWO_BELLS = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nh q[0];\ncx q[0], q[1];\n'
WORKLOADS: dict[str, dict[str, Any]] = {
    "optimise": {
        **abilene().workload.model_dump(mode="json"),
        "problem": {"name": "maxcut", "data": RING},
        "shots": 128,
    },
    "sample": bell().workload.model_dump(mode="json"),
    "estimate": {
        "kind": "estimate",
        "circuit": {"source": TWO_BELLS},
        "observables": [{"ZI": 2.0, "IX": 2.0}],
        "precision": 0.05,
    },
}
ANSWERS: dict[str, dict[str, Any]] = {
    "optimise": {"assignment": {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}},
    "sample": {"counts": {"c": {"00": 3, "11": 2}}},
    "estimate": {"values": [0.5], "standard_errors": [0.25]},
}
LADDERS: dict[str, list[list[str]]] = {
    "optimise": [
        ["hardware", "annealing"],
        ["hardware", "other_backend", "annealing", "exact"],
        ["hardware", "other_backend", "manual"],
        ["cached", "hardware", "simulator", "annealing"],
        ["hardware", "learned", "annealing", "cached"],
        ["exact", "hardware", "manual"],
        ["manual", "annealing"],
    ],
    "sample": [
        ["hardware", "simulator"],
        ["hardware", "other_backend", "cached", "manual"],
        ["cached", "hardware", "manual", "simulator"],
        ["manual", "hardware", "other_backend"],
        ["hardware", "learned", "manual"],
    ],
    "estimate": [
        ["hardware", "simulator"],
        ["hardware", "other_backend", "manual"],
        ["simulator", "manual"],
        ["cached", "hardware", "learned", "manual"],
        ["learned", "hardware"],
    ],
}
FAULTS: tuple[dict[str, Any] | None, ...] = (
    None,
    None,
    {"do": "fail", "reason": "laser on fire"},
    {"do": "fail", "charged": True},
    {"do": "cancel_loses_race", "reply": 204},
    {"do": "cancel_loses_race", "reply": 409},
    {"do": "drop", "on": "submit", "when": "after", "count": 1},
    {"do": "drop", "on": "submit", "when": "before", "count": 1},
    {"do": "answer", "on": "submit", "when": "after", "status": 504, "count": 1},
    {"do": "answer", "on": "submit", "status": 400},
    {"do": "answer", "on": "submit", "status": 429, "count": 1},
    {"do": "list_late", "seconds": 15.0},
    {"do": "result_late", "seconds": 5.0, "status": 204},
)
SESSIONS = ("night", "day")
"""Keys of sessions. Whoever takes part in one of them says the same of it."""
AWAY: tuple[list[str], ...] = (
    [
        *("submit", "list", "job", "result", "metrics", "cancel", "backends", "configuration"),
        *("properties", "usage", "session_close", "token", "search", "catalog"),
    ],
    ["submit"],
    ["list", "job"],
    ["result", "metrics", "cancel"],
    ["backends", "properties"],
)
"""What is away in an outage: all but the opening of sessions, or a part of it.

Who waits for a session to be opened does so within an activity: the clock would not skip.
"""


@dataclass(frozen=True)
class Act:
    """Somebody does something to a job.

    ``who`` decides; ``fits`` says whether an answer is of the job's kind, a repeat by the same
    caller, a junk payload null.
    """

    at: float
    kind: ActKind
    who: str
    fits: bool


@dataclass(frozen=True)
class JobPlan:
    """One job; ``faults`` meet its first, second … submission, ``session`` is a key of one."""

    starts: float
    tenant: str
    verb: str
    route: str | None
    backend: str | None
    budgets: dict[str, Any]
    session: str | None = None
    faults: tuple[dict[str, Any] | None, ...] = ()
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True)
class World:
    """A deployment, its providers, and what it is asked.

    Args:
        ladders: of the policy.
        terms: other keys and tables of the policy, as TOML.
        approval: keys of the rule that asks, as TOML.
        queues: jobs ahead and seconds for each of them, by backend.
        execution: seconds that a job holds the machine.
        sessions: the terms of each key.
        outages: rules of the fault plan.
        jobs: the batch.
    """

    ladders: dict[str, list[str]]
    terms: str
    approval: str
    queues: dict[str, tuple[int, float]]
    execution: float
    sessions: dict[str, dict[str, Any]]
    outages: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[JobPlan] = field(default_factory=list)

    def policy(self) -> str:
        """The policy file."""
        ladders = "\n".join(f"{verb} = {rungs}" for verb, rungs in self.ladders.items())
        return (
            f'version = "random"\nrules = []\ncached_max_age = 86400\n{self.terms}\n'
            f"[ladders]\n{ladders}\n"
            '[hardware.prices.default]\nper_quantum_second = "1.60"\n'
            f'[[approvals]]\nname = "all"\nalways = true\nbecause = "a test"\n'
            f'tenants = ["asked"]\n{self.approval}\n'
        )


def _budgets() -> st.SearchStrategy[dict[str, Any]]:
    def within(given: dict[str, Any]) -> dict[str, Any]:
        # A layer may take no longer than the whole: such a request is refused before it starts.
        limit = given["deadline"]
        return {
            name: min(value, limit) if name in ("queue", "execution", "approval") else value
            for name, value in given.items()
            if value is not None
        }

    return st.fixed_dictionaries(
        {
            "deadline": st.sampled_from([150.0, 600.0, 7200.0, 86400.0]),
            "queue": st.sampled_from([None, 65.0, 900.0, 40000.0]),
            "execution": st.sampled_from([None, 70.0]),
            "approval": st.sampled_from([None, 90.0, 3000.0]),
            "quantum_seconds": st.sampled_from([4.0, 9.0, 60.0]),
            "money": st.sampled_from([None, "12.00"]),
            "solve": st.just(1.0),
        }
    ).map(within)


def acts() -> st.SearchStrategy[Act]:
    """Something that happens to a job."""
    return st.builds(
        Act,
        at=st.one_of(st.floats(SOON, 150.0), st.floats(SOON, 900.0), st.floats(SOON, 20000.0)).map(
            lambda at: round(at, 1)
        ),
        kind=st.sampled_from([*ACTS, "approve", "supply", "supply"]),
        who=st.sampled_from(["ann", "bob", "mallory"]),
        fits=st.booleans(),
    )


@st.composite
def jobs(draw: st.DrawFn) -> JobPlan:
    """A job and what happens to it."""
    verb = draw(st.sampled_from(sorted(WORKLOADS)))
    routes = [None, None, "hardware", "hardware", "hardware", "simulator", "cached", "manual"]
    if verb == "optimise":
        routes += ["annealing", "exact"]
    if verb != "sample":
        routes.append("learned")
    kind = draw(st.sampled_from(["silent", "acts", "acts", "answers"]))
    if kind == "answers":
        happens = tuple(Act(at, does, "bob", True) for at, does in product(PATIENT, YES))
    else:
        happens = tuple(draw(st.lists(acts(), max_size=4))) if kind == "acts" else ()
    return JobPlan(
        # Those that come later find the answers of the first.
        starts=draw(st.sampled_from([0.0, 0.0, 0.0, 200.0, 4000.0])),
        tenant=draw(st.sampled_from([*TENANTS, "free", "free"])),
        verb=verb,
        route=draw(st.sampled_from(routes)),
        backend=draw(st.sampled_from([None, None, *BACKENDS])),
        budgets=draw(_budgets()),
        session=draw(st.sampled_from([None, None, *SESSIONS])),
        faults=tuple(draw(st.lists(st.sampled_from(FAULTS), min_size=2, max_size=2))),
        acts=happens,
    )


def _session() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["batch", "dedicated"]),
            "max_seconds": st.sampled_from([30, 600, 7200]),
            "idle_seconds": st.sampled_from([1.0, 300.0]),
        }
    )


def outages() -> st.SearchStrategy[dict[str, Any]]:
    """The provider cannot be reached for a while, or a part of it."""
    window = st.tuples(
        st.sampled_from([0, 5, 61, 75, 130, 620, 4000]), st.sampled_from([1.0, 20.0, 200.0])
    )
    return st.builds(
        lambda on, window: {"do": "outage", "on": on, "from": f"+{window[0]}", "for": window[1]},
        on=st.sampled_from([AWAY[0], *AWAY]),
        window=window,
    )


@st.composite
def worlds(draw: st.DrawFn, least: int, most: int) -> World:
    """A deployment with a batch of jobs, by number."""
    # No sooner: what hardware overtakes is cancelled while it runs.
    hedge = draw(st.sampled_from(["", "after = 40", "after = 40\nseconds = 0.1"]))
    review = draw(st.sampled_from(["", "expires = 120", "remind = 30\nexpires = 4000"]))
    top_ups = draw(st.integers(0, 2))
    terms = f"top_ups = {top_ups}\n[review]\n{review}\n"
    queue = st.sampled_from([(0, 0.0), (0, 0.0), (1, 70.0), (1, 70.0), (2, 600.0), (3, 7200.0)])
    asking = draw(
        st.fixed_dictionaries(
            {
                "approvals": st.sampled_from([1, 1, 2]),
                "expires": st.sampled_from([100, 5000]),
                "on_expiry": st.sampled_from(['"end"', '"fallback"']),
                "four_eyes": st.sampled_from(["true", "false"]),
            }
        )
    )
    world = World(
        ladders={verb: draw(st.sampled_from(LADDERS[verb])) for verb in sorted(LADDERS)},
        terms=terms + (f"[hedge]\n{hedge}\n" if hedge else ""),
        approval="\n".join(f"{name} = {value}" for name, value in asking.items()),
        queues={backend: draw(queue) for backend in BACKENDS},
        execution=draw(st.sampled_from([0.5, 0.5, 100.0])),
        sessions={key: draw(_session()) for key in SESSIONS},
        outages=draw(st.lists(outages(), max_size=2)),
        jobs=draw(st.lists(jobs(), min_size=least, max_size=most)),
    )
    # What hypothesis tries first, a batch to which nothing happens, is not worth a server.
    assume(any(job.acts for job in world.jobs))
    return world
