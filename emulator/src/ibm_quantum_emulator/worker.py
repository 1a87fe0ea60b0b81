"""Main of a simulator process: reads requests, answers, ends with whoever asks."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from .pool import HEADER


def _receive(stream: BinaryIO) -> dict[str, Any] | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    body = stream.read(size)
    return dict(json.loads(body)) if len(body) == size else None


def _send(stream: BinaryIO, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    stream.write(HEADER.pack(len(body)) + body)
    stream.flush()


def _read_all(stream: BinaryIO, requests: queue.Queue[dict[str, Any]]) -> None:
    try:
        # A connection with an answer that nobody has read is reset, not closed.
        with contextlib.suppress(OSError):
            while (request := _receive(stream)) is not None:
                requests.put(request)
    finally:
        # The parent is gone, perhaps killed: whatever is being simulated is wanted by nobody.
        os._exit(0)


def _answer(asked: BinaryIO, answers: BinaryIO) -> NoReturn:
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_all, args=(asked, requests), daemon=True).start()
    # After the watch on whoever asks has begun: this import takes seconds.
    from .simulate import simulate

    # Simulations give way to the HTTP loop; the start need not.
    with contextlib.suppress(OSError):
        os.nice(5)
    _send(answers, {"ready": True, "pid": os.getpid()})
    while True:
        _send(answers, simulate(requests.get()))


def main() -> NoReturn:
    """Serve until the parent closes the pipe or dies."""
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not end up between the answers.
    os.dup2(2, 1)
    _answer(sys.stdin.buffer, answers)


def serve(path: Path, *, exit_with_parent: bool) -> NoReturn:
    """Fork a simulator, in which everything is imported, for each connection to a Unix socket.

    Args:
        path: Of the socket. One that is there is replaced.
        exit_with_parent: Whether this ends when the parent does. Simulators end with whoever asks.
    """
    from . import simulate  # noqa: F401 - so that no simulator has to

    parent = os.getppid()
    # Nobody asks how a simulator has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        while not exit_with_parent or os.getppid() == parent:
            if not select.select([listener], [], [], 0.5)[0]:
                continue
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _answer(connection.makefile("rb"), connection.makefile("wb"))
            connection.close()
    path.unlink(missing_ok=True)
    sys.exit()


if __name__ == "__main__":
    main()
