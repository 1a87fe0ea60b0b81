"""Main of a simulator process: reads requests on stdin, answers on stdout, ends with its parent."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from typing import Any, BinaryIO

from .pool import HEADER


def _receive(stream: BinaryIO) -> dict[str, Any] | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    return dict(json.loads(stream.read(HEADER.unpack(header)[0])))


def _send(stream: BinaryIO, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    stream.write(HEADER.pack(len(body)) + body)
    stream.flush()


def _read_all(stream: BinaryIO, requests: queue.Queue[dict[str, Any]]) -> None:
    while (request := _receive(stream)) is not None:
        requests.put(request)
    # The parent is gone, perhaps killed: whatever is being simulated is wanted by nobody.
    os._exit(0)


def main() -> None:
    """Serve until the parent closes the pipe or dies."""
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not end up between the answers.
    os.dup2(2, 1)
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_all, args=(sys.stdin.buffer, requests), daemon=True).start()
    # After the watch on the parent has begun: this import takes seconds.
    from .simulate import simulate

    # Simulations give way to the HTTP loop; the start need not.
    with contextlib.suppress(OSError):
        os.nice(5)
    _send(answers, {"ready": True})
    while True:
        _send(answers, simulate(requests.get()))


if __name__ == "__main__":
    main()
