"""Everything around the account's own jobs that a world document describes, and where it stands."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from .calibration import Calibration, Calibrations, Schedule, applied
from .config import ServerConfig
from .errors import ApiError, BadRequest
from .limits import LimitBook, Limits
from .line import Line
from .snapshot import Snapshot
from .store import Store
from .worldcheck import misfits, spelled
from .worldfile import World, parse_world

_NAMES = ("world", "lines", "calibrations", "limits")
# The service's number for a backend that is not available.
_UNAVAILABLE = 1004


class Surroundings:
    """Lines, calibrations and limits; every change is persisted when made.

    Args:
        config: What holds where nothing is kept yet, or always with ``reset_settings``.
        store: Where it is kept.
        snapshots: The backends.
    """

    def __init__(self, config: ServerConfig, store: Store, snapshots: dict[str, Snapshot]) -> None:
        self._config, self._store, self._snapshots = config, store, snapshots
        if config.reset_settings:
            for name in _NAMES:
                store.set_setting(name, None)
        kept = store.setting("world")
        self.world = parse_world(kept) if kept else config.world or World(version=1)
        # A world begins at a virtual time, which a followed clock does not know yet.
        self.begun = kept is not None
        lines = store.setting("lines") or {}
        self.lines = {name: Line(lines.get(name)) for name in snapshots}
        calibrations = store.setting("calibrations") or {}
        self.calibrations = {
            name: Calibrations(name, config.seed, calibrations.get(name)) for name in snapshots
        }
        self._limits = self._fresh_limits(World(version=1))
        if limits := store.setting("limits"):
            self._limits = self._limits.loaded(limits)

    @property
    def limits(self) -> LimitBook:
        """The limits of all instances."""
        return self._limits

    def set_limits(self, book: LimitBook) -> None:
        """Replace the limits."""
        self._limits = book
        self._store.set_setting("limits", book.dump())

    def checked(self, world: World) -> None:
        """Raise unless the backends and instances of a world are there.

        Raises:
            BadRequest: One is not.
        """
        instances = [spec.name for spec in self._config.instances]
        if found := misfits(world, self._snapshots, instances):
            told = [f"{spelled(place)}: {text}" for place, text in found]
            raise BadRequest("\n".join(told))

    def apply(self, world: World, now: float) -> None:
        """Put a world in force; the lines must be caught up.

        The simple queues of the document are not part of this: see the settings.
        """
        seed = self._config.seed if world.seed is None else world.seed
        for name in self._snapshots:
            told, line = world.backend(name), self.lines[name]
            line.set_traffic(told.traffic, f"{seed}/{name}", now)
            line.set_calendar([each.closed(now) for each in told.maintenance], told.paused)
            line.when_closed = told.when_closed
            self.calibrations[name].caught_up(now)
            schedule = Schedule.of(told.recalibration, told.faulty, now)
            self.calibrations[name].set_schedule(schedule, seed, now)
        self.world, self.begun = world, True
        with self._store.together():
            self.set_limits(self._fresh_limits(world))
            self._store.set_setting("world", world.document())
            self.keep_lines()
            self.keep_calibrations()

    def keep_lines(self) -> None:
        """Persist where the lines stand."""
        document = {name: line.dump() for name, line in self.lines.items()}
        self._store.set_setting("lines", document)

    def keep_calibrations(self) -> None:
        """Persist the calibrations."""
        document = {name: each.dump() for name, each in self.calibrations.items()}
        self._store.set_setting("calibrations", document)

    def calibrate(self, now: float) -> None:
        """Take up the calibrations that have become due."""
        due = [each for each in self.calibrations.values() if each.next_at <= now]
        for each in due:
            each.caught_up(now)
        if due:
            self.keep_calibrations()

    def admit(self, backend: str, calibration_id: str | None, now: float) -> None:
        """Refuse a submission that the backend does not take now.

        Raises:
            ApiError: 409 while no jobs are started and submissions are not accepted then; 400 for
                a calibration that is unknown or not the one in force.
        """
        line, calibrations = self.lines[backend], self.calibrations[backend]
        if line.when_closed == "refuse" and line.calendar.closed_until(now) is not None:
            raise ApiError(409, f"Backend {backend} is not available now.", _UNAVAILABLE)
        if calibration_id is None:
            return
        if calibrations.by_id(calibration_id) is None:
            raise ApiError(400, f"calibration_id: {calibration_id!r} is not known for {backend}.")
        if calibration_id != calibrations.current.id:
            raise ApiError(
                400,
                f"calibration_id: {calibration_id!r} is no longer in force on {backend}; the"
                f" present one is {calibrations.current.id!r}.",
            )

    def properties(self, backend: str, calibration: Calibration) -> bytes:
        """Return a backend's properties under a calibration, JSON text."""
        if calibration.at is None:
            return self._snapshots[backend].properties
        return _content(self.properties_path(backend, calibration))

    def properties_path(self, backend: str, calibration: Calibration) -> Path:
        """Return a file with the properties of a calibration, written at its first use."""
        snapshot = self._snapshots[backend]
        if calibration.at is None:
            return snapshot.properties_path
        path = self._config.data / "calibrations" / f"{calibration.id}.json"
        if not path.exists():
            document: dict[str, Any] = json.loads(snapshot.properties)
            document = applied(document, calibration, backend)
            path.parent.mkdir(exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(document, separators=(",", ":")))
            draft.replace(path)
        return path

    def _fresh_limits(self, world: World) -> LimitBook:
        seconds = self._config.usage_allocation_seconds
        common = Limits(allocation_seconds=seconds, limit_seconds=seconds)
        common = common.model_copy(update=world.limits.given_for_all())
        return LimitBook(self._config.instances, common, world.limits.instances)


@lru_cache(maxsize=16)
def _content(path: Path) -> bytes:
    return path.read_bytes()
