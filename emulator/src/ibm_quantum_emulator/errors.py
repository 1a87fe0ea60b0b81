"""Errors that end as an answer on the wire."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request that is answered with an error envelope.

    Args:
        status: HTTP status of the answer.
        message: Text for a person.
        code: Number of the error inside the envelope; the service's own numbers where they are
            public, otherwise the HTTP status.
        more_info: Address or hint put beside the message.
    """

    def __init__(
        self, status: int, message: str, code: int | None = None, more_info: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = status if code is None else code
        self.more_info = more_info

    def envelope(self) -> dict[str, Any]:
        """Return ``{"errors": [{"code", "message", "more_info"}], "status_code"}``."""
        return {
            "errors": [{"code": self.code, "message": self.message, "more_info": self.more_info}],
            "status_code": self.status,
        }


class BadRequest(ApiError):
    """A request that cannot be understood or is out of range (status 400)."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(400, message, code)


class NotFound(ApiError):
    """Something that does not exist for this instance (status 404)."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(404, message, code)


def job_not_found(job_id: str) -> NotFound:
    """Return what a request for a job is answered with that is not there."""
    return NotFound(f"Job not found. Job ID: {job_id}", 1291)
