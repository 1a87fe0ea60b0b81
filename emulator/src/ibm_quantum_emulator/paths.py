"""Paths of requests: those of a proxy made local, and what requests are counted as."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.types import Scope

_IDS = re.compile(r"/(jobs|sessions|backends)/([^/]+)")
_CATALOG = re.compile(r"^/api/v1/[0-9a-f-]{36}$")


def make_local(scope: Scope) -> None:
    """Reduce an absolute request target to its path.

    A client that takes this server for its proxy sends the whole address as request target.
    """
    raw = scope.get("raw_path") or b""
    if raw[:7].lower() == b"http://" or raw[:8].lower() == b"https://":
        scope["raw_path"] = (urlsplit(raw.decode("latin-1")).path or "/").encode("latin-1")
    path = scope["path"]
    if path[:7].lower() == "http://" or path[:8].lower() == "https://":
        scope["path"] = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"


def counted_as(scope: Scope) -> str:
    """Return method and path with ids left out."""
    path = _IDS.sub(r"/\1/{id}", scope["path"])
    if _CATALOG.match(path):
        path = "/api/v1/{catalog entry}"
    return f"{scope['method']} {path}"
