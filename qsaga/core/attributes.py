"""Names of the search attributes (all of type Keyword) and of the memo fields of a job."""

STATE = "QsagaState"
ROUTE = "QsagaRoute"
TENANT = "QsagaTenant"
SEARCH_ATTRIBUTES = (STATE, ROUTE, TENANT)

PAYLOAD_HASH = "qsaga_payload_hash"
"""Memo field: tells a repeated request from another one under the same key."""
