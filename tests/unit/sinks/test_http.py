"""Posting to a real server: what it answers, when it does not, and what must never leave."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stanch.errors import Rejected
from stanch.sinks.http import Address
from stanch.sinks.model import Undelivered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

BODY = b'{"specversion": "1.0"}'


@dataclass
class Receiver:
    """Answers as it is told, one answer after the other, the last again and again."""

    answers: list[int]
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hang: bool = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.authorizations.append(request.headers.get("Authorization"))
        self.paths.append(request.path)
        if self.hang:
            await asyncio.sleep(60)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=answer, headers=self.headers, body=b"x" * 4096)


@asynccontextmanager
async def serving(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/events?token=canary"))


@asynccontextmanager
async def address(url: str, token_file: Path | None = None, within: float = 5.0) -> AsyncIterator[Address]:
    made = Address("cloudevents", url, token_file, None, within)
    try:
        yield made
    finally:
        await made.close()


async def refusal(made: Address) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await made.post(BODY, "application/json")
    assert "canary" not in caught.value.message
    assert "127.0.0.1" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("code", [200, 201, 202, 204])
async def test_what_is_taken_is_taken(code: int) -> None:
    receiver = Receiver([code])
    async with serving(receiver) as url, address(url) as made:
        await made.post(BODY, "application/cloudevents+json")
    assert receiver.bodies == [BODY]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 413, 422])
async def test_what_is_refused_for_good_is_not_tried_again(code: int) -> None:
    async with serving(Receiver([code])) as url, address(url) as made:
        error = await refusal(made)
    assert error.permanent
    assert str(code) in error.message


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(code: int) -> None:
    receiver = Receiver([code, 204], {"Retry-After": "30"})
    async with serving(receiver) as url, address(url) as made:
        error = await refusal(made)
        assert not error.permanent
        assert error.after == 30
        await made.post(BODY, "application/json")
    assert len(receiver.bodies) == 2


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 40, "1e9"])
async def test_a_pause_that_is_no_number_is_none(said: str) -> None:
    async with serving(Receiver([503], {"Retry-After": said})) as url, address(url) as made:
        assert (await refusal(made)).after == 0


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_redirection_is_not_followed_with_the_token(code: int, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("canary-token")
    receiver = Receiver([code], {"Location": "/elsewhere"})
    async with serving(receiver) as url, address(url, token) as made:
        error = await refusal(made)
    assert not error.permanent
    assert receiver.paths == ["/events"]
    assert "see --cloudevents-url" in error.message


async def test_nobody_there_is_told_without_the_address() -> None:
    async with serving(Receiver([204])) as url:
        pass
    async with address(url) as made:
        error = await refusal(made)
    assert not error.permanent
    assert "cannot be reached" in error.message


async def test_a_server_that_hangs_is_given_up_in_time() -> None:
    async with serving(Receiver([204], hang=True)) as url, address(url, within=0.2) as made:
        error = await asyncio.wait_for(refusal(made), 5)
    assert error.message == "it has not answered within 0.2 s"


async def test_what_is_no_tls_is_told() -> None:
    async with serving(Receiver([204])) as url, address(url.replace("http:", "https:")) as made:
        assert not (await refusal(made)).permanent


async def test_the_token_is_read_again_each_time_and_its_absence_sends_nothing(tmp_path: Path) -> None:
    token = tmp_path / "token"
    receiver = Receiver([204])
    async with serving(receiver) as url, address(url, token) as made:
        assert "nothing was sent" in (await refusal(made)).message
        token.write_bytes(b"\xff")
        assert "nothing was sent" in (await refusal(made)).message
        token.write_text("two words")
        assert "nothing was sent" in (await refusal(made)).message
        for word in ("first", "second"):
            token.write_text(f"{word}\n")
            await made.post(BODY, "application/json")
    assert receiver.authorizations == ["Bearer first", "Bearer second"]


async def test_authorities_that_cannot_be_read_send_nothing(tmp_path: Path) -> None:
    receiver = Receiver([HTTPStatus.NO_CONTENT])
    async with serving(receiver) as url:
        made = Address("ocsf", url, None, tmp_path / "ca.crt", 1.0)
        assert "see --ocsf-ca-file" in (await refusal(made)).message
        (tmp_path / "ca.crt").write_text("nothing of the kind")
        assert "see --ocsf-ca-file" in (await refusal(made)).message
        await made.close()
    assert receiver.bodies == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    receiver = Receiver([204])
    async with serving(receiver) as url, address(url) as made:
        await made.post(BODY, "application/json")
    assert receiver.bodies == [BODY]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://events.example.test",
        "events.example.test/x",
        "https://user:canary@events.example.test",
        "https://canary@events.example.test",
        "https://",
        "https://events.example.test/#canary",
        "http://[canary",
        "http://events.example.test:0/",
        "file:///etc/canary",
    ],
)
def test_what_is_no_address_is_refused_at_the_start_and_not_repeated(url: str) -> None:
    with pytest.raises(Rejected) as caught:
        Address("cloudevents", url, None, None, 1.0)
    assert "canary" not in caught.value.message
    assert "--cloudevents-url" in caught.value.message
