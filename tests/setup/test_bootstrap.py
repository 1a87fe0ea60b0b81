"""Set-up as a person meets it: on a bare machine, a second time, killed, twice at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.setup.clones import ROOT, WORKING_CLI, Clone, sentences, write_program
from tools.temporal_servers import CLI_MODULE, CLI_SQLITE, CLI_VERSION

BROKEN_SHIM = """\
#!/bin/sh
echo "pyenv: $(basename $0): command not found" >&2
exit 127
"""
OLD_PYTHON = "#!/bin/sh\nexit 1\n"
BUILT_CLI = f"temporal-{CLI_VERSION}-sqlite-{CLI_SQLITE}"
SLOW = "#!/bin/sh\necho $$ > {pid}\nexec sleep 60\n"
GO_THAT_BUILDS = f"""\
#!/bin/sh
while [ "$1" != -o ]; do shift; done
cat > "$2" <<'EOF'
{WORKING_CLI}
EOF
chmod +x "$2"
"""


def wait_for(path: Path, limit: float = 20.0) -> None:
    until = time.monotonic() + limit
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def recorded(clone: Clone) -> dict[str, dict[str, str]]:
    shown: dict[str, dict[str, str]] = json.loads((clone.cache / "servers.json").read_text())
    return shown


# -- which Python --------------------------------------------------------------------------------


def test_no_python_that_is_new_enough_is_one_sentence(bare: Clone) -> None:
    bare.program("python3.13", BROKEN_SHIM)
    bare.program("python3", OLD_PYTHON)
    done = bare.make("setup")
    assert done.returncode != 0
    (sentence,) = sentences(done.stderr)
    assert "Python 3.11 or newer" in sentence and "install" in sentence


def test_a_named_python_that_is_too_old_is_one_sentence(bare: Clone) -> None:
    old = bare.program("old", OLD_PYTHON)
    done = bare.make("demo", f"PYTHON={old}")
    assert done.returncode != 0
    (sentence,) = sentences(done.stderr)
    assert f"PYTHON={old}" in sentence and "3.11" in sentence


def test_a_shim_that_only_prints_an_error_is_passed_over(bare: Clone) -> None:
    bare.program("python3.13", BROKEN_SHIM)
    bare.program("python3.12", BROKEN_SHIM)
    done = bare.run("sh", "tools/python.sh", "-c", "import sys; print(sys.version_info >= (3, 11))")
    assert done.stdout.strip() == "True"
    assert done.stderr == ""


# -- what is missing -----------------------------------------------------------------------------


def test_python_without_venv_is_one_sentence(bare: Clone, tmp_path: Path) -> None:
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "venv.py").write_text("raise ImportError('no venv')\n")
    bare.variables["PYTHONPATH"] = str(tmp_path / "lacking")
    done = bare.make("demo")
    assert done.returncode != 0
    told = [line for line in sentences(done.stderr) if not line.startswith("    ")]
    (sentence,) = told
    assert "python3-venv" in sentence
    assert not list(bare.cache.glob("uv-*"))


def test_no_go_is_one_sentence(clone: Clone) -> None:
    done = clone.make("demo")
    assert done.returncode != 0
    (sentence,) = sentences(done.stderr)
    assert "install Go" in sentence and "QSAGA_TEMPORAL_CLI" in sentence


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ([], ["Java", "Maven", "both"]),
        (["mvn"], ["Java", "install it"]),
        (["java"], ["Maven", "install it"]),
    ],
)
def test_no_java_and_no_maven_are_one_sentence(
    clone: Clone, there: list[str], told: list[str]
) -> None:
    clone.program("temporal", WORKING_CLI)
    clone.link(*there)
    clone.variables["JAVA_HOME"] = ""
    done = clone.make("test")
    assert done.returncode != 0
    (sentence,) = sentences(done.stderr)
    for word in told:
        assert word in sentence
    for name, word in (("java", "Java runtime"), ("mvn", "Maven (mvn)")):
        assert (word in sentence) == (name not in there)


def test_the_demo_needs_no_java(clone: Clone) -> None:
    clone.program("temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0


def test_looking_for_servers_before_set_up_is_one_sentence(clone: Clone) -> None:
    look = (
        "from tools.servers import SetupError, resolve\n"
        "try:\n    resolve()\n"
        "except SetupError as error:\n    print(error)"
    )
    assert clone.run(".venv/bin/python", "-c", look).stdout.strip() == (
        "Set-up has not found the Temporal CLI yet: run `make setup`."
    )


# -- where the servers come from -----------------------------------------------------------------


def test_variable_then_path_then_cache_then_build(clone: Clone, tmp_path: Path) -> None:
    cached = write_program(clone.cache / BUILT_CLI / "temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"]["path"] == str(cached)

    (clone.cache / "servers.json").unlink()
    on_path = clone.program("temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"] == {
        "path": str(on_path),
        "how": "PATH",
        "version": "9.9.9",
    }

    named = write_program(tmp_path / "mine" / "temporal", WORKING_CLI)
    clone.variables["QSAGA_TEMPORAL_CLI"] = str(named)
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"]["path"] == str(named)

    del clone.variables["QSAGA_TEMPORAL_CLI"]
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"]["path"] == str(on_path)


def test_a_temporal_on_path_without_dev_server_is_passed_over(clone: Clone) -> None:
    clone.program("temporal", "#!/bin/sh\nexit 1\n")
    cached = write_program(clone.cache / BUILT_CLI / "temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"]["path"] == str(cached)


def test_a_variable_that_names_nothing_that_runs_is_one_sentence(clone: Clone) -> None:
    clone.program("temporal", WORKING_CLI)
    clone.variables["QSAGA_TEMPORAL_CLI"] = "/nowhere/temporal"
    done = clone.bootstrap("demo")
    assert done.returncode != 0
    (sentence,) = sentences(done.stderr)
    assert "QSAGA_TEMPORAL_CLI=/nowhere/temporal" in sentence


def test_a_server_that_was_removed_is_looked_for_again(clone: Clone) -> None:
    clone.program("temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0
    (clone.path / "temporal").unlink()
    write_program(clone.cache / BUILT_CLI / "temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"]["how"] == "cache, built"


# -- again, at once, killed ----------------------------------------------------------------------


def test_the_second_run_takes_no_time_and_starts_nothing(clone: Clone) -> None:
    cli = clone.program("temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0
    calls = Path(f"{cli}.calls")
    calls.unlink()
    times = []
    for _ in range(3):
        began = time.monotonic()
        done = clone.bootstrap("demo")
        times.append(time.monotonic() - began)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(times) < 1.0
    assert not calls.exists()


def test_two_at_once_do_the_work_once(clone: Clone) -> None:
    cli = clone.program("temporal", WORKING_CLI.replace("exit 0", "sleep 1"))
    first, second = clone.start("demo"), clone.start("demo")
    told = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert sum("waiting for another set-up" in text for text in told) == 1
    assert Path(f"{cli}.calls").read_text().count("start-dev") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_was_killed_leaves_nothing_half_done(
    clone: Clone, tmp_path: Path, number: signal.Signals
) -> None:
    clone.link("chmod")
    pid_file = tmp_path / "pid"
    clone.program("go", SLOW.format(pid=pid_file))
    process = clone.start("demo")
    wait_for(pid_file)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert not (clone.cache / BUILT_CLI).exists()
    builder = int(pid_file.read_text())
    if number == signal.SIGKILL:
        os.kill(builder, signal.SIGKILL)  # nobody could do it for us
    else:
        assert not is_running(builder)
        assert not (clone.cache / "drafts").exists()

    clone.program("go", GO_THAT_BUILDS)
    assert clone.bootstrap("demo").returncode == 0
    assert recorded(clone)["temporal_cli"]["how"] == "built with Go"
    assert not (clone.cache / "drafts").exists()


def test_a_build_that_fails_shows_its_last_lines_and_one_sentence(clone: Clone) -> None:
    clone.program("go", "#!/bin/sh\necho no route to proxy.golang.org\nexit 1\n")
    done = clone.bootstrap("demo")
    assert done.returncode == 1
    shown, sentence = sentences(done.stderr)
    assert shown == "    no route to proxy.golang.org"
    assert "GOPROXY" in sentence


def test_an_environment_that_was_torn_is_installed_again(clone: Clone, tmp_path: Path) -> None:
    uv_home = next(
        line.split('"')[1]
        for line in (clone.root / "tools" / "bootstrap.py").read_text().splitlines()
        if line.startswith("UV_VERSION")
    )
    uv = clone.cache / f"uv-{uv_home}" / "uv"
    stamp = clone.root / ".venv" / "qsaga-set-up"
    stamp.unlink()
    clone.program("temporal", WORKING_CLI)

    write_program(uv, SLOW.format(pid=tmp_path / "pid"))
    process = clone.start("demo")
    wait_for(tmp_path / "pid")
    process.kill()
    process.communicate(timeout=30)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    write_program(uv, '#!/bin/sh\necho "$*" >> "$0.calls"\n')
    assert clone.bootstrap("demo").returncode == 0
    assert Path(f"{uv}.calls").read_text().split() == ["sync", "--frozen", "--reinstall"]

    stamp.unlink()
    assert clone.bootstrap("demo").returncode == 0
    assert Path(f"{uv}.calls").read_text().splitlines()[-1] == "sync --frozen"


def test_a_changed_lock_file_is_followed(clone: Clone) -> None:
    uv = write_program(clone.cache / "uv-0" / "uv", "#!/bin/sh\n")
    bootstrap = clone.root / "tools" / "bootstrap.py"
    text = bootstrap.read_text()
    version = text.split('UV_VERSION = "')[1].split('"')[0]
    bootstrap.write_text(text.replace(f'"{version}"', '"0"'))
    clone.program("temporal", WORKING_CLI)
    assert clone.bootstrap("demo").returncode == 0

    write_program(uv, '#!/bin/sh\necho "$*" >> "$0.calls"\n')
    with (clone.root / "uv.lock").open("a") as lock:
        lock.write("\n")
    assert clone.bootstrap("demo").returncode == 0
    assert clone.bootstrap("demo").returncode == 0
    assert Path(f"{uv}.calls").read_text().splitlines() == ["sync --frozen"]


# -- the faces of it -----------------------------------------------------------------------------


def test_make_alone_lists_the_targets(bare: Clone) -> None:
    done = bare.make()
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    assert done.returncode == 0
    for name in ("setup", "demo", "test", "lint", "format", "doctor", "test-system", "clean"):
        assert name in listed


def test_doctor_has_one_sentence_for_each_thing_that_is_missing(clone: Clone) -> None:
    done = clone.make("doctor")
    assert done.returncode != 0
    table, _, complaints = done.stdout.partition("\n\n")
    assert len(complaints.strip().splitlines()) == sum(
        line.startswith("✗") for line in table.splitlines()
    )
    assert "The Temporal CLI has not been set up: run `make setup`." in complaints
    assert "The time-skipping test server has not been set up: run `make setup`." in complaints


def test_doctor_is_content_with_this_very_environment() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "doctor"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "temporalio" in done.stdout and "Temporal CLI" in done.stdout


def test_the_cli_is_built_with_what_its_folder_is_named_after() -> None:
    module = (CLI_MODULE / "go.mod").read_text()
    assert f"\tgithub.com/temporalio/cli v{CLI_VERSION}\n" in module
    assert f"\tmodernc.org/sqlite v{CLI_SQLITE}\n" in module
