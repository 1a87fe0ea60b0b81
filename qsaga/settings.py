"""All settings of qsaga: variables ``QSAGA_…``, or a TOML file named by ``QSAGA_CONFIG``.

A nested field is reached with two underscores: ``QSAGA_TEMPORAL__ADDRESS``. A variable beats the
file, the file beats the default.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from qsaga.core.contract import Slug


class TemporalSettings(BaseModel):
    """Where Temporal is. For Temporal Cloud set ``api_key`` (TLS is then on), or TLS files.

    ``sticky_timeout`` is how long, in seconds, a workflow waits for the worker that last had it
    before any other may take it: short values recover sooner after a worker was killed.
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
        user: who the caller is where identity is off; None is the name of the account.
        hardware: False switches all hardware off, whatever the policy says.
        provider: where circuits run: ``ibm``, ``aer`` or the name of an installed provider; None
            is ``ibm`` where there is a token, else no hardware.
        quarantine_after: seconds for which a provider may fail to tell what became of a submission
            before a person is asked.
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
    notify_url: str | None = None
    user: str | None = None
    hardware: bool = True
    provider: str | None = None
    payload_threshold: int = Field(default=256 * 1024, ge=1024)
    quarantine_after: float = Field(default=86400.0, gt=0)
    temporal: TemporalSettings = TemporalSettings()
    ibm: IBMSettings = IBMSettings()
    identity: IdentitySettings = IdentitySettings()

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
