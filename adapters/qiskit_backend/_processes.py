"""Which processes are still alive, told by locks that end with their process, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from uuid import uuid4

_lock = threading.Lock()
_mine: dict[Path, tuple[str, int]] = {}


def _forget() -> None:
    # A forked child is another process: it must not hold its parent's locks.
    for _, descriptor in _mine.values():
        os.close(descriptor)
    _mine.clear()


os.register_at_fork(after_in_child=_forget)


class Processes:
    """The processes that work in a folder on one machine; each holds a lock on a file of its own.

    Args:
        folder: on a file system whose locks (``flock``) hold between the processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def me(self) -> str:
        """The name of this process; its lock is held from the first call on."""
        with _lock:
            if self._folder not in _mine:
                name = uuid4().hex
                self._folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self._file(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _mine[self._folder] = (name, descriptor)
            return _mine[self._folder][0]

    def alive(self, name: str) -> bool:
        """Whether the process of that name still runs."""
        if name == self.me():
            return True
        try:
            descriptor = os.open(self._file(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two that ask at once do not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        self._file(name).unlink(missing_ok=True)
        return False

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.process"
