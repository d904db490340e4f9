"""A Git repository that declares workloads and policies, beside Stanch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.kinds import GITOPS, definitions
from tests.installation import ROOT
from tests.operator_process import operator, workload, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Kubectl
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

COMMIT = ("apply", "--server-side", "--field-manager=repository", "-f", "-")
STRICTLY = ("apply", "--server-side", "--validate=strict", "-f")
TAKEN = 'conflict with "stanch"'


def llm(replicas: int) -> Json:
    return workload("Deployment", "llm-chat", replicas)


def test_a_commit_is_refused_while_held_and_goes_on_after_the_release(workspace: Space) -> None:
    workspace(*COMMIT, stdin=llm(3))
    workspace.running("Deployment", "llm-chat", 3)
    workspace.contain("leak", "Deployment/llm-chat")
    assert TAKEN in workspace.refused(*COMMIT, stdin=llm(3))
    assert "held by AIIncident leak" in workspace.refused(*COMMIT, "--force-conflicts", stdin=llm(3))

    workspace.release("leak")
    workspace(*COMMIT, stdin=llm(3))
    assert TAKEN in workspace.refused(*COMMIT, stdin=llm(4))
    workspace(*COMMIT, "--force-conflicts", stdin=llm(4))
    workspace(*COMMIT, stdin=llm(5))
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 5


@pytest.fixture(scope="module")
def namespaces(kubectl: Kubectl) -> Iterator[None]:
    """Those of Flux and Argo CD, without any controller."""
    names = ("flux-system", "argocd")
    for name in names:
        kubectl("create", "namespace", name, check=True)
    yield
    kubectl("delete", "namespace", *names, "--wait=false", check=True)


@pytest.fixture(scope="module")
def kinds(kubectl: Kubectl) -> Iterator[None]:
    files = [f"--filename={file}" for file in definitions(GITOPS)]
    kubectl("apply", "--server-side", *files, check=True)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", *files, check=True)
    yield
    kubectl("delete", "--wait=false", *files, check=True)


def test_argo_cd_keeps_its_settings_beside_the_health_checks(workspace: Space, namespaces: None) -> None:
    argocd = workspace.elsewhere("argocd")
    argocd("create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.test")
    fragment = str(ROOT / "manifests" / "argocd" / "health.yaml")
    argocd("apply", "--server-side", "--field-manager=stanch-health", "-f", fragment)
    data = argocd.get("configmap", "argocd-cm")["data"]
    assert data.pop("url") == "https://argocd.example.test"
    assert len(data) == 4
    assert set(data.values()) == {data["resource.customizations.health.stanch.dev_AIIncident"]}


@pytest.mark.parametrize("file", ["flux/release.yaml", "flux/sync.yaml", "argocd/application.yaml"])
def test_an_example_is_taken_as_it_is(kubectl: Kubectl, namespaces: None, kinds: None, file: str) -> None:
    kubectl(*STRICTLY, str(ROOT / "manifests" / file), check=True)


def test_a_misspelt_field_of_an_example_would_be_seen(
    kubectl: Kubectl, namespaces: None, kinds: None
) -> None:
    sync = (ROOT / "manifests" / "flux" / "sync.yaml").read_text()
    misspelt = sync.replace("healthCheckExprs", "healthCheckExpressions")
    said = kubectl(*STRICTLY, "-", stdin=misspelt)
    assert said.returncode != 0
    assert ".spec.healthCheckExpressions: field not declared in schema" in said.stderr
