"""Sessions and batches: opened, shown, closed; the first job opens the way for the others."""

from __future__ import annotations

from typing import Any

from .engine import Engine
from .errors import ApiError, BadRequest, NotFound
from .model import QUEUED, RUNNING, Job, iso, new_job_id
from .store import JobQuery

_INTERACTIVE_SECONDS = 60
_MAX_SECONDS = 8 * 3600


class Sessions:
    """All sessions of the service.

    Args:
        engine: Holds the jobs and the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, body: dict[str, Any], instance: str) -> dict[str, Any]:
        """Open a session (mode ``dedicated``) or a batch and return its view.

        Raises:
            BadRequest: Unknown backend or mode, or a time limit that is not positive.
        """
        backend, mode = body.get("backend"), body.get("mode", "dedicated")
        if backend not in self._engine.snapshots:
            raise BadRequest(f"backend: {backend!r} does not exist.")
        if mode not in ("dedicated", "batch"):
            raise BadRequest(f"mode: {mode!r} is neither 'dedicated' nor 'batch'.")
        limit = body.get("max_ttl") or _MAX_SECONDS
        if not isinstance(limit, int | float) or limit <= 0:
            raise BadRequest("max_ttl: a positive number of seconds is expected.")
        doc = {
            "id": new_job_id(),
            "instance": instance,
            "backend": backend,
            "mode": mode,
            "max_ttl": limit,
            "opened": await self._engine.time(),
            "closed": None,
            "accepting": True,
        }
        self._engine.store.save_session(doc)
        return self._view(doc, await self._engine.time())

    async def details(self, session_id: str, instance: str) -> dict[str, Any]:
        """Return a session's view.

        Raises:
            NotFound: No such session.
        """
        return self._view(self._doc(session_id, instance), await self._engine.time())

    async def accept(self, session_id: str, accepting: bool, instance: str) -> None:
        """Take jobs or take no more; those already there go on."""
        doc = self._doc(session_id, instance)
        now = await self._engine.time()
        doc["accepting"] = accepting and doc["closed"] is None
        if not accepting and not self._pending(session_id):
            doc["closed"] = now
        self._engine.store.save_session(doc)

    async def close(self, session_id: str, instance: str) -> None:
        """Close at once; queued jobs are cancelled."""
        doc = self._doc(session_id, instance)
        for job in self._pending(session_id):
            if job.state == QUEUED:
                await self._engine.cancel(job)
        doc["accepting"], doc["closed"] = False, await self._engine.time()
        self._engine.store.save_session(doc)

    async def admit(self, session_id: str, instance: str) -> bool:
        """Return whether a new job of this session skips the queue.

        Raises:
            NotFound: No such session.
            ApiError: 409, it takes no jobs.
        """
        view = await self.details(session_id, instance)
        if not view["accepting_jobs"]:
            raise ApiError(409, f"Session {session_id} is closed.", 1352)
        return bool(view["activated_at"])

    def _doc(self, session_id: str, instance: str) -> dict[str, Any]:
        doc = self._engine.store.session(session_id)
        if doc is None or doc["instance"] != instance:
            raise NotFound(f"Session not found. Session ID: {session_id}", 1352)
        return doc

    def _pending(self, session_id: str) -> list[Job]:
        return [job for job in self._engine.active_jobs() if job.session_id == session_id]

    def _view(self, doc: dict[str, Any], now: float) -> dict[str, Any]:
        jobs, _ = self._engine.store.find(JobQuery(session_id=doc["id"], include_deleted=True))
        started = [job.started for job in jobs if job.started is not None]
        ended = [job.finished for job in jobs if job.finished is not None]
        activated = min(started, default=None)
        closed = doc["closed"]
        if closed is None and activated is not None and now > activated + doc["max_ttl"]:
            closed = activated + doc["max_ttl"]
        running = any(job.state == RUNNING for job in jobs)
        state = "open" if activated is None else "active" if running else "inactive"
        if closed is not None:
            state = "closed"
        last = closed if closed is not None else now
        elapsed = 0.0 if activated is None else last - activated
        if doc["mode"] == "batch":
            elapsed = float(sum(job.charged or 0 for job in jobs))
        return {
            "id": doc["id"],
            "backend_name": doc["backend"],
            "mode": doc["mode"],
            "interactive_ttl": _INTERACTIVE_SECONDS,
            "max_ttl": doc["max_ttl"],
            "active_ttl": doc["max_ttl"],
            "state": state,
            "accepting_jobs": bool(doc["accepting"]) and closed is None,
            "started_at": iso(doc["opened"]),
            "activated_at": iso(activated),
            "closed_at": iso(closed),
            "last_job_started": iso(max(started, default=None)),
            "last_job_completed": iso(max(ended, default=None)),
            "elapsed_time": elapsed,
            "timestamps": [],
        }
