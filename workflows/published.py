"""By what a workflow is found: its tenant, where it stands, where it is answered."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from qsaga.core.attributes import ROUTE, STATE, TENANT
    from qsaga.core.states import JobState


def publish(tenant: str, state: JobState, route: str | None = None) -> None:
    """Set the search attributes of this workflow; the route stays as it is where none is given."""
    told = {TENANT: tenant, ROUTE: route, STATE: state.value}
    workflow.upsert_search_attributes(
        [
            SearchAttributeKey.for_keyword(name).value_set(value)
            for name, value in told.items()
            if value is not None
        ]
    )
