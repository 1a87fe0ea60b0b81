"""The arrows between the rooms: each is broken once, in a copy, and import-linter says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.setup.clones import ROOT

ROOMS = ("qsaga", "workflows", "activities", "adapters")
PLANTED = {
    "qsaga/planted.py": ("import worker", "qsaga imports no other room"),
    "qsaga/planted_too.py": ("import qiskit", "qsaga is light"),
    "qsaga/planted_for_us.py": ("import qsaga.primitives", "qsaga.primitives is for applications"),
    "qsaga/core/planted.py": ("import temporalio.client", "qsaga.core is pure"),
    "workflows/planted.py": ("import qsaga.settings", "workflows import qsaga.core only"),
    "activities/planted.py": ("import adapters", "activities import neither"),
    "adapters/planted.py": ("import workflows", "adapters import neither"),
    "emulator/src/ibm_quantum_emulator/planted.py": ("import qsaga", "the emulator knows nothing"),
}


def lint_imports(folder: Path) -> str:
    sources = f"{folder}:{folder / 'emulator' / 'src'}"
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": sources, "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def copy_rooms(target: Path) -> None:
    for room in (*ROOMS, "emulator/src"):
        shutil.copytree(
            ROOT / room, target / room, ignore=shutil.ignore_patterns("__pycache__", "data")
        )
    shutil.copy(ROOT / "pyproject.toml", target)


def test_the_lists_of_rooms_are_complete() -> None:
    """What is new in qsaga/ is closed to the core and to workflows until somebody opens it."""
    contracts = {
        contract["name"]: set(contract.get("forbidden_modules", ()))
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
            "importlinter"
        ]["contracts"]
    }
    modules = {
        f"qsaga.{path.stem}"
        for path in (ROOT / "qsaga").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"qsaga.core", "qsaga.__init__"}
    for contract, forbidden in contracts.items():
        if contract.startswith(("workflows", "qsaga.core")):
            assert modules <= forbidden, contract


def test_every_broken_arrow_is_told(tmp_path: Path) -> None:
    copy_rooms(tmp_path)
    assert "0 broken" in lint_imports(tmp_path)
    for path, (line, _) in PLANTED.items():
        (tmp_path / path).write_text(f"{line}\n")
    broken = [line for line in lint_imports(tmp_path).splitlines() if " BROKEN" in line]
    for _, contract in PLANTED.values():
        assert any(line.startswith(contract) for line in broken), contract
