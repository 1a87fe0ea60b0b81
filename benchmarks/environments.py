"""Other people's packages, each in an environment of its own below the cache."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

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
