"""docker-compose.yml and deploy/, without a container engine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from qsaga.settings import Settings
from tests.setup.clones import ROOT
from tools import bootstrap

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
OURS = ("worker", "emulator", "qsaga")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def filled_in(value: str, given: dict[str, str]) -> str:
    """Compose's ${NAME:-default} and ${NAME-default}."""

    def fill(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        value = given.get(name)
        return default if value is None or (operator == ":-" and not value) else value

    return re.sub(r"\$\{(\w+)(:?-)([^}]*)\}", fill, value)


def dangling(compose: dict[str, Any]) -> Iterator[str]:
    """References of the services to what the file does not define."""
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if fault := unfounded(services.get(other), how["condition"]):
                yield f"{name} waits for {other}: {fault}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            named = not source.startswith(".")
            if not (source in compose.get("volumes", {}) if named else (ROOT / source).exists()):
                yield f"{name} mounts {source}"
        for network in service.get("networks", []):
            if network not in compose.get("networks", {}):
                yield f"{name} is on the network {network}"
        if name in reached_from(services, name):
            yield f"{name} depends on itself"


def unfounded(service: dict[str, Any] | None, condition: str) -> str | None:
    """Why a condition on this service can never hold."""
    if service is None:
        return "there is no such service"
    if condition == "service_healthy" and "healthcheck" not in service:
        return "it has no healthcheck"
    if condition == "service_completed_successfully" and (
        service.get("restart") in {"always", "unless-stopped"}
    ):
        return "it never ends"
    return None


def reached_from(services: dict[str, Any], name: str) -> set[str]:
    reached: set[str] = set()
    ahead = list(services[name].get("depends_on", {}))
    while ahead:
        other = ahead.pop()
        if other in services and other not in reached:
            reached.add(other)
            ahead.extend(services[other].get("depends_on", {}))
    return reached


def setting_names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def test_the_schema_of_compose_holds() -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("check-jsonschema"),
            "--builtin-schema",
            "vendor.compose-spec",
            COMPOSE,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_dangles(compose: dict[str, Any]) -> None:
    assert list(dangling(compose)) == []


def test_what_dangles_is_seen() -> None:
    broken = yaml.safe_load(
        """
        services:
          a:
            depends_on: {b: {condition: service_healthy}, nobody: {condition: service_started}}
            volumes: ["./nowhere:/x", "nothing:/y"]
            networks: [none]
          b: {depends_on: {a: {condition: service_started}}}
        """
    )
    assert len(list(dangling(broken))) == 7


@pytest.mark.system
def test_compose_itself_would_load_it() -> None:
    """With the library that Docker Compose is made of."""
    go = shutil.which("go")
    assert go is not None, "make test-system needs Go: install it (https://go.dev/dl)"
    done = subprocess.run(
        [go, "run", ".", COMPOSE],
        cwd=ROOT / "tools" / "composecheck",
        env={**os.environ, "GOFLAGS": "-mod=readonly"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert set(OURS) <= set(done.stdout.split())


@pytest.mark.system
def test_compose_itself_would_refuse_what_dangles(tmp_path: Path) -> None:
    go = shutil.which("go")
    assert go is not None, "make test-system needs Go: install it (https://go.dev/dl)"
    broken = tmp_path / "compose.yml"
    broken.write_text("services: {a: {image: b, depends_on: [nobody]}}\n")
    done = subprocess.run(
        [go, "run", ".", broken],
        cwd=ROOT / "tools" / "composecheck",
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "nobody" in done.stderr


def test_every_variable_of_ours_is_a_setting(compose: dict[str, Any]) -> None:
    known = set(setting_names(Settings, "QSAGA_"))
    used = set(re.findall(r"\bQSAGA_\w+", COMPOSE.read_text() + DOCKERFILE.read_text()))
    assert used <= known
    assert "QSAGA_TEMPORAL__ADDRESS" in used


@pytest.mark.parametrize("service", ["worker", "qsaga"])
def test_the_settings_are_accepted(
    compose: dict[str, Any], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("QSAGA_")]:
        monkeypatch.delenv(name)
    for name, value in compose["services"][service]["environment"].items():
        monkeypatch.setenv(name, filled_in(value, {}))
    settings = Settings()
    assert settings.temporal.address == "temporal:7233"
    assert settings.data_dir == Path("/data")
    assert settings.ibm.proxy == "http://emulator:8080"
    assert settings.ibm.token is not None


def test_a_real_account_is_settings_only(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"QSAGA_IBM__TOKEN": "secret", "QSAGA_IBM__INSTANCE": "crn:v1:x"} | dict.fromkeys(
        ("QSAGA_IBM__URL", "QSAGA_IBM__PROXY", "QSAGA_IBM__IAM_URL"), ""
    )
    for name, value in compose["services"]["worker"]["environment"].items():
        monkeypatch.setenv(name, filled_in(value, given))
    ibm = Settings().ibm
    assert (ibm.instance, ibm.channel) == ("crn:v1:x", "ibm_quantum_platform")
    assert not ibm.url
    assert not ibm.proxy


def commands(compose: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name in OURS:
        service = compose["services"][name]
        for key in ("command", "entrypoint"):
            if key in service and not service[key][0].startswith("-"):
                yield f"{name}.{key}", service[key]
        test = service.get("healthcheck", {}).get("test", ["CMD"])
        if test[1:]:
            yield f"{name}.healthcheck", test[1:]
    for found in re.findall(r"^CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE):
        yield "Dockerfile", yaml.safe_load(found)


def test_every_command_exists(compose: dict[str, Any]) -> None:
    scripts = {point.name for point in importlib.metadata.entry_points(group="console_scripts")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    for source in sources:
        assert (ROOT / source).exists(), f"Dockerfile copies {source}"
    for where, (program, *arguments) in commands(compose):
        if program != "python":
            assert program in scripts, where
        elif arguments[0] != "-c":
            assert arguments[0] in sources, where


def test_mounted_scripts_are_shell(compose: dict[str, Any]) -> None:
    for name in ("temporal-schema", "temporal-namespace"):
        shell, script = compose["services"][name]["entrypoint"]
        path = ROOT / "deploy" / "temporal" / Path(script).name
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_what_must_come_back_after_a_kill_does(compose: dict[str, Any]) -> None:
    for name in ("postgresql", "temporal", "emulator", "worker"):
        assert compose["services"][name]["restart"] == "unless-stopped", name
    for name in ("postgresql", "emulator", "worker"):
        assert compose["services"][name]["volumes"], name


def test_stages_and_versions_agree(compose: dict[str, Any]) -> None:
    text = DOCKERFILE.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    for name in OURS:
        build = compose["services"][name]["build"]
        assert build["target"] in stages
        assert (ROOT / build["dockerfile"]) == DOCKERFILE
    assert f"ghcr.io/astral-sh/uv:{bootstrap.UV_VERSION} " in text
    for source in re.findall(r"--from=(\S+)", text):
        assert source in stages
    run_stages = text.split(" AS run\n", 1)[1]
    assert "\nUSER qsaga\n" in run_stages
    assert "\nUSER root" not in run_stages
