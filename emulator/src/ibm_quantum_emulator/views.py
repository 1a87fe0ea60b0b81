"""How records look on the wire."""

from __future__ import annotations

import json
from typing import Any

from .model import FAILED, QUEUED, Job, iso


def job_view(job: Job, params: str | None = None, status: str | None = None) -> dict[str, Any]:
    """Return a job as the API shows it, with its parameters if they are given.

    Args:
        params: Program parameters, JSON text.
        status: Shown instead of its state, if given.
    """
    state: dict[str, Any] = {"status": status or job.state}
    if job.reason:
        state["reason"] = job.reason
    if job.reason_code:
        state["reason_code"] = job.reason_code
        state["reason_solution"] = ""
    view: dict[str, Any] = {
        "id": job.id,
        "backend": job.backend,
        "state": state,
        "status": status or job.state,
        "program": {"id": job.program},
        "created": iso(job.created),
        "ended": iso(job.finished),
        "runtime": "emulator",
        "tags": job.tags,
        "session_id": job.session_id,
        "private": job.private,
        "cost": job.max_seconds or 10800,
        "estimated_running_time_seconds": job.duration,
        "usage": {"seconds": job.charged or 0},
        "calibration_id": job.calibration_id,
    }
    if params is not None and not job.private:
        view["params"] = json.loads(params)
    return view


def metrics_view(job: Job, place: tuple[int, float] | None) -> dict[str, Any]:
    """Return a job's metrics.

    Args:
        place: Jobs ahead and expected virtual start, for a queued job.
    """
    done = job.charged is not None
    return {
        "timestamps": {
            "created": iso(job.created),
            "running": iso(job.started),
            "finished": iso(job.finished),
        },
        "bss": {"seconds": job.charged or 0},
        "usage": {
            "status": "complete" if done else "pending",
            "quantum_seconds": job.charged or 0,
            "seconds": job.charged or 0,
            "qpu_charge_time_seconds": job.charged or 0,
        },
        "executions": job.executions,
        "caller": "emulator",
        "position_in_queue": place[0] + 1 if place and job.state == QUEUED else None,
        "position_in_provider": None,
        "estimated_start_time": iso(place[1]) if place and job.state == QUEUED else None,
        "estimated_completion_time": iso(place[1] + job.duration) if place else None,
    }


def logs_view(job: Job) -> str:
    """Return the text of a job's logs."""
    lines = [f"{iso(job.created)} INFO: accepted on {job.backend}"]
    if job.started is not None:
        lines.append(f"{iso(job.started)} INFO: {job.program} started")
    if job.finished is not None:
        level = "ERROR" if job.state == FAILED else "INFO"
        lines.append(f"{iso(job.finished)} {level}: {job.state} {job.reason or ''}".rstrip())
    return "\n".join(lines) + "\n"


def truth_view(job: Job, posts: int) -> dict[str, Any]:
    """Return everything known about a job, for the control API; times in epoch seconds."""
    return {
        "id": job.id,
        "seq": job.seq,
        "instance": job.instance,
        "backend": job.backend,
        "program": job.program,
        "tags": job.tags,
        "session_id": job.session_id,
        "state": job.state,
        "reason": job.reason,
        "reason_code": job.reason_code,
        "created": job.created,
        "running": job.started,
        "due": job.due,
        "finished": job.finished,
        "duration": job.duration,
        "charged_seconds": job.charged or 0,
        "posts": posts,
        "cancel_attempts": job.cancel_attempts,
        "lost_race": job.lost_race,
        "simulated": job.outcome is not None,
        "deleted": job.deleted,
    }
