"""What the chart makes of other projects' kinds is accepted where these are really installed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import kinds
from tests.charts.chart import CHART, rendered, run
from tests.cluster import kubectl_of

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox

pytestmark = pytest.mark.long

NAMESPACE = "safety"
WITH_KINDS = (
    "receiver.enabled=true",
    "receiver.tls.source=certManager",
    "receiver.tls.issuerRef.name=ours",
    "receiver.tls.issuerRef.kind=ClusterIssuer",
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.prometheusRule.enabled=true",
)
THEIRS = {"Certificate/stanch-receiver", "ServiceMonitor/stanch", "PrometheusRule/stanch"}
STRICT = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
SECRET = ("secret", "stanch-receiver-tls", "-n", NAMESPACE)


@dataclass(frozen=True)
class Ground:
    sandbox: Sandbox
    kubectl: Kubectl
    home: Path

    def helm(self, *arguments: str) -> None:
        where = f"--namespace={NAMESPACE}"
        code, said = run(*arguments, where, kubeconfig=self.sandbox.admin_kubeconfig, home=self.home)
        assert code == 0, said

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "-o", "json", check=True).stdout)


@pytest.fixture(scope="module")
def ground(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """With the CRDs of cert-manager and prometheus-operator, and Stanch installed with objects of them."""
    sandbox = own_sandbox()
    home = tmp_path_factory.mktemp("helm")
    kubectl = kubectl_of(sandbox, home)
    files = [f"--filename={file}" for file in kinds.definitions(kinds.PLATFORM)]
    kubectl("create", *files, check=True)
    kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s", check=True)
    ground = Ground(sandbox, kubectl, home)
    sets = [f"--set={value}" for value in WITH_KINDS]
    ground.helm("install", "guard", str(CHART), "--create-namespace", *sets)
    return ground


def test_a_release_with_a_certificate_and_monitoring_is_installed_whole(ground: Ground) -> None:
    for name in THEIRS:
        kind, _, named = name.partition("/")
        there = ground.get(kind, named, "-n", NAMESPACE)
        assert there["spec"].items() >= rendered(*WITH_KINDS, namespace=NAMESPACE)[name]["spec"].items(), (
            "something was dropped"
        )


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_their_definitions_know_every_field(ground: Ground, name: str) -> None:
    """And would not take one that they do not know, which is what makes this a proof."""
    body = rendered(*WITH_KINDS, namespace=NAMESPACE)[name]
    body["metadata"]["name"] += "-again"
    ground.kubectl(*STRICT, stdin=json.dumps(body), check=True)
    body["spec"]["secretname"] = "misspelt"
    assert 'unknown field "spec.secretname"' in ground.kubectl(*STRICT, stdin=json.dumps(body)).stderr


def test_an_upgrade_leaves_the_certificate_that_the_operator_has_made(ground: Ground) -> None:
    source = ("--reset-then-reuse-values", "--set=receiver.tls.source=selfSigned")
    ground.helm("upgrade", "guard", str(CHART), *source)
    assert "data" not in ground.get(*SECRET)
    made = json.dumps({"data": {"tls.key": "bWFkZQ=="}})
    ground.kubectl("patch", *SECRET, "--type=merge", "-p", made, check=True)
    ground.helm("upgrade", "guard", str(CHART), *source, "--set=operator.settings.STANCH_PARALLELISM=8")
    assert ground.get(*SECRET)["data"] == {"tls.key": "bWFkZQ=="}
    ground.helm("rollback", "guard", "2")
    assert ground.get(*SECRET)["data"] == {"tls.key": "bWFkZQ=="}
