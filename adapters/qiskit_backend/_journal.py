"""The durable journal: what was begun under a key, and the jobs that came of it.

An intent is committed before ``run`` is called, and the job's id after it returned. A key that has
an intent and no job is undecided: whoever wrote the intent may have been killed before, in or
after ``run``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from adapters.qiskit_backend._recipes import Recipe
from adapters.sql import Moment, make_safe
from qsaga.core.errors import TransientProviderError
from qsaga.core.ports import CircuitResult, RemoteJob, RemoteState, SubmissionKey

_metadata = MetaData()
_intents = Table(
    "intents",
    _metadata,
    Column("tag", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("at", Moment, nullable=False),
)
_jobs = Table(
    "jobs",
    _metadata,
    Column("job_id", String, primary_key=True),
    Column("tag", String, index=True),
    Column("deployment_tag", String, index=True),
    Column("owner", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("recipe", Text),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("created", Moment, nullable=False),
    Column("running", Moment),
    Column("finished", Moment),
    Column("quantum_seconds", Float),
    Column("result", Text),
    Column("unusable", Text),
)
_ENDED = [state.value for state in RemoteState if state.ended]


@dataclass(frozen=True)
class Entry:
    """A job as the journal knows it.

    Args:
        remote: in the words of the port; its charge is set once the job is settled.
        owner: the process that ran it.
        recipe: how to read its counts; None for a job that is not of this journal.
        result: once it was fetched.
        unusable: why there is none, although the job completed.
    """

    remote: RemoteJob
    owner: str
    recipe: Recipe | None = None
    result: CircuitResult | None = None
    unusable: str | None = None

    @property
    def settled(self) -> bool:
        """Whether the job has ended and its charge is known: then nothing changes any more."""
        return self.remote.state.ended and self.remote.quantum_seconds is not None


class Journal:
    """A SQLite file; every method is one transaction, and raises TransientProviderError if the
    file cannot be read or written. Used by threads and processes at once.

    Args:
        file: its folder is made.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        # Connections are opened for each call, so that a thread that is given up keeps none.
        self._engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
        make_safe(self._engine)
        self._ready = False

    @contextmanager
    def _begin(self, *, reads: bool = False) -> Iterator[Connection]:
        try:
            if not self._ready:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._engine.begin() as connection:
                    _metadata.create_all(connection)
                self._ready = True
            with self._engine.execution_options(reads=reads).begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise TransientProviderError(f"the journal {self._file}: {error}") from error

    def look(self) -> None:
        """Read something, to see whether that is possible."""
        with self._begin(reads=True) as connection:
            connection.execute(select(func.count()).select_from(_intents))

    def intend(self, tag: str, owner: str) -> bool:
        """Write down that a submission begins. Returns False if another one did before."""
        with self._begin() as connection:
            added = insert(_intents).values(tag=tag, owner=owner, at=datetime.now(UTC))
            return connection.execute(added.on_conflict_do_nothing()).rowcount == 1

    def intended_by(self, tag: str) -> str | None:
        """The process that wrote the intent of a tag."""
        with self._begin(reads=True) as connection:
            return connection.scalar(select(_intents.c.owner).where(_intents.c.tag == tag))

    def take_over(self, tag: str, owner: str, me: str) -> bool:
        """Make an intent one's own. Returns False if it is no longer that owner's."""
        with self._begin() as connection:
            mine = (
                update(_intents)
                .where(_intents.c.tag == tag, _intents.c.owner == owner)
                .values(owner=me, at=datetime.now(UTC))
            )
            return connection.execute(mine).rowcount == 1

    def refused(self, tag: str, owner: str) -> None:
        """The submission was surely not accepted: the key is as if it had never been used."""
        with self._begin() as connection:
            connection.execute(
                delete(_intents).where(_intents.c.tag == tag, _intents.c.owner == owner)
            )

    def accepted(
        self, remote: RemoteJob, owner: str, key: SubmissionKey | None, recipe: Recipe | None
    ) -> Entry:
        """Write a job down, unless it is there. Returns it as it stands then."""
        with self._begin() as connection:
            added = insert(_jobs).values(
                job_id=remote.provider_job_id,
                tag=key.tag if key else None,
                deployment_tag=key.deployment_tag if key else None,
                owner=owner,
                backend=remote.backend,
                recipe=recipe.model_dump_json() if recipe else None,
                state=remote.state.value,
                created=remote.created or datetime.now(UTC),
            )
            connection.execute(added.on_conflict_do_nothing())
            return _entry(_one(connection, remote.provider_job_id))

    def job(self, job_id: str) -> Entry | None:
        """A job."""
        with self._begin(reads=True) as connection:
            found = connection.execute(select(_jobs).where(_jobs.c.job_id == job_id)).first()
            return _entry(found) if found else None

    def under(self, tag: str) -> tuple[Entry, ...]:
        """The jobs of a tag, oldest first."""
        with self._begin(reads=True) as connection:
            wanted = select(_jobs).where(_jobs.c.tag == tag).order_by(_jobs.c.created)
            return tuple(map(_entry, connection.execute(wanted)))

    def open(self, deployment_tag: str) -> tuple[Entry, ...]:
        """The deployment's jobs that were not seen to have ended, oldest first."""
        with self._begin(reads=True) as connection:
            wanted = (
                select(_jobs)
                .where(_jobs.c.deployment_tag == deployment_tag, _jobs.c.state.not_in(_ENDED))
                .order_by(_jobs.c.created)
            )
            return tuple(map(_entry, connection.execute(wanted)))

    def note(self, entry: Entry) -> Entry:
        """Write down how a job stands, unless it is settled. Returns it as it stands then."""
        remote = entry.remote
        # A slow look must not bring an ended job back.
        unsettled = _jobs.c.quantum_seconds.is_(None) & remote.state.ended
        with self._begin() as connection:
            changed = (
                update(_jobs)
                .where(_jobs.c.job_id == remote.provider_job_id)
                .where(_jobs.c.state.not_in(_ENDED) | unsettled)
                .values(
                    state=remote.state.value,
                    reason=remote.reason,
                    running=remote.running,
                    finished=remote.finished,
                    quantum_seconds=remote.quantum_seconds,
                    result=entry.result.model_dump_json() if entry.result else None,
                    unusable=entry.unusable,
                )
            )
            connection.execute(changed)
            return _entry(_one(connection, remote.provider_job_id))


def _one(connection: Connection, job_id: str) -> Row[Any]:
    return connection.execute(select(_jobs).where(_jobs.c.job_id == job_id)).one()


def _entry(row: Row[Any]) -> Entry:
    remote = RemoteJob(
        provider_job_id=row.job_id,
        backend=row.backend,
        state=RemoteState(row.state),
        reason=row.reason,
        created=row.created,
        running=row.running,
        finished=row.finished,
        quantum_seconds=row.quantum_seconds,
        tags=(row.deployment_tag, row.tag) if row.tag else (),
    )
    return Entry(
        remote=remote,
        owner=row.owner,
        recipe=Recipe.model_validate_json(row.recipe) if row.recipe else None,
        result=CircuitResult.model_validate_json(row.result) if row.result else None,
        unusable=row.unusable,
    )
