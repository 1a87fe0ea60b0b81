"""docker-compose.yml and deploy/, without a container engine."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from qsaga.core.roles import ALL_ROLES
from qsaga.policies import load_policy, load_prices
from qsaga.settings import Settings
from tests.setup.clones import ROOT
from tests.setup.composed import COMPOSE, DOCKERFILE, WORKERS, copied, environment, load
from tools import bootstrap
from worker import LAST_WORDS

OURS = (*WORKERS, "emulator", "qsaga", "keys", "token", "payload-keys", "codec-server")
ONE_SHOT = ("database", "keys", "payload-keys", "temporal-schema", "temporal-namespace")
IDENTITY = "QSAGA_IDENTITY__"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load()


def settings(monkeypatch: pytest.MonkeyPatch, service: str, **given: str) -> Settings:
    """The settings that a service has when .env says that."""
    for name in [name for name in os.environ if name.startswith("QSAGA_")]:
        monkeypatch.delenv(name)
    for name, value in environment(service, given).items():
        monkeypatch.setenv(name, value)
    return Settings()


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


def test_worker_and_command_line_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, client = (settings(monkeypatch, service) for service in ("worker", "qsaga"))
    assert worker.temporal == client.temporal
    assert worker.temporal.address == "temporal:7233"
    assert worker.data_dir == client.data_dir == Path("/data")
    assert worker.deployment == client.deployment == "compose"


def test_every_role_has_a_service_that_can_be_scaled(
    monkeypatch: pytest.MonkeyPatch, compose: dict[str, Any]
) -> None:
    found = {name: settings(monkeypatch, name) for name in WORKERS}
    assert all(len(one.roles) == 1 and one.temporal.role_queues for one in found.values())
    assert {role for one in found.values() for role in one.roles} == set(ALL_ROLES)
    for name, one in found.items():
        service = compose["services"][name]
        # A second of the same service could have neither.
        assert "container_name" not in service and "ports" not in service
        grace = float(service["stop_grace_period"].removesuffix("s"))
        assert grace >= one.drain + LAST_WORDS


def test_the_worker_uses_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = settings(monkeypatch, "worker")
    assert worker.ibm.proxy == "http://emulator:8080" and worker.ibm.token is not None
    assert worker.identity.required
    assert worker.database_url is not None
    assert worker.database_url.get_secret_value() == "postgresql://qsaga@postgresql:5432/qsaga"
    assert worker.policy_file and worker.prices_file
    assert not worker.registered_tenants_only and worker.notify_url is None
    hook = "https://hooks.test/qsaga"
    other = settings(
        monkeypatch, "worker", QSAGA_NOTIFY_URL=hook, QSAGA_REGISTERED_TENANTS_ONLY="true"
    )
    assert other.registered_tenants_only and other.notify_url == SecretStr(hook)


def test_payloads_are_encrypted_and_shown(
    monkeypatch: pytest.MonkeyPatch, compose: dict[str, Any]
) -> None:
    readers = (*WORKERS, "qsaga", "codec-server")
    made = environment("payload-keys", {})["QSAGA_ENCRYPTION__KEYS_FILE"]
    assert {str(settings(monkeypatch, name).encryption.keys_file) for name in readers} == {made}
    off = settings(monkeypatch, "worker", QSAGA_ENCRYPTION__KEYS_FILE="")
    assert off.encryption.keys_file is None
    services = compose["services"]
    endpoint = services["temporal-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"]
    assert f"{endpoint.removeprefix('http://')}:8234" in services["codec-server"]["ports"]
    (ui,) = services["temporal-ui"]["ports"]
    assert f"--origin=http://{ui.removesuffix(':8080')}" in services["codec-server"]["command"]


def test_the_issuer_is_settings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"KEYS_FILE": "", "JWKS_URL": "https://id.test/jwks", "ISSUER": "https://id.test"}
    own = settings(monkeypatch, "worker", **{IDENTITY + name: said for name, said in given.items()})
    assert own.identity.required and own.identity.keys_file is None
    assert (own.identity.jwks_url, own.identity.issuer) == (given["JWKS_URL"], given["ISSUER"])
    assert own.identity.audience == "qsaga"
    assert not settings(monkeypatch, "worker", QSAGA_IDENTITY__REQUIRED="false").identity.required


def test_a_token_is_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"QSAGA_IDENTITY__TOKEN": "a.b.c"}
    client = settings(monkeypatch, "qsaga", **given).identity
    assert client.token is not None and client.token.get_secret_value() == "a.b.c"
    assert settings(monkeypatch, "qsaga").identity.token is None
    assert settings(monkeypatch, "worker", **given).identity.token is None


def test_secrets_are_where_they_are_used_only(compose: dict[str, Any]) -> None:
    def mounted(volume: str) -> dict[str, str]:
        found = {}
        for name, service in compose["services"].items():
            for mount in service.get("volumes", []):
                source, _, mode = (*mount.split(":"), "rw")[:3]
                if source == volume:
                    found[name] = mode
        return found

    assert mounted("signing-key") == {"keys": "rw", "token": "ro"}
    assert mounted("worker-keys") == {"keys": "rw", "worker": "ro", "workflow": "ro"}
    readers = dict.fromkeys((*WORKERS, "qsaga", "codec-server"), "ro")
    assert mounted("payload-keys") == {"payload-keys": "rw"} | readers
    for name in mounted("signing-key"):
        assert compose["services"][name]["network_mode"] == "none"
    holders = {name for name in compose["services"] if "PGPASSWORD" in environment(name, {})}
    assert holders == {"database", "worker", "workflow", "watch"}
    accounts = {name for name in WORKERS if "QSAGA_IBM__TOKEN" in environment(name, {})}
    assert accounts == {"worker", "compile", "watch"}


def test_what_ends_is_waited_for_as_such(compose: dict[str, Any]) -> None:
    """Otherwise ``up --wait`` takes the end of a service for its failure."""
    services = compose["services"].values()
    ended = {
        other
        for service in services
        if "profiles" not in service
        for other, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert ended == set(ONE_SHOT)
    for name, service in compose["services"].items():
        tries_again = "on-failure:6" if name in ONE_SHOT else "unless-stopped"
        assert service.get("restart", tries_again) == tries_again, name
        assert "restart" in service or "profiles" in service, name


def test_policy_and_prices_are_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, shipped = settings(monkeypatch, "worker"), load_policy()
    mounts = load()["services"]["worker"]["volumes"]
    here = {target: ROOT / source for source, target in (m.split(":")[:2] for m in mounts)}
    policy = load_policy(here[str(worker.policy_file)])
    assert policy.model_copy(update={"approvals": (), "version": shipped.version}) == shipped
    assert policy.version != shipped.version
    (rule,) = policy.approvals
    assert rule.money_above and rule.four_eyes and rule.remind and rule.remind < rule.expires
    prices = load_prices(here[str(worker.prices_file)])
    assert {price.currency for price in prices.backends.values()} == {rule.currency}


def test_what_the_policy_suggests_is_accepted(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "policy.toml").read_text()
    suggested, lines = re.subn(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert lines == 3
    (tmp_path / "policy.toml").write_text(suggested)
    (rule,) = load_policy(tmp_path / "policy.toml").approvals
    assert rule.approvers and rule.escalate_to and rule.escalate and rule.escalate < rule.expires


def test_a_real_account_is_settings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = dict.fromkeys(("QSAGA_IBM__URL", "QSAGA_IBM__PROXY", "QSAGA_IBM__IAM_URL"), "")
    ibm = settings(
        monkeypatch, "worker", QSAGA_IBM__TOKEN="secret", QSAGA_IBM__INSTANCE="crn:v1:x", **empty
    ).ibm
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
    sources = set(copied())
    for source in sources:
        assert (ROOT / source).exists(), f"Dockerfile copies {source}"
        assert sent(source), f"Dockerfile.dockerignore keeps {source} out"
    for where, (program, *arguments) in commands(compose):
        if program != "python":
            assert program in scripts, where
        elif arguments[0] == "-m":
            found = importlib.util.find_spec(arguments[1])
            assert found and found.origin, where
            assert str(Path(found.origin).relative_to(ROOT)) in sources, where
        elif arguments[0] != "-c":
            assert arguments[0] in sources, where


def sent(source: str) -> bool:
    """Whether a build is given that file or folder; the last rule that fits counts."""
    given = True
    for rule in Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines():
        pattern = rule.removeprefix("!")
        if rule and not rule.startswith("#"):
            parts = [source, *map(str, Path(source).parents)]
            if any(fnmatch.fnmatch(part, pattern) for part in parts):
                given = rule.startswith("!")
    return given


def test_the_worker_can_speak_to_its_database() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (qsaga,) = (package for package in lock["package"] if package["name"] == "qsaga")
    extra = qsaga["optional-dependencies"]["worker"]
    drivers = {package["name"]: package.get("extra", []) for package in extra}
    assert drivers["psycopg"] == ["binary"] and {"sqlalchemy", "aiosqlite"} <= set(drivers)
    installs = re.findall(r"uv sync .*--package qsaga.*", DOCKERFILE.read_text())
    assert len(installs) == 2
    assert all("--frozen" in line and "--extra worker" in line for line in installs)


def test_mounted_scripts_are_shell(compose: dict[str, Any]) -> None:
    for name in ("database", "temporal-schema", "temporal-namespace"):
        shell, script = compose["services"][name]["entrypoint"]
        (folder,) = (m.split(":")[0] for m in compose["services"][name]["volumes"])
        path = ROOT / folder / Path(script).name
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_what_must_come_back_after_a_kill_does(compose: dict[str, Any]) -> None:
    for name in ("postgresql", "temporal", "emulator", *WORKERS):
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
