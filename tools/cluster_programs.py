"""The programs of a Temporal cluster: its server and schema tool, built with Go, and PostgreSQL's.

All are found again once they are there. The standard library is all that this uses.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.running import draft, run, step
from tools.servers import SetupError, cache_dir

SERVER_VERSION = "1.31.2"
GO = "1.26.4"
"""That its module asks for."""
MODULE = "go.temporal.io/server"
SERVER, SQL_TOOL = "server", "sql"
"""As `go install` names them, after the last folder of their packages."""
PACKAGES = (f"cmd/{SERVER}", f"cmd/tools/{SQL_TOOL}")
DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps each version's programs below this folder and off PATH."""


@dataclass(frozen=True)
class Programs:
    """Where they are.

    Args:
        server: the Temporal server; it runs any of the four services.
        sql_tool: creates and updates the schema of its databases.
        postgresql: the folder with ``initdb`` and ``postgres``.
    """

    server: Path
    sql_tool: Path
    postgresql: Path


def find() -> Programs:
    """Raises SetupError if one is not there yet."""
    postgresql = find_postgresql()
    if postgresql is None or not server_is_ready():
        missing = "PostgreSQL" if postgresql is None else f"the Temporal server {SERVER_VERSION}"
        raise SetupError(f"A cluster needs {missing}: run `make test-system`, which gets it.")
    return Programs(_home() / SERVER, _home() / SQL_TOOL, postgresql)


def find_postgresql() -> Path | None:
    """The folder of PostgreSQL's programs: the one on PATH, else the newest of Debian's."""
    on_path = shutil.which("initdb")
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True)
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *debian]
    complete = (one for one in folders if all((one / name).exists() for name in NEEDED))
    return next(complete, None)


NEEDED = ("initdb", "postgres")


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0


def server_is_ready() -> bool:
    """Whether both programs of Temporal are in the cache."""
    return all((_home() / name).exists() for name in (SERVER, SQL_TOOL))


def build_server() -> None:
    """Build them. Only under ``exclusive(cache_dir())``. Raises SetupError."""
    go = shutil.which("go")
    if go is None:
        raise SetupError(
            f"The Temporal server {SERVER_VERSION} is built with Go: install Go {GO} or newer "
            "(https://go.dev/dl)."
        )
    home = _home()
    with step("Temporal server, built with Go", "4 to 10 minutes on 2 cores"), draft(home) as new:
        run(
            [
                go,
                "install",
                "-ldflags=-s -w",
                *(f"{MODULE}/{package}@v{SERVER_VERSION}" for package in PACKAGES),
            ],
            failure=f"Go could not build the Temporal server {SERVER_VERSION}: it needs Go {GO} or "
            "newer and a Go module proxy (GOPROXY) that can be reached.",
            env={"GOBIN": str(new), "GOFLAGS": "", "CGO_ENABLED": "0"},
        )


def _home() -> Path:
    return cache_dir() / f"temporal-server-{SERVER_VERSION}"
