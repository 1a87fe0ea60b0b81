"""Finding, downloading or building the Temporal CLI and the time-skipping test server.

For each, in this order: the variable, `temporal` on PATH, what is cached, the SDK's own download,
a build from the package registry (Go's, Maven's).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from tools.running import draft, run, say, step
from tools.servers import (
    CLI_VARIABLE,
    ROOT,
    TEST_SERVER_VARIABLE,
    Server,
    SetupError,
    cache_dir,
    record,
    recorded,
)

Name = Literal["temporal_cli", "test_server"]

CLI_VERSION = "1.5.1"
"""Newer ones (1.9.1 was tried) cannot be built from the registry: they replace a module."""
CLI_SQLITE = "1.51.0"
"""With which it is built; `CLI_MODULE` says why."""
CLI_MODULE = ROOT / "tools" / "temporal"
TEST_SERVER_VERSION = "1.38.0"
DOWNLOAD_LIMIT = 180.0
DOWNLOAD_SWITCH = "QSAGA_SDK_DOWNLOAD"
"""0 leaves the SDK's download out, for networks that would only let it wait."""

VARIABLES: dict[Name, str] = {
    "temporal_cli": CLI_VARIABLE,
    "test_server": TEST_SERVER_VARIABLE,
}
PROGRAMS: dict[Name, str] = {
    "temporal_cli": "temporal",
    "test_server": "temporal-test-server",
}
TITLES: dict[Name, str] = {
    "temporal_cli": "Temporal CLI",
    "test_server": "time-skipping test server",
}


def are_ready(names: tuple[Name, ...]) -> bool:
    """Does what is recorded still hold? Nothing is started for this."""
    known = recorded()
    return all(name in known and _still_holds(name, known[name]) for name in names)


def make_ready(names: tuple[Name, ...], python: Path) -> None:
    """Have these servers, whatever it takes. `python` is the one of the environment."""
    for name in names:
        known = recorded()
        if name in known and _still_holds(name, known[name]):
            continue
        record(known | {name: _find(name, python)})


def _still_holds(name: Name, server: Server) -> bool:
    named = os.environ.get(VARIABLES[name])
    if named:
        return server.path == Path(named).expanduser().absolute() and server.runs()
    if server.how.startswith("$"):
        return False
    if server.path.is_relative_to(cache_dir()) and server.path.parent not in (
        _built(name),
        _downloaded(name),
    ):
        return False
    return server.runs()


def _built(name: Name) -> Path:
    versions: dict[Name, str] = {
        "temporal_cli": f"{CLI_VERSION}-sqlite-{CLI_SQLITE}",
        "test_server": f"{TEST_SERVER_VERSION}-archived",
    }
    return cache_dir() / f"{PROGRAMS[name]}-{versions[name]}"


