"""What a fault plan has done so far, beside the jobs in the same file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from .world import ROUNDING

SCHEMA = """
CREATE TABLE IF NOT EXISTS fault_counts (
    rule TEXT NOT NULL, subject TEXT NOT NULL, matched INTEGER NOT NULL, fired INTEGER NOT NULL,
    PRIMARY KEY (rule, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job_faults (
    job_id TEXT NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (job_id, rule)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unlisted (
    job_id TEXT PRIMARY KEY, until REAL NOT NULL, direct INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unlisted_until ON unlisted (until);
CREATE TABLE IF NOT EXISTS post_faults (
    post INTEGER PRIMARY KEY, answered INTEGER, rules TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS posts_job ON posts (job_id);
"""

TABLES = ("fault_counts", "job_faults", "unlisted", "post_faults")


class FaultStore:
    """Counters of rules and what they did to jobs and submissions.

    Every method that changes something has committed when it returns, unless it is called
    inside :meth:`~.store.Store.together`.

    Args:
        db: The store's connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def counts(self, rule: str, subject: str) -> tuple[int, int]:
        """Return how often a rule matched and fired for a subject."""
        row = self._db.execute(
            "SELECT matched, fired FROM fault_counts WHERE rule = ? AND subject = ?",
            (rule, subject),
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def set_counts(self, rule: str, subject: str, matched: int, fired: int) -> None:
        """Replace both counts of a rule for a subject."""
        self._db.execute(
            "INSERT OR REPLACE INTO fault_counts VALUES (?, ?, ?, ?)",
            (rule, subject, matched, fired),
        )

    def totals(self) -> dict[str, tuple[int, int]]:
        """Return ``{rule: (matched, fired)}`` over all subjects."""
        rows = self._db.execute(
            "SELECT rule, sum(matched), sum(fired) FROM fault_counts GROUP BY rule"
        )
        return {row[0]: (int(row[1]), int(row[2])) for row in rows}

    def forget_counts(self) -> None:
        """Set all counts to zero; what was done to jobs stays known."""
        self._db.execute("DELETE FROM fault_counts")

    def touch(self, job_id: str, rule: str) -> None:
        """Note that a rule touched a job or a request for it."""
        self._db.execute("INSERT OR IGNORE INTO job_faults VALUES (?, ?)", (job_id, rule))

    def touched(self, job_id: str) -> list[str]:
        """Return the rules that touched a job."""
        rows = self._db.execute(
            "SELECT rule FROM job_faults WHERE job_id = ? ORDER BY rule", (job_id,)
        )
        return [str(row[0]) for row in rows]

    def hide(self, job_id: str, until: float, direct: bool) -> None:
        """Keep a job out of listings until a virtual moment."""
        self._db.execute(
            "INSERT OR REPLACE INTO unlisted VALUES (?, ?, ?)", (job_id, until, direct)
        )

    def unlisted(self, now: float) -> list[str]:
        """Return the jobs that listings do not show yet."""
        rows = self._db.execute("SELECT job_id FROM unlisted WHERE until > ?", (now + ROUNDING,))
        return [str(row[0]) for row in rows]

    def is_hidden(self, job_id: str, now: float) -> bool:
        """Whether even a direct request does not find the job yet."""
        row = self._db.execute(
            "SELECT 1 FROM unlisted WHERE job_id = ? AND until > ? AND direct",
            (job_id, now + ROUNDING),
        ).fetchone()
        return row is not None

    def note_post(
        self,
        rules: Sequence[str],
        answered: int | None,
        job_id: str | None = None,
        post: int | None = None,
    ) -> None:
        """Note which rules touched a submission and what it was answered (None: dropped).

        The submission is given by its number, or it is the one that made the job.
        """
        self._db.execute(
            "INSERT OR REPLACE INTO post_faults SELECT seq, ?1, ?2 FROM posts"
            " WHERE seq = ?3 OR (?3 IS NULL AND job_id = ?4)",
            (answered, json.dumps(list(rules)), post, job_id),
        )

    def posts(self, tag: str | None = None) -> list[dict[str, Any]]:
        """Return ``[{at, status, answered, job_id, tags, faults}]``, oldest first.

        ``status`` is what the emulator decided, 0 when a rule kept the submission from it;
        ``answered`` what was sent, or ``dropped``.
        """
        rows = self._db.execute(
            "SELECT p.*, f.answered, f.rules FROM posts p LEFT JOIN post_faults f ON f.post = p.seq"
            " WHERE ?1 IS NULL OR EXISTS (SELECT 1 FROM json_each(p.tags) WHERE value = ?1)"
            " ORDER BY p.seq",
            (tag,),
        )
        return [_post(row) for row in rows]


def _post(row: sqlite3.Row) -> dict[str, Any]:
    answered = row["answered"]
    if row["rules"] is None:
        answered = row["status"]
    return {
        "at": row["at"],
        "status": row["status"],
        "answered": "dropped" if answered is None else answered,
        "job_id": row["job_id"],
        "tags": json.loads(row["tags"]),
        "faults": json.loads(row["rules"] or "[]"),
    }
