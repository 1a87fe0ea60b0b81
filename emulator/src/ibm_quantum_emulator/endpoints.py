"""Short names of the endpoints, as fault plans and the request log use them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TABLE = (
    ("submit", "POST", "/jobs"),
    ("list", "GET", "/jobs"),
    ("job", "GET", "/jobs/{job}"),
    ("delete", "DELETE", "/jobs/{job}"),
    ("result", "GET", "/jobs/{job}/results"),
    ("logs", "GET", "/jobs/{job}/logs"),
    ("metrics", "GET", "/jobs/{job}/metrics"),
    ("cancel", "POST", "/jobs/{job}/cancel"),
    ("tags", "PUT", "/jobs/{job}/tags"),
    ("backends", "GET", "/backends"),
    ("configuration", "GET", "/backends/{backend}/configuration"),
    ("properties", "GET", "/backends/{backend}/properties"),
    ("status", "GET", "/backends/{backend}/status"),
    ("usage", "GET", "/instances/usage"),
    ("session_open", "POST", "/sessions"),
    ("session", "GET", "/sessions/{session}"),
    ("session_patch", "PATCH", "/sessions/{session}"),
    ("session_close", "DELETE", "/sessions/{session}/close"),
    ("catalog", "GET", "/{entry}"),
)

ENDPOINTS = (*(name for name, _, _ in _TABLE), "token", "search", "other")
"""All names; ``other`` is whatever is not served."""

_PREFIX = r"/(?:api/v1|experimental)"
_PART = {
    "{entry}": r"[0-9a-f]{8}-[0-9a-f-]{27}",
    "{job}": r"(?P<job>[^/]+)",
    "{backend}": r"(?P<backend>[^/]+)",
    "{session}": r"[^/]+",
}


def _pattern(path: str) -> re.Pattern[str]:
    for part, pattern in _PART.items():
        path = path.replace(part, pattern)
    return re.compile(_PREFIX + path)


_ROUTES = (
    *((name, method, _pattern(path)) for name, method, path in _TABLE),
    ("token", "POST", re.compile("/identity/token")),
    ("search", "POST", re.compile("/v3/resources/search")),
)


@dataclass(frozen=True)
class Target:
    """What a request is for; ``job`` and ``backend`` as its path names them."""

    endpoint: str
    job: str | None = None
    backend: str | None = None


def target(method: str, path: str) -> Target:
    """Return what a request with this method and path is for."""
    for name, wanted, pattern in _ROUTES:
        if method == wanted and (match := pattern.fullmatch(path)):
            return Target(name, **match.groupdict())
    return Target("other")
