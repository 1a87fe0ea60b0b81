"""Finding the configured provider, and the worked example of docs/providers.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from qiskit import QuantumCircuit

from adapters import providers
from adapters.aer_provider import AerProvider
from adapters.circuits import to_qpy
from adapters.ibm import IBMProvider
from qsaga.core.errors import InvalidRequest
from qsaga.core.ports import RemoteState, RunSpec, SubmissionKey
from qsaga.settings import IBMSettings, Settings
from tests.adapters.contract import acme

PAGE = Path(__file__).parents[3] / "docs" / "providers.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def install(folder: Path, name: str, points: str, **modules: str) -> None:
    """What an installed package leaves on the path."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def settings(tmp_path: Path, provider: str | None) -> Settings:
    return Settings(data_dir=tmp_path, provider=provider, ibm=IBMSettings())


async def test_the_example_of_the_documentation_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,), (line,) = blocks("python"), blocks("toml")
    header = '[project.entry-points."qsaga.providers"]'
    assert header in line
    points = line.replace(header, "[qsaga.providers]").replace('"', "")
    install(path, "acme-for-qsaga", points, acme_provider=source)
    monkeypatch.setitem(sys.modules, "acme", acme)
    assert providers.names() == ("acme", "aer", "ibm")
    provider = providers.provider(settings(tmp_path, "acme"))
    assert provider is not None
    assert (provider.name, provider.capabilities.idempotent) == ("acme", True)
    (facts,) = await provider.backends()

    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    spec = RunSpec(verb="sample", shots=10)
    key = SubmissionKey(tag="qsaga:k", deployment_tag="qsaga:d")
    isa = await provider.compile(to_qpy(circuit), facts.name, 7, spec)
    job = await provider.submit(isa.qpy, isa.facts.layout, facts.name, spec, key)
    assert (await provider.status(job.provider_job_id)).state is RemoteState.COMPLETED
    assert (await provider.result(job.provider_job_id)).counts == {"meas": {"1": 10}}
    monkeypatch.delitem(sys.modules, "acme_provider")


def test_our_own_providers(tmp_path: Path) -> None:
    assert providers.provider(settings(tmp_path, None)) is None
    account = settings(tmp_path, None).model_copy(
        update={"ibm": IBMSettings(token=SecretStr("key"), instance="crn")}
    )
    assert isinstance(providers.provider(account), IBMProvider)
    assert isinstance(providers.provider(settings(tmp_path, "ibm")), IBMProvider)
    assert isinstance(providers.provider(settings(tmp_path, "aer")), AerProvider)


def test_a_variable_names_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QSAGA_PROVIDER", "aer")
    assert isinstance(providers.provider(Settings(data_dir=tmp_path)), AerProvider)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"QSAGA_PROVIDER: .*'ionq' \(allowed: aer, ibm\)"):
        providers.provider(settings(tmp_path, "ionq"))


@pytest.mark.parametrize(
    ("points", "name", "says"),
    [
        ("there = nowhere_at_all:provider", "there", "cannot be loaded from nowhere_at_all"),
        ("there = broken_vendor:NAME", "there", "broken_vendor:NAME is not a factory"),
        ("there = broken_vendor:absent", "there", "cannot be loaded from broken_vendor:absent"),
        ("aer = broken_vendor:NAME", "aer", "'aer' is claimed more than once: broken_vendor:NAME"),
    ],
)
def test_an_entry_point_that_is_no_good_is_refused(
    path: Path, tmp_path: Path, points: str, name: str, says: str
) -> None:
    install(path, "broken", f"[qsaga.providers]\n{points}\n", broken_vendor="NAME = 'x'\n")
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        providers.provider(settings(tmp_path, name))
