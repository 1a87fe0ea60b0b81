"""What became of every submission, from the emulator, Temporal and the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.plans import kind_of

ENDED = frozenset({"Completed", "Failed", "Cancelled"})

Remote = Mapping[str, Any]
"""A row of the emulator's ``/control/jobs``."""
Post = Mapping[str, Any]
"""A row of the emulator's ``/control/posts``."""


@dataclass(frozen=True)
class Ended:
    """How one submission stands at the end, as Temporal tells.

    Args:
        job_id: of the job.
        tag: of its one submission; also the id of its run.
        job: how the job ended, ``refused`` where it was not begun for a stated reason; empty if it
            has not ended, or has no answer and no reason.
        run: the run's Temporal status; empty where the job ended without one.
    """

    job_id: str
    tag: str
    job: str
    run: str = ""

    @property
    def lost(self) -> bool:
        """Neither answer nor typed end, or a run that has not closed."""
        return not self.job or self.run not in ("", "COMPLETED")


@dataclass(frozen=True)
class Booked:
    """A row of the table of charges."""

    provider_job_id: str
    run_id: str
    quantum_seconds: float


@dataclass(frozen=True)
class Truth:
    """Everything that is counted from, as it is at the end.

    Args:
        ended: one for each submission.
        jobs: every job that the emulator ever accepted.
        posts: every submission that reached it.
        charges: every row of the table.
        quarantined: tags that wait for a person.
        spent: quantum seconds that the ledger says were used.
        held: reservations that nobody has settled.
        books: what is wrong with the sums of the ledger, in words.
    """

    ended: Sequence[Ended]
    jobs: Sequence[Remote]
    posts: Sequence[Post]
    charges: Sequence[Booked]
    quarantined: Sequence[str] = ()
    spent: float = 0.0
    held: int = 0
    books: Sequence[str] = ()


@dataclass
class Found:
    """The counts, each with the tags or remote jobs behind it where something is wrong."""

    counts: dict[str, Any]
    detail: dict[str, Any] = field(default_factory=dict)


