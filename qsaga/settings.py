"""All settings of qsaga: variables ``QSAGA_…``, or a TOML file named by ``QSAGA_CONFIG``.

A nested field is reached with two underscores: ``QSAGA_TEMPORAL__ADDRESS``. A variable beats the
file, the file beats the default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from qsaga.core.contract import Slug
from qsaga.core.roles import ALL_ROLES, WorkerRole, role_queues


class TemporalSettings(BaseModel):
    """Where Temporal is. For Temporal Cloud set ``api_key`` (TLS is then on), or TLS files.

    ``sticky_timeout`` is how long, in seconds, a workflow waits for the worker that last had it
    before any other may take it: short values recover sooner after a worker was killed.

    With ``role_queues`` each role of worker has a task queue of its own, ``<task_queue>-<role>``.
    With ``versioning`` a job stays with the version of the workers that began it; ``build_id``
    names that version, None is the version of the package. See docs/operations.md.
    """

    model_config = ConfigDict(extra="forbid")

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    task_queue: str = "qsaga"
    api_key: SecretStr | None = None
    tls: bool = False
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    register_search_attributes: bool = True
    sticky_timeout: float = Field(default=10.0, gt=0)
    role_queues: bool = False
    versioning: bool = False
    build_id: Slug | None = None

    @property
    def queues(self) -> dict[str, str]:
        """Role to task queue; empty where there is one queue for all."""
        return role_queues(self.task_queue) if self.role_queues else {}


class SlotSettings(BaseModel):
    """How many steps a worker takes at a time, where roles have queues of their own.

    ``compile`` and ``solve`` are computing: None is one for each core that the process may use.
    With ``tuned`` that is the most, and fewer are taken while the machine's CPU or memory is
    used beyond ``target_cpu`` or ``target_memory``, shares between 0 and 1. ``solver_cores`` is
    how many cores one annealing uses: raise it where ``solve`` is lowered.
    """

    model_config = ConfigDict(extra="forbid")

    provider: int = Field(default=64, ge=1)
    compile: int | None = Field(default=None, ge=1)
    solve: int | None = Field(default=None, ge=1)
    watch: int = Field(default=4, ge=1)
    solver_cores: int = Field(default=1, ge=1)
    tuned: bool = False
    target_cpu: float = Field(default=0.8, gt=0, le=1)
    target_memory: float = Field(default=0.8, gt=0, le=1)


class SimulatorSettings(BaseModel):
    """What the simulator of the workers that solve runs on.

    ``device`` is that of Aer; ``GPU`` needs its build for them. ``max_qubits`` is what its memory
    holds: 16 bytes times two to the number of qubits.
    """

    model_config = ConfigDict(extra="forbid")

    device: Literal["CPU", "GPU"] = "CPU"
    max_qubits: int = Field(default=24, ge=1, le=40)


SHORTEST = 60.0
"""Seconds: each reconciliation asks the provider for every job of the last days."""
CLIENT_PAUSES = 15.0
"""Seconds that IBM's client sleeps in all between its six sendings of one POST: 0, 1, 2, 4, 8."""


