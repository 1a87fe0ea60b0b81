"""Lets the Temporal SDK download one of its servers, and starts it once as a proof.

python -m tools.sdk_download temporal_cli|test_server FOLDER
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from temporalio.testing import WorkflowEnvironment

HOST = "temporal.download"


def reachable() -> bool:
    """Fail in seconds where packets are dropped; a proxy is left to the SDK."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    try:
        socket.create_connection((HOST, 443), timeout=5).close()
    except OSError:
        return False
    return True


async def download(name: str, folder: str) -> None:
    if name == "temporal_cli":
        environment = await WorkflowEnvironment.start_local(download_dest_dir=folder)
    else:
        environment = await WorkflowEnvironment.start_time_skipping(download_dest_dir=folder)
    await environment.shutdown()


if __name__ == "__main__":
    if not reachable():
        sys.exit(f"{HOST} cannot be reached from here")
    asyncio.run(download(sys.argv[1], sys.argv[2]))
    os._exit(0)  # the SDK's runtime may crash an orderly exit, and the download is there
