"""Prometheus' query API through prometheus-api-client: what goes over the wire, and nothing that decides.

That client waits, by default for ever, and tries again by itself. So each query has a thread, one connection
and one attempt, and when its time is up the connection is shut under it: no server keeps a thread by
answering slowly. The threads are daemons, because a name server that is gone keeps them all the same, and
the operator has to be able to end.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import BytesIO
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from prometheus_api_client.prometheus_connect import PrometheusConnect
from requests import RequestException, Session, Timeout
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as BodyTimeout

from stanch.errors import Rejected
from stanch.prometheus.samples import (
    MOST_SERIES,
    QueryFailed,
    Reason,
    judge,
    not_prometheus,
    parse,
    timed_out,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from requests import PreparedRequest, Response
    from urllib3 import HTTPConnectionPool

    from stanch.prometheus.samples import Samples

AT_ONCE = 8
MOST_BYTES = 8 * 1024 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750, section 2.1


@dataclass(slots=True)
class PromClient:
    """`url` is what stands before `/api/v1/query`. Files are read again when they change: they may rotate.

    The environment's proxies are not used, and no redirection is followed: the token is for `url` alone.
    Raises Rejected when `url` is no address, or has credentials in it.
    """

    url: str
    token_file: Path | None
    ca_file: Path | None
    """None: the system's authorities."""
    timeout: float
    """Seconds that a query may wait for its turn, and again for its answer."""
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _trust: _Trust = field(init=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise Rejected(
                "BadPrometheusUrl",
                "--prometheus-url has to look like https://prometheus.example.test/path, without credentials "
                "(those go into --prometheus-token-file), query or fragment",
            )
        self.url = self.url.rstrip("/")
        self._trust = _Trust(self.ca_file)

    async def query(self, expression: str, *, most: int = MOST_SERIES) -> Samples:
        """The samples of an instant query, as of now. Raises QueryFailed."""
        try:
            async with asyncio.timeout(self.timeout):
                await self._free.acquire()
        except TimeoutError:
            raise QueryFailed(
                Reason.TIMEOUT, f"{AT_ONCE} queries before it have no answer; see what Prometheus does"
            ) from None
        line = _Line(self._trust.context)
        answered = asyncio.wrap_future(_in_a_thread(lambda: self._ask(line, expression, most)))
        answered.add_done_callback(lambda _: self._free.release())
        try:
            await asyncio.wait({answered}, timeout=self.timeout)
        finally:
            line.cut()
        outcome = answered.result() if answered.done() else timed_out()
        if isinstance(outcome, QueryFailed):
            raise outcome
        return outcome

    def graph(self, expression: str) -> str:
        """Where a person sees the query's graph."""
        return f"{self.url}/graph?g0.expr={quote(expression, safe='')}&g0.tab=0"

    def _ask(self, line: _Line, expression: str, most: int) -> Samples | QueryFailed:
        try:
            with _Session() as session:
                prometheus = PrometheusConnect(
                    self.url, headers=self._headers(), retry=Retry(0), session=session
                )
                session.mount(self.url, line)  # in place of what the client has mounted
                give_up = {"timeout": f"{max(1, round(self.timeout * 1000))}ms"}
                result = prometheus.custom_query(expression, params=give_up, timeout=self.timeout)  # type: ignore[arg-type] # requests takes parts of seconds
                return parse(result, most=most)
        except QueryFailed as failed:
            return failed
        except (RequestException, HTTPError) as error:
            return _explained(error)

    def _headers(self) -> dict[str, str]:
        """Raises QueryFailed where there is to be a token and is none: then nothing is asked."""
        if self.token_file is None:
            return {}
        try:
            token = self.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise QueryFailed(
                Reason.UNAUTHORIZED, f"the token cannot be read, {error}; see --prometheus-token-file"
            ) from error
        if not _TOKEN.fullmatch(token):
            raise QueryFailed(
                Reason.UNAUTHORIZED, f"no bearer token is in {self.token_file}; see --prometheus-token-file"
            )
        return {"Authorization": f"Bearer {token}"}


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        credentials, port = parts.username or parts.password, parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and port != 0
        and not (credentials or parts.query or parts.fragment)
    )


