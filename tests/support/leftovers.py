"""No process outlives a run of tests: with our output open, it would keep whoever reads that."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MARK = "QSAGA_TESTS_RUN"
GRACE = 10.0
"""Seconds for what is ending already."""


def end_leftovers(grace: float = GRACE) -> Callable[[], None]:
    """Mark the environment; what is returned kills all that still bears the mark, and names it.

    Where there is a mark already, as in a run of tests that a test begins, it does nothing; on
    systems without ``/proc`` nothing is found.
    """
    if MARK in os.environ:
        return lambda: None
    os.environ[MARK] = uuid.uuid4().hex
    mark = f"{MARK}={os.environ[MARK]}"

    def end() -> None:
        deadline = time.monotonic() + grace
        while (found := _left(mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid, command in found.items():
            print(f"left behind by a test, and killed: {command}", flush=True)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return end


def _left(mark: str) -> dict[int, str]:
    found = processes_naming(mark)
    # Python's own ends when we do.
    return {
        pid: what for pid, what in found.items() if "multiprocessing.resource_tracker" not in what
    }


def processes_naming(text: str) -> dict[int, str]:
    """Other processes of which the command line or the environment has the text, by id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        # They come and go, and those of others cannot be read.
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if pid != os.getpid() and text.encode() in command + (folder / "environ").read_bytes():
                found[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found
