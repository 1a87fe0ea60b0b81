"""The demonstration as a person starts it: its report, its exit code, what it leaves behind."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import processes_naming
from tools.demo.report_html import page
from tools.demo.scenes import Scene, all_scenes
from tools.demo.table import complaints
from tools.stage import wait_until

ROOT = Path(__file__).parents[2]
LIMIT = 240

pytestmark = pytest.mark.timeout(LIMIT + 30)

KEYS = {
    "name",
    "ok",
    "state",
    "source",
    "route_reason",
    "answer",
    "best_known",
    "remote_jobs_created",
    "remote_jobs_charged",
    "seconds",
}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    log = folder.with_suffix(".out").open("w")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "tools.demo", "--folder", str(folder), *arguments],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def said(folder: Path) -> str:
    return folder.with_suffix(".out").read_text()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    process = start(folder)
    try:
        yield folder, process.wait(LIMIT)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def report(played: tuple[Path, int]) -> dict[str, dict[str, Any]]:
    entries = json.loads((played[0] / "report.json").read_text())
    return {entry["name"].split()[0]: entry for entry in entries}


def test_a_claim_that_does_not_hold_is_told() -> None:
    scene = Scene(9, "A scene", all_scenes()[0].act)
    play = scene.play("a job", 3)
    play.claim("it holds", holds=True)
    assert scene.ok
    play.claim("it flies", holds=False, seen="it fell")
    assert not scene.ok
    assert complaints([scene]) == ["scene 9 a job: not so: it flies (it fell)"]
    assert play.entry()["ok"] is False
    assert "1 not as claimed" in page([scene])
    assert not Scene(8, "Never played", all_scenes()[0].act).ok


def test_every_claim_holds(played: tuple[Path, int]) -> None:
    folder, code = played
    assert code == 0, said(folder)
    assert "✗" not in said(folder)


def test_nothing_is_left_behind(played: tuple[Path, int]) -> None:
    wait_until(lambda: not processes_naming(str(played[0])), "all processes have ended", 5)


def test_report_has_the_agreed_shape(report: dict[str, dict[str, Any]]) -> None:
    assert list(report) == ["1a", "1b", "2a", "2b", "3", "4", "5", "6", "7", "8", "9a", "9b"]
    for entry in report.values():
        assert set(entry) == KEYS
        assert entry["ok"] is True
        assert entry["route_reason"]
        assert 0 < entry["seconds"] < 60


def test_report_tells_what_happened(report: dict[str, dict[str, Any]]) -> None:
    def seen(name: str) -> tuple[object, ...]:
        entry = report[name]
        counts = entry["remote_jobs_created"], entry["remote_jobs_charged"]
        return entry["state"], entry["source"], *counts

    hardware = ("completed", "hardware", 1, 1)
    assert seen("1a") == seen("1b") == seen("3") == seen("6") == hardware
    assert seen("2a") == ("degraded", "annealing", 1, 0)
    assert seen("2b") == seen("9a") == seen("9b") == ("degraded", "annealing", 0, 0)
    assert seen("4") == ("degraded", "annealing", 1, 1)
    assert seen("5") == ("completed", "annealing", 0, 0)
    assert report["5"]["answer"] >= 0.995 * 3064
    assert seen("7") == seen("8") == ("rejected", None, 0, 0)
    assert "rejected by bea: not this month" in report["7"]["route_reason"]
    assert "left this month" in report["8"]["route_reason"]
    small = [entry for name, entry in report.items() if name not in ("5", "7", "8")]
    assert all(entry["answer"] == entry["best_known"] for entry in small)


def test_report_page_stands_alone(played: tuple[Path, int]) -> None:
    page = (played[0] / "report.html").read_text()
    assert page.count("<svg") == 12 + 2  # a timeline for each job, two histograms
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_takes_everything_along(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = start(folder)
    try:
        wait_until(
            lambda: process.poll() is not None or "hardware · run" in said(folder),
            "the first job is on its way",
            90,
        )
        assert len(processes_naming(str(folder))) >= 4, said(folder)
        process.send_signal(number)
        assert process.wait(60) == (130 if number != signal.SIGKILL else -signal.SIGKILL)
        wait_until(lambda: not processes_naming(str(folder)), "all processes have ended", 15)
    finally:
        process.kill()
        process.wait()


def test_a_second_one_does_not_disturb_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    first = start(folder)
    try:
        wait_until(lambda: "web UI" in said(folder), "the first has begun")
        command = [sys.executable, "-m", "tools.demo", "--folder", str(folder)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 1
        assert "another one runs in" in " ".join(second.stdout.split())
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(60)
