"""The parts of the service's replies that we rely on; a reply that lacks one has drifted.

Whatever else a reply holds is passed over. What only describes (times, reasons) may be missing or
odd: it is then left out, since nothing is decided by it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

M = TypeVar("M", bound=BaseModel)
_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}


class SchemaDrift(Exception):
    """A reply that is not of the form we know.

    Args:
        endpoint: method and path, such as ``GET /jobs/{id}``.
        problem: field, what it is, and what was expected.
    """

    def __init__(self, endpoint: str, problem: str) -> None:
        super().__init__(f"{endpoint}: {problem}")


def _moment(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Text = Annotated[str, BeforeValidator(_text)]


class Reply(BaseModel):
    """Part of a reply."""

    model_config = ConfigDict(extra="ignore", strict=True)


class State(Reply):
    """Of a job; ``status`` may be a word that we do not know."""

    status: str
    reason: Text = ""
    reason_code: Any = None


class Program(Reply):
    """Which program a job runs."""

    id: str


class Job(Reply):
    """``GET /jobs/{id}``, and each job of a list."""

    id: str
    state: State
    backend: str | None = None
    created: Moment = None
    tags: list[str] | None = None
    program: Program | None = None


class Page(Reply):
    """``GET /jobs``."""

    jobs: list[Job]
    count: int


class Accepted(Reply):
    """``POST /jobs``, and what opens a session."""

    id: str


class Timestamps(Reply):
    """When a job was made, started and ended."""

    created: Moment = None
    running: Moment = None
    finished: Moment = None


class JobUsage(Reply):
    """What a job used; not final while the status is pending."""

    status: str = "pending"
    quantum_seconds: float | None = None
    qpu_charge_time_seconds: float | None = None


class Metrics(Reply):
    """``GET /jobs/{id}/metrics``."""

    usage: JobUsage
    timestamps: Timestamps | None = None
    position_in_queue: int | None = None
    estimated_start_time: Moment = None


class DeviceStatus(Reply):
    """Of a backend in the list."""

    name: str
    reason: Text = ""


class Device(Reply):
    """One backend of the list; ``kind`` is "mock" for those that are for dry runs only."""

    name: str
    status: DeviceStatus
    qubits: int | None = None
    queue_length: float | None = None
    kind: Any = Field(default=None, alias="class")


class Devices(Reply):
    """``GET /backends``."""

    devices: list[Device]


class Configuration(Reply):
    """``GET /backends/{name}/configuration``: the least that a target is made from."""

    n_qubits: int
    basis_gates: list[str]


class Properties(Reply):
    """``GET /backends/{name}/properties``."""

    qubits: list[Any]
    gates: list[Any]
    last_update_date: str


class InstanceUsage(Reply):
    """``GET /instances/usage``, in seconds."""

    usage_consumed_seconds: float
    usage_limit_seconds: float | None = None
    usage_allocation_seconds: float | None = None


class Session(Reply):
    """``GET /sessions/{id}``."""

    id: str
    state: str
    accepting_jobs: bool
    mode: Literal["dedicated", "batch"]
    backend_name: str | None = None
    elapsed_time: float | None = None


def read(model: type[M], raw: Any, endpoint: str) -> M:
    """The parts of a reply. Raises SchemaDrift, naming the first field that is not as expected."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the reply"
        is_now = "missing" if first["type"] == "missing" else described(first["input"])
        wanted = " or ".join(_expected(model, first["loc"]))
        raise SchemaDrift(endpoint, f"{field} is {is_now}, expected {wanted}") from error


def described(value: Any) -> str:
    """A value of JSON in a few words."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value}"
    return _WORDS.get(type(value), type(value).__name__)


def _expected(kind: Any, path: tuple[int | str, ...]) -> list[str]:
    """What the field at ``path`` may be, in words."""
    options: list[str] = []
    for one in _alternatives(kind):
        if path and isinstance(one, type) and issubclass(one, BaseModel):
            fields = {field.alias or name: field for name, field in one.model_fields.items()}
            if path[0] in fields:
                options += _expected(fields[str(path[0])].annotation, path[1:])
        elif path and get_origin(one) is list:
            options += _expected(get_args(one)[0], path[1:])
        elif not path:
            options.append(_word(one))
    return options


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(value) for value in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "an object"
    return _WORDS.get(get_origin(kind) or kind, str(kind))
