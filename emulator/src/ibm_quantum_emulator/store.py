"""Everything that outlives the process: one SQLite file with a write-ahead log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import faultstore, requestlog
from .faultstore import FaultStore
from .model import CANCELLED, COLUMNS, FAILED, QUEUED, RUNNING, Job
from .requestlog import RequestLog

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, instance TEXT NOT NULL, backend TEXT NOT NULL, program TEXT NOT NULL,
    created REAL NOT NULL, executions INTEGER NOT NULL, duration REAL NOT NULL,
    ahead REAL NOT NULL, ahead_at REAL NOT NULL, state TEXT NOT NULL, session_id TEXT,
    private INTEGER NOT NULL, max_seconds REAL, calibration_id TEXT, started REAL, due REAL,
    finished REAL, reason TEXT, reason_code INTEGER, outcome TEXT, outcome_reason TEXT,
    outcome_code INTEGER, planned_failure TEXT, charged_if_failed INTEGER NOT NULL,
    charged INTEGER, cancel_attempts INTEGER NOT NULL, lost_race INTEGER NOT NULL,
    deleted INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_created ON jobs (instance, created);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_newest ON jobs (created);
CREATE INDEX IF NOT EXISTS jobs_session ON jobs (session_id, seq);
CREATE TABLE IF NOT EXISTS tags (
    tag TEXT NOT NULL, job_id TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (tag, job_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_job ON tags (job_id);
CREATE TABLE IF NOT EXISTS params (job_id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (job_id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS posts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, status INTEGER NOT NULL,
    job_id TEXT, tags TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (
    endpoint TEXT NOT NULL, status INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (endpoint, status)
);
"""

# With so many matches, walking through an instance's jobs in order finds a page sooner than tags.
_MANY = 1000
_BOOLEANS = ("private", "charged_if_failed", "lost_race", "deleted")


@dataclass(frozen=True)
class JobQuery:
    """Filters of a listing; absent ones do not filter.

    ``tags`` must all be present. ``created_after`` and ``created_before`` are inclusive.
    ``instance`` None means all instances. ``excluded`` are ids that are left out.
    """

    instance: str | None = None
    backend: str | None = None
    program: str | None = None
    session_id: str | None = None
    pending: bool | None = None
    tags: Sequence[str] = ()
    created_after: float | None = None
    created_before: float | None = None
    include_deleted: bool = False
    excluded: Sequence[str] = ()
    ascending: bool = False
    limit: int | None = None
    offset: int = 0


