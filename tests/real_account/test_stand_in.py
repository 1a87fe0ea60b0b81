"""The suite for a real account, run on an emulator in its place: the same code, no account."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.ports import Usage
from tests.real_account.purse import LimitReached, Purse

ROOT = Path(__file__).parents[2]
SUITE = "tests/real_account/test_account.py"
TESTS = 7
UNUSED = ("cacheprovider", "hypothesispytest", "xdist")
"""Plugins that would only take time, or write into the working tree."""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(noise="none") as emulator:
        emulator.control.set_queue(length=0, seconds_per_job=0.0)
        emulator.control.set_execution(overhead_seconds=0.2, seconds_per_shot=0.0)
        emulator.control.set_faults(revoked_keys=["not-a-key"])
        yield emulator


def run(
    emulator: EmulatorProcess, *options: str, token: str = "stand-in"
) -> subprocess.CompletedProcess[str]:
    """The suite as `make test-account` runs it."""
    clean = {name: v for name, v in os.environ.items() if not name.startswith(("QSAGA_", "PYTEST"))}
    environment = {
        **clean,
        "QSAGA_IBM__TOKEN": token,
        "QSAGA_IBM__INSTANCE": "emulator",
        "QSAGA_IBM__URL": "http://emulator.test",
        "QSAGA_IBM__PROXY": emulator.url,
        "QSAGA_IBM__IAM_URL": emulator.url,
    }
    without = [part for name in UNUSED for part in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", *without, SUITE, *options]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )


def test_the_suite_passes_and_leaves_nothing_behind(stand_in: EmulatorProcess) -> None:
    done = run(stand_in, "-m", "real_account", "--spending-limit", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
    jobs = stand_in.control.jobs()
    assert len(jobs) == 4
    assert all("qsaga:account-suite" in job["tags"] for job in jobs)
    summary = stand_in.control.summary()
    assert summary["pending"] == 0
    said = re.search(r"charged to ended jobs of this run: (\d+) \(limit 60\)", done.stdout)
    assert said, done.stdout
    assert int(said[1]) == summary["charged_seconds"] > 0
    assert "listed by its tag after" in done.stdout


def test_nothing_is_submitted_beyond_the_limit_or_without_one(stand_in: EmulatorProcess) -> None:
    before = stand_in.control.summary()["posts"]
    small = run(stand_in, "-m", "real_account", "-k", "sample", "--spending-limit", "29")
    assert small.returncode == 1
    assert "30 s more may pass the spending limit of 29 s" in small.stdout
    without = run(stand_in, "-m", "real_account")
    assert without.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--spending-limit SECONDS is needed" in without.stdout + without.stderr
    nobody = run(stand_in, "-m", "real_account", "--spending-limit", "60", token="")
    assert nobody.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no account: set QSAGA_IBM__TOKEN" in nobody.stdout + nobody.stderr
    unasked = run(stand_in)
    assert f"{TESTS} deselected" in unasked.stdout
    assert stand_in.control.summary()["posts"] == before


def test_the_purse() -> None:
    purse = Purse(10.0, Usage(consumed=100.0))
    purse.check(10.0, Usage(consumed=100.0))
    purse.began("a", 4.0)
    with pytest.raises(LimitReached, match=r"4 s used or under way, 7 s more"):
        purse.check(7.0, Usage(consumed=100.0))
    purse.ended("a", None)
    with pytest.raises(LimitReached):
        purse.check(7.0, Usage())
    purse.ended("a", 2.0)
    purse.check(8.0, Usage(consumed=101.0))
    assert purse.charged == 2.0
    with pytest.raises(LimitReached, match=r"5 s used"):
        purse.check(6.0, Usage(consumed=105.0))
    with pytest.raises(LimitReached, match=r"has used 101 s of its 102 s"):
        purse.check(2.0, Usage(consumed=101.0, limit=102.0))
