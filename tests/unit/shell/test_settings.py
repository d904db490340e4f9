from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from stanch.cli import app
from stanch.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_without_any_setting_the_operator_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    settings = Settings()
    assert settings.namespace == "stanch-system"
    assert (settings.lease_seconds, settings.renew_deadline_seconds, settings.retry_seconds) == (15, 10, 2)


def test_every_process_has_an_identity_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "stanch-0")
    one, two = Settings(), Settings()
    assert one.identity.startswith("stanch-0_")
    assert one.identity != two.identity


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANCH_SWEEP_SECONDS", "7")
    monkeypatch.setenv("STANCH_PROTECTED_NAMESPACES", "kube-system, payments")
    monkeypatch.setenv("STANCH_NAMESPACES", "chat, search")
    monkeypatch.setenv("POD_NAMESPACE", "sre")
    settings = Settings()
    assert settings.namespaces == ("chat", "search")
    assert settings.sweep_seconds == 7
    assert settings.all_protected_namespaces == {"kube-system", "payments", "sre"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease_seconds": 5},
        {"retry_seconds": 12},
        {"sweep_seconds": 0},
        {"sweep_seconds": float("inf")},
        {"http_port": 70_000},
        {"parallelism": 0},
        {"receiver_port": 8443},
        {"receiver_port": 8443, "receiver_tls_secret": "tls"},  # nobody may speak
        {"receiver_tls_secret": "tls", "tls_cert_file": "tls.crt"},  # which of them is served?
        {"log_level": "loud"},
        {"namespaces": "Chat"},
        {"namespaces": "chat,*"},  # a pattern to Kopf, which would then watch what no role allows
        {"namespaces": "chat,chat"},
        {"namespaces": "chat,sre", "namespace": "sre"},
        {"identity": "one)\r\nX-Remote-User: root"},  # it is part of a header
        {"unknown": 1},
    ],
)
def test_a_setting_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--lease-seconds", "5"], "two leaders could write at the same time"),
        (["--http-port", "70000"], "http_port"),
        (["--log-level", "loud"], "log_level"),
    ],
)
def test_stanch_run_tells_what_is_wrong_with_a_flag(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["run", *arguments])
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


def test_stanch_run_without_a_cluster_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", "--kubeconfig", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "does not exist; give --kubeconfig" in result.output


BAD = "version: '1'\nclocks:\n- {id: a, title: t, source: s, runsFrom: Awareness, within: 72h}\n"


@pytest.mark.parametrize(
    ("text", "clocks", "told"),
    [
        (BAD, "", "line 3, clocks[0].within: '72h' is no length of time"),
        (BAD.replace("72h", "PT72H"), "gdpr", "names 'gdpr', which is no clock of version 1"),
    ],
)
def test_whoever_could_not_lead_with_its_clocks_does_not_wait_for_it(
    tmp_path: Path, text: str, clocks: str, told: str
) -> None:
    """A standby is ready: an upgrade would go on until nobody can lead. No cluster is asked before."""
    file = tmp_path / "clocks.yaml"
    file.write_text(text)
    flags = [f"--kubeconfig={tmp_path / 'none'}", f"--clocks-file={file}", f"--clocks={clocks}"]
    result = CliRunner().invoke(app, ["run", *flags])
    assert result.exit_code == 2
    assert told in result.output
    assert "kubeconfig" not in result.output


def test_whoever_could_not_lead_as_its_store_is_not_there_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANCH_EVIDENCE_URL", f"file://{tmp_path / 'nowhere'}")
    result = CliRunner().invoke(app, ["run", f"--kubeconfig={tmp_path / 'none'}"])
    assert result.exit_code == 2
    assert "no evidence is read or stored there. Create the directory, or mount it" in result.output