def _downloaded(name: Name) -> Path:
    locked = re.search(r'name = "temporalio"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text())
    return cache_dir() / f"{PROGRAMS[name]}-sdk-{locked[1] if locked else 'unknown'}"


def _find(name: Name, python: Path) -> Server:
    if server := _named(name) or _on_path(name) or _cached(name):
        say(f"{TITLES[name]}: {server.path} ({server.how})")
        return server
    if server := _download(name, python):
        return server
    return _build_cli() if name == "temporal_cli" else _build_test_server(python)


def _named(name: Name) -> Server | None:
    variable = VARIABLES[name]
    named = os.environ.get(variable)
    if not named:
        return None
    path = Path(named).expanduser().absolute()
    if not _works(name, path):
        raise SetupError(f"{variable}={named} does not run as a {TITLES[name]}.")
    return Server(path, f"${variable}", _version(name, path))


def _on_path(name: Name) -> Server | None:
    found = shutil.which("temporal") if name == "temporal_cli" else None
    if found is None:
        return None
    path = Path(found).absolute()
    if not _works(name, path):
        say(f"{path} has no `server start-dev`; looking further")
        return None
    return Server(path, "PATH", _version(name, path))


def _cached(name: Name) -> Server | None:
    for folder, how in ((_built(name), "cache, built"), (_downloaded(name), "cache, downloaded")):
        path = folder / PROGRAMS[name]
        if path.exists() and _works(name, path):
            return Server(path, how, _version(name, path))
    return None


def _download(name: Name, python: Path) -> Server | None:
    if os.environ.get(DOWNLOAD_SWITCH) == "0":
        return None
    home = _downloaded(name)
    program = home / PROGRAMS[name]
    try:
        with step(f"{TITLES[name]}, download by the Temporal SDK"), draft(home) as building:
            run(
                [python, "-m", "tools.sdk_download", name, building],
                failure="no download",
                limit=DOWNLOAD_LIMIT,
                cwd=ROOT,
                quiet=True,
            )
            (downloaded,) = (path for path in building.iterdir() if path.is_file())
            downloaded.rename(building / PROGRAMS[name])
    except (SetupError, ValueError):
        say("  the SDK's download cannot be reached from here; building it instead")
        return None
    return Server(program, "downloaded by the SDK", _version(name, program))


def _build_cli() -> Server:
    go = shutil.which("go")
    if go is None:
        raise SetupError(
            "The Temporal CLI could not be downloaded, and building it needs Go: install Go 1.25 "
            f"or newer (https://go.dev/dl), or the CLI itself (https://docs.temporal.io/cli), or "
            f"set {CLI_VARIABLE} to one."
        )
    home = _built("temporal_cli")
    package = "github.com/temporalio/cli"
    version_symbol = f"{package}/temporalcli.Version"
    with step("Temporal CLI, built with Go", "about 4 minutes on 2 cores"), draft(home) as building:
        run(
            [
                go,
                "build",
                f"-ldflags=-s -w -X {version_symbol}={CLI_VERSION}",
                "-o",
                building / "temporal",
                f"{package}/cmd/temporal",
            ],
            cwd=CLI_MODULE,
            failure=f"Go could not build the Temporal CLI {CLI_VERSION}: it needs Go 1.25 or newer "
            "and a Go module proxy (GOPROXY) that can be reached.",
            env={"GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"},
        )
        if not _works("temporal_cli", building / "temporal"):
            raise SetupError("The Temporal CLI was built but does not run: see the lines above.")
    path = home / "temporal"
    return Server(path, "built with Go", _version("temporal_cli", path))


def _build_test_server(python: Path) -> Server:
    java, mvn = find_java(), shutil.which("mvn")
    missing = [
        title
        for title, found in (("a Java runtime, 11 or newer", java), ("Maven (mvn)", mvn))
        if not found
    ]
    if java is None or mvn is None:
        raise SetupError(
            "The time-skipping test server could not be downloaded, and building it needs "
            f"{' and '.join(missing)}: install {'it' if len(missing) == 1 else 'both'} (on Debian "
            f"and Ubuntu `apt install default-jre-headless maven`) or set {TEST_SERVER_VARIABLE}."
        )
    home = _built("test_server")
    with (
        step("time-skipping test server, from Maven", "half a minute"),
        draft(home) as building,
    ):
        pom = building / "pom.xml"
        pom.write_text(POM)
        run(
            [mvn, "-B", "-ntp", "-f", pom, "dependency:copy-dependencies", *MAVEN_OPTIONS],
            failure="Maven could not fetch the time-skipping test server: check that its registry "
            "or your mirror can be reached.",
            cwd=building,
        )
        program = building / "temporal-test-server"
        program.write_text(WRAPPER.format(java=java))
        program.chmod(0o755)
        if not _works("test_server", program):
            raise SetupError(f"The time-skipping test server does not start on {java}.")
    # Holds paths, so in the final place. Without it the server only starts more slowly.
    with suppress(SetupError):
        run(
            [python, "-m", "tools.class_archive", java, home],
            failure="no class archive",
            limit=ARCHIVE_LIMIT,
            cwd=ROOT,
            quiet=True,
        )
    path = home / "temporal-test-server"
    return Server(path, "Maven", _version("test_server", path))


POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>qsaga</groupId><artifactId>test-server</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId>
      <version>{TEST_SERVER_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

MAVEN_OPTIONS = ("-DincludeScope=runtime", "-DoutputDirectory=lib")

ARCHIVE_LIMIT = 120.0

# Tests start hundreds of servers that live for seconds: a start takes a quarter of its CPU time
# with a class archive and without the second compiler.
WRAPPER = """\
#!/bin/sh
home=$(cd "$(dirname "$0")" && pwd)
exec "{java}" -XX:+IgnoreUnrecognizedVMOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  -Xlog:cds=off -Xlog:cds+dynamic=off -XX:SharedArchiveFile="$home/classes.jsa" \\
  -cp "$home/lib/*" io.temporal.testserver.TestServer "$@"
"""


def find_java() -> str | None:
    """A Java of version 11 or newer: the one of JAVA_HOME, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    for java in (home and f"{home}/bin/java", shutil.which("java")):
        if java and (java_version(java) or 0) >= 11:
            return java
    return None


def java_version(java: str) -> int | None:
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', shown.stderr + shown.stdout)
    return int(found[1]) if found and shown.returncode == 0 else None


def _works(name: Name, path: Path) -> bool:
    if not (path.is_file() and os.access(path, os.X_OK)):
        return False
    if name == "test_server":
        return _listens(path)
    try:
        command = [str(path), "server", "start-dev", "--help"]
        shown = subprocess.run(command, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.returncode == 0


def _listens(program: Path, limit: float = 60.0) -> bool:
    """Start the test server once and see its port open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        server = subprocess.Popen(
            [program, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        until = time.monotonic() + limit
        while time.monotonic() < until and server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.1)
        return False
    finally:
        server.kill()
        server.wait()


def _version(name: Name, path: Path) -> str:
    if name == "temporal_cli":
        try:
            shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
        return shown.stdout.strip().removeprefix("temporal version ") or "unknown"
    if path.parent == _built(name):
        return TEST_SERVER_VERSION
    if path.parent == _downloaded(name):
        return f"as chosen by {path.parent.name.partition('-sdk-')[2]} of the SDK"
    return "unknown"
