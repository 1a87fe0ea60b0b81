"""What a test leaves behind is ended, so that whoever reads their output sees its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.leftovers import MARK, end_leftovers

WAIT = (sys.executable, "-c", "import sys; sys.stdin.read()")


def test_what_was_begun_and_left_is_killed_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MARK in os.environ, "of this run of tests"
    with subprocess.Popen(WAIT, stdin=subprocess.PIPE) as another_runs:
        monkeypatch.delenv(MARK)
        end = end_leftovers(0.2)
        with subprocess.Popen(WAIT, stdin=subprocess.PIPE, start_new_session=True) as left:
            end()
            assert left.wait() == -signal.SIGKILL
        assert "sys.stdin.read()" in capsys.readouterr().out
        assert another_runs.poll() is None
        end()
        assert not capsys.readouterr().out
        another_runs.communicate()


def test_a_run_within_a_run_leaves_that_to_the_outer_one() -> None:
    with subprocess.Popen(WAIT, stdin=subprocess.PIPE) as of_the_outer:
        end_leftovers(0.0)()
        of_the_outer.communicate()
        assert of_the_outer.returncode == 0
