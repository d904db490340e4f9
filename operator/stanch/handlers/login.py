from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import kopf

from stanch.errors import Rejected
from stanch.kube.credentials import BEARER
from stanch.kube.transport import USER_AGENT

if TYPE_CHECKING:
    from types import SimpleNamespace

    from kubernetes.aio.client import Configuration

    from stanch.kube.credentials import Credentials

# Kopf reads the credentials again then; without an expiration one spurious 401 ends it.
EXPIRATION = timedelta(minutes=10)
WATCH_PAUSE_SECONDS = 1.0


class Pace:
    """No kind is watched anew sooner than after this pause.

    A server (or proxy) that answers a watch and closes it at once would otherwise be asked thousands of times
    a second.
    """

    def __init__(self, pause: float = WATCH_PAUSE_SECONDS) -> None:
        self._pause = pause
        self._next: dict[str, float] = {}

    async def keep(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        params: aiohttp.TraceRequestStartParams,
    ) -> None:
        if "watch" not in params.url.query:
            return
        now = asyncio.get_running_loop().time()
        due = max(now, self._next.get(params.url.path, now))
        self._next[params.url.path] = due + self._pause
        await asyncio.sleep(due - now)

    def trace(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self.keep)
        return config


def register(registry: kopf.OperatorRegistry, credentials: Credentials) -> None:
    """Kopf logs in with the very credentials our own client uses."""
    pace = Pace()

    async def login(**_: object) -> kopf.AiohttpSession:
        try:
            configuration = await credentials.load()
        except Rejected as error:
            raise kopf.TemporaryError(str(error), delay=5) from error
        return session(connection(configuration), pace, datetime.now(UTC))

    kopf.on.login(id="login", registry=registry)(login)


def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    scheme, _, token = (configuration.api_key.get(BEARER) or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token.strip() or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


def session(info: kopf.ConnectionInfo, pace: Pace, now: datetime) -> kopf.AiohttpSession:
    """What Kopf would make of `info` by itself, but paced. Kopf closes it."""
    return kopf.AiohttpSession(
        server=info.server,
        expiration=now + EXPIRATION,
        aiohttp_session=aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers={"User-Agent": USER_AGENT, **info.as_http_headers()},
            proxy=info.proxy_url,
            trace_configs=[pace.trace()],
        ),
    )
