from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from qsaga.cli.app import run
from tools.stage import Stage


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Qsaga = Callable[..., Ended]


@pytest.fixture
def qsaga(capsys: pytest.CaptureFixture[str]) -> Qsaga:
    """The command line in this process."""

    def call(*arguments: object) -> Ended:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    emulator = {"overhead_seconds": 0.2, "seconds_per_job": 0.5}
    with Stage(folder, ui=False, emulator=emulator) as stage:
        stage.start_worker()
        yield stage


@pytest.fixture
def on_stage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The settings of this process point at the stage."""
    for name, value in stage.environment().items():
        if name.startswith("QSAGA_"):
            monkeypatch.setenv(name, value)
    return stage
