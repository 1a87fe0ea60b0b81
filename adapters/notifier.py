"""Telling people: a line in the log, and a POST to a web hook where one is set."""

from __future__ import annotations

import logging

import httpx

from qsaga.core.errors import PermanentProviderError, TransientProviderError
from qsaga.core.records import Notice

SECONDS = 10.0
_log = logging.getLogger("qsaga.notices")


class LogNotifier:
    """Writes notices to the log ``qsaga.notices``."""

    async def tell(self, notice: Notice) -> None:
        """Write it."""
        _log.info("%s %s: %s", notice.kind, notice.job_id, notice.text)


class WebhookNotifier:
    """Posts notices as JSON (the schema of ``Notice``) to one URL, and logs them.

    Args:
        url: http or https; any 2xx is a success, 5xx and no answer may work later.
    """

    def __init__(self, url: str) -> None:
        self._url, self._logged = url, LogNotifier()
        # It would log the address of every request, and whoever has that of a hook may post there.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    async def tell(self, notice: Notice) -> None:
        """Post it.

        Raises:
            TransientProviderError: nobody answered, or with 408, 429 or 5xx.
            PermanentProviderError: any other status.
        """
        await self._logged.tell(notice)
        try:
            async with httpx.AsyncClient(timeout=SECONDS) as client:
                reply = await client.post(
                    self._url,
                    content=notice.model_dump_json(),
                    headers={"Content-Type": "application/json"},
                )
        except httpx.HTTPError as error:
            raise TransientProviderError(f"web hook: {type(error).__name__}: {error}") from error
        if reply.status_code in (408, 429) or reply.status_code >= 500:
            raise TransientProviderError(f"web hook answered {reply.status_code}")
        if not reply.is_success:
            raise PermanentProviderError(f"web hook answered {reply.status_code}")
