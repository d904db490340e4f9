"""Every ready pod is asked, at its own address, and only by the status of its answer is anything proven."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from yarl import URL

from stanch.api.v1alpha1.recovery import HttpCheck
from stanch.verification.http import Said, http_reading, url_of
from stanch.verification.reading import Answer, Reading
from stanch.verification.serving import PodSeen
from tests.unit.signals.receiving import Certificates
from tests.unit.verification.looks import at
from tests.unit.verification.workloads import Json, deployment, pod, seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = at(60)


@dataclass
class Server:
    """What a pod serves: a real HTTP server on the loopback."""

    port: int = 0
    asked: list[web.Request] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def serving(*answers: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Answers in turn, the last one for ever: a status, `redirect`, `hang` or `flood`."""
    server, left = Server(), list(answers)

    async def handle(request: web.Request) -> web.StreamResponse:
        server.asked.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer == "hang":
            await server.ended.wait()
        if answer == "redirect":
            raise web.HTTPFound("/elsewhere")
        if answer == "flood":
            response = web.StreamResponse()
            await response.prepare(request)
            while not server.ended.is_set():
                await response.write(b"x" * 1_000_000)
            return response
        return web.Response(status=int(answer) if answer.isdecimal() else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server.ended.set()
        await runner.cleanup()


def check(port: int | str = "http", **more: Any) -> HttpCheck:
    return HttpCheck.model_validate({"port": port, "timeout": "2s", **more})


def local(name: str = "llm-1", port: int = 8000, **more: Any) -> Json:
    body = pod(name, podIP="127.0.0.1", **more)
    body["spec"]["containers"][0]["ports"] = [{"containerPort": port, "name": "http"}]
    return body


async def ask(rule: HttpCheck, *pods: Json) -> Reading:
    return await http_reading(rule, [seen(deployment(len(pods)), *pods)], NOW)


async def test_a_pod_that_answers_as_expected_holds() -> None:
    async with serving("200") as server:
        reading = await ask(check(path="/health"), local(port=server.port))
    assert (reading.answer, reading.message) == (Answer.HOLDS, "1 of 1 pods answer 200")
    (request,) = server.asked
    assert (request.method, request.path) == ("GET", "/health")
    assert request.headers["User-Agent"].startswith("stanch/")
    assert "Authorization" not in request.headers


async def test_the_status_that_is_expected_may_be_another() -> None:
    async with serving("204") as server:
        assert (await ask(check(status=204), local(port=server.port))).answer is Answer.HOLDS
        reading = await ask(check(), local(port=server.port))
    assert (reading.answer, reading.reason, reading.value) == (Answer.FAILS, "OtherStatus", "204")


async def test_one_pod_of_several_that_does_not_fails_it() -> None:
    async with serving("200", "500", "200") as server:
        reading = await ask(check(), *(local(name, server.port) for name in "abc"))
    assert reading.answer is Answer.FAILS
    assert "500, not 200" in reading.message
    assert len(server.asked) == 3


async def test_pods_that_are_not_ready_are_not_asked() -> None:
    async with serving("200") as server:
        reading = await ask(check(), local("a", server.port), local("b", server.port, ready=False))
    assert (reading.answer, len(server.asked)) == (Answer.HOLDS, 1)


async def test_a_redirection_is_an_answer_and_not_followed() -> None:
    async with serving("redirect", "200") as server:
        reading = await ask(check(), local(port=server.port))
    assert (reading.answer, reading.value, len(server.asked)) == (Answer.FAILS, "302", 1)


async def test_one_that_hangs_fails_when_its_time_is_over() -> None:
    async with serving("hang") as server:
        reading = await ask(check(timeout="200ms"), local(port=server.port))
    assert (reading.answer, reading.reason) == (Answer.FAILS, "Timeout")
    assert "no answer within 0.2s" in reading.message


async def test_of_an_endless_answer_nothing_but_the_status_is_read() -> None:
    async with serving("flood") as server:
        async with asyncio.timeout(2):
            reading = await ask(check(), local(port=server.port))
        server.ended.set()
    assert reading.answer is Answer.HOLDS


async def test_nobody_listens() -> None:
    async with serving("200") as server:
        port = server.port
    reading = await ask(check(), local(port=port))
    assert (reading.answer, reading.reason) == (Answer.FAILS, "NoAnswer")


async def test_what_is_no_http_fails() -> None:
    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    server = await asyncio.start_server(says, "127.0.0.1", 0)
    async with server:
        reading = await ask(check(), local(port=server.sockets[0].getsockname()[1]))
    assert (reading.answer, reading.reason) == (Answer.FAILS, "NoAnswer")


async def test_where_no_connection_comes_about_nothing_is_known_of_the_pod() -> None:
    """As behind a policy that drops: here it is a queue that is full."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        reading = await ask(check(timeout="200ms"), local(port=port))
    assert (reading.answer, reading.reason) == (Answer.UNKNOWN, "Unreachable")
    assert "what stands between it and the operator?" in reading.message


async def test_https_is_spoken_with_whatever_certificate(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = Certificates.at(tmp_path).server
    tls.load_cert_chain(pair.certificate, pair.key)
    async with serving("200", tls=tls) as server:
        assert (await ask(check(scheme="HTTPS"), local(port=server.port))).answer is Answer.HOLDS
        assert (await ask(check(), local(port=server.port))).answer is Answer.FAILS


async def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving("200") as server:
        assert (await ask(check(), local(port=server.port))).answer is Answer.HOLDS


def url(rule: HttpCheck, body: Json) -> URL | Said:
    return url_of(rule, PodSeen(body))


@pytest.mark.parametrize(
    ("port", "address", "expected"),
    [
        ("http", "10.0.0.7", "http://10.0.0.7:8000/"),
        (9000, "10.0.0.7", "http://10.0.0.7:9000/"),
        ("http", "fd00::7", "http://[fd00::7]:8000/"),
    ],
)
def test_a_pod_is_asked_at_its_own_address(port: int | str, address: str, expected: str) -> None:
    assert url(check(port), pod(podIP=address)) == URL(expected)


@pytest.mark.parametrize("path", ["/v1/models", "/a%2Fb", "/..;/x", "/a b", "//other.example.test/x"])
def test_a_path_leads_nowhere_else(path: str) -> None:
    found = url(check(path=path), pod())
    assert isinstance(found, URL)
    assert (found.host, found.port, found.query_string, found.fragment) == ("10.0.0.7", 8000, "", "")


@pytest.mark.parametrize(
    ("body", "answer", "reason"),
    [
        (pod() | {"spec": {"hostNetwork": True}}, Answer.BROKEN, "HostNetwork"),
        (pod() | {"spec": {"containers": []}}, Answer.BROKEN, "NoSuchPort"),
        (pod(podIP=""), Answer.UNKNOWN, "NoAddress"),
        (pod(podIP="metadata.example.test"), Answer.UNKNOWN, "NoAddress"),
        (pod(podIP="169.254.169.254"), Answer.BROKEN, "NoPodAddress"),
        (pod(podIP="fe80::1"), Answer.BROKEN, "NoPodAddress"),
        (pod(podIP="224.0.0.1"), Answer.BROKEN, "NoPodAddress"),
        (pod(podIP="0.0.0.0"), Answer.BROKEN, "NoPodAddress"),
    ],
)
def test_what_is_no_pod_is_not_asked(body: Json, answer: Answer, reason: str) -> None:
    found = url(check(), body)
    assert isinstance(found, Said)
    assert (found.answer, found.reason) == (answer, reason)
    assert found.message


def test_a_pod_has_at_most_45_seconds() -> None:
    schema: Any = HttpCheck.model_json_schema()
    assert "duration('45s')" in schema["x-kubernetes-validations"][0]["rule"]
