"""The receiver's socket stays reachable, whoever holds connections open without saying anything."""

from __future__ import annotations

import asyncio
import io
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from stanch.observability.listener import LISTENER, Bounds, Listener
from stanch.observability.metrics import Metrics
from stanch.observability.server import Health, Servers, tls
from stanch.settings import Settings
from tests.unit.signals.receiving import Certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.at(tmp_path_factory.mktemp("pki"))


class Under:
    """A listener whose only handler knows its sender at once, and then waits to be told to answer."""

    def __init__(self, certificates: Certificates, bounds: Bounds) -> None:
        self.certificates = certificates
        self.may_answer = asyncio.Event()
        self.handling = 0
        app = web.Application()
        app.router.add_get("/", self.handle)
        app.router.add_get("/unknown", self.refuse)
        app.router.add_get("/large", self.say_much)
        settings = Settings(
            tls_cert_file=certificates.server.certificate, tls_key_file=certificates.server.key
        )
        self.listener = Listener(app, tls(settings).context, bounds)
        self.may_answer.set()

    async def handle(self, request: web.Request) -> web.Response:
        request.app[LISTENER].vouch(request)
        self.handling += 1
        await self.may_answer.wait()
        return web.Response(text="known")

    async def refuse(self, _request: web.Request) -> web.Response:
        return web.Response(status=401)

    async def say_much(self, request: web.Request) -> web.Response:
        request.app[LISTENER].vouch(request)
        return web.Response(body=io.BytesIO(b" " * 50_000_000))

    async def get(self) -> int:
        context = self.certificates.client_context()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{self.listener.port}/", ssl=context) as answer,
        ):
            await answer.read()
            return answer.status

    async def connect(self) -> Streams:
        return await asyncio.open_connection(
            "127.0.0.1", self.listener.port, ssl=self.certificates.client_context()
        )

    async def connect_in_the_clear(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.listener.port)


@asynccontextmanager
async def listening(certificates: Certificates, **bounds: float) -> AsyncIterator[Under]:
    connections = int(bounds.pop("connections", 128))
    under_test = Under(certificates, Bounds(connections=connections, **bounds))
    await under_test.listener.start("127.0.0.1", 0)
    try:
        yield under_test
    finally:
        await under_test.listener.stop()


async def closed(streams: Streams, *, within: float = 3.0) -> None:
    """Raises TimeoutError if the server does not close it in time."""
    reader, writer = streams
    async with asyncio.timeout(within):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
    writer.transport.abort()


def is_open(streams: Streams) -> bool:
    return not streams[0].at_eof() and streams[0].exception() is None


async def test_headers_that_do_not_come_are_given_up(certificates: Certificates) -> None:
    async with listening(certificates, unknown=0.3) as under_test:
        silent, dripping = await under_test.connect(), await under_test.connect()
        dripping[1].write(b"GET / HTTP/1.1\r\n")
        for number in range(4):
            dripping[1].write(b"X-%d: y\r\n" % number)
            await asyncio.sleep(0.05)
        await closed(silent)
        await closed(dripping)
        assert await under_test.get() == 200


async def test_a_handshake_that_does_not_come_is_given_up(certificates: Certificates) -> None:
    async with listening(certificates, handshake=0.3) as under_test:
        await closed(await under_test.connect_in_the_clear())
        assert await under_test.get() == 200


async def test_an_answered_connection_is_not_kept_for_ever(certificates: Certificates) -> None:
    async with listening(certificates, idle=0.4) as under_test:
        idle, half = await under_test.connect(), await under_test.connect()
        for _, writer in (idle, half):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        half[1].write(b"GET / HTTP/1.1\r\n")
        await closed(idle)
        await closed(half)
        assert under_test.handling == 2


async def test_an_answer_that_nobody_reads_is_not_kept_for_ever(certificates: Certificates) -> None:
    async with listening(certificates, idle=0.4) as under_test:
        _, writer = await under_test.connect()
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.2)
        assert len(under_test.listener._open) == 1
        async with asyncio.timeout(3):
            while under_test.listener._open:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.05)
        writer.transport.abort()


async def test_several_requests_may_come_over_one_connection(certificates: Certificates) -> None:
    async with listening(certificates) as under_test:
        reader, writer = await under_test.connect()
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"known")
            assert b" 200 " in head.splitlines()[0]
        writer.close()


async def test_who_is_known_may_take_longer(certificates: Certificates) -> None:
    async with listening(certificates, unknown=0.2) as under_test:
        under_test.may_answer.clear()
        asking = asyncio.create_task(under_test.get())
        await asyncio.sleep(0.6)
        assert not asking.done()
        under_test.may_answer.set()
        assert await asking == 200


@pytest.mark.parametrize("shake_hands", [True, False])
async def test_of_too_many_the_one_that_was_silent_longest_gives_way(
    certificates: Certificates, *, shake_hands: bool
) -> None:
    async with listening(certificates, connections=10) as under_test:
        connect = under_test.connect if shake_hands else under_test.connect_in_the_clear
        with capture_logs() as logs:
            many = [await connect() for _ in range(10)]
            assert await under_test.get() == 200
            await closed(many[0])
            assert all(is_open(one) for one in many[1:])
            more = [await connect() for _ in range(20)]
            for one in [*many[1:], *more[:10]]:
                await closed(one)
            assert all(is_open(one) for one in more[11:])
        told = [line for line in logs if line["log_level"] == "warning"]
        assert [line["most"] for line in told] == [10], "told once, not for each"
        for _, writer in more:
            writer.transport.abort()


