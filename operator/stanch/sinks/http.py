"""Posting to one address: one attempt, no redirection, no proxy of the environment; no answer is read."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from stanch.errors import Rejected
from stanch.sinks.model import Undelivered

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750, section 2.1
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(slots=True)
class Address:
    """`flag` is what people set it by: errors name that and never the URL, which may have a secret in it.

    Files are read again each time: they may rotate. Raises Rejected when `url` is no address, or has
    credentials in it.
    """

    flag: str
    url: str
    token_file: Path | None
    ca_file: Path | None
    """None: the system's authorities."""
    timeout: float
    """Seconds, from connecting to the answer's status."""
    _session: aiohttp.ClientSession | None = None
    _trust: tuple[object, ssl.SSLContext] | None = field(default=None)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise Rejected(
                "BadSinkUrl",
                f"--{self.flag}-url has to look like https://events.example.test/path, without credentials "
                f"(those go into --{self.flag}-token-file) or fragment",
            )

    async def post(self, body: bytes, content_type: str) -> None:
        """Returns on 2xx. Raises Undelivered."""
        headers = {"Content-Type": content_type, **self._authorization()}
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.post(
                self.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=self._context(),
                timeout=aiohttp.ClientTimeout(total=self.timeout),
            ) as answer:
                code, after = answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise Undelivered(f"it has not answered within {self.timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise Undelivered(f"it cannot be reached: {_why(error)}; see --{self.flag}-url") from None
        judge(code, after, self.flag)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _authorization(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        try:
            token = self.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Undelivered(
                f"nothing was sent: the token cannot be read, {why}; see --{self.flag}-token-file"
            ) from None
        if not _TOKEN.fullmatch(token):
            raise Undelivered(f"nothing was sent: no bearer token is in the file of --{self.flag}-token-file")
        return {"Authorization": f"Bearer {token}"}

    def _context(self) -> ssl.SSLContext:
        try:
            status = self.ca_file.stat() if self.ca_file else None
            version = status and (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._trust is None or self._trust[0] != version:
                self._trust = version, ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise Undelivered(
                f"nothing was sent: no certificate authority can be read, {error.strerror}; see "
                f"--{self.flag}-ca-file"
            ) from None
        return self._trust[1]


def judge(code: int, retry_after: str, flag: str) -> None:
    """What an answer's status means. Raises Undelivered unless it was taken."""
    if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
        return
    after = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 7 else 0.0  # noqa: PLR2004 - longer is no wait
    if code < HTTPStatus.BAD_REQUEST:
        raise Undelivered(f"it answers {code}: another address, which is not followed; see --{flag}-url")
    if code < HTTPStatus.INTERNAL_SERVER_ERROR and code not in _LATER:
        hint = f"; see --{flag}-token-file" if code in {401, 403} else ""
        raise Undelivered(f"it answers {code}{hint}", permanent=True)
    raise Undelivered(f"it answers {code}", after=after)


def _why(error: aiohttp.ClientError) -> str:
    """Without the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its certificate is not accepted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not resolved"
    if isinstance(error, aiohttp.ClientConnectorError) and (error.os_error.errno or 0) > 0:
        return os.strerror(error.os_error.errno or 0)
    return type(error).__name__


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        credentials, port = parts.username or parts.password, parts.port
    except ValueError:
        return False
    known = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    return known and not (credentials or parts.fragment)
