"""Bodies beyond all measure, and senders that take their time."""

from __future__ import annotations

import asyncio
import gzip
import json
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from stanch.observability.listener import Bounds
from stanch.signals.alertmanager.payload import MAX_ALERTS, MAX_BODY_BYTES
from stanch.signals.alertmanager.receiver import Limits
from tests.unit.signals.receiving import Certificates, Setup, alert, notification, receiving
from tests.unit.signals.test_receiver_credentials import SIGNATURE, signature, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.signals.receiving import Receiving

HEAD = b"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.at(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def chat(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Receiving]:
    """For the tokens `one` and `two`, which speak for the namespace chat."""
    async with receiving(tmp_path, certificates) as under_test:
        yield under_test


async def test_10_mib_are_too_much_and_the_sender_gets_to_know(chat: Receiving) -> None:
    answer = await chat.post(b" " * (10 * 1024 * 1024))
    assert answer.status == 413
    assert "max_alerts" in answer.body["problem"]


async def test_so_are_10_mib_that_do_not_say_beforehand_how_many_they_are(chat: Receiving) -> None:
    reader, writer = await chat.connect()
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(10 * 1024 * 1024 // 0x10000):
        writer.write(piece)
        if reader.at_eof():
            break
    assert b" 413 " in await reader.readline()
    writer.transport.abort()


async def test_4_mib_are_not(chat: Receiving) -> None:
    body = json.dumps(notification()).encode()
    assert (await chat.post(body.ljust(MAX_BODY_BYTES))).status == 200
    assert (await chat.post(body.ljust(MAX_BODY_BYTES + 1))).status == 413


async def test_a_full_body_of_alerts_is_taken_whole(chat: Receiving) -> None:
    body = json.dumps(notification(*[alert(f"A{number}") for number in range(8000)])).encode()
    assert len(body) < MAX_BODY_BYTES
    answer = await chat.post(body)
    assert (answer.status, len(chat.intake.signals)) == (200, 8000)


async def test_many_large_bodies_at_one_time_are_not_all_kept(
    tmp_path: Path, certificates: Certificates
) -> None:
    body = json.dumps(notification()).encode().ljust(100_000)
    async with receiving(tmp_path, certificates, setup=Setup(limits=Limits(bytes=250_000))) as chat:
        stored = asyncio.Event()

        async def wait() -> None:
            await stored.wait()

        chat.intake.before = wait
        sending = [asyncio.create_task(chat.post(body)) for _ in range(5)]
        refused = [await early for early in islice(asyncio.as_completed(sending), 3)]
        assert [answer.status for answer in refused] == [503, 503, 503]
        stored.set()
        assert sorted([(await one).status for one in sending]) == [200, 200, 503, 503, 503]
        assert [(await chat.post(body)).status for _ in range(4)] == [200] * 4


async def test_a_compressed_body_is_not_unpacked(chat: Receiving) -> None:
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    for encoding in ("gzip", "deflate", "br", "zstd"):
        answer = await chat.post(bomb, {"Content-Encoding": encoding})
        assert answer.status == 415
    assert chat.intake.batches == []


def deep(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


@pytest.mark.parametrize(
    "body",
    [
        deep(100_000),
        deep(100_000, '{"a":', "}").replace('":}', '":1}'),
        "[" * 4_000_000,
        json.dumps(notification()).replace('"toxic answers"', deep(100_000)),
        json.dumps(notification(more="DEEP")).replace('"DEEP"', deep(100_000)),
        json.dumps(notification(more="LONG")).replace('"LONG"', "9" * 100_000),
        json.dumps(notification(more="ODD")).replace("ODD", "\\ud800"),
    ],
)
async def test_json_that_breaks_parsers_is_refused(chat: Receiving, body: str) -> None:
    answer = await chat.post(body.encode())
    assert answer.status == 400
    assert "Invalid JSON" in answer.body["problem"]
    assert (await chat.post(notification())).status == 200


async def test_nesting_that_means_nothing_does_no_harm(chat: Receiving) -> None:
    body = json.dumps(notification(alert(values="DEEP"))).replace('"DEEP"', deep(100))
    assert (await chat.post(body.encode())).status == 200


async def test_of_a_key_given_twice_the_last_counts(chat: Receiving) -> None:
    body = json.dumps(notification()).replace(
        '"namespace": "chat"', '"namespace": "payments", "namespace": "chat"'
    )
    answer = await chat.post(body.encode())
    assert [one["outcome"] for one in answer.body["alerts"]] == ["Created"]


async def test_64k_labels_cost_the_one_alert_that_has_them(chat: Receiving) -> None:
    many = alert("Many", labels={f"label{number}": "x" for number in range(65_536)})
    answer = await chat.post(notification(many, alert()))
    assert answer.status == 200
    assert [signal.name for signal in chat.intake.signals] == ["ToxicOutput"]
    assert [one["index"] for one in answer.body["malformed"]] == [0]


async def test_more_alerts_than_are_taken_at_once_are_refused(chat: Receiving) -> None:
    assert (await chat.post(notification(*[1] * (MAX_ALERTS + 1)))).status == 400


async def test_thousands_of_malformed_alerts_make_no_long_answer(chat: Receiving) -> None:
    answer = await chat.post(notification(alert(), *[1] * 9000))
    assert (answer.status, len(answer.body["malformed"])) == (200, 100)
    assert chat.count("stanch_signals_total", outcome="Malformed") == 9000


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path, certificates: Certificates) -> None:
    setup = Setup(limits=Limits(body_seconds=0.3), bounds=Bounds(idle=0.5))
    async with receiving(tmp_path, certificates, setup=setup) as chat:
        reader, writer = await chat.connect()
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
        dripping = asyncio.create_task(drip(writer))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 503 " in head.splitlines()[0]
        assert b"Retry-After: 1" in head
        async with asyncio.timeout(5):  # it is not waited for any longer than that either
            await until_closed(reader)
        dripping.cancel()
        assert chat.intake.batches == []
        writer.transport.abort()


async def test_a_sender_that_goes_away_in_the_middle_is_forgotten(chat: Receiving) -> None:
    _, writer = await chat.connect()
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
    await asyncio.sleep(0.1)
    writer.transport.abort()
    async with asyncio.timeout(5):
        while chat.count("stanch_signal_requests_total", code="400") == 0:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.02)
    assert (await chat.post(notification())).status == 200


