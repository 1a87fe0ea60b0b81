"""What became of a scene, counted against how it had to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qsaga.core.states import JobState
from tests.chaos.counting import Truth, count
from tests.chaos.scenarios import Scenario

COUNTS = (
    "lost",
    "wrong_state",
    "double_submissions",
    "orphan_remote_jobs",
    "orphan_reservations",
    "unbooked_charges",
    "ledger_difference",
    "deadline_missed",
)


@dataclass
class Outcome:
    """The counts of one scene, and the facts behind those that are not zero.

    Args:
        struck: whether the point was reached, so that somebody was killed.
        counts: by the names of ``COUNTS``; all should be 0.
        places: how often each place was reached, where nobody was to be killed.
        facts: what was found.
        seconds: that it took.
    """

    struck: bool
    counts: dict[str, float]
    places: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Nothing is wrong."""
        return not any(self.counts.values())


@dataclass(frozen=True)
class Told:
    """How a job ended, as Temporal tells.

    Args:
        state: empty if it has not ended, or has neither an answer nor a reason.
        served: the rung whose answer was served; empty if there is none.
        seconds: from its start to its close.
        why: its attempts in words.
    """

    state: str = ""
    served: str = ""
    seconds: float = 0.0
    why: Sequence[str] = ()


@dataclass(frozen=True)
class Seen:
    """All that is known of a scene when it is over.

    Args:
        told: of each job, by its id.
        late: results that were noted as late.
        open_sessions: ids of those at the emulator in which jobs of ours were.
        unasked: workers that ended although nobody killed them, and owners of sessions that have
            not ended, in words.
    """

    told: Mapping[str, Told]
    late: int
    open_sessions: Sequence[str]
    unasked: Sequence[str]


def counted(
    scenario: Scenario, truth: Truth, seen: Seen, deadline: float, *, down: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    """The counts by the names of ``COUNTS``, and the facts behind them.

    Args:
        scenario: how it had to end.
        truth: of the jobs of ``seen`` and, where there were any, of earlier ones.
        seen: how it ended.
        deadline: of each job, in seconds.
        down: the emulator was killed. Where the provider is down another rung answers: what is
            right then is less certain.
    """
    found = count(truth)
    right = {"", scenario.state.value} | ({JobState.DEGRADED.value} if down else set())
    rungs = {"", scenario.served.value} if scenario.served and not down else None
    wrong = {
        job_id: told
        for job_id, told in seen.told.items()
        if told.state not in right or (rungs is not None and told.served not in rungs)
    }
    slow = {job_id: t.seconds for job_id, t in seen.told.items() if t.seconds > deadline}
    tags = {one.tag: one.job_id for one in truth.ended}
    sent = Counter(next((t for t in job["tags"] if t in tags), "") for job in truth.jobs)
    strangers = sent.pop("", 0)
    by_job: Counter[str] = Counter()
    for tag, number in sent.items():
        by_job[tags[tag]] += number
    ours = {job_id: by_job[job_id] for job_id in seen.told}
    too_few = {key: n for key, n in ours.items() if n < scenario.remote and not down}
    surplus = sum(max(n - scenario.remote, 0) for n in ours.values())
    late_wanted = scenario.late * len(seen.told)
    counts: dict[str, float] = {
        "lost": found.counts["lost"] + len(seen.unasked),
        "wrong_state": len(wrong)
        + len(too_few)
        + (seen.late > late_wanted or (seen.late < late_wanted and not down)),
        "double_submissions": max(surplus, sum(n - 1 for n in sent.values())),
        "orphan_remote_jobs": found.counts["orphans"] + strangers + len(seen.open_sessions),
        "orphan_reservations": found.counts["held"],
        "unbooked_charges": found.counts["unbooked_charges"],
        "ledger_difference": found.counts["ledger_difference"] + len(truth.books),
        "deadline_missed": len(slow),
    }
    facts = {
        "told": {job_id: vars(told) for job_id, told in seen.told.items()},
        "remote_jobs": [
            {name: job.get(name) for name in ("id", "tags", "state", "charged_seconds")}
            for job in truth.jobs
        ],
        "runs": {one.tag: one.run for one in truth.ended},
        "late_results": seen.late,
        "open_sessions": list(seen.open_sessions),
        "slow": slow,
        "unasked": list(seen.unasked),
        "found": found.detail,
    }
    return counts, facts
