"""The account: one instance, one client, built when first needed and again when its token fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qiskit_ibm_runtime import QiskitRuntimeService

from adapters.ibm._errors import TokenFileUnreadable
from adapters.ibm._retries import noted
from adapters.ibm._wire import Call, OutOfTime, guard
from qsaga.core.errors import PermanentProviderError
from qsaga.settings import IBMSettings


@dataclass(frozen=True, eq=False)
class Connection:
    """The vendor's service object and the API client of our one instance."""

    service: Any
    client: Any
    instance: str

    @property
    def region(self) -> str | None:
        """Where the instance is, as its CRN says: ``crn:v1:bluemix:public:quantum-computing:R:…``.

        https://cloud.ibm.com/docs/account?topic=account-crn
        """
        parts = self.instance.split(":")
        return parts[5] or None if len(parts) > 5 else None


class Account:
    """Hands out the connection; thread-safe.

    Args:
        settings: the account.
        reread: called for the settings whenever the service is built anew, since a token that
            expired may have been replaced meanwhile; None keeps ``settings``. A token file is
            read anew in any case.
    """

    def __init__(
        self, settings: IBMSettings, reread: Callable[[], IBMSettings] | None = None
    ) -> None:
        self._settings, self._reread = settings, reread
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._built = False

    def connection(self, call: Call) -> Connection:
        """The connection, built now if there is none."""
        ready = self._connection
        if ready is not None:
            return ready
        if not self._lock.acquire(timeout=max(call.remaining(), 0)):
            raise OutOfTime("another call is still signing in")
        try:
            if self._connection is None:
                if self._built and self._reread is not None:
                    self._settings = self._reread()
                self._built = True
                self._connection = connect(self._settings)
                # The client swallows some failures while it starts; they are not this call's.
                call.restart()
            return self._connection
        finally:
            self._lock.release()

    def drop(self, connection: Connection | None) -> None:
        """Build a new one next time, unless another call has already seen to that."""
        with self._lock:
            if self._connection is connection:
                self._connection = None


def connect(settings: IBMSettings) -> Connection:
    """Sign in.

    Raises:
        PermanentProviderError: the settings are not complete.
        TokenFileUnreadable: there is no token in the token file now.
        Exception: whatever the client raises.
    """
    token = api_key(settings)
    if settings.instance is None:
        # Jobs are listed by instance. Were it chosen by the client, a look-up by tag might ask
        # another instance than the submission did, and find nothing.
        raise PermanentProviderError("IBM Quantum: no instance (set QSAGA_IBM__INSTANCE)")
    if settings.iam_url is not None:
        os.environ["IAM_URL"] = settings.iam_url  # the only way in that the client offers
    proxies = {"urls": {"http": settings.proxy, "https": settings.proxy}}
    service = _service_class(settings)(
        channel=settings.channel,
        token=token,
        url=settings.url,
        instance=settings.instance,
        proxies=proxies if settings.proxy else None,
    )
    crn = service.active_account()["instance"]
    if getattr(service, "_saved_instances", None):
        raise PermanentProviderError(
            f"IBM Quantum: several instances are named {settings.instance!r}; give the CRN"
        )
    client = active_client(service)
    return Connection(service, client, crn)


def api_key(settings: IBMSettings) -> str:
    """The API key, from the token file if one is given. Raises as ``connect``."""
    if settings.token_file is not None:
        where = f"QSAGA_IBM__TOKEN_FILE {settings.token_file}"
        try:
            key = settings.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise TokenFileUnreadable(f"{where}: {reason}") from error
        if not key:
            raise TokenFileUnreadable(f"{where}: the file is empty")
        return key
    if settings.token is None:
        raise PermanentProviderError(
            "IBM Quantum: no token (set QSAGA_IBM__TOKEN or QSAGA_IBM__TOKEN_FILE)"
        )
    return settings.token.get_secret_value()


def active_client(service: Any) -> Any:
    """The API client of a service: a private attribute, named in this module and nowhere else."""
    return service._active_api_client  # noqa: SLF001


def _service_class(settings: IBMSettings) -> Any:
    """The vendor's service, except that its API clients are guarded as soon as they are set.

    The constructor already talks to the service, with a client that it makes itself, so that
    guarding the finished object would leave its first requests unbounded.
    """

    class GuardedService(QiskitRuntimeService):  # type: ignore[misc]
        @property
        def _active_api_client(self) -> Any:
            return self.__dict__["_guarded_client"]

        @_active_api_client.setter
        def _active_api_client(self, client: Any) -> None:
            guard(client, settings.call_timeout, noted if settings.client_retries else None)
            self.__dict__["_guarded_client"] = client

    return GuardedService
