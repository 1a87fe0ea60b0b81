"""qsaga/core holds no clock, randomness or I/O: ruff bans the modules, this test the builtins."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.setup.clones import ROOT

CORE = ROOT / "qsaga" / "core"
BANNED_BUILTINS = frozenset(
    # hash() of a text is another one in each process, id() in each run
    {"__import__", "breakpoint", "compile", "eval", "exec", "hash", "id", "input", "open", "print"}
)

PLANTED = {
    "a clock": "from datetime import datetime\n\nNOW = datetime.now\n",
    "a clock under another name": "import datetime as dt\n\nNOW = dt.datetime.now(dt.UTC)\n",
    "today": "from datetime import date\n\nTODAY = date.today()\n",
    "time": "from time import monotonic\n\nT = monotonic()\n",
    "time inside a function": "def f() -> None:\n    import time\n\n    time.sleep(1)\n",
    "random": "import random\n\nR = random.random()\n",
    "secrets": "import secrets\n\nR = secrets.token_hex()\n",
    "a random id": "from uuid import uuid4\n\nR = uuid4()\n",
    "the machine": "import os\n\nE = os.environ\n",
    "os.path": "from os import path\n\nE = path.exists\n",
    "a file": "from pathlib import Path\n\nT = Path('x').read_text()\n",
    "a socket": "import socket\n\nS = socket.socket()\n",
    "a process": "import subprocess\n\nS = subprocess.run\n",
    "the web": "import httpx\n\nS = httpx.get\n",
    "requests": "import requests\n\nS = requests.get\n",
    "numpy": "import numpy as np\n\nA = np.array\n",
    "dimod": "from dimod import BQM\n\nB = BQM\n",
    "qiskit": "from qiskit.circuit import QuantumCircuit\n\nQ = QuantumCircuit\n",
    "waiting": "import asyncio\n\nS = asyncio.sleep\n",
    "a Temporal client": "from temporalio.client import Client\n\nC = Client\n",
    "a way round": "import builtins\n\nF = builtins.open\n",
}


def ruff(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", *arguments, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def banned_builtins(source: str) -> list[str]:
    return [
        f"line {node.lineno}: {node.id}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and node.id in BANNED_BUILTINS
    ]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """The project's own lint settings round an empty qsaga/core."""
    core = tmp_path / "qsaga" / "core"
    core.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(CORE / "ruff.toml", core)
    return core


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_violation_is_caught_in_core(planted: Path, what: str) -> None:
    (planted / "planted.py").write_text(PLANTED[what])
    done = ruff(planted, "--output-format", "concise")
    assert done.returncode == 1
    assert "TID251" in done.stdout


def test_the_same_is_allowed_outside_of_core(planted: Path) -> None:
    for number, source in enumerate(PLANTED.values()):
        (planted.parent / f"planted_{number}.py").write_text(source)
    assert "TID251" not in ruff(planted.parent, "--output-format", "concise").stdout


def test_what_is_pure_is_allowed_in_core(planted: Path) -> None:
    (planted / "planted.py").write_text(
        "from datetime import UTC, datetime, timedelta\n"
        "from pathlib import PurePath\n"
        "from uuid import NAMESPACE_URL, uuid5\n"
        "\n"
        "LATER = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=1)\n"
        "NAME = PurePath('a') / str(uuid5(NAMESPACE_URL, 'a'))\n"
    )
    assert "TID251" not in ruff(planted, "--output-format", "concise").stdout


def test_core_keeps_the_ban_without_exceptions() -> None:
    done = ruff(CORE, "--select", "TID251", "--ignore-noqa")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(BANNED_BUILTINS))
def test_a_planted_builtin_is_caught(name: str) -> None:
    assert banned_builtins(f"def f(x):\n    return {name}(x)\n") == [f"line 2: {name}"]


def test_core_uses_no_banned_builtin() -> None:
    found = {
        str(path.relative_to(ROOT)): used
        for path in sorted(CORE.rglob("*.py"))
        if (used := banned_builtins(path.read_text()))
    }
    assert found == {}
