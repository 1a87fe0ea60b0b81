"""What a worker says before it dies is heard."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

import pytest

from tests.chaos import nursery
from tests.chaos.nursery import Forked
from tests.support.forks import forks


def say_and_die(harness: Connection) -> None:
    """As a worker at its point."""
    harness.send("worker")
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_last_word_of_a_worker_that_dies_as_the_wait_for_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = forks()
    ours, theirs = context.Pipe()
    process = context.Process(target=say_and_die, args=(theirs,))
    monkeypatch.setattr(nursery, "wait", lambda *_: process.join())
    process.start()
    theirs.close()
    worker = Forked(process, ours)
    assert not worker.listen(0)
    assert worker.said == ["worker"]
    worker.kill()
    assert worker.said == ["worker"]
