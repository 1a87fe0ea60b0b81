"""What the kernel says of processes (Linux), and what this machine is."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

TERM = signal.SIGTERM
PROC = Path("/proc")


def describe(packages: Iterable[str]) -> dict[str, object]:
    """Processor, cores, Python and the versions of packages."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {name: version(name) for name in packages},
    }


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far, all its threads together."""
    # Behind the name, which may hold anything, a state and twelve fields on.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Memory that a process holds now, in MiB."""
    pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def child(name: str) -> int:
    """Process id of our child of that name. Raises LookupError if there is none."""
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            head, _, tail = (entry / "stat").read_text().rpartition(")")
            if head.partition("(")[2] == name and int(tail.split()[1]) == os.getpid():
                return int(entry.name)
    raise LookupError(f"no child called {name!r}")
