"""Where the two Temporal servers are that set-up found or built.

servers = resolve()
await WorkflowEnvironment.start_local(dev_server_existing_path=str(servers.cli))
await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(servers.test_server))
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CLI_VARIABLE = "QSAGA_TEMPORAL_CLI"
TEST_SERVER_VARIABLE = "QSAGA_TEMPORAL_TEST_SERVER"


class SetupError(Exception):
    """Set-up cannot go on; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Server:
    """One server program: where it is, how it was found and what it calls itself."""

    path: Path
    how: str
    version: str

    def runs(self) -> bool:
        return self.path.is_file() and os.access(self.path, os.X_OK)


@dataclass(frozen=True)
class Servers:
    """Both programs. Looking at one that is not there raises SetupError."""

    @property
    def cli(self) -> Path:
        """The Temporal CLI, whose `server start-dev` is the dev server."""
        return _known("temporal_cli", "the Temporal CLI", CLI_VARIABLE).path

    @property
    def test_server(self) -> Path:
        """The time-skipping test server."""
        return _known("test_server", "the time-skipping test server", TEST_SERVER_VARIABLE).path


def resolve() -> Servers:
    """The servers that `make setup` found. Raises SetupError if it was never run."""
    servers = Servers()
    _ = servers.cli
    return servers


def cache_dir() -> Path:
    """Where downloaded and built programs are kept: $QSAGA_CACHE, else below ~/.cache."""
    if named := os.environ.get("QSAGA_CACHE"):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "qsaga"


def recorded() -> dict[str, Server]:
    """What servers.json says, without a look at whether it still holds."""
    try:
        entries = json.loads((cache_dir() / "servers.json").read_text())
        return {
            name: Server(Path(entry["path"]), str(entry["how"]), str(entry["version"]))
            for name, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def record(servers: dict[str, Server]) -> None:
    """Write servers.json in one step, so that a reader never sees half of it."""
    target = cache_dir() / "servers.json"
    entries = {
        name: {"path": str(server.path), "how": server.how, "version": server.version}
        for name, server in sorted(servers.items())
    }
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    draft.write_text(json.dumps(entries, indent=2) + "\n")
    draft.replace(target)


def _known(name: str, title: str, variable: str) -> Server:
    if named := os.environ.get(variable):
        server = Server(Path(named).expanduser().absolute(), f"${variable}", "")
        if not server.runs():
            raise SetupError(f"{variable}={named} is not a program that can be run.")
        return server
    found = recorded().get(name)
    if found is None or not found.runs():
        raise SetupError(f"Set-up has not found {title} yet: run `make setup`.")
    return found
