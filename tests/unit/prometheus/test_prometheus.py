"""A query always ends, says why it has no answer, and takes the token nowhere else. The servers are fakes."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.components import free_ports
from sandbox.pki import Authority
from stanch.errors import Rejected
from stanch.prometheus import client as client_module
from stanch.prometheus.client import PromClient
from stanch.prometheus.samples import QueryFailed, Reason, Sample
from tests.unit.signals.fake_prometheus import answers, drips, floods, hangs, says, serving, vector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.signals.fake_prometheus import Handler

ONE = vector(({"pod": "llm-0"}, "0.3"))
SAMPLE = Sample((("pod", "llm-0"),), 0.3, "0.3")
PATIENT = 20.0
HASTY = 0.3


def client(
    url: str, *, token_file: Path | None = None, ca_file: Path | None = None, timeout: float = PATIENT
) -> PromClient:
    return PromClient(url, token_file, ca_file, timeout)


async def failure(client: PromClient) -> QueryFailed:
    with pytest.raises(QueryFailed) as failed:
        await client.query("up")
    return failed.value


async def nobody_is_left() -> None:
    """Threads end a moment after the answer is in."""
    for _ in range(500):
        if not any(thread.name == "query of Prometheus" for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.01)
    pytest.fail("a thread still waits for Prometheus")


@pytest.mark.parametrize("path", ["", "/", "/prometheus/"])
async def test_a_query_is_answered(path: str) -> None:
    paths: list[str] = []

    def note(handler: Handler) -> None:
        paths.append(handler.path.partition("?")[0])
        answers(ONE)(handler)

    with serving(note) as fake:
        query = 'rate(drift{pod=~"llm-.*"}[5m]) # ü'
        assert await client(fake.url + path).query(query) == (SAMPLE,)
    assert fake.queries == [query]
    assert paths == [path.rstrip("/") + "/api/v1/query"]
    assert fake.authorizations == [None]


@pytest.mark.parametrize(
    "behave",
    [hangs, drips(b"HTTP/1.1 200 OK\r\nX: "), drips(b"HTTP/1.1 200 OK\r\n\r\n")],
    ids=["hung", "slow headers", "slow body"],
)
async def test_a_server_that_never_ends_keeps_neither_the_query_nor_a_thread(
    behave: Callable[[Handler], None],
) -> None:
    with serving(behave) as fake:
        began = time.monotonic()
        assert (await failure(client(fake.url, timeout=HASTY))).reason == Reason.TIMEOUT
        assert time.monotonic() - began < 15
        await nobody_is_left()


async def test_a_query_that_is_cancelled_leaves_nothing_behind() -> None:
    with serving(drips(b"HTTP/1.1 200 OK\r\n\r\n")) as fake:
        asking = asyncio.create_task(client(fake.url).query("up"))
        assert await asyncio.to_thread(fake.asked.wait, 10)
        asking.cancel()
        await nobody_is_left()
        assert asking.cancelled()
        assert await asyncio.to_thread(fake.cut.wait, 10)


async def test_only_so_many_at_once_and_the_rest_take_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "AT_ONCE", 2)
    at_once: list[int] = []
    inside = threading.Semaphore(10)

    def count(handler: Handler) -> None:
        with inside:
            at_once.append(inside._value)
            time.sleep(0.05)
        answers(ONE)(handler)

    with serving(count) as fake:
        asking = client(fake.url)
        assert await asyncio.gather(*(asking.query("up") for _ in range(6))) == [(SAMPLE,)] * 6
    assert min(at_once) == 8


async def test_a_turn_that_does_not_come_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "AT_ONCE", 1)
    with serving(drips(b"HTTP/1.1 200 OK\r\n\r\n")) as fake:
        asking = client(fake.url, timeout=HASTY)
        monkeypatch.setattr(client_module._Line, "cut", lambda _line: None)  # as where a name server hangs
        assert (await failure(asking)).reason == Reason.TIMEOUT
        behind = await failure(asking)
        fake.ended.set()
        await nobody_is_left()
    assert behind.message.startswith("1 queries before it have no answer")


async def test_nothing_is_tried_twice() -> None:
    with serving(answers(b"", 503)) as fake:
        assert (await failure(client(fake.url))).reason == Reason.SERVER_ERROR
    assert len(fake.queries) == 1


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "/elsewhere"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_the_token_is_taken_nowhere_else(tmp_path: Path, location: str, status: int) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving(answers(ONE)) as other:
        where = location.format(port=other.url.rpartition(":")[2])
        with serving(answers(b"elsewhere", status, {"Location": where})) as fake:
            failed = await failure(client(fake.url, token_file=token))
    assert failed.reason == Reason.NOT_PROMETHEUS
    assert fake.authorizations == ["Bearer secret"]
    assert other.authorizations == []


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (floods, Reason.BAD_QUERY),
        (answers(gzip.compress(b" " * 20_000_000), headers={"Content-Encoding": "gzip"}), Reason.BAD_QUERY),
        (answers(b"not found", 404), Reason.NOT_PROMETHEUS),
        (answers(b"no", 401), Reason.UNAUTHORIZED),
        (answers(b"<html>"), Reason.NOT_PROMETHEUS),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.NOT_PROMETHEUS),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), Reason.NOT_PROMETHEUS),
        (says(b""), Reason.UNREACHABLE),
    ],
    ids=["flood", "bomb", "404", "401", "a page", "another protocol", "half an answer", "hung up"],
)
async def test_every_other_answer_is_a_failure_with_a_reason(
    behave: Callable[[Handler], None], reason: Reason
) -> None:
    with serving(behave) as fake:
        assert (await failure(client(fake.url))).reason == reason
        await nobody_is_left()


async def test_an_address_without_prometheus_has_the_same_words_each_time() -> None:
    asking = client(f"http://127.0.0.1:{free_ports(1)[0]}")
    first, second = await failure(asking), await failure(asking)
    assert first.reason == Reason.UNREACHABLE
    assert first.message == second.message
    assert "--prometheus-url" in first.message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "prometheus:9090",
        "prometheus",
        "http://",
        "ftp://prometheus",
        "http://[::1",
        "http://prometheus:port",
        "http://prometheus:99999",
        "https://user:secret@prometheus",
        "https://prometheus/?token=secret",
        "https://prometheus/#graph",
    ],
)
def test_what_is_no_address_is_refused_at_the_start_and_not_repeated(url: str) -> None:
    with pytest.raises(Rejected, match="--prometheus-url") as refused:
        client(url)
    assert "secret" not in str(refused.value)


async def test_a_token_is_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with serving(answers(ONE)) as fake:
        asking = client(fake.url, token_file=token)
        for content in ("first\n", "second"):
            token.write_text(content)
            await asking.query("up")
    assert fake.authorizations == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [None, "", "\n", "two words", "a\nb", "gr\u00fcn", "\x00"])
async def test_without_its_token_nothing_is_asked(tmp_path: Path, content: str | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content, encoding="utf-8")
    with serving(answers(ONE)) as fake:
        failed = await failure(client(fake.url, token_file=token))
    assert failed.reason == Reason.UNAUTHORIZED
    assert "--prometheus-token-file" in failed.message
    assert fake.queries == []
    assert not content or content not in failed.message.replace(str(tmp_path), "")


async def test_the_environment_gives_it_no_other_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serving(answers(ONE)) as fake:
        assert await client(fake.url).query("up") == (SAMPLE,)
    assert fake.authorizations == [None]


async def test_only_the_authority_that_is_named_is_trusted_also_after_it_was_replaced(tmp_path: Path) -> None:
    named, other = Authority.at(tmp_path / "named", "named"), Authority.at(tmp_path / "other", "other")
    pair = named.server("prometheus", [], ["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    ca_file = tmp_path / "ca.crt"
    with serving(answers(ONE), tls) as fake:
        asking = client(fake.url, ca_file=ca_file)
        assert "--prometheus-ca-file" in (await failure(asking)).message
        ca_file.write_bytes(other.pair.certificate.read_bytes())
        refused = await failure(asking)
        assert refused.reason == Reason.UNREACHABLE
        assert "CERTIFICATE_VERIFY_FAILED" in refused.message
        ca_file.write_text("no certificate")
        assert "--prometheus-ca-file" in (await failure(asking)).message
        ca_file.write_bytes(named.pair.certificate.read_bytes())
        assert await asking.query("up") == (SAMPLE,)
        assert "CERTIFICATE_VERIFY_FAILED" in (await failure(client(fake.url))).message


def test_the_graph_shows_the_query() -> None:
    graph = client("https://prometheus.example.test/base/").graph('a{b="c"} > 1')
    assert graph == (
        "https://prometheus.example.test/base/graph?g0.expr=a%7Bb%3D%22c%22%7D%20%3E%201&g0.tab=0"
    )
