"""Asks Alertmanager for the alerts that a truncated notification left out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from stanch.observability.tokens import SecretFile
from stanch.signals.alertmanager.payload import NotANotification, left_out, question_about

if TYPE_CHECKING:
    from stanch.settings import Settings
    from stanch.signals.alertmanager.payload import Malformed, Notification
    from stanch.signals.model import Signal

SECONDS = 10.0
MAX_BYTES = 32 * 1024 * 1024


class NotCompleted(Exception):
    """What was left out is not known; the message says why and what to do."""


class AlertmanagerApi:
    def __init__(self, url: str, token: SecretFile | None = None, *, seconds: float = SECONDS) -> None:
        self._url = URL(url) / "api/v2/alerts"
        self._token = token
        self._seconds = seconds

    @classmethod
    def from_settings(cls, settings: Settings) -> AlertmanagerApi | None:
        if settings.alertmanager_url is None:
            return None
        file = settings.alertmanager_token_file
        return cls(settings.alertmanager_url, None if file is None else SecretFile(file))

    async def left_out(self, notification: Notification) -> tuple[list[Signal], list[Malformed]]:
        """Raises NotCompleted. One deadline is on all of it: connecting, asking, reading."""
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._ask(question_about(notification))
            return left_out(notification, body)
        except TimeoutError as error:
            raise NotCompleted(f"Alertmanager did not answer within {self._seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotCompleted(f"Alertmanager cannot be asked: {error}") from error
        except NotANotification as error:
            raise NotCompleted(f"Alertmanager's answer is of no use: {error}") from error

    async def _ask(self, question: list[tuple[str, str]]) -> bytes:
        """A session of its own, for this is rare. A redirect could lead the token away: none is followed."""
        headers = {"Accept-Encoding": "identity"}
        if self._token is not None:
            tokens = self._token.secrets()
            if not tokens:
                raise NotCompleted(f"there is no token for Alertmanager in {self._token.path}")
            headers["Authorization"] = f"Bearer {tokens[0].decode(errors='replace')}"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(self._url.with_query(question), headers=headers, allow_redirects=False) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise NotCompleted(f"Alertmanager answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise NotCompleted(f"Alertmanager's answer has more than {MAX_BYTES} bytes")
            return bytes(body)
