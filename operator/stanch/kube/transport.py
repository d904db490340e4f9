"""One HTTP request to the API server: credentials, deadlines, errors."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from stanch import __version__
from stanch.errors import Rejected, Unavailable
from stanch.kube.credentials import BEARER, fingerprint, is_anonymous
from stanch.kube.translate import error_from, is_absent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
    from datetime import datetime

    from aiohttp import ClientResponse
    from kubernetes.aio.client import Configuration

    from stanch.kube.credentials import Credentials

Json = dict[str, Any]

USER_AGENT = f"stanch/{__version__}"
Fence = Callable[[], float]
"""Seconds for which a write may still be under way. Raises FenceLost when none may be sent."""
RELOAD_SECONDS = 600.0  # exec plugins and rotated files are read again at least so often
RELOAD_PAUSE_SECONDS = 1.0  # many refused requests at once cause one reload
NETWORK_RETRY_SECONDS = 1.0
LONGEST_LINE = 8 << 20
"""Bytes. etcd takes objects of 1.5 MiB, and an event of a watch is one of them in a line."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    request: float = 30.0
    connect: float = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """`verb` is the RBAC verb, `what` how an error names the request: `patch Deployment chat/llm`."""

    verb: str
    resource: str
    what: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Json | list[Json] | None = None
    content_type: str = "application/json"
    accept: str = "application/json"

    @property
    def doubt(self) -> str:
        """What is not known when there is no answer. Who only asked has changed nothing."""
        return "" if self.method == "GET" else "; it may have been done"


@dataclass(frozen=True, slots=True)
class Observed:
    """One finished request; `code` 0: no answer."""

    verb: str
    resource: str
    code: int
    seconds: float


@dataclass(slots=True)
class CallCount:
    calls: int = 0


_counting: ContextVar[CallCount | None] = ContextVar("stanch_api_calls", default=None)


@contextmanager
def count_calls(count: CallCount) -> Iterator[CallCount]:
    """Add every API request made inside (also by child tasks) to `count`."""
    token = _counting.set(count)
    try:
        yield count
    finally:
        _counting.reset(token)


def calls_so_far() -> int:
    """API requests of the innermost `count_calls` around us; 0 outside of any."""
    count = _counting.get()
    return 0 if count is None else count.calls


def _ignore(_observed: Observed) -> None:
    pass


def unfenced() -> float:
    """Who only reads, or is alone: nothing to check."""
    return math.inf


def agent_of(identity: str) -> str:
    """The User-Agent of one operator process: the audit log then tells whose write it was."""
    return f"{USER_AGENT} ({identity})"


