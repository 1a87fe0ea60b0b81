"""Sessions and batches on the wire: opened, shown, closed."""

from __future__ import annotations

import math
from typing import Any

from .engine import Engine
from .errors import ApiError, BadRequest
from .model import new_job_id
from .sessionstate import ACTIVE, BATCH, CLOSED, DEDICATED, Session

_CLOSED_CODE = 1352


class Sessions:
    """All sessions of the service.

    Args:
        engine: Holds the jobs and the sessions.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, body: dict[str, Any], instance: str) -> dict[str, Any]:
        """Open a session (mode ``dedicated``) or a batch and return its view.

        Raises:
            BadRequest: Unknown backend or mode, or a time limit that is not positive or too long.
        """
        backend, mode = body.get("backend"), body.get("mode", DEDICATED)
        if backend not in self._engine.snapshots:
            raise BadRequest(f"backend: {backend!r} does not exist.")
        if mode not in (DEDICATED, BATCH):
            raise BadRequest(f"mode: {mode!r} is neither 'dedicated' nor 'batch'.")
        limits = self._engine.around.limits.of(instance)
        now = await self._engine.time()
        session = Session(
            id=new_job_id(),
            instance=instance,
            backend=str(backend),
            mode=mode,
            max_ttl=_seconds(body.get("max_ttl"), limits.max_session_seconds),
            interactive_ttl=limits.interactive_seconds,
            opened=now,
            timestamps=[["open", now]],
        )
        self._engine.add_session(session)
        return self._view(session, now)

    async def details(self, session_id: str, instance: str) -> dict[str, Any]:
        """Return a session's view.

        Raises:
            NotFound: No such session.
        """
        await self._engine.time()
        await self._engine.settled(self._engine.session_jobs(session_id))
        now = await self._engine.time()
        return self._view(self._engine.session(session_id, instance), now)

    async def accept(self, session_id: str, accepting: Any, instance: str) -> None:
        """Take no more jobs; those already there go on, and then it is closed.

        Raises:
            NotFound: No such session.
            BadRequest: Not a boolean.
            ApiError: 409, it is closed and cannot accept jobs again.
        """
        if not isinstance(accepting, bool):
            raise BadRequest("accepting_jobs: true or false is expected.")
        now = await self._engine.time()
        session = self._engine.session(session_id, instance)
        if accepting:
            self._open(session)
            self._engine.accept_again(session)
        elif session.state != CLOSED:
            self._engine.stop_accepting(session, now)

    async def close(self, session_id: str, instance: str) -> None:
        """Close at once; queued jobs are cancelled, running ones go on.

        Raises:
            NotFound: No such session.
        """
        await self._engine.time()
        session = self._engine.session(session_id, instance)
        if session.state != CLOSED:
            await self._engine.close_session(session)

    async def admit(self, session_id: str, instance: str, backend: str) -> bool:
        """Return whether a new job of this session skips the queue.

        Raises:
            NotFound: No such session.
            BadRequest: It is of another backend.
            ApiError: 409, it takes no jobs.
        """
        await self._engine.time()
        session = self._engine.session(session_id, instance)
        if not session.accepting:
            raise ApiError(409, f"Session {session_id} is closed.", _CLOSED_CODE)
        if session.backend != backend:
            raise BadRequest(
                f"backend: {backend!r} is not the one of session {session_id}, {session.backend!r}."
            )
        return session.state == ACTIVE

    async def truth(self, latest: int = 0) -> list[dict[str, Any]]:
        """Return everything known about sessions, oldest first; times in epoch seconds.

        Args:
            latest: Only so many, the latest ones; 0 is all.
        """
        now = await self._engine.time()
        found = []
        for document in self._engine.store.sessions()[-latest:]:
            session = Session.load(document)
            jobs = self._engine.store.session_jobs(session.id)
            charged = sum(job["charged_seconds"] for job in jobs)
            seconds = session.charge(now, charged)
            found.append({**document, "charged_seconds": seconds, "jobs": jobs})
        return found

    def _view(self, session: Session, now: float) -> dict[str, Any]:
        jobs = self._engine.store.session_jobs(session.id)
        return session.view(now, sum(job["charged_seconds"] for job in jobs))

    @staticmethod
    def _open(session: Session) -> None:
        if session.state == CLOSED:
            raise ApiError(409, f"Session {session.id} is closed.", _CLOSED_CODE)


def _seconds(given: Any, most: float) -> float:
    if given is None:
        return most
    known = isinstance(given, int | float) and not isinstance(given, bool)
    if not known or not math.isfinite(given) or given <= 0:
        raise BadRequest("max_ttl: a positive number of seconds is expected.")
    if given > most:
        raise BadRequest(f"max_ttl: at most {most:g} seconds are allowed, {given:g} are asked.")
    return float(given)
