"""A PostgreSQL server of our own, on loopback, that can be killed and started again on its data."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql

from tools.processes import alive, completed, end, spawn
from tools.servers import SetupError
from tools.stage import wait_until

USER = "temporal"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # A handful of pools: four services, and every worker of a scene.
    "max_connections": "200",
    # Processes are killed here and never the machine: what was written is with its kernel.
    "fsync": "off",
}


class Postgres:
    """The server. Its data are deleted in the end.

    PostgreSQL does not run as root. Root has it run as the user ``postgres``, for whom many folders
    are closed: so the data are below the system's folder for temporary files.

    Args:
        programs: the folder with ``initdb`` and ``postgres``.
        log: file for all that it writes.
        port: on which it listens.
    """

    def __init__(self, programs: Path, log: Path, port: int) -> None:
        self._programs, self._log, self.port = programs, log, port
        self.password = secrets.token_hex(16)
        self._home: TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Of a database, for SQLAlchemy or libpq."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers. Raises StageError, SetupError."""
        if self._process is not None:
            return
        again = self._home is not None
        self._home = self._home or self._new_home()
        home = Path(self._home.name)

        def answers() -> bool:
            if again and self._process is not None and self._process.poll() is not None:
                # Children of the one that was killed still leave; it does not start before that.
                self._process = None
            if self._process is None:
                self._process = self._spawn(home)
            alive(self._process, self._log)
            return self._answers()

        wait_until(answers, f"PostgreSQL answers ({self._log})", pause=0.1)

    def kill(self) -> None:
        """``kill -9``; the data stay."""
        end(self._process, signal.SIGKILL)
        self._process = None

    def stop(self) -> None:
        """End it and delete the data. Safe to repeat."""
        self.kill()
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    def create(self, database: str, template: str = "template1") -> str:
        """Make a database, a copy of another one that nobody is connected to; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(database), sql.Identifier(template)
                )
            )
        return self.url(database)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _new_home(self) -> TemporaryDirectory[str]:
        prefix = _as_user()
        # It is deleted at the end of this process at the latest.
        kept = TemporaryDirectory(prefix="qsaga-postgresql-", ignore_cleanup_errors=True)
        home = Path(kept.name)
        secret = home / "password"
        secret.write_text(self.password)
        if prefix:
            for path in (home, secret):
                shutil.chown(path, "postgres")
        # fmt: off
        command: list[str | Path] = [
            *prefix, self._programs / "initdb", "-D", home / "data", f"--username={USER}",
            "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C",
            "--no-sync",
        ]
        # fmt: on
        completed(command, _environment(), cwd=home)
        return kept

    def _spawn(self, home: Path) -> subprocess.Popen[bytes]:
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        program = self._programs / "postgres"
        data = ["-D", str(home / "data"), "-p", str(self.port)]
        return spawn([*_as_user(), program, *data, *settings], self._log, _environment(), cwd=home)


def _as_user() -> list[str]:
    """What goes before a command so that PostgreSQL does not see root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        setpriv = None
    if setpriv is None:
        raise SetupError(
            "PostgreSQL does not run as root: it needs a user `postgres` (Debian's package makes "
            "one) and `setpriv` of util-linux, or run this as another user."
        )
    # A change of user would clear what ends it together with us.
    keep = ["--pdeathsig", "keep"]
    return [setpriv, "--reuid=postgres", "--regid=postgres", "--init-groups", *keep]


def _environment() -> dict[str, str]:
    """Ours without what PostgreSQL's programs would read from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
