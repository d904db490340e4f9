"""The TLS socket of the receiver. It stays reachable whoever holds connections open without saying anything.

aiohttp has no limit on connections, and no strict one on how long handshakes and headers take. Here every
connection is *unknown* until its sender has been authenticated (`vouch`), and an unknown one has little time.
When there are too many connections, the one that has been unknown the longest gives way to the newcomer; a
sender with a credential is not unknown for longer than some milliseconds.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

log = structlog.get_logger(__name__)

ACCEPT_PAUSE_SECONDS = 1.0
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
MAX_LINE_BYTES = 8190
TOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much strangers may hold. `idle`: from one answer until the next request has been authenticated."""

    connections: int = 128
    handshake: float = 5.0
    unknown: float = 15.0
    idle: float = 60.0


class Connection(asyncio.Protocol):
    """Stands between the transport and aiohttp's protocol, to see when it begins and ends."""

    def __init__(self, listener: Listener, inner: asyncio.Protocol) -> None:
        self._listener = listener
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.handshake: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def give(self, seconds: float | None) -> None:
        """It is cut after so long; None: it has all the time."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if seconds is None else loop.call_later(seconds, self._listener.cut, self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener.made(self, transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.lost(self, self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class Listener:
    """Serves `app` over TLS. Handlers call `vouch` once they know the sender.

    `tls` is asked at each handshake: certificates change while it runs. None: there is none yet, and the
    connection is closed.
    """

    def __init__(
        self, app: web.Application, tls: Callable[[], ssl.SSLContext | None], bounds: Bounds | None = None
    ) -> None:
        self.bounds = bounds or Bounds()
        self.port = 0
        self._tls = tls
        self._open: dict[Connection, None] = {}
        self._unknown: dict[Connection, None] = {}  # in the order in which they became so
        self._by_transport: dict[asyncio.BaseTransport, Connection] = {}
        self._accepting: asyncio.Task[None] | None = None
        self._told_at = float("-inf")
        app[LISTENER] = self
        app.middlewares.append(_unknown_again)
        # aiohttp closes connections on which nothing has begun, long before one with half a request is cut.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=1.0,
            keepalive_timeout=self.bounds.idle / 2,
            max_line_size=MAX_LINE_BYTES,
            auto_decompress=False,  # no sender compresses, and a little can unpack to a lot
        )

    async def start(self, host: str, port: int) -> None:
        """Raises OSError if the port is taken."""
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=self.bounds.connections)
        listening.setblocking(False)
        self.port = int(listening.getsockname()[1])
        self._accepting = asyncio.create_task(self._accept(listening), name="receiver")

    async def stop(self) -> None:
        tasks = [connection.handshake for connection in self._open if connection.handshake is not None]
        if self._accepting is not None:
            tasks.append(self._accepting)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._runner.cleanup()

    def vouch(self, request: web.Request) -> None:
        """The sender is known: from here on its handler decides how long it may take."""
        connection = self._of(request)
        if connection is not None:
            self._unknown.pop(connection, None)
            connection.give(None)

    def unknown_again(self, request: web.Request) -> None:
        """The request is answered: whoever asks next on this connection has to say again who it is."""
        connection = self._of(request)
        if connection is not None:
            self._unknown.pop(connection, None)
            self._unknown[connection] = None
            connection.give(self.bounds.idle)

    def hang_up(self, request: web.Request) -> None:
        connection = self._of(request)
        if connection is not None:
            self.cut(connection)

    def cut(self, connection: Connection) -> None:
        self._forget(connection)
        connection.abort()

    def made(self, connection: Connection, transport: asyncio.BaseTransport) -> None:
        self._by_transport[transport] = connection

    def lost(self, connection: Connection, transport: asyncio.BaseTransport | None) -> None:
        self._forget(connection)
        if transport is not None:
            self._by_transport.pop(transport, None)

    def _of(self, request: web.Request) -> Connection | None:
        """None once it is lost."""
        return None if request.transport is None else self._by_transport.get(request.transport)

    def _forget(self, connection: Connection) -> None:
        connection.give(None)
        self._open.pop(connection, None)
        self._unknown.pop(connection, None)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(listening)
                except OSError as error:
                    # Anything else is about that one connection, which went away before it was accepted.
                    if error.errno in OUT_OF_RESOURCES:
                        log.warning("no connection can be accepted for a moment", error=str(error))
                        await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                    continue
                if self._has_room():
                    self._take(accepted)
                else:
                    accepted.close()

    def _has_room(self) -> bool:
        """After the one that has been unknown the longest was cut, if need be."""
        if len(self._open) < self.bounds.connections:
            return True
        self._tell()
        oldest = next(iter(self._unknown), None)
        if oldest is not None:
            self.cut(oldest)
        return oldest is not None

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.warning(
                "the receiver has too many connections: for each new one, the one that has been "
                "unauthenticated the longest is cut",
                most=self.bounds.connections,
            )

    def _take(self, accepted: socket.socket) -> None:
        server, context = self._runner.server, self._tls()
        if server is None or context is None:  # stopping, or not able to serve yet
            accepted.close()
            return
        connection = Connection(self, server())
        self._open[connection] = None
        self._unknown[connection] = None
        connection.give(self.bounds.unknown)
        connection.handshake = asyncio.create_task(self._shake_hands(connection, accepted, context))
        # A task that is cancelled before it begins closes nothing.
        connection.handshake.add_done_callback(lambda _: None if connection.connected else accepted.close())

    async def _shake_hands(
        self, connection: Connection, accepted: socket.socket, context: ssl.SSLContext
    ) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=self.bounds.handshake,
                ssl_shutdown_timeout=self.bounds.handshake,
            )
        except OSError as error:  # also ssl.SSLError and TimeoutError
            log.debug("a connection to the receiver came to nothing", error=str(error))
            self._forget(connection)
        finally:
            connection.handshake = None


LISTENER: web.AppKey[Listener] = web.AppKey("listener", Listener)


@web.middleware
async def _unknown_again(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    finally:
        request.app[LISTENER].unknown_again(request)