async def test_hundreds_of_silent_connections_keep_nobody_out(certificates: Certificates) -> None:
    async with listening(certificates, connections=20) as under_test:
        silent = [await under_test.connect_in_the_clear() for _ in range(300)]
        assert [await under_test.get() for _ in range(5)] == [200] * 5
        for _, writer in silent:
            writer.transport.abort()


async def test_who_is_known_never_gives_way(certificates: Certificates) -> None:
    async with listening(certificates, connections=2) as under_test:
        under_test.may_answer.clear()
        asking = [asyncio.create_task(under_test.get()) for _ in range(2)]
        while under_test.handling < 2:  # noqa: ASYNC110 - the handlers are the thing that is tested
            await asyncio.sleep(0.01)
        await closed(await under_test.connect_in_the_clear())
        under_test.may_answer.set()
        assert [await one for one in asking] == [200, 200]
        assert await under_test.get() == 200


async def test_who_was_refused_gives_way_first(certificates: Certificates) -> None:
    async with listening(certificates, connections=2) as under_test:
        refused = await under_test.connect()
        refused[1].write(b"GET /unknown HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 401 " in await refused[0].readline()
        second, third = await under_test.connect_in_the_clear(), await under_test.connect_in_the_clear()
        await closed(refused)
        for _, writer in (second, third):
            writer.transport.abort()


async def test_garbage_instead_of_tls_or_http_harms_nobody(certificates: Certificates) -> None:
    async with listening(certificates) as under_test:
        clear = await under_test.connect_in_the_clear()
        clear[1].write(b"GET / HTTP/1.1\r\n\r\n")
        await closed(clear)
        garbage = await under_test.connect()
        garbage[1].write(b"\x00\xff" * 10_000 + b"\r\n\r\n")
        assert b" 400 " in await garbage[0].readline()
        await closed(garbage)
        assert await under_test.get() == 200


async def test_stopping_waits_for_no_stranger(certificates: Certificates) -> None:
    async with listening(certificates) as under_test:
        silent, in_the_clear = await under_test.connect(), await under_test.connect_in_the_clear()
        async with asyncio.timeout(5):
            await under_test.listener.stop()
        for one in (silent, in_the_clear):
            await closed(one)
        with pytest.raises(OSError, match="Connect call failed"):
            await under_test.connect_in_the_clear()


async def test_a_port_that_is_taken_is_an_error_at_the_start(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        under_test = Under(certificates, Bounds())
        with pytest.raises(OSError, match="already in use"):
            await under_test.listener.start("127.0.0.1", taken.getsockname()[1])
        await under_test.listener.stop()


async def test_each_path_is_there_only_where_somebody_may_send_to_it(
    tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "tokens").write_text("one\n")

    async def alerts(_request: web.Request) -> web.Response:
        return web.Response(text="alerts")

    async def statuses(**more: object) -> tuple[int, int]:
        settings = Settings.model_validate(
            {
                "http_host": "127.0.0.1",
                "http_port": 0,
                "receiver_port": 0,
                "tls_cert_file": certificates.server.certificate,
                "tls_key_file": certificates.server.key,
                **more,
            }
        )
        handler = alerts if settings.signal_credentials_file else None
        metrics = Metrics()
        health = Health(lambda: None)
        servers = Servers(settings, health, metrics, lambda _: None, lambda: True, handler)
        await servers.start()
        context = certificates.client_context()
        body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}'
        found = []
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer one"}) as session:
            for path in ("audit", "alerts"):
                url = f"https://127.0.0.1:{servers.receiver_port}/{path}"
                async with session.post(url, data=body, ssl=context) as answer:
                    found.append(answer.status)
        await servers.stop()
        return found[0], found[1]

    audit = {"receiver_token_file": tmp_path / "tokens"}
    by_credential = {"signal_credentials_file": tmp_path / "credentials.yaml"}
    demanding = {"signal_client_ca_file": certificates.authority.pair.certificate}
    assert await statuses(**audit) == (200, 404)
    assert await statuses(**by_credential) == (404, 200)
    assert await statuses(**audit, **by_credential) == (200, 200)
    assert await statuses(**audit, **by_credential, **demanding) == (200, 200), "audit events need none"


async def test_credentials_without_anybody_who_takes_alerts_are_a_mistake_of_ours(
    tmp_path: Path, certificates: Certificates
) -> None:
    settings = Settings(
        http_host="127.0.0.1",
        http_port=0,
        receiver_port=0,
        tls_cert_file=certificates.server.certificate,
        tls_key_file=certificates.server.key,
        signal_credentials_file=tmp_path / "credentials.yaml",
    )
    servers = Servers(settings, Health(lambda: None), Metrics(), lambda _: None, lambda: True)
    with pytest.raises(ValueError, match="nothing takes the alerts"):
        await servers.start()
    await servers.stop()
