"""Running the slow commands of set-up: what happens is shown, nothing is left half done."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.servers import SetupError, cache_dir

TICK = 15.0
"""Seconds between two signs of life of a long step."""


def say(text: str) -> None:
    print(f"set-up: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str, expect: str = "") -> Iterator[None]:
    """Show a step and the time that it took."""
    say(f"{title} …{f' ({expect})' if expect else ''}")
    began = time.monotonic()
    yield
    say(f"{title}: done in {time.monotonic() - began:.1f} s")


def run(
    command: Sequence[str | Path],
    *,
    failure: str,
    limit: float = 3600.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> str:
    """Run a command to its end and return what it wrote.

    Signs of life while it takes long; its last lines (unless `quiet`) and `failure`, one sentence,
    when it fails. It has a process group of its own, which is ended when we are interrupted.
    """
    log = _log_file(command)
    process = None
    with log.open("w+") as output:
        began = time.monotonic()
        try:
            # An interrupt between the start of the process and the name for it would leave it.
            with _held_back() as before:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    cwd=cwd,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    # No threads run here.
                    preexec_fn=lambda: signal.pthread_sigmask(  # noqa: PLW1509
                        signal.SIG_SETMASK, before
                    ),
                )
            while (passed := time.monotonic() - began) < limit:
                try:
                    process.wait(timeout=min(TICK, limit - passed))
                    break
                except subprocess.TimeoutExpired:
                    say(f"  still at it after {time.monotonic() - began:.0f} s (log: {log})")
        finally:
            if process is not None and process.poll() is None:
                _end(process)
        output.seek(0)
        written = output.read()
    if process.returncode != 0:
        for line in () if quiet else written.strip().splitlines()[-8:]:
            print(f"    {line}", file=sys.stderr)
        raise SetupError(failure)
    log.unlink()
    return written


@contextmanager
def _held_back() -> Iterator[set[int]]:
    """Interrupts wait until the block ends; gives the signals that were held back before."""
    numbers = {signal.SIGINT, signal.SIGTERM}
    before = {int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, numbers)}
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _log_file(command: Sequence[str | Path]) -> Path:
    folder = cache_dir() / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{Path(command[0]).name}-{os.getpid()}.log"


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A folder to build in, renamed to `target` when the block ends well and removed otherwise.

    Only under `exclusive`: what an earlier run left when it was killed is swept away first.
    """
    folder = target.parent / "drafts"
    shutil.rmtree(folder, ignore_errors=True)
    building = folder / target.name
    building.mkdir(parents=True)
    try:
        yield building
        if target.exists():
            shutil.rmtree(target)
        building.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Only one set-up at a time in this folder; the second waits for the first and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another set-up in {folder}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
