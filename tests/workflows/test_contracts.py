"""Every step has one implementation, with the very signature that workflows rely on."""

import inspect
import typing
from abc import ABC

import pytest
from temporalio import activity

import worker
from qsaga.core import steps
from qsaga.settings import IBMSettings, Settings
from workflows import WORKFLOWS

CONTRACTS = {
    defined.name: method
    for kind in vars(steps).values()
    if inspect.isclass(kind) and issubclass(kind, ABC)
    for method in vars(kind).values()
    if (defined := getattr(method, "__temporal_activity_definition", None)) is not None
}


@pytest.fixture(scope="module")
def implementations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), ibm=IBMSettings(token="x", instance="y")
    )
    found = {}
    for method in worker.build(settings).activities:
        defined = activity._Definition.must_from_callable(method)
        assert defined.name is not None
        found[defined.name] = method
    return found


def test_every_contract_is_implemented_and_nothing_else(
    implementations: dict[str, object],
) -> None:
    assert set(implementations) == set(CONTRACTS)
    assert len(CONTRACTS) == 12


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_signature_is_the_contracts(name: str, implementations: dict[str, object]) -> None:
    def signature(method: object) -> dict[str, object]:
        function = getattr(method, "__func__", method)
        return typing.get_type_hints(function)

    assert signature(implementations[name]) == signature(CONTRACTS[name])


def test_workflows_are_registered_under_their_public_names() -> None:
    assert {kind.__name__ for kind in WORKFLOWS} == {"QuantumJob", "HardwareRun", "PlanJob"}
