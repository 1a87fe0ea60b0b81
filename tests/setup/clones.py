"""Clones of what set-up consists of, and programs to put on their PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WORKING_CLI = """\
#!/bin/sh
echo "$*" >> "$0.calls"
[ "$1" = --version ] && echo "temporal version 9.9.9"
exit 0
"""


@dataclass
class Clone:
    root: Path
    path: Path
    """The only folder on PATH."""
    cache: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("QSAGA_", "MAKE", "PYTHON"))
        }
        return {
            **kept,
            "PATH": str(self.path),
            "QSAGA_CACHE": str(self.cache),
            "QSAGA_SDK_DOWNLOAD": "0",
            **self.variables,
        }

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("make", *arguments)

    def bootstrap(self, purpose: str = "test") -> subprocess.CompletedProcess[str]:
        return self.run("sh", "tools/python.sh", "-m", "tools.bootstrap", "--for", purpose)

    def start(self, purpose: str = "test") -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "tools/python.sh", "-m", "tools.bootstrap", "--for", purpose],
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def program(self, name: str, text: str) -> Path:
        """A program on the clone's PATH."""
        return write_program(self.path / name, text)

    def link(self, *names: str) -> None:
        """Put programs of this machine on the clone's PATH."""
        for name in names:
            found = shutil.which(name)
            if found is None:
                pytest.skip(f"{name} is not on this machine")
            (self.path / name).symlink_to(found)

    def stamp_environment(self) -> None:
        """A small environment, marked as being what uv.lock says."""
        venv.create(self.root / ".venv", with_pip=False, symlinks=True)
        done = self.run(
            ".venv/bin/python",
            "-c",
            "from tools import bootstrap as b\n"
            "b.STAMP.write_text(f'{b.environment_key()} {b._base_of_venv()}\\n')",
        )
        assert done.returncode == 0, done.stderr


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def sentences(shown: str) -> list[str]:
    """What was written beside the progress lines and make's own."""
    lines = shown.strip().splitlines()
    return [line for line in lines if not line.startswith(("set-up: ", "make"))]
