"""Processes that are started and ended beside us, and that do not outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tools.servers import ROOT

# Linux kills the child when its parent is gone, however that went; elsewhere nothing does, and
# only an orderly end cleans up. The look at the parent closes the gap before the call.
_LEASHED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# Linux means the parent *thread*: so one that lasts as long as this process starts them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stage")


class StageError(Exception):
    """A process did not start or ended by itself; the message has the end of its log."""


def spawn(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str], cwd: Path = ROOT
) -> subprocess.Popen[bytes]:
    """Start a process that does not outlive this one; all that it writes goes to ``log``."""
    leashed = [sys.executable, "-c", _LEASHED, str(os.getpid()), *map(str, command)]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                leashed,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C at the terminal is for us: we stop the others in order.
                start_new_session=True,
            )

    return _starter.submit(start).result()


def completed(
    command: Sequence[str | Path], env: Mapping[str, str], cwd: Path = ROOT, limit: float = 60.0
) -> None:
    """Run a command to its end. Raises StageError with what it wrote if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
    )
    if done.returncode != 0:
        name = Path(command[0]).name
        raise StageError(f"{name} ended with {done.returncode}:\n{done.stdout[-2000:]}")


def alive(process: subprocess.Popen[bytes] | None, log: Path) -> None:
    """Raises StageError if a process has ended by itself."""
    if process is not None and process.poll() is not None:
        tail = log.read_text(errors="replace")[-2000:]
        raise StageError(f"{log.stem} ended with {process.returncode}:\n{tail}")


def end(
    process: subprocess.Popen[bytes] | None, number: signal.Signals, seconds: float = 10.0
) -> None:
    """End a process and all of its group; kill it after ``seconds``."""
    if process is None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
