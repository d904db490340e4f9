"""200 means stored, 503 that it can succeed later, 4xx that it never can."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from stanch.errors import Conflict, FenceLost, Forbidden, Unavailable
from stanch.signals.alertmanager.receiver import Limits
from tests.unit.signals.receiving import Certificates, Setup, alert, notification, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.signals.receiving import Receiving


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.at(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def chat(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Receiving]:
    """For the tokens `one` and `two`, which speak for the namespace chat."""
    async with receiving(tmp_path, certificates) as under_test:
        yield under_test


async def test_an_alert_becomes_an_incident_and_its_sender_is_told_which(chat: Receiving) -> None:
    answer = await chat.post(notification())
    assert answer.status == 200
    assert answer.body["alerts"] == [
        {
            "fingerprint": "f-ToxicOutput",
            "outcome": "Created",
            "reason": "TriggerFired",
            "incident": "chat/incident-f-ToxicOutput",
        }
    ]
    ((signals, speaker),) = chat.intake.batches
    assert [signal.name for signal in signals] == ["ToxicOutput"]
    assert (speaker.name, speaker.namespaces) == ("chat", frozenset({"chat"}))
    assert chat.count("stanch_signals_total", outcome="Created") == 1
    assert chat.count("stanch_signal_requests_total", code="200") == 1


async def test_each_alert_is_judged_by_its_own_status(chat: Receiving) -> None:
    over = alert("Over", status="resolved", endsAt="2026-03-01T12:05:00Z")
    answer = await chat.post(notification(alert(), over, status="firing"))
    assert [signal.firing for signal in chat.intake.signals] == [True, False]
    assert [one["outcome"] for one in answer.body["alerts"]] == ["Created", "Resolved"]
    assert chat.count("stanch_signals_total", outcome="Resolved") == 1


async def test_an_alert_for_somebody_elses_namespace_costs_the_others_nothing(chat: Receiving) -> None:
    foreign = alert("Foreign", labels={"namespace": "payments"})
    answer = await chat.post(notification(foreign, alert()))
    assert answer.status == 200
    assert [(one["outcome"], one["incident"]) for one in answer.body["alerts"]] == [
        ("Refused", None),
        ("Created", "chat/incident-f-ToxicOutput"),
    ]


async def test_a_malformed_alert_costs_the_others_nothing_and_is_told(chat: Receiving) -> None:
    with capture_logs() as logs:
        answer = await chat.post(notification(alert("A"), {"labels": 7}, alert("B"), "no alert"))
    assert answer.status == 200
    assert [signal.name for signal in chat.intake.signals] == ["A", "B"]
    assert [one["index"] for one in answer.body["malformed"]] == [1, 3]
    assert answer.body["malformed"][0]["problem"].startswith("labels: ")
    assert chat.count("stanch_signals_total", outcome="Malformed") == 2
    assert [line["alerts"] for line in logs if line["log_level"] == "error"] == [2]


async def test_a_batch_of_nothing_but_malformed_alerts_is_refused(chat: Receiving) -> None:
    answer = await chat.post(notification({"labels": {}}))
    assert answer.status == 400
    assert answer.body["problem"].startswith("no alert can be read: labels: ")


async def test_a_group_without_alerts_is_no_error(chat: Receiving) -> None:
    answer = await chat.post(notification() | {"alerts": []})
    assert (answer.status, answer.body) == (200, {"alerts": [], "malformed": []})
    assert chat.intake.batches == []


async def test_grafana_is_understood_too(chat: Receiving) -> None:
    grafana = alert(
        silenceURL="https://grafana.example.test/silence",
        dashboardURL="",
        panelURL="",
        values={"B": 0.31, "C": None},
        valueString="[ var='B' labels={} value=0.31 ]",
    )
    answer = await chat.post(
        notification(grafana, version="1", orgId=1, title="[FIRING:1]", state="alerting", message="…")
    )
    assert answer.status == 200
    assert [signal.value for signal in chat.intake.signals] == ["[ var='B' labels={} value=0.31 ]"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "an object"),
        (b'"alerts"', "an object"),
        (notification(version="3"), "version: Input should be '4' or '1'"),
        (notification(version=4), "version: Input should be '4' or '1'"),
        ({"alerts": []}, "version: Field required"),
        ({"version": "4"}, "alerts: Field required"),
        (notification(alerts={"0": alert()}), "alerts: "),
        (notification(truncatedAlerts=-1), "truncatedAlerts: "),
        (notification(groupLabels={"a": 1}), "groupLabels.a: "),
        ({"msgtype": "text", "text": {"content": "firing"}}, "version: Field required"),
    ],
)
async def test_what_is_no_notification_is_refused_with_the_reason(
    chat: Receiving, body: Any, told: str
) -> None:
    answer = await chat.post(body)
    assert answer.status == 400
    assert told in answer.body["problem"]
    assert chat.intake.batches == []


async def test_a_standby_sends_to_the_leader(chat: Receiving) -> None:
    chat.leads = False
    answer = await chat.post(notification())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Connection"] == "close"
    chat.leads = True
    assert (await chat.post(notification())).status == 200


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("Timeout", "the API server did not answer", 1.0),
        Conflict("Conflict", "stale"),
        Forbidden("Forbidden", "aiincidents is forbidden: details"),
        FenceLost("does not lead"),
        TimeoutError("somebody's"),
    ],
)
async def test_what_was_not_stored_is_sent_again(chat: Receiving, error: Exception) -> None:
    async def fail() -> None:
        raise error

    chat.intake.before = fail
    answer = await chat.post(notification())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "details" not in answer.body["problem"]
    assert chat.count("stanch_signal_requests_total", code="503") == 1
    assert chat.count("stanch_signals_total", outcome="Created") == 0
    chat.intake.before = None
    assert (await chat.post(notification())).status == 200


async def test_200_is_said_only_when_everything_is_stored(chat: Receiving) -> None:
    stored = asyncio.Event()

    async def wait() -> None:
        await stored.wait()

    chat.intake.before = wait
    sending = asyncio.create_task(chat.post(notification()))
    await asyncio.sleep(0.2)
    assert not sending.done()
    stored.set()
    assert (await sending).status == 200


async def test_an_intake_that_hangs_is_given_up(tmp_path: Path, certificates: Certificates) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async with receiving(tmp_path, certificates, setup=Setup(limits=Limits(take_seconds=0.1))) as chat:
        chat.intake.before = hang
        answer = await chat.post(notification())
        assert (answer.status, answer.body["problem"]) == (503, "not taken in time")


async def test_too_many_at_one_time_are_sent_away_not_queued(
    tmp_path: Path, certificates: Certificates
) -> None:
    free = asyncio.Event()

    async def wait() -> None:
        await free.wait()

    async with receiving(tmp_path, certificates, setup=Setup(limits=Limits(requests=2))) as chat:
        chat.intake.before = wait
        sending = [asyncio.create_task(chat.post(notification())) for _ in range(5)]
        refused = [await early for early in islice(asyncio.as_completed(sending), 3)]
        assert [answer.status for answer in refused] == [503, 503, 503]
        free.set()
        assert sorted([(await one).status for one in sending]) == [200, 200, 503, 503, 503]
        assert (await chat.post(notification())).status == 200


async def test_only_post_and_only_this_path(chat: Receiving) -> None:
    context = chat.certificates.client_context()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer one"}) as session:
        async with session.get(chat.url, ssl=context) as answer:
            assert answer.status == 405
        async with session.post(f"{chat.url}/x", ssl=context) as answer:
            assert answer.status == 404
        async with session.post(chat.url.replace("alerts", "audit"), ssl=context) as answer:
            assert answer.status == 404
