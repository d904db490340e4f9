"""A control plane of one's own that sends its audit events to the operator: who was denied what is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox import AuditEndpoint, Sandbox
from tests.cluster import kubectl_of
from tests.operator_process import OperatorProcess, Space, fresh_space, install, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import Kubectl, OwnSandbox


@dataclass(frozen=True)
class Ground:
    sandbox: Sandbox
    kubectl: Kubectl
    operator: OperatorProcess


@pytest.fixture(scope="module")
def ground(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Stanch installed and running, with a place for evidence; the API server reports to it."""
    directory = tmp_path_factory.mktemp("audited")
    endpoint = AuditEndpoint.reserve(directory)
    sandbox = own_sandbox(directory=directory, audit_webhook=endpoint.webhook)
    home = tmp_path_factory.mktemp("fights")
    kubectl = kubectl_of(sandbox, home)
    install(kubectl)
    tokens: Path = home / "tokens"
    tokens.write_text(f"{endpoint.token}\n")
    flags = {
        "receiver_port": str(endpoint.port),
        "tls_cert_file": str(endpoint.certificate.certificate),
        "tls_key_file": str(endpoint.certificate.key),
        "receiver_token_file": str(tokens),
    }
    evidence = home / "evidence"
    evidence.mkdir()
    environment = {"STANCH_EVIDENCE_URL": evidence.as_uri()}
    with running(sandbox, home / "operator.log", environment, **flags) as operator:
        yield Ground(sandbox, kubectl, operator)


@pytest.fixture
def operator(ground: Ground) -> OperatorProcess:
    return ground.operator


@pytest.fixture
def workspace(ground: Ground) -> Iterator[Space]:
    with fresh_space(ground.sandbox, ground.kubectl, ground.operator) as fresh:
        yield fresh
