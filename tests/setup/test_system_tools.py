"""`python -m tools.system` where something is missing: one sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.setup.clones import write_program
from tools import cluster_programs, system
from tools.servers import SetupError

GO = """\
#!/bin/sh
echo "$*" > "$0.calls"
touch "$GOBIN/server" "$GOBIN/sql"
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; Debian's PostgreSQL is not there, and nothing is cached."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("QSAGA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cluster_programs, "DEBIAN", tmp_path / "postgresql")
    return folder


def with_packages(folder: Path) -> None:
    for name in ("spin", "initdb", "postgres"):
        write_program(folder / name, "#!/bin/sh\n")


def test_without_a_package_manager_it_says_what_to_install(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert system.main() == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "apt-get" in sentence or "sudo" in sentence
    assert "Spin" in sentence and "PostgreSQL" in sentence


def test_without_go_it_says_so(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_packages(bare)
    assert system.main() == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "install Go" in sentence


def test_what_was_built_once_is_found_again(bare: Path) -> None:
    with_packages(bare)
    with pytest.raises(SetupError, match="make test-system"):
        cluster_programs.find()
    go = write_program(bare / "go", GO)
    write_program(bare / "touch", "#!/bin/sh\nfor file; do : > $file; done\n")
    assert system.main() == 0
    assert cluster_programs.SERVER_VERSION in Path(f"{go}.calls").read_text()
    Path(f"{go}.calls").unlink()
    assert system.main() == 0
    assert not Path(f"{go}.calls").exists()
    assert cluster_programs.find().postgresql == bare.resolve()


def test_of_several_versions_of_debian_the_newest_complete_one_is_taken(bare: Path) -> None:
    for version, programs in {"9.6": 2, "13": 2, "15": 2, "17": 1}.items():
        folder = cluster_programs.DEBIAN / version / "bin"
        folder.mkdir(parents=True)
        for name in cluster_programs.NEEDED[:programs]:
            write_program(folder / name, "#!/bin/sh\n")
    found = cluster_programs.find_postgresql()
    assert found == cluster_programs.DEBIAN / "15" / "bin"
