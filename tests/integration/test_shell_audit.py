"""The API server's own audit events, over TLS, at the operator's receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox import AuditEndpoint
from tests.cluster import kubectl_of
from tests.installation import User, hold, install
from tests.integration.shell_process import OperatorProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import OwnSandbox
    from tests.installation import Installed


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuditEndpoint]:
    directory = tmp_path_factory.mktemp("audited")
    return directory, AuditEndpoint.reserve(directory)


@pytest.fixture(scope="module")
def installed(
    own_sandbox: OwnSandbox,
    endpoint: tuple[Path, AuditEndpoint],
    tmp_path_factory: pytest.TempPathFactory,
) -> Installed:
    directory, reserved = endpoint
    sandbox = own_sandbox(directory=directory, audit_webhook=reserved.webhook)
    return install(sandbox, kubectl_of(sandbox, tmp_path_factory.mktemp("kubectl")))


def test_a_person_denied_by_the_hold_is_known_by_name(
    installed: Installed, endpoint: tuple[Path, AuditEndpoint], tmp_path: Path
) -> None:
    reserved = endpoint[1]
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{reserved.token}\n")
    mallory = User(installed.kubectl, installed.cluster.kubeconfig_for_user("mallory", ["system:masters"]))
    installed.admin("create", "deployment", "llm", "--image=none", "--replicas=0")
    hold(installed, "default", "Stopped apps/deployments/llm")
    settings = {
        "receiver_port": str(reserved.port),
        "tls_cert_file": str(reserved.certificate.certificate),
        "tls_key_file": str(reserved.certificate.key),
        "receiver_token_file": str(tokens),
    }
    with OperatorProcess(
        installed.cluster.admin_kubeconfig, "default", tmp_path / "log", settings=settings
    ) as operator:
        operator.is_ready_as("leading")
        said = mallory.run("scale", "deployment/llm", "--replicas=3")
        assert said.returncode != 0
        denied = operator.hears(name="llm", by="mallory")
        assert "held by AIIncident leak-81d2e" in denied["denied"]
