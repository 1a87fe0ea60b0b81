"""What the converter makes for each message of a workflow, and what it does not."""

from __future__ import annotations

from pathlib import Path

from temporalio.converter import (
    ActivitySerializationContext,
    PayloadConverter,
    WorkflowSerializationContext,
)

from qsaga.core.jobs import Circuit
from qsaga.decoding import NamingConverter
from qsaga.payloads import data_converter
from qsaga.settings import Settings

WORKFLOW = WorkflowSerializationContext(namespace="default", workflow_id="acme/1")
ACTIVITY = ActivitySerializationContext(
    namespace="default",
    activity_id="1",
    activity_type="admit",
    activity_task_queue="qsaga",
    workflow_id="acme/1",
    workflow_type="QuantumJob",
    is_local=False,
)


def test_a_context_builds_no_parts(tmp_path: Path) -> None:
    converter = data_converter(Settings(data_dir=tmp_path))
    assert converter.with_context(ACTIVITY) is converter
    of_workflow = converter.with_context(WORKFLOW)
    assert (converter.addressed, of_workflow.addressed) == (False, True)
    assert of_workflow.payload_converter is converter.payload_converter
    assert of_workflow.with_context(WORKFLOW) is of_workflow
    assert of_workflow.with_context(ACTIVITY).addressed is False


def test_all_converters_know_the_types_that_one_has_read() -> None:
    first, second = NamingConverter(), NamingConverter()
    assert [*first.converters.values()] == [*second.converters.values()]
    circuit = Circuit(source="OPENQASM 3.0;")
    converter: PayloadConverter = second
    payloads = first.to_payloads([circuit, None, b"1", 2])
    assert converter.from_payloads(payloads) == [circuit.model_dump(mode="json"), None, b"1", 2]
    assert converter.from_payloads(payloads[:1], [Circuit]) == [circuit]
