"""Sessions and batches, through the client's raw API: its own objects ask for more than needed."""

from __future__ import annotations

from typing import Any

from adapters.ibm._schema import Accepted, Session, read
from qsaga.core.ports import RemoteSession, SessionSpec

_CLOSED = "closed"
_ENDED_MEANWHILE = frozenset({404, 409})


def opened(client: Any, instance: str, spec: SessionSpec) -> RemoteSession:
    """Open a session, by one request. Raises SchemaDrift."""
    raw = client.create_session(spec.backend, instance, spec.max_seconds, spec.mode)
    return RemoteSession(
        session_id=read(Accepted, raw, "POST /sessions").id,
        backend=spec.backend,
        mode=spec.mode,
        open=True,
        accepting=True,
        seconds=0.0,
    )


def described(client: Any, session_id: str) -> RemoteSession:
    """A session as it stands, by one request. Raises SchemaDrift."""
    raw = read(Session, client.session_details(session_id), "GET /sessions/{id}")
    is_open = raw.state.lower() != _CLOSED
    return RemoteSession(
        session_id=raw.id,
        backend=raw.backend_name or "",
        mode=raw.mode,
        open=is_open,
        accepting=is_open and raw.accepting_jobs,
        seconds=raw.elapsed_time,
    )


def closed(client: Any, session_id: str) -> RemoteSession:
    """Close a session and cancel what waits in it; one that is closed is left as it is.

    ``close_session`` of the client would only stop it from taking more.
    """
    now = described(client, session_id)
    if not now.open:
        return now
    try:
        client.cancel_session(session_id)
    except Exception as error:
        if getattr(error, "status_code", None) not in _ENDED_MEANWHILE:
            raise
    return described(client, session_id)
