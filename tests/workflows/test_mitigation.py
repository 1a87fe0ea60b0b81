"""Jobs that ask for error mitigation: where they go, what they cost, what their result says."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.cli.details import account_view
from qsaga.cli.views import print_to
from qsaga.core.applied import Applied, options_text
from qsaga.core.results import EstimateAnswer, JobResult, applied_of
from qsaga.core.states import JobState, Rung
from tests.support.ladders import TWO_BELLS, answered, with_policy
from tests.support.stack import bell

pytestmark = pytest.mark.asyncio(loop_scope="session")
LADDERS = {"estimate": ["hardware", "simulator"], "sample": ["hardware", "simulator"]}
READOUT = {"resilience_level": 1, "twirling": {"num_randomizations": 8}}


@pytest.fixture(scope="module")
def misreading() -> Iterator[EmulatorProcess]:
    """An emulator whose readout errs."""
    with EmulatorProcess(noise="readout") as running:
        yield running


def parity(mitigation: dict[str, Any] | None, **changes: Any) -> Any:
    """ZZ of a Bell pair, which is 1."""
    workload = {
        "kind": "estimate",
        "circuit": {"source": TWO_BELLS},
        "observables": [{"ZZ": 1.0}],
        "precision": 0.02,
        "mitigation": mitigation,
    }
    return bell(workload=workload, **changes)


def told(result: JobResult) -> Applied:
    assert result.provenance is not None
    said = applied_of(result.provenance)
    assert said is not None
    return said


def expected(result: JobResult) -> float:
    """Quantum seconds, as the decision forecasts them."""
    assert result.decision is not None and result.decision.forecast is not None
    return result.decision.forecast.quantum_seconds


async def test_a_mitigated_value_is_nearer_and_said_to_be_mitigated(
    dev_env: WorkflowEnvironment, misreading: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(
        dev_env, misreading, tmp_path, LADDERS, "cached_max_age = 3600"
    ) as stack:
        plain = await stack.run(parity(None, route="hardware"))
        result = await stack.run(parity(READOUT, route="hardware", reuse=3600))
        assert answered(result) == [(Rung.HARDWARE, "answered")], (
            "the earlier answer has no mitigation"
        )
        assert isinstance(plain.answer, EstimateAnswer)
        assert isinstance(result.answer, EstimateAnswer)
        assert plain.answer.values[0] < 0.97
        assert abs(1 - result.answer.values[0]) < abs(1 - plain.answer.values[0])

        said = told(result)
        assert (said.asked, said.mitigated, said.note) == (READOUT, True, "")
        assert said.applied is not None
        assert "twirling.num_randomizations 8" in options_text(said.applied)
        (job,) = misreading.control.jobs(stack.run_id(result))
        assert result.provenance is not None
        assert result.provenance.provider_job_ids == (job["id"],)
        assert expected(result) - expected(plain) == pytest.approx(2.5, abs=0.1)

        again = await stack.run(parity(READOUT, reuse=3600))
        assert answered(again) == [(Rung.CACHED, "answered")]
        assert told(again) == said
        await stack.settled(result)
        await stack.books_are_clean()
        page = StringIO()
        print_to(Console(file=page), account_view(await stack.client.job(result.job_id).account()))
        lines = {line.strip().partition(" ")[0]: line for line in page.getvalue().splitlines()}
        assert lines["mitigation"].split() == ["mitigation", "mitigated"]
        assert lines["asked"].endswith("twirling.num_randomizations 8; resilience_level 1")
        assert "resilience.measure_mitigation on" in lines["applied"]


async def test_a_simulator_applies_nothing_and_the_result_says_so(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(parity(READOUT, route="simulator"))
        said = told(result)
        assert (said.asked, said.applied, said.mitigated) == (READOUT, {}, False)
        assert "simulator" in said.note
        plain = await stack.run(parity(None, route="simulator"))
        assert plain.provenance is not None
        assert "mitigation" not in plain.provenance.detail


async def test_a_provider_without_mitigation_is_no_route(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    changes = {"provider": "aer"}
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, **changes) as stack:
        assert answered(await stack.run(parity(None, route="hardware"))) == [
            (Rung.HARDWARE, "answered")
        ]
        result = await stack.run(parity(READOUT, route="hardware"))
        assert answered(result) == [(Rung.SIMULATOR, "answered")]
        assert result.state is JobState.DEGRADED
        assert result.decision is not None
        (refusal,) = [r for r in result.decision.refused if r.rung is Rung.HARDWARE]
        assert refusal.reason == "the provider aer takes no options of error mitigation"
        assert result.cost.quantum_seconds == 0
        assert told(result).mitigated is False


async def test_what_mitigation_multiplies_beyond_the_budget_does_not_run(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    cancelling = {"resilience_level": 1, "resilience": {"pec_mitigation": True}}
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result = await stack.run(parity(cancelling))
        assert answered(result) == [(Rung.SIMULATOR, "answered")]
        assert result.decision is not None
        (refusal,) = [r for r in result.decision.refused if r.rung is Rung.HARDWARE]
        assert "quantum seconds, the budget is 60.0" in refusal.reason
        assert stack.emulator.control.jobs() == []
