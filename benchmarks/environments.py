"""Other people's packages, each in an environment of its own below the cache."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tools.bootstrap import find_uv
from tools.running import exclusive, run, step
from tools.servers import ROOT, cache_dir


def environment(package: str, pins: Mapping[str, str]) -> Path:
    """Its interpreter; the environment is made on the first call. Raises SetupError."""
    home = cache_dir() / f"{package}-{pins[next(iter(pins))]}"
    python, finished = home / "bin" / "python", home / "finished.json"
    wanted = json.dumps(dict(pins))
    with exclusive(cache_dir()):
        if finished.exists() and finished.read_text() == wanted:
            return python
        with step(f"environment of {package}", "a minute when nothing is cached"):
            uv = find_uv()
            base = os.path.realpath(ROOT / ".venv" / "bin" / "python")
            failure = f"uv could not make the environment of {package}: see the lines above."
            run([uv, "venv", "--clear", "--python", base, home], failure=failure)
            exact = [f"{name}=={version}" for name, version in pins.items()]
            run([uv, "pip", "install", "--python", python, *exact], failure=failure)
            finished.write_text(wanted)
    return python


class Peer:
    """A script in an environment of its own, which answers lines of JSON with one.

    Args:
        name: of the peer, the script's first argument.
        python: interpreter of its environment.
        script: file in this folder.
        more: further arguments of the script.
    """

    def __init__(self, name: str, python: Path, script: str, *more: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, "-P", Path(__file__).with_name(script), name, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        """As it is."""
        return self

    def __exit__(self, *_of: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def answer(self, *asked: Mapping[str, Any]) -> Any:
        """What it says to these lines. Raises RuntimeError if the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("started without pipes")
        for line in asked:
            stdin.write(json.dumps(line) + "\n")
        stdin.flush()
        said = stdout.readline()
        if not said:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        return json.loads(said)
