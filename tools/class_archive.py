"""A class archive for the time-skipping test server: `python -m tools.class_archive JAVA FOLDER`.

The server is started from FOLDER, used a little and stopped; the JVM then writes the classes that
this took to FOLDER/classes.jsa (application class-data sharing, JEP 350; Java 13 and newer).
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

from temporalio.client import Client

ARCHIVE = "classes.jsa"
START_LIMIT = 30.0


async def _connected(port: int) -> Client:
    until = time.monotonic() + START_LIMIT
    while True:
        try:
            return await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def _use(port: int) -> None:
    client = await _connected(port)
    handle = await client.start_workflow("Any", id="any", task_queue="any")
    await handle.signal("any")
    await handle.describe()
    await handle.terminate()


def main(java: str, folder: Path) -> int:
    """Write the archive; 1 if the JVM made none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    archive = folder / ARCHIVE
    command = [java, f"-XX:ArchiveClassesAtExit={archive}", "-XX:+UseSerialGC"]
    command += ["-cp", f"{folder / 'lib'}/*", "io.temporal.testserver.TestServer", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_use(port))
    finally:
        server.terminate()
        server.wait()
    return 0 if archive.exists() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