@dataclass(slots=True)
class Transport:
    """Owns the connection pool. `observe` is called once per HTTP request."""

    credentials: Credentials
    timeouts: Timeouts = field(default_factory=Timeouts)
    observe: Callable[[Observed], None] = _ignore
    user_agent: str = USER_AGENT
    _api: ApiClient | None = None
    _loaded: tuple[object, ...] = ()
    _loaded_at: float = float("-inf")
    _retired: list[ApiClient] = field(default_factory=list)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def configuration(self) -> Configuration:
        configuration: Configuration = (await self._client()).configuration
        return configuration

    async def send(self, request: Request, *, before: Fence, absent_is_none: bool = False) -> Json | None:
        """The answer's JSON object, or None if `absent_is_none` and the object does not exist.

        `before` is asked directly before each attempt; an attempt that has no answer when the time it gave
        is over is given up, so that nothing waits for a connection longer than that. Raises StanchError.
        """
        body = await self.fetch(request, before=before, absent_is_none=absent_is_none)
        return None if body is None else _parse(request, body)

    async def fetch(self, request: Request, *, before: Fence, absent_is_none: bool = False) -> bytes | None:
        """As `send`, for an answer that is no JSON: a log."""
        client = await self._client()
        code, headers, body = await self._attempt(client, request, before)
        if code == HTTPStatus.UNAUTHORIZED:
            client = await self._client(refused=True)
            code, headers, body = await self._attempt(client, request, before)
        if code < HTTPStatus.MULTIPLE_CHOICES:
            return body
        if absent_is_none and is_absent(code, body):
            return None
        raise error_from(request.what, code, headers, body)

    async def clock(self, request: Request) -> datetime:
        """What time it is there, in whole seconds, by the answer's Date. Raises StanchError."""
        _, headers, _ = await self._attempt(await self._client(), request, unfenced)
        try:
            return parsedate_to_datetime(headers.get("Date", ""))
        except ValueError as error:
            raise Unavailable(
                "NoDate", f"{request.what}: the answer has no date", NETWORK_RETRY_SECONDS
            ) from error

    async def close(self) -> None:
        for client in [*self._retired, *([self._api] if self._api else [])]:
            await client.close()
        self._retired.clear()
        self._api = None

    async def stream(self, request: Request, *, seconds: float) -> AsyncGenerator[bytes, None]:
        """The answer line by line, as it comes, until the server ends it. Close it when you leave early.

        Raises StanchError; Unavailable also when it has not ended after `seconds`.
        """
        for again in (True, False):
            client = await self._client(refused=not again)
            async with self._answer(client, request, seconds) as answer:
                if answer.status == HTTPStatus.UNAUTHORIZED and again:
                    continue
                if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise error_from(request.what, answer.status, answer.headers, await answer.read())
                async for line in _lines(request, answer):
                    yield line
            return

    async def _attempt(
        self, client: ApiClient, request: Request, before: Fence
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with self._answer(client, request, min(self.timeouts.request, before())) as answer:
            return answer.status, answer.headers, await answer.read()

    @asynccontextmanager
    async def _answer(
        self, client: ApiClient, request: Request, within: float
    ) -> AsyncIterator[ClientResponse]:
        """What is read inside has to come `within` that many seconds, too."""
        headers = {
            "Accept": request.accept,
            "User-Agent": self.user_agent,
            "Content-Type": request.content_type,
        }
        await client.update_params_for_auth(headers, [], [BEARER], request.path, request.method, request.body)
        url = client.configuration.host + request.path
        if request.query:
            url += "?" + urlencode(request.query)
        count = _counting.get()
        if count is not None:
            count.calls += 1
        started, code = time.monotonic(), 0
        try:
            answered = await client.rest_client.request(
                request.method,
                url,
                headers=headers,
                body=request.body,
                _request_timeout=aiohttp.ClientTimeout(total=within, sock_connect=self.timeouts.connect),
            )
            async with answered.response as answer:
                yield answer
                code = answer.status
        except TimeoutError as error:
            raise Unavailable(
                "Timeout",
                f"{request.what}: no answer in time ({within:.3g} s){request.doubt}",
                NETWORK_RETRY_SECONDS,
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                "NetworkError",
                f"{request.what}: {error or type(error).__name__}{request.doubt}",
                NETWORK_RETRY_SECONDS,
            ) from error
        finally:
            self.observe(Observed(request.verb, request.resource, code, time.monotonic() - started))

    async def _client(self, *, refused: bool = False) -> ApiClient:
        """The current client; credentials are read again when old, or when they were `refused`."""
        max_age = RELOAD_PAUSE_SECONDS if refused else RELOAD_SECONDS
        if self._api is None or time.monotonic() - self._loaded_at > max_age:
            async with self._lock:
                if self._api is None or time.monotonic() - self._loaded_at > max_age:
                    await self._load()
        if self._api is None:
            raise Unavailable("Credentials", "the client was closed", NETWORK_RETRY_SECONDS)
        return self._api

    async def _load(self) -> None:
        try:
            fresh = await self.credentials.load()
            loaded = fingerprint(fresh)
        except (Rejected, OSError) as error:
            if self._api is None:
                raise
            raise Unavailable("Credentials", f"credentials could not be read again: {error}", 5.0) from error
        if self._api is not None and is_anonymous(fresh) and not is_anonymous(self._api.configuration):
            raise Unavailable("Credentials", "the credential plugin or file yielded nothing this time", 5.0)
        if self._api is not None and loaded == self._loaded:
            self._api.configuration.api_key = fresh.api_key
            self._api.configuration.refresh_api_key_hook = fresh.refresh_api_key_hook
        else:
            if self._api is not None:
                self._retired.append(self._api)  # requests under way still use it
            self._api = ApiClient(configuration=fresh)
            self._loaded = loaded
        self._loaded_at = time.monotonic()


async def _lines(request: Request, answer: ClientResponse) -> AsyncIterator[bytes]:
    """Aiohttp's own lines are shorter than objects are."""
    begun = b""
    async for piece in answer.content.iter_any():
        *whole, begun = (begun + piece).split(b"\n")
        for line in whole:
            yield line
        if len(begun) > LONGEST_LINE:
            raise Unavailable(
                "BadAnswer",
                f"{request.what}: a line of more than {LONGEST_LINE} bytes",
                NETWORK_RETRY_SECONDS,
            )


def _parse(request: Request, body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            "BadAnswer", f"{request.what}: the answer is not JSON: {error}", NETWORK_RETRY_SECONDS
        ) from error
    if not isinstance(parsed, dict):
        raise Unavailable("BadAnswer", f"{request.what}: the answer is no object", NETWORK_RETRY_SECONDS)
    return parsed
