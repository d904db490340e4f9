"""Notifications through Apprise: the address is in a Secret and nowhere else, whatever happens."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stanch.api.v1alpha1.plan import CarriedNotification
from stanch.errors import Forbidden, Unavailable
from stanch.policies.match import Choice
from stanch.settings import Settings
from stanch.sinks.messenger import Messenger
from stanch.sinks.model import Undelivered
from stanch.sinks.notify import Message, Tone
from stanch.sinks.receivers import ConfiguredReceivers
from tests.unit.policies.made import own
from tests.unit.sinks.telling import entry, told, with_notifications

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stanch.errors import StanchError
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef
    from stanch.sinks.model import Sink

CANARY = "c4n4ry"
PAGE = Message(Tone.WARNING, "[Critical] chat/toxic: Contested", "kubectl describe aii -n chat toxic")
PAGER = CarriedNotification(name="pager", secret="pager", key="url", at_or_above="High")


class Secrets:
    """The API server, which has Secrets, or refuses them."""

    def __init__(self, refuse: StanchError | None = None, /, **data: str) -> None:
        self.refuse = refuse
        self.data = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
        self.asked: list[str] = []

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        self.asked.append(str(ref))
        if self.refuse is not None:
            raise self.refuse
        return {"kind": "Secret", "data": self.data} if self.data else None


class Service:
    """A web service that takes notifications as Apprise's json:// sends them."""

    def __init__(self, status: int = 200, *, hang: bool = False, to: str = "") -> None:
        self.status, self.hang, self.to = status, hang, to
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.messages.append(json.loads(await request.read()))
        if self.hang:
            return await self._drip(request)
        return web.Response(status=self.status, headers={"Location": self.to} if self.to else None)

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        """So that no pause between two bytes is long, and there is no end."""
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{path:.*}", service.handle)
    async with TestServer(app) as server:
        yield f"json://{server.host}:{server.port}/{CANARY}"


def messenger(within: float = 5.0) -> Messenger:
    return Messenger(frozenset({"json"}), within)


def sink_of(kube: Secrets, kind: str = "ContainmentPolicy", within: float = 5.0) -> Sink:
    receivers = ConfiguredReceivers(cast("Kube", kube), messenger(within), "stanch-system")
    return receivers.of(with_notifications(told(), PAGER, kind=kind))["notification/pager"]


async def refusal(sink: Sink) -> str:
    incident = told(entry(1, "Contained"))
    with pytest.raises(Undelivered) as caught:
        await sink.deliver(incident, entry(1, "Contained"))
    assert not caught.value.permanent, "a person may put it right within the day"
    assert CANARY not in caught.value.message
    assert CANARY not in str(caught.value.__cause__)
    return caught.value.message


async def test_a_page_arrives() -> None:
    service = Service()
    async with serving(service) as url:
        await sink_of(Secrets(url=url)).deliver(told(), entry(1, "Contained"))
    (message,) = service.messages
    assert message["title"] == "[Critical] chat/toxic: Contained"
    assert "kubectl describe aii -n chat toxic" in message["message"]
    assert message["type"] == "success"


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("ContainmentPolicy", "Secret chat/pager"),
        ("ClusterContainmentPolicy", "Secret stanch-system/pager"),
    ],
)
async def test_the_secret_is_beside_the_policy_or_beside_stanch(kind: str, where: str) -> None:
    kube = Secrets()

    said = await refusal(sink_of(kube, kind))

    assert kube.asked == [where]
    assert said == f"nothing was sent: there is no {where}"


async def test_without_the_right_it_says_which_file_grants_it() -> None:
    kube = Secrets(Forbidden("Forbidden", "secrets is forbidden"))

    said = await refusal(sink_of(kube))

    assert "may not read Secret chat/pager" in said
    assert "manifests/samples/notifications.yaml" in said


async def test_an_api_server_that_is_away_is_told_in_a_word() -> None:
    said = await refusal(sink_of(Secrets(Unavailable("Timeout", f"get {CANARY}", 1.0))))

    assert said == "nothing was sent: Secret chat/pager cannot be read, Timeout"


@pytest.mark.parametrize(
    "data", [{"other": f"json://{CANARY}"}, {"url": ""}, {"url": "   "}, {"url": f"gopher://{CANARY}"}]
)
async def test_a_secret_of_no_use_is_told_without_what_is_in_it(data: dict[str, str]) -> None:
    assert "nothing was sent" in await refusal(sink_of(Secrets(**data)))


async def test_what_is_no_base64_is_told() -> None:
    kube = Secrets(url="x")
    kube.data = {"url": f"{CANARY}!"}
    assert "there is no URL in key url of Secret chat/pager" in await refusal(sink_of(kube))


async def test_a_refusal_and_a_redirection_are_failures_and_nothing_is_sent_elsewhere() -> None:
    for service in (Service(500), Service(403), Service(307, to="/elsewhere")):
        async with serving(service) as url:
            said = await refusal(sink_of(Secrets(url=f"{url}?redirect=yes")))
        assert said == "it was not taken: the service refused it or could not be reached"
        assert service.paths == [f"/{CANARY}"]


async def test_a_service_that_hangs_is_given_up_in_time() -> None:
    async with serving(Service(hang=True)) as url:
        said = await asyncio.wait_for(refusal(sink_of(Secrets(url=url), within=0.3)), 5)
    assert said == "it has not been taken within 0.3 s"


async def test_the_address_is_nowhere_in_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    made = messenger(2.0)
    async with serving(Service(500)) as url:
        for address in (url, "json://127.0.0.1:1/c4n4ry", "json://:c4n4ry@", "json://c4n4ry:bad:port/"):
            with pytest.raises(Undelivered):
                await made.send(address, PAGE)

    out, err = capfd.readouterr()
    ours = [one.getMessage() for one in caplog.records if one.name != "aiohttp.access"]
    assert CANARY not in " ".join(ours) + out + err


def test_a_plan_carries_the_notifications_of_its_policy_and_no_address() -> None:
    policy = own(notifications=[{"name": "pager", "urlFrom": {"name": "pager"}, "atOrAbove": "High"}])

    carried = Choice.of(policy).policy

    assert carried is not None
    assert carried.notifications == (PAGER,)


def test_only_what_the_settings_name_is_told_and_the_policys() -> None:
    kube = cast("Kube", Secrets())
    settings: dict[str, Any] = {"cloudevents_url": "https://a.example.test", "ocsf_url": "http://b.test/x"}

    both = ConfiguredReceivers.from_settings(Settings(**settings), kube)
    none = ConfiguredReceivers.from_settings(Settings(), kube)

    assert set(both.of(told())) == {"cloudevents", "ocsf"}
    assert none.of(told()) == {}
    pages = none.of(with_notifications(told(severity="Critical"), PAGER))
    assert set(pages) == {"notification/pager"}
    assert none.of(with_notifications(told(severity="Low"), PAGER)) == {}
