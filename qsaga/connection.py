"""Connecting to Temporal as the settings say."""

from __future__ import annotations

import atexit
import time
from pathlib import Path

import temporalio.api.enums.v1 as enums
import temporalio.api.operatorservice.v1 as operator
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from qsaga.core.attributes import SEARCH_ATTRIBUTES
from qsaga.core.errors import Unreachable
from qsaga.identity import client_interceptors
from qsaga.payloads import data_converter, header_codec
from qsaga.settings import Settings, TemporalSettings

HAND_OVER = 0.05
"""Seconds that the end of the process leaves to the threads of Temporal's runtime."""


async def connect(settings: Settings) -> Client:
    """A Temporal client with qsaga's converter.

    Raises:
        InvalidRequest: the caller's token, the key file or the store of payloads cannot be used.
        Unreachable: nothing answers at the configured address.
    """
    temporal = settings.temporal
    # A thread of the runtime that has just handed over a reply still holds Python objects: an
    # interpreter that ends at that moment aborts (one short script in eight, on 3.11).
    atexit.unregister(_let_runtime_go)
    atexit.register(_let_runtime_go)
    try:
        return await Client.connect(
            temporal.address,
            namespace=temporal.namespace,
            api_key=temporal.api_key.get_secret_value() if temporal.api_key else None,
            tls=_tls(temporal),
            data_converter=data_converter(settings),
            header_codec_behavior=header_codec(settings),
            interceptors=client_interceptors(settings.identity),
        )
    except (RuntimeError, RPCError) as error:
        raise Unreachable(
            f"no Temporal server answers at {temporal.address} (namespace "
            f"{temporal.namespace!r}): {error}; set QSAGA_TEMPORAL__ADDRESS"
        ) from error


def _let_runtime_go() -> None:
    time.sleep(HAND_OVER)


def _tls(temporal: TemporalSettings) -> TLSConfig | bool:
    def read(path: Path | None) -> bytes | None:
        return path.read_bytes() if path else None

    if not (temporal.tls or temporal.api_key or temporal.tls_cert_file):
        return False
    return TLSConfig(
        server_root_ca_cert=read(temporal.tls_ca_file),
        client_cert=read(temporal.tls_cert_file),
        client_private_key=read(temporal.tls_key_file),
    )


async def register_search_attributes(client: Client) -> None:
    """Make the search attributes of qsaga known to the server; safe to repeat."""
    kind = enums.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    for name in SEARCH_ATTRIBUTES:
        try:
            await client.operator_service.add_search_attributes(
                operator.AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes={name: kind}
                )
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