class Store:
    """Jobs, results, charges, sessions and settings.

    Every method that changes something has committed when it returns. Used from one thread.

    Args:
        path: The SQLite file; created with its tables when missing.

    Attributes:
        faults: What the fault plan has done so far.
        log: The log of requests.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        # NORMAL loses nothing when the process is killed; only a power cut can.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
            self._db.execute(f"PRAGMA {pragma}")
        for schema in (_SCHEMA, faultstore.SCHEMA, requestlog.SCHEMA):
            self._db.executescript(schema)
        self.faults = FaultStore(self._db)
        self.log = RequestLog(self._db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def together(self) -> _Transaction:
        """Return a context in which all changes are committed as one, at its end."""
        return self._transaction()

    def add_job(self, job: Job, params: str) -> None:
        """Persist a new job with its parameters and its submission, and set its ``seq``."""
        names = ", ".join(COLUMNS)
        marks = ", ".join("?" for _ in COLUMNS)
        with self._transaction():
            cursor = self._db.execute(
                f"INSERT INTO jobs ({names}) VALUES ({marks})",
                [getattr(job, name) for name in COLUMNS],
            )
            job.seq = int(cursor.lastrowid or 0)
            self._db.execute("INSERT INTO params VALUES (?, ?)", (job.id, params))
            self._write_tags(job)
            self.add_post(job.created, 200, job.id, job.tags)

    def save(self, *jobs: Job, result: str | None = None) -> None:
        """Persist the current state of jobs, with the result of the first if one is given."""
        if not jobs:
            return
        marks = ", ".join(f"{name} = ?" for name in COLUMNS)
        with self._transaction():
            for job in jobs:
                values = [getattr(job, name) for name in COLUMNS]
                self._db.execute(f"UPDATE jobs SET {marks} WHERE id = ?", [*values, job.id])
            if result is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO results VALUES (?, ?)", (jobs[0].id, result)
                )

    def set_tags(self, job: Job) -> None:
        """Persist the job's tags."""
        with self._transaction():
            self._db.execute("DELETE FROM tags WHERE job_id = ?", (job.id,))
            self._write_tags(job)

    def job(self, job_id: str) -> Job | None:
        """Return a job, also a deleted one."""
        rows = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchall()
        found = self._jobs(rows)
        return found[0] if found else None

    def params(self, job_id: str) -> str:
        """Return the program parameters as received (JSON)."""
        return self._text("params", job_id) or "{}"

    def result(self, job_id: str) -> str | None:
        """Return the result's JSON text, if there is one."""
        return self._text("results", job_id)

    def drop(self, job_id: str, *tables: str) -> None:
        """Delete what a private job leaves behind, in ``params`` or ``results``."""
        with self._transaction():
            for table in tables:
                self._db.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))

    def active(self) -> list[Job]:
        """Return all jobs that have not ended, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM jobs WHERE state IN (?, ?) ORDER BY seq", (QUEUED, RUNNING)
        )
        return self._jobs(rows.fetchall())

    def find(self, query: JobQuery) -> tuple[list[Job], int]:
        """Return one page of jobs and how many match in all."""
        where, values = _where(query, by_tag=bool(query.tags))
        count = self._db.execute(f"SELECT count(*) FROM jobs j WHERE {where}", values).fetchone()[0]
        where, values = _where(query, by_tag=bool(query.tags) and count < _MANY)
        order = "ASC" if query.ascending else "DESC"
        limit = -1 if query.limit is None else query.limit
        rows = self._db.execute(
            f"SELECT * FROM jobs j WHERE {where} ORDER BY created {order}, seq {order} "
            "LIMIT ? OFFSET ?",
            [*values, limit, query.offset],
        )
        return self._jobs(rows.fetchall()), int(count)

    def sessions(self, instance: str | None = None) -> list[dict[str, Any]]:
        """Return all session documents, of one instance if given, oldest first."""
        rows = self._db.execute("SELECT doc FROM sessions ORDER BY rowid").fetchall()
        found = [dict(json.loads(row[0])) for row in rows]
        return [doc for doc in found if instance is None or doc["instance"] == instance]

    def session_jobs(self, session_id: str) -> list[dict[str, Any]]:
        """Return ``[{id, state, running, finished, charged_seconds}]`` of a session."""
        rows = self._db.execute(
            "SELECT id, state, started AS running, finished, coalesce(charged, 0) AS"
            " charged_seconds FROM jobs WHERE session_id = ? ORDER BY seq",
            (session_id,),
        ).fetchall()
        return [dict(row) for row in rows]

    def latest_moment(self) -> float:
        """Return the latest virtual time any job knows of; 0 without jobs."""
        row = self._db.execute(
            "SELECT max(max(created), max(coalesce(started, 0)), max(coalesce(finished, 0)))"
            " FROM jobs"
        ).fetchone()
        return float(row[0] or 0.0)

    def consumed(self, instance: str, since: float, without: Sequence[str] = ()) -> int:
        """Return the quantum seconds charged for jobs that ended since a moment.

        Args:
            without: Sessions whose jobs do not count.
        """
        row = self._db.execute(
            "SELECT coalesce(sum(charged), 0) FROM jobs WHERE instance = ? AND charged > 0"
            " AND finished >= ? AND (session_id IS NULL OR session_id NOT IN"
            " (SELECT value FROM json_each(?)))",
            (instance, max(since, -1e300), json.dumps(list(without))),
        ).fetchone()
        return int(row[0])

    def summary(self, tag: str | None) -> dict[str, Any]:
        """Return counts over all jobs ever accepted, those with ``tag`` if one is given.

        ``posts`` also counts submissions that were refused.
        """
        chosen, values = "1 = 1", []
        if tag is not None:
            chosen, values = "id IN (SELECT job_id FROM tags WHERE tag = ?)", [tag]
        row = self._db.execute(
            "SELECT count(*) AS created, coalesce(sum(started IS NOT NULL), 0) AS run,"
            f" coalesce(sum(state = '{CANCELLED}'), 0) AS cancelled,"
            f" coalesce(sum(state = '{FAILED}'), 0) AS failed,"
            " coalesce(sum(state = 'Completed'), 0) AS completed,"
            f" coalesce(sum(state IN ('{QUEUED}', '{RUNNING}')), 0) AS pending,"
            " coalesce(sum(charged > 0), 0) AS charged,"
            " coalesce(sum(charged), 0) AS charged_seconds,"
            " coalesce(sum(cancel_attempts), 0) AS cancel_attempts,"
            " coalesce(sum(lost_race), 0) AS lost_race"
            f" FROM jobs WHERE {chosen}",
            values,
        ).fetchone()
        counts = {name: int(row[name]) for name in row.keys()}  # noqa: SIM118
        return {"tag": tag, "posts": self.posts(tag), **counts}

    def add_post(self, at: float, status: int, job_id: str | None, tags: Sequence[str]) -> int:
        """Record one submission, accepted or not, and return its number."""
        cursor = self._db.execute(
            "INSERT INTO posts (at, status, job_id, tags) VALUES (?, ?, ?, ?)",
            (at, status, job_id, json.dumps(list(tags))),
        )
        return int(cursor.lastrowid or 0)

    def posts(self, tag: str | None = None, job_id: str | None = None) -> int:
        """Count submissions, by tag or by the job they made."""
        where, values = "1 = 1", []
        if job_id is not None:
            where, values = "job_id = ?", [job_id]
        if tag is not None:
            where += " AND EXISTS (SELECT 1 FROM json_each(posts.tags) WHERE value = ?)"
            values.append(tag)
        row = self._db.execute(f"SELECT count(*) FROM posts WHERE {where}", values).fetchone()
        return int(row[0])

    def setting(self, name: str) -> Any:
        """Return a settings document or None."""
        row = self._db.execute("SELECT doc FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_setting(self, name: str, doc: Any) -> None:
        """Persist a settings document (JSON)."""
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(doc)))

    def session(self, session_id: str) -> dict[str, Any] | None:
        """Return a session document or None."""
        row = self._db.execute("SELECT doc FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def save_session(self, doc: dict[str, Any]) -> None:
        """Persist a session document under its ``id``."""
        self._db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (doc["id"], _json(doc)))

    def request_counts(self) -> list[dict[str, Any]]:
        """Return ``[{endpoint, status, count}]``."""
        rows = self._db.execute("SELECT * FROM requests ORDER BY endpoint, status").fetchall()
        return [dict(row) for row in rows]

    def add_request_counts(self, counts: Iterable[tuple[str, int, int]]) -> None:
        """Add ``(endpoint, status, count)`` to what is kept."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO requests VALUES (?, ?, ?) ON CONFLICT (endpoint, status)"
                " DO UPDATE SET count = count + excluded.count",
                counts,
            )

    def forget(self, everything: bool = False) -> None:
        """Delete all jobs, sessions and counts, and with ``everything`` the settings too."""
        with self._transaction():
            for table in ("jobs", "tags", "params", "results", "sessions", "posts", "requests"):
                self._db.execute(f"DELETE FROM {table}")
            for table in (*faultstore.TABLES, *requestlog.TABLES):
                self._db.execute(f"DELETE FROM {table}")
            # The ordinal decides a job's seed: after a reset, results repeat.
            self._db.execute("DELETE FROM sqlite_sequence")
            if everything:
                self._db.execute("DELETE FROM settings WHERE name <> 'secret'")

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _write_tags(self, job: Job) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO tags VALUES (?, ?, ?)",
            [(tag, job.id, place) for place, tag in enumerate(job.tags)],
        )

    def _text(self, table: str, job_id: str) -> str | None:
        row = self._db.execute(f"SELECT body FROM {table} WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else str(row[0])

    def _jobs(self, rows: Sequence[sqlite3.Row]) -> list[Job]:
        tags: dict[str, list[str]] = {row["id"]: [] for row in rows}
        ids = list(tags)
        # SQLite allows a limited number of variables in one statement.
        for first in range(0, len(ids), 500):
            part = ids[first : first + 500]
            marks = ", ".join("?" for _ in part)
            for row in self._db.execute(
                f"SELECT job_id, tag FROM tags WHERE job_id IN ({marks}) ORDER BY place", part
            ):
                tags[row["job_id"]].append(row["tag"])
        jobs = []
        for row in rows:
            values = dict(row)
            for name in _BOOLEANS:
                values[name] = bool(values[name])
            jobs.append(Job(**values, tags=tags[row["id"]]))
        return jobs


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._outermost = True

    def __enter__(self) -> None:
        self._outermost = not self._db.in_transaction
        if self._outermost:
            self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if self._outermost:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _json(doc: Any) -> str:
    return json.dumps(doc, separators=(",", ":"))


def _where(query: JobQuery, *, by_tag: bool) -> tuple[str, list[Any]]:
    parts: list[str] = ["1 = 1"] if query.include_deleted else ["deleted = 0"]
    values: list[Any] = []
    for column, value in (
        ("instance = ?", query.instance),
        ("backend = ?", query.backend),
        ("program = ?", query.program),
        ("session_id = ?", query.session_id),
        ("created >= ?", query.created_after),
        ("created <= ?", query.created_before),
    ):
        if value is not None:
            # The plus keeps SQLite from walking through all jobs of an instance.
            parts.append(f"+{column}" if by_tag else column)
            values.append(value)
    if query.pending is not None:
        negation = "" if query.pending else "NOT "
        parts.append(f"state {negation}IN ('{QUEUED}', '{RUNNING}')")
    if query.excluded:
        parts.append("id NOT IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(query.excluded)))
    for tag in query.tags:
        parts.append("id IN (SELECT job_id FROM tags WHERE tag = ?)")
        values.append(tag)
    return " AND ".join(parts), values
