"""From a bare Python to a place where everything of this repository runs.

uv, the environment in .venv, the Temporal CLI, the time-skipping test server: each is made once
and found again at once. The standard library is all that this module and what it imports may use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal, NoReturn

from tools import temporal_servers
from tools.running import draft, exclusive, run, say, step
from tools.servers import ROOT, SetupError, cache_dir

UV_VERSION = "0.13.8"
VENV = ROOT / ".venv"
STAMP = VENV / "qsaga-set-up"
"""Holds the key of the environment that is in place, or UNFINISHED."""
UNFINISHED = "unfinished"

Purpose = Literal["develop", "demo", "test"]
SERVERS_FOR: dict[Purpose, tuple[temporal_servers.Name, ...]] = {
    "develop": (),
    "demo": ("temporal_cli",),
    "test": ("temporal_cli", "test_server"),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.bootstrap", description=__doc__)
    parser.add_argument("--for", dest="purpose", choices=SERVERS_FOR, default=None)
    chosen = parser.parse_args(arguments).purpose
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        set_up(SERVERS_FOR[chosen or "test"])
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up was interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    if chosen is None:
        say(f"ready: {VENV} and {cache_dir()} (`make doctor` says more)")
    return 0


def set_up(servers: tuple[temporal_servers.Name, ...]) -> None:
    key = environment_key()
    if environment_is_ready(key) and temporal_servers.are_ready(servers):
        return
    with exclusive(cache_dir()), exclusive(ROOT):
        if not environment_is_ready(key):
            make_environment(find_uv(), key)
        temporal_servers.make_ready(servers, VENV / "bin" / "python")


def environment_key() -> str:
    """Of everything that decides what is in .venv; the settings of linters do not."""
    digest = hashlib.sha256((ROOT / "uv.lock").read_bytes())
    for name in ("pyproject.toml", "emulator/pyproject.toml"):
        content = tomllib.loads((ROOT / name).read_text())
        content["tool"] = {k: v for k, v in content["tool"].items() if k in {"uv", "hatch"}}
        digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def environment_is_ready(key: str) -> bool:
    try:
        made_from, _, stands_on = STAMP.read_text().strip().partition(" ")
    except OSError:
        return False
    return (
        made_from == key
        and _wanted_python() in (None, stands_on)
        and (VENV / "bin" / "python").exists()
    )


def _wanted_python() -> str | None:
    """The interpreter that .venv must stand on; None if the one that it has will do."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return None
    return str(Path(sys.base_prefix).resolve())


def find_uv() -> Path:
    """The uv of our own version, installed into the cache on the first call."""
    home = cache_dir() / f"uv-{UV_VERSION}"
    program = home / "uv"
    if program.exists():
        return program
    with step(f"uv {UV_VERSION}", "seconds"), draft(home) as building:
        scratch = building / "venv"
        run(
            [sys.executable, "-m", "venv", scratch],
            failure=f"{sys.executable} cannot make a virtual environment: install its venv module "
            "(on Debian and Ubuntu `apt install python3-venv`).",
        )
        run(
            [scratch / "bin" / "python", "-m", "pip", "install", "-q", f"uv=={UV_VERSION}"],
            failure=f"pip could not install uv {UV_VERSION}: check the network or the proxy "
            "settings of pip.",
        )
        (scratch / "bin" / "uv").rename(building / "uv")
        shutil.rmtree(scratch)
    return program


def make_environment(uv: Path, key: str) -> None:
    """Make .venv what uv.lock says. Killed half-way, the next run installs every package again."""
    with step("Python environment in .venv", "a minute when nothing is cached"):
        torn = STAMP.exists() and STAMP.read_text().strip() == UNFINISHED
        found = _base_of_venv()
        if found is None or _wanted_python() not in (None, found):
            run(
                [uv, "venv", "--clear", "--python", sys.executable, VENV],
                failure=f"uv could not make {VENV}: see the lines above.",
                env=_uv_settings(),
            )
            torn = False
        STAMP.write_text(UNFINISHED)
        run(
            [uv, "sync", "--frozen", *(["--reinstall"] if torn else [])],
            failure="uv could not install what uv.lock names: see the lines above.",
            cwd=ROOT,
            env=_uv_settings(),
        )
        finished = STAMP.with_suffix(".new")
        finished.write_text(f"{key} {_base_of_venv()}\n")
        finished.replace(STAMP)


def _base_of_venv() -> str | None:
    """The interpreter that .venv stands on; None when it does not run."""
    try:
        shown = subprocess.run(
            [VENV / "bin" / "python", "-c", "import sys; print(sys.base_prefix)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(Path(shown).resolve())


def _uv_settings() -> dict[str, str]:
    return {
        "UV_PROJECT_ENVIRONMENT": str(VENV),
        "UV_PYTHON": str(VENV / "bin" / "python"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
    }


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
