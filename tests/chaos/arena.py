"""A Temporal server and an emulator that scenes share, and that can be killed under them."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from ibm_quantum_emulator.process import ControlClient
from qsaga.connection import register_search_attributes
from qsaga.payloads import data_converter
from qsaga.settings import ReconcileSettings, Settings, TemporalSettings
from tests.chaos.points import Victim
from tests.chaos.scenarios import SPARE, Scenario, faults, set_up
from tools.cluster import Cluster
from tools.stage import Stage

R = TypeVar("R")

MACHINE = "lagos"
"""What all backends are like: seven qubits, for which compiling takes little."""
PAUSE = 0.1
TASK = 5.0
"""Seconds that a workflow task may take, where ten are usual: the worker may be dead."""
CALL_TIMEOUT, LISTING_GRACE = 10.0, 0.5
START = 120.0
"""Seconds for the emulator to be back, with many others at work on the machine."""
TEMPLATE = "template"
FILE = f"{TEMPLATE}.db"
PERSISTENT = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)


async def until_served(ask: Callable[[], Awaitable[R]]) -> R:
    """Ask Temporal until it is there to answer. Raises RPCError for what asking cannot mend."""
    while True:
        try:
            return await ask()
        except RPCError as error:
            if error.status in PERSISTENT:
                raise
            await asyncio.sleep(PAUSE)


class Arena:
    """One of each, with ``places`` for scenes that go on at the same time.

    Each place has a backend of its own beside the spare one; each scene a deployment, a task queue
    and a database.
    """

    def __init__(self, folder: Path, places: int, *, cluster: bool = False) -> None:
        self.folder, self.places = folder, places
        self._backends = [self.backend(place) for place in range(places)]
        names = [f"{name}={MACHINE}" for name in (*self._backends, SPARE)]
        self._cluster = Cluster(folder / "temporal") if cluster else None
        self._stage = Stage(
            folder,
            ui=False,
            emulator={"backend": names, "noise": "none"},
            temporal=self._cluster,
        )
        self._serial = itertools.count()
        self._client: Client | None = None
        self._crn = ""

    @staticmethod
    def backend(place: int) -> str:
        """The backend of a place."""
        return f"machine_{place}"

    async def __aenter__(self) -> Self:
        """Start both servers."""
        shutil.rmtree(self.folder, ignore_errors=True)
        await asyncio.to_thread(self._stage.start)
        try:
            control = self._stage.emulator.control
            await asyncio.to_thread(control.set_execution, 0.1, 0.0)
            await asyncio.to_thread(control.set_plan, *faults(self._backends))
            await asyncio.to_thread(control.set_queue, 1, 0.1, backend=SPARE)
            self._crn = await asyncio.to_thread(lambda: self._stage.emulator.crn)
            self._client = await Client.connect(self._stage.temporal_address)
            await register_search_attributes(self._client)
            await set_up(await asyncio.to_thread(self._template))
        except BaseException:
            await asyncio.to_thread(self._stage.stop)
            raise
        return self

    async def __aexit__(self, *_of: object) -> None:
        """Stop both."""
        await asyncio.to_thread(self._stage.stop)

    def settings(self, name: str, scenario: Scenario, place: int) -> Settings:
        """Of the workers of a new scene, with a database that has the tenants."""
        deployment = f"{name}-{next(self._serial)}"
        data = self.folder / "scenes" / deployment
        data.mkdir(parents=True)
        database = self._copy(deployment, data)
        (data / "policy.toml").write_text(scenario.policy(self.backend(place)))
        usual = self._stage.settings()
        account = {
            "url": f"{self._stage.emulator.url}/experimental",
            "instance": self._crn,
            "proxy": None,
            "call_timeout": CALL_TIMEOUT,
            "listing_grace": LISTING_GRACE,
        }
        return usual.model_copy(
            update={
                "deployment": deployment,
                "data_dir": data,
                "database_url": database,
                "policy_file": data / "policy.toml",
                # So that nearly everything goes through the store of payloads as well.
                "payload_threshold": 1024,
                "temporal": TemporalSettings(
                    address=self._stage.temporal_address,
                    task_queue=deployment,
                    sticky_timeout=0.3,
                    register_search_attributes=False,
                ),
                "ibm": usual.ibm.model_copy(update=account),
                # A scene is over before any of it would be due.
                "reconcile": ReconcileSettings(every=0, retain_every=0, sweep_every=0),
                **scenario.settings,
            }
        )

    def _template(self) -> str:
        """URL of the database that those of all scenes are copies of."""
        if self._cluster is None:
            return f"sqlite:///{self.folder / FILE}"
        return self._cluster.postgres.create(TEMPLATE)

    def _copy(self, name: str, folder: Path) -> SecretStr | None:
        """A copy for a scene: beside the cluster's own databases, or a file in its folder."""
        if self._cluster is None:
            shutil.copy(self.folder / FILE, folder / "qsaga.db")
            return None
        return SecretStr(self._cluster.postgres.create(name, TEMPLATE))

    def client(self, settings: Settings) -> Client:
        """A plain Temporal client that reads the payloads of a deployment."""
        assert self._client is not None
        config = self._client.config()
        config["data_converter"] = data_converter(settings)
        return Client(**config)

    async def control(self, ask: Callable[[ControlClient], R]) -> R:
        """Ask the emulator, until it is there to answer."""
        while True:
            try:
                return await asyncio.to_thread(lambda: ask(self._stage.emulator.control))
            except (httpx.TransportError, RuntimeError):
                await asyncio.sleep(PAUSE)

    async def jobs(self, deployment_tag: str) -> list[dict[str, Any]]:
        """Ground truth of every job of a deployment."""
        return await self.control(lambda control: control.jobs(tag=deployment_tag))

    async def open_sessions(self) -> list[dict[str, Any]]:
        """Ground truth of every session that nobody has closed, with its jobs."""
        sessions = await self.control(lambda control: control.sessions())
        return [session for session in sessions if session["closed"] is None]

    async def kill(self, victim: Victim) -> None:
        """``kill -9`` a server; it is down when this returns."""
        if victim == "emulator":
            await asyncio.to_thread(self._stage.emulator.kill)
            return
        service = "" if victim == "temporal" else victim
        await asyncio.to_thread(self._stage.kill_temporal, service)

    async def revive(self, victim: Victim) -> None:
        """Start it again, on its data and where it was."""
        if victim == "emulator":
            await asyncio.to_thread(self._stage.emulator.start, START)
        else:
            await asyncio.to_thread(self._stage.start_temporal)