@pytest.mark.parametrize(
    "body",
    [b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n"],
)
async def test_a_body_that_is_framed_wrongly_is_refused(chat: Receiving, body: bytes) -> None:
    reader, writer = await chat.connect()
    writer.write(HEAD + body)
    assert b" 400 " in await reader.readline()
    writer.transport.abort()


async def test_who_has_only_a_signature_to_show_cannot_keep_others_from_showing_theirs(
    tmp_path: Path, certificates: Certificates
) -> None:
    """Its body has to be read before anything is known of it."""
    setup = Setup(limits=Limits(strangers=3))
    async with receiving(tmp_path, certificates, signed(tmp_path), setup=setup) as grafana:
        slow = [await grafana.connect() for _ in range(10)]
        for _, writer in slow:
            writer.write(
                b"POST /alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
                + f"{SIGNATURE}: {'0' * 64}\r\n\r\n".encode()
            )
        await asyncio.sleep(0.2)
        body = json.dumps(notification()).encode()
        headers = {SIGNATURE: signature("key", body)}
        assert (await grafana.post(body, headers, token=None)).status == 200
        async with asyncio.timeout(5):  # long before their time for a body is over
            for reader, _ in slow[:7]:
                await until_closed(reader)
        for _, writer in slow:
            writer.transport.abort()


async def drip(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b" ")
        await asyncio.sleep(0.02)


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65_536):
            pass
    except ConnectionError:
        pass