class IBMSettings(BaseModel):
    """The IBM Quantum account. Without a token there is no hardware.

    A real account needs ``token`` or ``token_file`` (read at every sign-in), and ``instance`` (a
    CRN or a name). For an emulator set ``url`` to ``http://emulator.test``, ``proxy`` and
    ``iam_url`` to where it listens. ``client_retries`` leaves IBM's client its own repetitions of
    a POST: one sending may then make several jobs.
    """

    model_config = ConfigDict(extra="forbid")

    token: SecretStr | None = None
    token_file: Path | None = None
    instance: str | None = None
    channel: str = "ibm_quantum_platform"
    url: str | None = None
    proxy: str | None = None
    iam_url: str | None = None
    call_timeout: float = Field(default=30.0, gt=0, description="seconds for one call, any call")
    listing_grace: float = Field(
        default=30.0, gt=0, description="seconds after which an accepted job is surely listed"
    )

    client_retries: bool = False

    @field_validator("token_file")
    @classmethod
    def _one_token(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("token") is not None:
            raise ValueError("give either token or token_file, not both")
        return value

    @property
    def has_account(self) -> bool:
        """Whether there is hardware: an account to sign in to."""
        return self.token is not None or self.token_file is not None

    @property
    def grace(self) -> float:
        """Seconds after the start of an attempt to submit by which what it sent is surely listed.

        An attempt begins its last request within one ``call_timeout``, the request ends within
        another, even in a worker that was cut off from Temporal meanwhile. The client's own
        repetitions also begin within the first; their pauses are added all the same, for a
        release that sleeps where it cannot be told the time.
        """
        pauses = CLIENT_PAUSES if self.client_retries else 0.0
        return 2 * self.call_timeout + self.listing_grace + pauses


class IdentitySettings(BaseModel):
    """Who calls. Off unless ``required``; a token that is given is checked in any case.

    A client gives ``token`` or ``token_file`` (read again at every call). A worker checks with
    ``keys_file`` (a PEM public key or certificate, or a JWKS document) or ``jwks_url``, and
    ``worker_key`` (or ``worker_key_file``, read when the worker starts) is the secret that the
    workers of a deployment share: their workflows prove themselves to each other with it.
    """

    model_config = ConfigDict(extra="forbid")

    required: bool = False
    token: SecretStr | None = None
    token_file: Path | None = None
    keys_file: Path | None = None
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str = "qsaga"
    leeway: float = Field(default=30.0, ge=0, le=600, description="seconds that clocks may differ")
    worker_key: SecretStr | None = None
    worker_key_file: Path | None = None


class PayloadSettings(BaseModel):
    """Where payloads above ``payload_threshold`` go: a folder, Amazon S3 or Google Cloud Storage.

    ``store`` is where new ones are written. What a bucket or the folder holds from before is read
    as long as the bucket is named. Region, endpoint and credentials are the vendors' own variables
    (``AWS_REGION``, ``AWS_ENDPOINT_URL_S3``, ``GOOGLE_APPLICATION_CREDENTIALS``, …).
    """

    model_config = ConfigDict(extra="forbid")

    s3_bucket: str | None = None
    gcs_bucket: str | None = None
    store: Literal["folder", "s3", "gcs"] = Field(default="folder", validate_default=True)

    @field_validator("store")
    @classmethod
    def _has_bucket(cls, value: str, info: ValidationInfo) -> str:
        if value != "folder" and not info.data.get(f"{value}_bucket"):
            raise ValueError(f"{value} needs {value}_bucket")
        return value


class EncryptionSettings(BaseModel):
    """What payloads are encrypted with: a file made by ``qsaga keys``. Off without it."""

    model_config = ConfigDict(extra="forbid")

    keys_file: Path | None = None


class ReconcileSettings(BaseModel):
    """How often a deployment's books and files are put in order, in seconds; 0 is never.

    ``every``: reconciled with the provider and repaired. ``retain_every``: jobs older than their
    tenant keeps them are forgotten. ``sweep_every``: files that nobody refers to, and that nobody
    has used for ``sweep_days`` days, are deleted. ``jitter``: seconds by which each may come late.
    ``days``: of what was booked longer ago the provider is not asked again.
    """

    model_config = ConfigDict(extra="forbid")

    every: float = Field(default=3600.0, ge=0)
    retain_every: float = Field(default=86400.0, ge=0)
    sweep_every: float = Field(default=86400.0, ge=0)
    sweep_days: int = Field(default=7, ge=1, le=36500)
    jitter: float = Field(default=60.0, ge=0)
    days: int = Field(default=7, ge=1, le=36500)

    @field_validator("every", "retain_every", "sweep_every")
    @classmethod
    def _not_all_the_time(cls, value: float) -> float:
        if 0 < value < SHORTEST:
            raise ValueError(f"must be 0 or at least {SHORTEST:g} seconds")
        return value


class Settings(BaseSettings):
    """Settings of clients, command line and workers.

    Args:
        deployment: tells our remote jobs from another deployment's on the same account.
        data_dir: artefacts, payloads and the embedded database; shared by clients and workers.
        database_url: SQLAlchemy URL of job table and ledger; None is SQLite in ``data_dir``.
        policy_file: the routing policy; None is the one that ships with qsaga.
        prices_file: prices of the backends in place of the policy's.
        registered_tenants_only: False lets a tenant whom nobody has set up run without limits.
        notify_url: where notices to people are posted as JSON; None writes them to the log only.
            Whoever has the address of a hook may post there: it is kept like a password.
        user: who the caller is where identity is off; None is the name of the account.
        hardware: False switches all hardware off, whatever the policy says.
        provider: where circuits run: ``ibm``, ``aer`` or the name of an installed provider; None
            is ``ibm`` where there is a token, else no hardware.
        work_cache: keep encoded problems and compiled templates in ``data_dir``, for each tenant.
        estimator: entry point of the group ``qsaga.estimators`` behind the rung ``learned``.
        quarantine_after: seconds for which a provider may fail to tell what became of a submission
            before a person is asked.
        roles: of a worker, separated by commas: ``workflow``, ``provider``, ``compile``, ``solve``,
            ``watch``, or ``all``.
        drain: seconds that a worker which is told to end leaves to what is under way.
        payload_threshold: larger payloads, in bytes, go to the payload store.
    """

    model_config = SettingsConfigDict(
        env_prefix="QSAGA_",
        env_nested_delimiter="__",
        # A compose file passes on a variable that is not set as an empty one.
        env_ignore_empty=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    deployment: Slug = "dev"
    data_dir: Path = Field(default_factory=lambda: Path.home() / ".local" / "share" / "qsaga")
    database_url: SecretStr | None = None
    policy_file: Path | None = None
    prices_file: Path | None = None
    registered_tenants_only: bool = False
    notify_url: SecretStr | None = None
    user: str | None = None
    hardware: bool = True
    provider: str | None = None
    estimator: str | None = None
    work_cache: bool = True
    payload_threshold: int = Field(default=256 * 1024, ge=1024)
    quarantine_after: float = Field(default=86400.0, gt=0)
    roles: Annotated[tuple[WorkerRole, ...], NoDecode] = ALL_ROLES
    drain: float = Field(default=20.0, ge=0, le=3600)
    slots: SlotSettings = SlotSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    temporal: TemporalSettings = TemporalSettings()
    ibm: IBMSettings = IBMSettings()
    identity: IdentitySettings = IdentitySettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    payloads: PayloadSettings = PayloadSettings()
    encryption: EncryptionSettings = EncryptionSettings()

    @field_validator("roles", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",")]
        return ALL_ROLES if isinstance(value, list | tuple) and "all" in value else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the TOML file."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if config := os.environ.get("QSAGA_CONFIG"):
            sources += (TomlConfigSettingsSource(settings_cls, Path(config)),)
        return sources
