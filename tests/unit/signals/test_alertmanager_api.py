"""What a truncated notification left out is asked for, and never dropped in silence."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from stanch.observability.tokens import SecretFile
from stanch.settings import Settings
from stanch.signals.alertmanager import api as alertmanager_api
from stanch.signals.alertmanager.api import AlertmanagerApi, NotCompleted
from stanch.signals.alertmanager.payload import parse
from tests.unit.signals.receiving import Certificates, Setup, alert, notification, receiving
from tests.unit.signals.test_alertmanager import in_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

TRUNCATED = {"truncatedAlerts": 2, "groupLabels": {"namespace": "chat"}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.at(tmp_path_factory.mktemp("pki"))


@dataclass
class FakeAlertmanager:
    """A fake: answers `GET /api/v2/alerts` with what a test gave it, and keeps what it was asked."""

    alerts: list[Any] = field(default_factory=list)
    instead: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    asked: list[web.Request] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.instead is not None:
            return await self.instead(request)
        return web.json_response(self.alerts)


@asynccontextmanager
async def fake_alertmanager(*alerts: Any) -> AsyncIterator[FakeAlertmanager]:
    fake = FakeAlertmanager(list(alerts))
    app = web.Application()
    app.router.add_get("/prefix/api/v2/alerts", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/prefix"
        yield fake
    finally:
        await runner.cleanup()


def truncated(*alerts: Any, **changes: Any) -> dict[str, Any]:
    return notification(*alerts, **TRUNCATED, **changes)


async def test_the_rest_of_a_group_is_taken_as_well(tmp_path: Path, certificates: Certificates) -> None:
    async with fake_alertmanager(in_api("A"), in_api("B"), in_api("C")) as fake:
        setup = Setup(alertmanager=AlertmanagerApi(fake.url))
        async with receiving(tmp_path, certificates, setup=setup) as chat:
            answer = await chat.post(truncated(alert("A")))
            assert answer.status == 200
            assert [one["fingerprint"] for one in answer.body["alerts"]] == ["f-A", "f-B", "f-C"]
            assert [signal.firing for signal in chat.intake.signals] == [True, True, True]
            assert chat.intake.speakers == ["chat", "chat"], "it speaks for no more than what was delivered"
        (asked,) = fake.asked
        assert asked.query.getall("filter") == ['namespace="chat"']
        assert asked.query["receiver"] == "stanch"
        assert "Authorization" not in asked.headers


async def test_what_was_delivered_does_not_wait_for_the_rest(
    tmp_path: Path, certificates: Certificates
) -> None:
    async with fake_alertmanager(in_api("A"), in_api("B")) as fake:
        setup = Setup(alertmanager=AlertmanagerApi(fake.url))
        async with receiving(tmp_path, certificates, setup=setup) as chat:

            async def look(_request: web.Request) -> web.StreamResponse:
                assert [signal.name for signal in chat.intake.signals] == ["A"]
                return web.json_response(fake.alerts)

            fake.instead = look
            assert (await chat.post(truncated(alert("A")))).status == 200


async def test_nobody_is_asked_about_a_whole_group(tmp_path: Path, certificates: Certificates) -> None:
    async with fake_alertmanager() as fake:
        setup = Setup(alertmanager=AlertmanagerApi(fake.url))
        async with receiving(tmp_path, certificates, setup=setup) as chat:
            assert (await chat.post(notification())).status == 200
        assert fake.asked == []


async def test_without_an_alertmanager_to_ask_the_sender_sends_again(
    tmp_path: Path, certificates: Certificates
) -> None:
    async with receiving(tmp_path, certificates) as chat:
        answer = await chat.post(truncated(alert("A")))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert answer.body["problem"].endswith("--alertmanager-url is not set")
        assert [one["outcome"] for one in answer.body["alerts"]] == ["Created"]
        assert [signal.name for signal in chat.intake.signals] == ["A"], "what was delivered is taken"


async def test_an_alertmanager_that_cannot_be_asked_makes_the_sender_send_again(
    tmp_path: Path, certificates: Certificates
) -> None:
    async with fake_alertmanager() as fake:
        url = fake.url
    setup = Setup(alertmanager=AlertmanagerApi(url))
    async with receiving(tmp_path, certificates, setup=setup) as chat:
        answer = await chat.post(truncated(alert("A")))
        assert answer.status == 503
        assert "Alertmanager cannot be asked" in answer.body["problem"]
        assert [signal.name for signal in chat.intake.signals] == ["A"]


async def refused_because(fake: FakeAlertmanager, *, seconds: float = 5.0) -> str:
    delivered = parse(json.dumps(truncated(alert("A"))).encode())
    with pytest.raises(NotCompleted) as refused:
        await AlertmanagerApi(fake.url, seconds=seconds).left_out(delivered)
    return str(refused.value)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 503])
async def test_any_answer_but_200_completes_nothing(status: int) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"}, text="[]")

    async with fake_alertmanager() as fake:
        fake.instead = answer
        assert await refused_because(fake) == f"Alertmanager answered {status}"
        assert len(fake.asked) == 1, "a redirect is not followed"


async def test_one_deadline_is_on_all_of_it() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    async with fake_alertmanager() as fake:
        fake.instead = drip
        assert await refused_because(fake, seconds=0.3) == "Alertmanager did not answer within 0.3 s"


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    monkeypatch.setattr(alertmanager_api, "MAX_BYTES", 1024 * 1024)
    async with fake_alertmanager() as fake:
        fake.instead = flood
        assert await refused_because(fake) == "Alertmanager's answer has more than 1048576 bytes"


async def test_an_answer_that_is_not_about_the_group_completes_nothing() -> None:
    async with fake_alertmanager(in_api("Another")) as fake:
        assert "none of the alerts that were said to fire" in await refused_because(fake)
        fake.alerts = [{"status": "error"}]
        assert "none of the alerts that were said to fire" in await refused_because(fake)


async def test_alertmanager_gets_the_token_of_its_file_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "token"
    delivered = parse(json.dumps(truncated(alert("A"))).encode())
    async with fake_alertmanager(in_api("A")) as fake:
        api = AlertmanagerApi(fake.url, SecretFile(file))
        with pytest.raises(NotCompleted, match="there is no token for Alertmanager"):
            await api.left_out(delivered)
        for token in ("first", "second one"):
            file.write_text(f"{token}\n")
            await api.left_out(delivered)
        assert [asked.headers["Authorization"] for asked in fake.asked] == [
            "Bearer first",
            "Bearer second one",
        ]


def test_it_is_made_of_the_settings(tmp_path: Path) -> None:
    assert AlertmanagerApi.from_settings(Settings()) is None
    settings = Settings(alertmanager_url="http://am.example.test:9093", alertmanager_token_file=tmp_path)
    assert AlertmanagerApi.from_settings(settings) is not None
