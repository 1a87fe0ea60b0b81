"""What `make test-system` needs from the operating system: the model checker Spin.

Found on PATH, or installed as the Debian package. The standard library is all that this uses.
"""

from __future__ import annotations

import os
import shutil
import sys

from tools.running import run, step
from tools.servers import SetupError

PACKAGE = "spin"
BY_HAND = (
    "install the model checker Spin yourself (`apt install spin`, `brew install spin`, or "
    "https://spinroot.com)"
)


def main() -> int:
    try:
        make_ready()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make_ready() -> None:
    """Install Spin unless it is there. Raises SetupError."""
    if shutil.which("spin"):
        return
    apt = [*_as_root(), _apt(), "-q", "-y"]
    with step("the Debian package spin", "a minute at most"):
        run([*apt, "update"], failure=f"`apt-get update` failed: {BY_HAND}.", limit=300)
        run(
            [*apt, "install", "--no-install-recommends", PACKAGE],
            failure=f"`apt-get install {PACKAGE}` failed: {BY_HAND}.",
            limit=300,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )


def _apt() -> str:
    apt = shutil.which("apt-get")
    if apt is None:
        raise SetupError(f"There is no apt-get here: {BY_HAND}.")
    return apt


def _as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        raise SetupError(f"Only root may install packages, and there is no sudo: {BY_HAND}.")
    # Without a terminal a question for the password would never be answered.
    return [sudo, "--non-interactive"]


if __name__ == "__main__":
    sys.exit(main())