def count(truth: Truth) -> Found:
    """Count.

    Returns:
        ``counts`` with

        - ``submissions``: jobs asked for; each makes one hardware run, and so one key (tag).
        - ``refused``: of these, ended with a reason before anything was sent to the provider.
        - ``accepted``: remote jobs ever accepted under our tags.
        - ``charged_per_key_max``: the most remote jobs of one key that were charged anything.
        - ``double_runs``: keys of which more than one remote job was started by the machine.
        - ``double_runs_by_fault``: how many of those each kind of fault touched, by ground truth.
        - ``double_runs_not_5xx``: of the double runs, those that "accepted, then answered 5xx"
          does not explain: more than one of the jobs that ran came of another submission.
        - ``lost``: submissions whose job has no answer and no typed end in Temporal, or whose
          run has not closed although it does not wait for a person.
        - ``undecided``: submissions that wait for a person.
        - ``extras_cancelled``: second jobs of a key that were cancelled before they were started.
        - ``orphans``: remote jobs that have not ended, or that no row of charges names.
        - ``unbooked_charges``: remote jobs that were charged and have no row of the same amount.
        - ``ledger_difference``: quantum seconds, between what the emulator charged and what the
          ledger says was used.
        - ``held``: reservations of the ledger that nobody has settled.
    """
    ours = {one.tag: one for one in truth.ended}
    by_tag: dict[str, list[Remote]] = {tag: [] for tag in ours}
    strangers = []
    for job in truth.jobs:
        tag = next((tag for tag in job["tags"] if tag in by_tag), None)
        if tag is None:
            strangers.append(job["id"])
        else:
            by_tag[tag].append(job)
    posts: dict[str, list[Post]] = {tag: [] for tag in ours}
    for post in truth.posts:
        for tag in post["tags"] or ():
            posts.get(tag, []).append(post)
    booked = {row.provider_job_id: row for row in truth.charges}
    doubles = {tag: jobs for tag, jobs in by_tag.items() if len(_started(jobs)) > 1}
    touched = {tag: _faults(jobs, posts[tag]) for tag, jobs in doubles.items()}
    other = sorted(tag for tag, jobs in doubles.items() if not _by_5xx(jobs, posts[tag]))
    lost = [one for one in truth.ended if one.lost and not _waits(one, truth.quarantined)]
    orphans = [j["id"] for j in truth.jobs if j["state"] not in ENDED or j["id"] not in booked]
    unbooked = [j["id"] for j in truth.jobs if j["charged_seconds"] > 0 and not _same(j, booked)]
    charged = sum(job["charged_seconds"] for job in truth.jobs)
    extras = [
        job["id"]
        for jobs in by_tag.values()
        if len(jobs) > 1
        for job in jobs
        if job["state"] == "Cancelled" and job["running"] is None
    ]
    counts = {
        "submissions": len(truth.ended),
        "refused": sum(one.job == "refused" for one in truth.ended),
        "accepted": len(truth.jobs) - len(strangers),
        "charged_per_key_max": max(
            (sum(job["charged_seconds"] > 0 for job in jobs) for jobs in by_tag.values()), default=0
        ),
        "double_runs": len(doubles),
        "double_runs_by_fault": dict(Counter(kind for kinds in touched.values() for kind in kinds)),
        "double_runs_not_5xx": len(other),
        "lost": len(lost),
        "undecided": len(truth.quarantined),
        "extras_cancelled": len(extras),
        "orphans": len(orphans),
        "unbooked_charges": len(unbooked),
        "ledger_difference": round(abs(charged - truth.spent), 6),
        "held": truth.held,
        "endings": dict(Counter(one.job or "none" for one in truth.ended)),
    }
    detail = {
        "double_runs": {
            tag: {
                "job_id": ours[tag].job_id,
                "faults": sorted(touched[tag]),
                "jobs": [dict(job) for job in jobs],
                "posts": [dict(post) for post in posts[tag]],
            }
            for tag, jobs in doubles.items()
        },
        "double_runs_not_5xx": other,
        "lost": [vars(one) for one in lost],
        "undecided": list(truth.quarantined),
        "orphans": orphans,
        "unbooked_charges": unbooked,
        "not_ours": strangers,
        "books": list(truth.books),
    }
    return Found(counts, {name: value for name, value in detail.items() if value})


def missed(counts: Mapping[str, Any], detail: Mapping[str, Any], *, retries: bool) -> list[str]:
    """Which aims are not met, in words.

    Without the client's own repetitions no key may run twice. With them one may, where the
    service accepted a submission and answered 5xx: then the client sent it again before
    anybody could look.
    """
    zero = ["lost", "orphans", "unbooked_charges", "ledger_difference", "held"]
    zero.append("double_runs_not_5xx" if retries else "double_runs")
    found = [f"{name}: {counts[name]}" for name in zero if counts[name]]
    return found + [f"{name}: {detail[name]}" for name in ("not_ours", "books") if name in detail]


def _waits(one: Ended, quarantined: Sequence[str]) -> bool:
    return bool(one.job) and one.tag in quarantined


def _started(jobs: Iterable[Remote]) -> list[Remote]:
    return [job for job in jobs if job["running"] is not None]


def _faults(jobs: Iterable[Remote], posts: Iterable[Post]) -> set[str]:
    return {kind_of(name) for row in (*jobs, *posts) for name in row["faults"] or ()}


def _by_5xx(jobs: Iterable[Remote], posts: Iterable[Post]) -> bool:
    """Whether all but one of the jobs that ran were answered 5xx when they were accepted."""
    then_5xx = {
        post["job_id"]
        for post in posts
        if isinstance(post["answered"], int) and post["answered"] >= 500
    }
    return sum(job["id"] not in then_5xx for job in _started(jobs)) <= 1


def _same(job: Remote, booked: Mapping[str, Booked]) -> bool:
    row = booked.get(job["id"])
    return row is not None and abs(row.quantum_seconds - job["charged_seconds"]) < 1e-6
