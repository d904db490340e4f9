"""Over the wire: a credential is everything that it lists, and is rotated without a gap."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from stanch.errors import Unavailable
from tests.unit.signals.receiving import (
    NOW,
    Certificates,
    Setup,
    notification,
    receiving,
    write_credentials,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.signals.receiving import Answer, Receiving

SIGNATURE = "X-Grafana-Alerting-Signature"
TIMESTAMP = "X-Grafana-Alerting-Timestamp"
BODY = json.dumps(notification()).encode()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.at(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def chat(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Receiving]:
    """For the tokens `one` and `two`, which speak for the namespace chat."""
    async with receiving(tmp_path, certificates) as under_test:
        yield under_test


def signature(key: str, signed: bytes) -> str:
    return hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


async def statuses(under_test: Receiving, *tokens: str) -> list[int]:
    return [(await under_test.post(notification(), token=token)).status for token in tokens]


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer three", "Basic one", "one", "Bearer on", "Bearer one two"],
)
async def test_nobody_gets_in_without_a_token(chat: Receiving, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await chat.post(notification(), headers, token=None)
    assert (answer.status, answer.body) == (401, {"problem": "no valid credential"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert chat.intake.batches == []
    assert chat.count("stanch_signal_requests_total", code="401") == 1


async def test_a_header_that_is_no_text_is_no_token(chat: Receiving) -> None:
    reader, writer = await chat.connect()
    writer.write(b"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()


async def test_the_log_says_what_was_missing_the_sender_is_not_told(chat: Receiving) -> None:
    with capture_logs() as logs:
        await chat.post(notification(), token="three")
    line = logs[-1]
    assert line["missing"] == {"chat": f"no bearer token of {chat.directory / 'tokens'}"}
    assert "three" not in str(line)


async def test_a_token_is_rotated_without_a_gap(chat: Receiving) -> None:
    assert await statuses(chat, "one", "two", "three") == [200, 200, 401]
    (chat.directory / "tokens").write_text("two\nthree\n\n")
    assert await statuses(chat, "one", "two", "three") == [401, 200, 200]
    (chat.directory / "tokens").unlink()
    assert await statuses(chat, "two", "three") == [401, 401]


async def test_a_credential_is_withdrawn_with_its_entry(chat: Receiving) -> None:
    assert await statuses(chat, "one") == [200]
    (chat.directory / "others").write_text("other\n")
    other = {"name": "other", "namespaces": ["*"], "tokenFile": str(chat.directory / "others")}
    write_credentials(chat.directory, other)
    assert await statuses(chat, "one", "other") == [401, 200]
    assert chat.intake.batches[-1][1].namespaces is None


@pytest.mark.parametrize(
    "broken", ["credentials: [", "", "credentials: {}", "- 1", "\x00", "credentials: [{}]"]
)
async def test_a_broken_file_of_credentials_lets_nobody_in(chat: Receiving, broken: str) -> None:
    assert await statuses(chat, "one") == [200]
    file = chat.directory / "credentials.yaml"
    whole = file.read_text()
    file.write_text(broken)
    with capture_logs() as logs:
        assert await statuses(chat, "one", "one") == [401, 401]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [
        "the credentials of senders of alerts cannot be read: all alerts are refused until they can"
    ]
    file.write_text(whole)
    assert await statuses(chat, "one") == [200]


def signed(directory: Path, **rule: Any) -> dict[str, Any]:
    (directory / "keys").write_text("key\nnext key\n")
    return {
        "name": "grafana",
        "namespaces": ["chat"],
        "hmac": {"keyFile": str(directory / "keys"), **rule},
    }


async def test_a_signature_of_the_body_is_enough(tmp_path: Path, certificates: Certificates) -> None:
    async with receiving(tmp_path, certificates, signed(tmp_path)) as under_test:

        async def post(shown: str, body: bytes = BODY) -> int:
            return (await under_test.post(body, {SIGNATURE: shown}, token=None)).status

        good = signature("key", BODY)
        assert await post(good) == 200
        assert await post(good.upper()) == 200
        assert await post(signature("next key", BODY)) == 200
        for bad in (
            "",
            "00",
            good[:-1],
            f"sha256={good}",
            signature("other", BODY),
            "é" * 64,
            f" {good[1:]}",
        ):
            assert await post(bad) == 401
        assert await post(good, BODY + b" ") == 401
        assert (await under_test.post(BODY, token=None)).status == 401
        assert len(under_test.intake.batches) == 3


class Signing:
    """Sends as Grafana does where a timestamp header is set."""

    def __init__(self, under_test: Receiving) -> None:
        self.under_test = under_test

    async def post(self, at: float | str, key: str = "key", body: bytes = BODY) -> Answer:
        timestamp = at if isinstance(at, str) else str(int(at))
        shown = signature(key, timestamp.encode() + b":" + body)
        return await self.under_test.post(body, {SIGNATURE: shown, TIMESTAMP: timestamp}, token=None)


@pytest.fixture
async def signing(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Signing]:
    credential = signed(tmp_path, timestampHeader=TIMESTAMP, tolerance="1m")
    async with receiving(tmp_path, certificates, credential) as under_test:
        yield Signing(under_test)


async def test_a_signature_is_good_only_near_its_time(signing: Signing) -> None:
    assert (await signing.post(NOW)).status == 200
    assert [(await signing.post(NOW + off)).status for off in (-61, -60, 60, 61)] == [401, 200, 200, 401]
    for nonsense in ("", "now", "-1", "1e9", f"{NOW:.1f}", f"0{NOW:.0f}000", "٣" * 10):
        assert (await signing.post(nonsense)).status == 401


async def test_the_body_alone_is_not_what_has_to_be_signed_then(signing: Signing) -> None:
    headers = {SIGNATURE: signature("key", BODY), TIMESTAMP: str(int(NOW))}
    assert (await signing.under_test.post(BODY, headers, token=None)).status == 401
    headers = {SIGNATURE: signature("key", BODY)}
    assert (await signing.under_test.post(BODY, headers, token=None)).status == 401


async def test_a_request_that_was_listened_to_cannot_be_sent_again(signing: Signing) -> None:
    assert (await signing.post(NOW)).status == 200
    assert (await signing.post(NOW)).status == 401
    signing.under_test.now += 59
    assert (await signing.post(NOW)).status == 401
    assert (await signing.post(NOW + 1)).status == 200
    signing.under_test.now += 3600
    assert (await signing.post(NOW)).status == 401
    assert len(signing.under_test.intake.batches) == 2


async def test_a_request_that_came_to_nothing_can(signing: Signing) -> None:
    async def fail() -> None:
        raise Unavailable("Timeout", "no answer", 1.0)

    signing.under_test.intake.before = fail
    assert (await signing.post(NOW)).status == 503
    signing.under_test.intake.before = None
    assert (await signing.post(NOW)).status == 200
    assert (await signing.post(NOW)).status == 401


async def test_replays_are_remembered_when_the_file_is_read_again(signing: Signing) -> None:
    assert (await signing.post(NOW)).status == 200
    file = signing.under_test.directory / "credentials.yaml"
    file.write_text(file.read_text() + "\n# edited\n")
    assert (await signing.post(NOW)).status == 401


async def test_with_a_client_authority_every_sender_of_alerts_has_a_certificate(
    tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "tokens").write_text("one\n")
    named = {"name": "named", "namespaces": ["chat"], "clientName": "alertmanager.monitoring.svc"}
    by_token = {"name": "by-token", "namespaces": ["chat"], "tokenFile": str(tmp_path / "tokens")}
    ours = certificates.authority
    right = ours.client("right", "alertmanager.monitoring.svc")
    wrong = ours.client("wrong", "alertmanager.monitoring.svc.evil")
    foreign = certificates.strangers.client("right", "alertmanager.monitoring.svc")
    setup = Setup(client_ca=ours.pair.certificate)
    async with receiving(tmp_path, certificates, named, by_token, setup=setup) as under_test:

        async def post(pair: Any, token: str | None = None) -> int:
            return (await under_test.post(notification(), token=token, certificate=pair)).status

        assert await post(right) == 200
        assert await post(wrong) == 401
        assert await post(None) == 401
        assert await post(None, "one") == 401
        assert await post(wrong, "one") == 200
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await post(foreign, "one")
        assert under_test.intake.speakers == ["named", "by-token"]


async def test_an_alternative_name_is_a_name_as_well(tmp_path: Path, certificates: Certificates) -> None:
    ours = certificates.authority
    alternatives = "subjectAltName=DNS:am.monitoring.svc,URI:spiffe://example.test/am,IP:10.0.0.1"
    extensions = ("basicConstraints=critical,CA:FALSE", "extendedKeyUsage=clientAuth", alternatives)
    pair = ours._issue("several", "/CN=several", extensions)
    setup = Setup(client_ca=ours.pair.certificate)
    for name, status in {
        "several": 200,
        "am.monitoring.svc": 200,
        "spiffe://example.test/am": 200,
        "monitoring.svc": 401,
        "10.0.0.1": 401,
    }.items():
        credential = {"name": "named", "namespaces": ["chat"], "clientName": name}
        async with receiving(tmp_path, certificates, credential, setup=setup) as under_test:
            answer = await under_test.post(notification(), token=None, certificate=pair)
            assert (name, answer.status) == (name, status)


async def test_what_a_credential_lists_has_to_be_shown_together(
    tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "tokens").write_text("one\n")
    ours = certificates.authority
    right, wrong = ours.client("all", "am"), ours.client("none", "other")
    credential = {**signed(tmp_path), "tokenFile": str(tmp_path / "tokens"), "clientName": "am"}
    setup = Setup(client_ca=ours.pair.certificate)
    async with receiving(tmp_path, certificates, credential, setup=setup) as under_test:
        good = {SIGNATURE: signature("key", BODY)}
        bad = {SIGNATURE: signature("other", BODY)}

        async def post(headers: dict[str, str], token: str | None, pair: Any) -> int:
            return (await under_test.post(BODY, headers, token=token, certificate=pair)).status

        assert await post(bad, "one", right) == 401
        assert await post({}, "one", right) == 401
        assert await post(good, "two", right) == 401
        assert await post(good, None, right) == 401
        assert await post(good, "one", wrong) == 401
        assert await post(good, "one", None) == 401
        assert under_test.intake.batches == []
        assert await post(good, "one", right) == 200
