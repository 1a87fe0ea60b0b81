"""Every step has one implementation, with the very signature that workflows rely on."""

import typing

import pytest
import pytest_asyncio
from temporalio import activity

import worker
from qsaga.core.seals import CHECK_CALLER, CHECK_SEAL
from qsaga.settings import IBMSettings, Settings
from tools.messages import step_contracts
from workflows.registered import WORKFLOWS

CONTRACTS = step_contracts()
OF_THE_INTERCEPTOR = {CHECK_SEAL, CHECK_CALLER}
"""Called by name, by no workflow: the interceptor of workflows asks them."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def implementations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), ibm=IBMSettings(token="x", instance="y")
    )
    found = {}
    parts = await worker.build(settings)
    await parts.engine.dispose()
    for method in parts.activities:
        defined = activity._Definition.must_from_callable(method)
        assert defined.name is not None
        found[defined.name] = method
    return found


def test_every_contract_is_implemented_and_nothing_else(
    implementations: dict[str, object],
) -> None:
    assert set(implementations) == set(CONTRACTS) | OF_THE_INTERCEPTOR
    assert len(CONTRACTS) == 32


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_signature_is_the_contracts(name: str, implementations: dict[str, object]) -> None:
    def signature(method: object) -> dict[str, object]:
        function = getattr(method, "__func__", method)
        return typing.get_type_hints(function)

    assert signature(implementations[name]) == signature(CONTRACTS[name])


def test_workflows_are_registered_under_their_public_names() -> None:
    names = {kind.__name__ for kind in WORKFLOWS}
    assert names == {
        "QuantumJob",
        "HardwareRun",
        "HybridLoop",
        "PlanJob",
        "Operation",
        "Watch",
        "ProviderSession",
    }
