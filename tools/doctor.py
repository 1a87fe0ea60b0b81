"""What set-up found and where: `make doctor`. One sentence for each thing that is missing.

The settings of an application are another matter: `qsaga doctor`.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tools import bootstrap, temporal_servers
from tools.servers import ROOT, cache_dir, recorded

PACKAGES = (
    "temporalio",
    "pydantic",
    "dimod",
    "qiskit",
    "qiskit-ibm-runtime",
    "qiskit-aer",
    "dwave-neal",
)
PORTS = {7233: "Temporal", 8233: "Temporal UI", 8080: "emulator in docker-compose.yml"}
DISK_NEEDED = 5.0
"""GiB for environment, caches and builds."""


@dataclass(frozen=True)
class Finding:
    what: str
    found: str
    where: str = ""
    missing: str = ""
    """The sentence that says what to do, if something is to be done."""


def main() -> int:
    findings = list(examine())
    widths = [max(len(getattr(f, name)) for f in findings) for name in ("what", "found")]
    for finding in findings:
        mark = "✗" if finding.missing else " "
        row = f"{mark} {finding.what:<{widths[0]}}  {finding.found:<{widths[1]}}  {finding.where}"
        print(row.rstrip())
    complaints = [finding.missing for finding in findings if finding.missing]
    if complaints:
        print()
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


def examine() -> Iterator[Finding]:
    yield Finding("python", platform.python_version(), sys.executable)
    yield _uv()
    yield _environment()
    yield from _packages()
    yield _server("temporal_cli")
    yield _server("test_server")
    yield _java()
    for tool, arguments in (("mvn", ["-B", "-v"]), ("go", ["version"])):
        yield _optional(tool, arguments)
    yield Finding("cache", "" if cache_dir().exists() else "empty", str(cache_dir()))
    yield _disk()
    for port, user in PORTS.items():
        yield Finding(f"port {port}", "free" if _is_free(port) else "in use", user)


def _uv() -> Finding:
    program = cache_dir() / f"uv-{bootstrap.UV_VERSION}" / "uv"
    if program.exists():
        return Finding("uv", bootstrap.UV_VERSION, str(program))
    return Finding("uv", "not there", missing="uv is not in the cache: run `make setup`.")


def _environment() -> Finding:
    if bootstrap.environment_is_ready(bootstrap.environment_key()):
        return Finding("environment", "as in uv.lock", str(bootstrap.VENV))
    found = "not as in uv.lock" if bootstrap.VENV.exists() else "not there"
    return Finding(
        "environment",
        found,
        str(bootstrap.VENV),
        missing=f"The Python environment is {found}: run `make setup`.",
    )


def _packages() -> Iterator[Finding]:
    look = (
        "import importlib.metadata as m, json, sys\n"
        "known = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({name: known.get(name) for name in sys.argv[1:]}))"
    )
    try:
        shown = subprocess.run(
            [bootstrap.VENV / "bin" / "python", "-c", look, *PACKAGES],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return  # the environment is what is missing, and is told already
    for name, version in json.loads(shown.stdout).items():
        missing = "" if version else f"The package {name} is not installed: run `make setup`."
        yield Finding(f"  {name}", version or "not there", missing=missing)


def _server(name: temporal_servers.Name) -> Finding:
    title = temporal_servers.TITLES[name]
    server = recorded().get(name)
    if server is not None and temporal_servers.are_ready((name,)):
        return Finding(title, server.version, f"{server.path} ({server.how})")
    variable = temporal_servers.VARIABLES[name]
    if named := os.environ.get(variable):
        return Finding(
            title,
            "not there",
            f"${variable}",
            missing=f"{variable}={named} has not been looked at yet: run `make setup`.",
        )
    return Finding(
        title, "not there", missing=f"The {title} has not been set up: run `make setup`."
    )


def _java() -> Finding:
    java = temporal_servers.find_java()
    if java is not None:
        return Finding("java", str(temporal_servers.java_version(java)), java)
    server = recorded().get("test_server")
    if server is not None and server.path.parent.name.endswith(
        temporal_servers.TEST_SERVER_VERSION
    ):
        return Finding(
            "java",
            "not there",
            missing="The time-skipping test server runs on Java: install a runtime, 11 or newer.",
        )
    return Finding("java", "not there", "needed only where the SDK cannot download")


def _optional(tool: str, arguments: list[str]) -> Finding:
    path = shutil.which(tool)
    if path is None:
        return Finding(tool, "not there", "needed only where the SDK cannot download")
    try:
        shown = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return Finding(tool, "does not run", path)
    words = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout).split()
    version = next((word for word in words if any(mark.isdigit() for mark in word)), "")
    return Finding(tool, version, path)


def _disk() -> Finding:
    folder = next(path for path in (cache_dir(), *cache_dir().parents) if path.exists())
    free = min(shutil.disk_usage(place).free for place in (folder, ROOT)) / 2**30
    ready = temporal_servers.are_ready(("temporal_cli", "test_server"))
    missing = ""
    if free < DISK_NEEDED and not ready:
        missing = f"Set-up needs about {DISK_NEEDED:.0f} GiB of disk and {free:.1f} are free."
    return Finding("disk", f"{free:.1f} GiB free", str(folder), missing=missing)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
