"""What `make test-system` needs beside Python packages.

The model checker Spin and PostgreSQL are found, or installed as Debian packages; the Temporal
server is built with Go into the cache. The standard library is all that this uses.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tools.cluster_programs import build_server, find_postgresql, server_is_ready
from tools.running import exclusive, run, step
from tools.servers import SetupError, cache_dir


@dataclass(frozen=True)
class Package:
    """A Debian package, how to see that its programs are there, and where else to get them."""

    name: str
    there: Callable[[], object]
    by_hand: str


PACKAGES = (
    Package(
        "spin",
        lambda: shutil.which("spin"),
        "the model checker Spin (`apt install spin`, `brew install spin`, or https://spinroot.com)",
    ),
    Package(
        "postgresql",
        find_postgresql,
        "PostgreSQL (`apt install postgresql`, `brew install postgresql`, or "
        "https://www.postgresql.org/download)",
    ),
)


def main() -> int:
    try:
        make_ready()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make_ready() -> None:
    """Install and build what is not there. Raises SetupError."""
    if missing := [package for package in PACKAGES if not package.there()]:
        _install(missing)
    if not server_is_ready():
        with exclusive(cache_dir()):
            # Another set-up, for which this one waited, may have built it.
            if not server_is_ready():
                build_server()


def _install(missing: list[Package]) -> None:
    names = [package.name for package in missing]
    by_hand = f"install {' and '.join(package.by_hand for package in missing)} yourself"
    apt = [*_as_root(by_hand), _apt(by_hand), "-q", "-y"]
    with step(f"Debian packages: {', '.join(names)}", "a minute at most"):
        run([*apt, "update"], failure=f"`apt-get update` failed: {by_hand}.", limit=300)
        run(
            [*apt, "install", "--no-install-recommends", *names],
            failure=f"`apt-get install {' '.join(names)}` failed: {by_hand}.",
            limit=300,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )


def _apt(by_hand: str) -> str:
    apt = shutil.which("apt-get")
    if apt is None:
        raise SetupError(f"There is no apt-get here: {by_hand}.")
    return apt


def _as_root(by_hand: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        raise SetupError(f"Only root may install packages, and there is no sudo: {by_hand}.")
    # Without a terminal a question for the password would never be answered.
    return [sudo, "--non-interactive"]


if __name__ == "__main__":
    sys.exit(main())
