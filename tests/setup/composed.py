"""docker-compose.yml as Compose reads it, and its services as processes of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml
from sqlalchemy import make_url

from tests.setup.clones import ROOT
from tests.support.databases import fresh_database
from tools.stage import Stage, wait_until

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
DATABASE = "postgresql://qsaga@postgresql:5432/qsaga"
WORKERS = ("worker", "workflow", "compile", "solve", "watch")
SCRAM = "local all qsaga scram-sha-256\n"


def load() -> dict[str, Any]:
    """The file, with its anchors resolved and its variables as they stand."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def filled_in(value: str, given: Mapping[str, str]) -> str:
    """Compose's ${NAME:-default} and ${NAME-default}."""

    def fill(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        value = given.get(name)
        return default if value is None or (operator == ":-" and not value) else value

    return re.sub(r"\$\{(\w+)(:?-)([^}]*)\}", fill, value)


def environment(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a service as a container would have them."""
    declared = load()["services"][service].get("environment", {})
    return {name: filled_in(value, given) for name, value in declared.items()}


def copied(stage: str = "") -> list[str]:
    """What a stage of the Dockerfile copies from this repository; or what all of them do."""
    text = DOCKERFILE.read_text()
    if stage:
        text = text.split(f" AS {stage}\n", 1)[1].split("\nFROM ")[0]
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    return [source for line in lines for source in line.split()]


class Composed(Stage):
    """Temporal and emulator of the stage, and the services of ours with the settings of the file.

    Folders stand for the volumes, loopback for the names of services. What is not in the file is
    not in the environment.

    Args:
        folder: gets everything.
        given: what .env would say.
        database: addresses in the file → those of a database here, and the PATH of its programs.
    """

    def __init__(self, folder: Path, given: Mapping[str, str], database: Mapping[str, str]) -> None:
        super().__init__(
            folder, ui=False, emulator={"overhead_seconds": 0.2, "seconds_per_job": 0.5}
        )
        compose = load()
        self.services: dict[str, Any] = compose["services"]
        self.given = dict(given)
        self._database = dict(database)
        self._starting = WORKERS[0]
        self._crew: list[subprocess.Popen[bytes] | None] = []
        for name in compose["volumes"]:
            self.volume(name).mkdir(parents=True)
        # No more of ours than what the image has.
        for source in copied("issuer"):
            (self.folder / "app" / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, self.folder / "app" / source)

    def volume(self, name: str) -> Path:
        """The folder that stands for a volume."""
        return self.folder / "volumes" / name

    def environment(self) -> dict[str, str]:
        """Of the worker that is started now."""
        return self.variables(self._starting)

    def start_workers(self) -> None:
        """Start the workers of all roles, each with its own settings, and wait until ready."""
        for service in WORKERS:
            self._starting = service
            self.start_worker()
            # The next takes its place; this one goes on beside it.
            self._crew.append(self._worker)
            self._worker = None

    def kill_workers(self) -> None:
        """``kill -9`` them all."""
        crew, self._crew = self._crew, []
        for self._worker in crew:
            self.kill_worker()

    def stop(self) -> None:
        """End everything."""
        self.kill_workers()
        super().stop()

    def variables(self, service: str) -> dict[str, str]:
        """All that the process of a service has in its environment."""
        variables = {
            name: self._here(service, value)
            for name, value in environment(service, self.given).items()
        }
        paths = [str(Path(sys.executable).parent), self._database.get("PATH", ""), os.defpath]
        return {"PATH": ":".join(filter(None, paths)), "HOME": str(self.folder)} | variables

    def run(
        self, service: str, *arguments: str, key: str = "entrypoint", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """``docker compose run --rm -e … SERVICE ARGUMENTS``, or with ``key`` another command."""
        own = [self._here(service, part) for part in self.services[service][key]]
        issues = self.services[service].get("image") == "qsaga-issuer"
        return subprocess.run(
            [*own, *arguments],
            cwd=self.folder / "app" if issues else ROOT,
            env=self.variables(service) | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def mounts(self, service: str) -> dict[str, Path]:
        """Folders and files here by where the service sees them."""
        found = {}
        for mount in self.services[service].get("volumes", []):
            source, target = mount.split(":")[:2]
            found[target] = ROOT / source if source.startswith(".") else self.volume(source)
        return found

    def _here(self, service: str, text: str) -> str:
        """A path or an address of a container as it is here."""
        addresses = {
            "temporal:7233": self.temporal_address,
            "http://emulator:8080": self.emulator.url,
            **self._database,
        }
        for target, path in self.mounts(service).items():
            if text == target or text.startswith(f"{target}/"):
                return f"{path}{text.removeprefix(target)}"
        return addresses.get(text, text)


@contextmanager
def database_server(backend: str, folder: Path) -> Iterator[dict[str, str]]:
    """What stands for the service ``postgresql``: nothing but a file where there is no server.

    The server asks qsaga's role for its password, as that of the image does. Where it was is
    given back as ``Composed`` takes it.
    """
    if backend == "sqlite":
        yield {DATABASE: f"sqlite:///{folder}/qsaga.db"}
        return
    import pgserver

    with fresh_database(backend, folder) as url, psycopg.connect(url, autocommit=True) as admin:
        socket = str(make_url(url).query["host"])
        hba = Path(str(admin.execute("SHOW hba_file").fetchone()[0]))
        before = hba.read_text()
        hba.write_text(SCRAM + before)
        admin.execute("CREATE ROLE temporal SUPERUSER LOGIN")
        admin.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: admin.execute(
                "SELECT 1 FROM pg_hba_file_rules WHERE 'qsaga' = ANY (user_name)"
            ).fetchone(),
            "the server asks for passwords",
        )
        try:
            yield {
                DATABASE: DATABASE.replace("@postgresql:5432/qsaga", f"@/qsaga?host={socket}"),
                "postgresql": socket,
                "PATH": str(Path(pgserver.__file__).parent / "pginstall" / "bin"),
            }
        finally:
            hba.write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP DATABASE IF EXISTS qsaga WITH (FORCE)")
            admin.execute("DROP ROLE IF EXISTS qsaga")
            admin.execute("DROP ROLE temporal")
