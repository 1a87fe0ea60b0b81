"""Plays the scenes: ``python -m tools.demo [--keep] [--folder PATH]``."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from qsaga import policies
from tools.demo import people
from tools.demo.director import Director
from tools.demo.report_html import page
from tools.demo.scenes import Scene, all_scenes
from tools.demo.table import NARROWEST, Board, complaints, table
from tools.processes import StageError
from tools.servers import ROOT, SetupError
from tools.stage import Stage

INTERRUPTED = 130
EMULATOR = {
    "backend": ["ibm_torino"],
    "overhead_seconds": 0.5,
    "seconds_per_job": 1.0,
    "seed": 7,
    "workers": 1,
}


def main(arguments: list[str] | None = None) -> int:
    """Play all scenes; 0 when every claim holds."""
    parser = argparse.ArgumentParser(prog="tools.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the servers up afterwards")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "demo")
    chosen = parser.parse_args(arguments)
    console = _console()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    try:
        with _alone(chosen.folder) as folder, Stage(folder / "stage", emulator=EMULATOR) as stage:
            scenes = asyncio.run(_play(stage, folder, console))
            if chosen.keep:
                _keep(stage, folder, console)
    except (SetupError, StageError, BlockingIOError) as error:
        console.print(f"the demonstration cannot run: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started is stopped")
        return INTERRUPTED
    console.print(f"{time.monotonic() - began:.1f} s in all, everything stopped", highlight=False)
    return 0 if all(scene.ok for scene in scenes) else 1


async def _play(stage: Stage, folder: Path, console: Console) -> list[Scene]:
    scenes = all_scenes()
    with Board(console) as board:
        board.begin(f"Temporal, emulator and worker (web UI: {stage.ui})")
        director = Director(stage, board, QSAGA_POLICY_FILE=str(_policy(folder)))
        await director.worker()
        await director.connect()
        board.end(ok=True)
        for scene in scenes:
            board.begin(f"{scene.number}  {scene.title}")
            await _act(director, scene)
            board.end(scene.ok, scene.failure)
        stray = _stray(director, scenes)
    if stray:
        scenes[-1].failure = f"{stray} remote jobs that no scene knows of"
    entries = [play.entry() for scene in scenes for play in scene.plays]
    report = folder / "report.json"
    report.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    html = folder / "report.html"
    html.write_text(page(scenes))
    console.print(table(scenes))
    for complaint in complaints(scenes):
        console.print(complaint, style="bold red", markup=False, highlight=False)
    console.print(f"report: {html}\n        {report}", highlight=False, soft_wrap=True)
    return scenes


async def _act(director: Director, scene: Scene) -> None:
    """One scene; what goes wrong in it must not take the others along."""
    try:
        await director.calm()
        await scene.act(director, scene)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told and the next begins
        scene.failure = f"{type(error).__name__}: {error}"
        if director.stage.worker_pid is None:
            await director.worker()


def _stray(director: Director, scenes: list[Scene]) -> int:
    """Remote jobs beyond those that were found under the scenes' tags."""
    known = sum(len(play.remote) for scene in scenes for play in scene.plays)
    return len(director.control.jobs()) - known


def _policy(folder: Path) -> Path:
    """The policy that ships with qsaga, told that this machine takes a second for each job.

    Otherwise the forecast would say 20 s for each job ahead, and no scene could wait in a queue
    for longer than was expected.
    """
    text = (files(policies) / "default.toml").read_text()
    text = re.sub(r"(?m)^seconds_per_queued_job = .*$", "seconds_per_queued_job = 1.0", text)
    text = re.sub(r'(?m)^version = "(.*)"$', r'version = "\1-demo"', text)
    path = folder / "policy.toml"
    path.write_text(text + people.POLICY)
    return path


def _keep(stage: Stage, folder: Path, console: Console) -> None:
    """Hardware on again, and wait to be stopped."""
    stage.restart_worker(QSAGA_POLICY_FILE=str(folder / "policy.toml"))
    shown = {name: value for name, value in stage.environment().items() if name[:6] == "QSAGA_"}
    console.print("\nStill up:", style="bold")
    console.print(f"  Temporal web UI  {stage.ui}", highlight=False)
    console.print(f"  emulator         {stage.emulator.url}/control/jobs", highlight=False)
    console.print("To use it from another terminal:")
    for name, value in sorted(shown.items()):
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)
    stop = f"Stop everything with Ctrl-C here, or: kill {os.getpid()}"
    console.print(stop, style="bold", highlight=False)
    sys.stdout.flush()
    # This is how it is meant to end, so it is no interruption.
    with suppress(KeyboardInterrupt):
        signal.pause()


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder, emptied, and nobody else's while it is used."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"another one runs in {folder}") from None
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
        yield folder


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=NARROWEST)


if __name__ == "__main__":
    sys.exit(main())
