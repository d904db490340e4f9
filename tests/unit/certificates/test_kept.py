"""Replicas keep one certificate in one Secret, as time goes on, and serve what they found there last."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from stanch.certificates.kept import KeptCertificate
from stanch.certificates.rotation import LEAF_LIFE
from stanch.errors import Conflict, NotFound, Unavailable
from stanch.kube.resources import SECRETS, ObjectRef
from stanch.observability.listener import Listener

if TYPE_CHECKING:
    from stanch.kube.client import Kube

Json = dict[str, Any]
NAME = "stanch.safety.svc"
SECRET = ObjectRef(SECRETS, "safety", "stanch-receiver-tls")


@dataclass
class Server:
    """An API server that has one Secret. Each look at it takes a moment, so that two may look at once."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    body: Json | None = field(
        default_factory=lambda: {"metadata": {"resourceVersion": "1"}, "type": "Opaque"}
    )
    down: bool = False
    written: int = 0

    async def clock(self) -> datetime:
        return self.now

    async def get(self, _ref: ObjectRef) -> Json | None:
        if self.down:
            raise Unavailable("Down", "no answer", 1.0)
        body = self.body
        await asyncio.sleep(0)
        return body

    async def replace(self, _ref: ObjectRef, body: Json) -> Json:
        if self.body is None or body["metadata"] != self.body["metadata"]:
            raise Conflict("Conflict", "the object has been modified")
        self.written += 1
        self.body = body | {"metadata": {"resourceVersion": str(self.written + 1)}}
        return self.body

    @property
    def authorities(self) -> str:
        assert self.body is not None
        return b64decode(self.body["data"]["ca.crt"]).decode()

    def replica(self) -> KeptCertificate:
        return KeptCertificate(cast("Kube", self), SECRET, frozenset({NAME}), every=60)


async def served(kept: KeptCertificate, authorities: str) -> bytes:
    """What a real handshake presents to a sender who trusts these. Raises OSError."""
    listener = Listener(web.Application(), kept.context)
    await listener.start("127.0.0.1", 0)
    try:
        trust = ssl.create_default_context(cadata=authorities)
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust, server_hostname=NAME)
        presented: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return presented
    finally:
        await listener.stop()


async def test_two_replicas_that_find_an_empty_secret_agree_on_one_certificate() -> None:
    server = Server()
    one, two = server.replica(), server.replica()
    await asyncio.gather(one.look(), two.look())
    assert server.written == 1
    assert await served(one, server.authorities) == await served(two, server.authorities)
    assert one.ends == two.ends == (server.now + LEAF_LIFE).timestamp()


async def test_what_one_replica_renews_the_other_serves_and_who_has_read_the_authority_still_connects() -> (
    None
):
    server = Server()
    one, two = server.replica(), server.replica()
    server.now -= timedelta(days=65)
    await one.look()
    await two.look()
    read, before = server.authorities, await served(one, server.authorities)
    server.now += timedelta(days=65)
    await one.look()
    assert await served(one, read) != before
    assert await served(two, read) == before
    await two.look()
    assert await served(two, read) == await served(one, read)
    assert server.written == 2


async def test_before_there_is_a_certificate_connections_are_closed() -> None:
    listener = Listener(web.Application(), Server().replica().context)
    await listener.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    async with asyncio.timeout(3):  # a handshake would be waited for longer
        assert await reader.read() == b""
    writer.close()
    await listener.stop()


async def test_while_the_secret_cannot_be_read_what_was_is_served() -> None:
    server = Server()
    kept = server.replica()
    assert await kept._looked() == 60
    read = server.authorities
    server.down = True
    with capture_logs() as logs:
        assert await kept._looked() == 5, "it looks again sooner"
    assert [(line["log_level"], line["reason"]) for line in logs] == [("error", "Down")]
    assert await served(kept, read)


async def test_a_secret_that_is_not_there_is_not_made() -> None:
    server = Server(body=None)
    with pytest.raises(NotFound, match="apply the chart"):
        await server.replica().look()
    assert server.written == 0