@dataclass(slots=True)
class _Trust:
    """The TLS context of a file of authorities. Making one takes tens of milliseconds."""

    ca_file: Path | None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _made: tuple[object, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Raises QueryFailed when the file cannot be used."""
        with self._lock:
            try:
                version = self._version()
                if self._made is None or self._made[0] != version:
                    self._made = (version, ssl.create_default_context(cafile=self.ca_file))
            except OSError as error:
                raise QueryFailed(
                    Reason.UNREACHABLE,
                    f"no certificate authority can be read from {self.ca_file}, {error.strerror}; see "
                    "--prometheus-ca-file",
                ) from error
            return self._made[1]

    def _version(self) -> object:
        status = self.ca_file.stat() if self.ca_file else None
        return status and (status.st_mtime_ns, status.st_ino, status.st_size)


class _Session(Session):
    """One address, one attempt, and an answer of bounded size that is one of Prometheus'."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, resp: Response) -> str | None:  # noqa: ARG002 - wherever it leads
        return None

    def request(self, *args: Any, **options: Any) -> Response:
        """Raises QueryFailed for any other answer."""
        response = super().request(*args, **options | {"stream": True})
        with response.raw as raw:
            body = raw.read(MOST_BYTES + 1, decode_content=True)
        if len(body) > MOST_BYTES:
            raise QueryFailed(
                Reason.BAD_QUERY,
                f"more than {MOST_BYTES} bytes of answer; sum or narrow the query until it gives fewer",
            )
        judge(response.status_code, body)
        response.raw = BytesIO(body)
        return response


class _Line(HTTPAdapter):
    """Connections that another thread can shut."""

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._is_cut = False
        super().__init__()

    def cut(self) -> None:
        """Whoever waits for what is read from them fails now, and whoever opens another, at once."""
        with self._lock:
            self._is_cut = True
            for connection in self._open:
                _shut(connection)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _telling(pool.ConnectionCls, self._opened)
        return pool

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        address, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return address, {"ssl_context": self._tls()} if address["scheme"] == "https" else {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has all of it; the bundle that comes with requests is not to be trusted beside."""

    def _opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.append(connection)
            if self._is_cut:
                _shut(connection)


def _telling(kind: Any, opened: Callable[[socket.socket], None]) -> Any:
    class Telling(kind):  # type: ignore[misc] # HTTPConnection or HTTPSConnection
        def connect(self) -> None:
            super().connect()
            opened(self.sock)

    return Telling


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(SHUT_RDWR)
    except OSError:
        return  # closed by now


def _in_a_thread(ask: Callable[[], Samples | QueryFailed]) -> Future[Samples | QueryFailed]:
    future: Future[Samples | QueryFailed] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="query of Prometheus").start()
    return future


def _explained(error: BaseException) -> QueryFailed:
    """Without the object ids that are in what requests says, so that the same fault has the same words."""
    if isinstance(error, Timeout | BodyTimeout):
        return timed_out()
    chain = list(_chain(error))
    garbled = next((one for one in chain if isinstance(one, http.client.HTTPException)), None)
    if garbled is not None and not isinstance(garbled, http.client.RemoteDisconnected):
        return not_prometheus("the answer is no HTTP, or ends midway")
    system = next(
        (
            one
            for one in reversed(chain)
            if isinstance(one, OSError) and not isinstance(one, RequestException)
        ),
        None,
    )
    said = (system.strerror or str(system)) if system is not None else str(error)
    return QueryFailed(
        Reason.UNREACHABLE,
        f"Prometheus cannot be reached, {said}; see --prometheus-url, --prometheus-ca-file, and what stands "
        "in between",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
