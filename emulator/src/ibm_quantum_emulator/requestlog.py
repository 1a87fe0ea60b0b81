"""The log of requests: collected in memory, written twice a second, oldest rows dropped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS request_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, wall REAL NOT NULL,
    method TEXT NOT NULL, endpoint TEXT NOT NULL, path TEXT NOT NULL, status INTEGER,
    ms REAL NOT NULL, job_id TEXT, tags TEXT, faults TEXT NOT NULL
);
"""

TABLES = ("request_log",)

MAX_ROWS = 200_000

_Row = tuple[float, float, str, str, str, int | None, float, str | None, str | None, str]


class RequestLog:
    """All requests but those to the control API.

    Args:
        db: The store's connection.
        max_rows: The oldest rows beyond this number are dropped.
    """

    def __init__(self, db: sqlite3.Connection, max_rows: int = MAX_ROWS) -> None:
        self._db = db
        self._max_rows = max_rows
        self._waiting: list[_Row] = []

    def add(
        self,
        *,
        at: float,
        wall: float,
        method: str,
        endpoint: str,
        path: str,
        status: int | None,
        seconds: float,
        job_id: str | None,
        tags: Sequence[str],
        faults: Sequence[str],
    ) -> None:
        """Remember one request until the next :meth:`flush`.

        Args:
            at: Virtual time of its arrival, epoch seconds.
            wall: Real time of its arrival, epoch seconds.
            status: Of the answer; None when the connection was closed without one.
            seconds: From arrival to the end of the answer.
            tags: Of a submission.
            faults: Names of the rules that fired.
        """
        kept = json.dumps(list(tags)) if tags else None
        row = (at, wall, method, endpoint, path, status, round(seconds * 1000, 3), job_id, kept)
        self._waiting.append((*row, json.dumps(list(faults))))

    def flush(self) -> None:
        """Write what waits; called within a transaction of its own or of the caller."""
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        self._db.executemany(
            "INSERT INTO request_log (at, wall, method, endpoint, path, status, ms, job_id, tags,"
            " faults) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._db.execute(
            "DELETE FROM request_log WHERE id <= (SELECT max(id) FROM request_log) - ?",
            (self._max_rows,),
        )

    def rows(
        self, since_id: int, endpoint: str | None, tag: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Return written rows with a greater id, oldest first; filters that are None do not."""
        rows = self._db.execute(
            "SELECT * FROM request_log WHERE id > ?1 AND (?2 IS NULL OR endpoint = ?2)"
            " AND (?3 IS NULL OR (tags IS NOT NULL AND EXISTS"
            " (SELECT 1 FROM json_each(tags) WHERE value = ?3))) ORDER BY id LIMIT ?4",
            (since_id, endpoint, tag, limit),
        )
        return [_row(row) for row in rows]


def _row(row: sqlite3.Row) -> dict[str, Any]:
    values = dict(row)
    values["status"] = "dropped" if values["status"] is None else values["status"]
    values["tags"] = json.loads(values["tags"] or "[]")
    values["faults"] = json.loads(values["faults"])
    return values
