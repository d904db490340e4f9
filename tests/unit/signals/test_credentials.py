"""A file of credentials that means something else than it seems to is refused as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from stanch.signals.alertmanager.credentials import Credentials, Introduced, Presented
from tests.unit.signals.receiving import NOW, write_credentials

TOKEN = {"name": "a", "namespaces": ["chat"], "tokenFile": "/none"}


def complaint(directory: Path, *credentials: Any, certificates: bool = False) -> str:
    """What the log says is wrong with the file; empty: nothing."""
    file = write_credentials(directory, *credentials)
    with capture_logs() as logs:
        introduced = Credentials(file, certificates=certificates).introduce(Presented({}))
    errors = [line["error"] for line in logs if line["event"].startswith("the credentials of senders")]
    if errors:
        assert introduced == Introduced()
    return errors[0] if errors else ""


@pytest.mark.parametrize(
    "credential",
    [
        TOKEN,
        {**TOKEN, "namespaces": ["*"]},
        {"name": "b", "namespaces": ["a", "b"], "hmac": {"keyFile": "/none"}},
        {
            **TOKEN,
            "hmac": {"keyFile": "/none", "header": "X-S", "timestampHeader": "X-T", "tolerance": "30s"},
        },
    ],
)
def test_what_can_be_proven_is_taken(tmp_path: Path, credential: dict[str, Any]) -> None:
    assert complaint(tmp_path, credential) == ""


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "a", "namespaces": ["chat"]}, "it needs a tokenFile, an hmac or a clientName"),
        ({**TOKEN, "namespaces": []}, "credentials.0.namespaces"),
        ({**TOKEN, "namespaces": ["*", "chat"]}, "namespaces are names, or '*' alone"),
        ({**TOKEN, "namespaces": ["chat*"]}, "credentials.0.namespaces.0"),
        ({**TOKEN, "namespaces": ["Chat"]}, "credentials.0.namespaces.0"),
        ({**TOKEN, "namespaces": "chat"}, "credentials.0.namespaces"),
        ({**TOKEN, "name": ""}, "credentials.0.name"),
        ({**TOKEN, "clientname": "am"}, "credentials.0.clientname: Extra inputs are not permitted"),
        ({**TOKEN, "clientName": ""}, "credentials.0.clientName"),
        ({**TOKEN, "clientName": "am"}, "without --signal-client-ca-file no client can show a certificate"),
        ({**TOKEN, "hmac": {}}, "credentials.0.hmac.keyFile: Field required"),
        ({**TOKEN, "hmac": {"keyFile": "/none", "tolerance": "soon"}}, "credentials.0.hmac.tolerance"),
        ({**TOKEN, "hmac": {"keyFile": "/none", "header": "X Y"}}, "credentials.0.hmac.header"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_named(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    assert told in complaint(tmp_path, wrong)


def test_one_mistake_refuses_the_good_ones_beside_it(tmp_path: Path) -> None:
    assert "two credentials have the same name" in complaint(tmp_path, TOKEN, {**TOKEN, "namespaces": ["*"]})


def test_a_client_name_is_fine_where_certificates_are_asked_for(tmp_path: Path) -> None:
    assert complaint(tmp_path, {"name": "a", "namespaces": ["b"], "clientName": "c"}, certificates=True) == ""


def test_a_complaint_shows_no_secret(tmp_path: Path) -> None:
    said = complaint(tmp_path, {**TOKEN, "token": "s3cr3t", "hmac": {"keyFile": ["s3cr3t"]}})
    assert said
    assert "s3cr3t" not in said
    (tmp_path / "credentials.yaml").write_text("credentials:\n- {name: s3cr3t, [}\n")
    with capture_logs() as logs:
        Credentials(tmp_path / "credentials.yaml", certificates=False).introduce(Presented({}))
    assert logs
    assert "s3cr3t" not in str(logs)


def test_a_file_that_is_not_there_lets_nobody_in_and_is_told_once(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "none", certificates=False)
    with capture_logs() as logs:
        for _ in range(3):
            assert credentials.introduce(Presented({"Authorization": "Bearer "})) == Introduced()
    assert len(logs) == 1


def test_a_secret_that_is_swapped_by_a_link_is_seen(tmp_path: Path) -> None:
    """As the kubelet changes mounted Secrets, all files at once."""
    for number, token in enumerate(("old", "new")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "tokens").write_text(token)
    data = tmp_path / "..data"
    data.symlink_to("0")
    credential = {**TOKEN, "tokenFile": str(data / "tokens")}
    credentials = Credentials(write_credentials(tmp_path, credential), certificates=False)

    def known(token: str) -> bool:
        return bool(credentials.introduce(Presented({"Authorization": f"Bearer {token}"})).candidates)

    assert (known("old"), known("new")) == (True, False)
    (tmp_path / "..tmp").symlink_to("1")
    os.replace(tmp_path / "..tmp", data)  # noqa: PTH105 - one rename, as the kubelet does it
    assert (known("old"), known("new")) == (False, True)


def test_an_empty_file_of_keys_or_tokens_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    file = str(tmp_path / "empty")
    by_token = {**TOKEN, "tokenFile": file}
    by_key = {"name": "b", "namespaces": ["*"], "hmac": {"keyFile": file}}
    credentials = Credentials(write_credentials(tmp_path, by_token, by_key), certificates=False)
    presented = Presented({"Authorization": "Bearer ", "X-Grafana-Alerting-Signature": "0" * 64})
    introduced = credentials.introduce(presented)
    assert [one.name for one in introduced.candidates] == ["b"]
    assert not introduced.known
    assert credentials.accept(introduced, presented, b"", NOW) is None


def test_of_two_that_fit_the_first_speaks(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("one")
    first = {**TOKEN, "name": "first", "tokenFile": str(tmp_path / "tokens")}
    second = {**first, "name": "second", "namespaces": ["*"]}
    credentials = Credentials(write_credentials(tmp_path, first, second), certificates=False)
    presented = Presented({"Authorization": "Bearer one"})
    accepted = credentials.accept(credentials.introduce(presented), presented, b"", NOW)
    assert accepted is not None
    assert accepted.speaker.name == "first"
    assert accepted.speaker.may("chat")
    assert not accepted.speaker.may("payments")


def test_the_file_in_the_manual_is_one_that_works(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[3] / "docs/how-to/alertmanager.md").read_text()
    blocks = [block.split("```")[0] for block in manual.split("```yaml\n")[1:]]
    (shown,) = [yaml.safe_load(block) for block in blocks if block.startswith("credentials:")]
    assert complaint(tmp_path, *shown["credentials"], certificates=True) == ""
