"""A clone of what set-up consists of, with a PATH and a cache of its own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.setup.clones import ROOT, Clone


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    """No environment, and a PATH with a shell, make and a Python on it."""
    clone = Clone(tmp_path / "clone", tmp_path / "bin", tmp_path / "cache")
    clone.path.mkdir()
    (clone.root / "emulator").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "uv.lock", "emulator/pyproject.toml"):
        shutil.copy(ROOT / name, clone.root / name)
    shutil.copytree(
        ROOT / "tools", clone.root / "tools", ignore=shutil.ignore_patterns("__pycache__")
    )
    clone.link("sh", "dirname", "make", "sed", "sleep", "cat", "mkdir", "touch")
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    clone.program("python3", f'#!/bin/sh\nexec {base} "$@"\n')
    return clone


@pytest.fixture
def clone(bare: Clone) -> Clone:
    """The same with the environment in place, so that only the servers are missing."""
    bare.stamp_environment()
    return bare
