"""A Git repository that declares workloads and policies, beside Stanch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.installation import ROOT
from tests.operator_process import operator, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

COMMIT = ("apply", "--server-side", "--field-manager=repository", "-f", "-")
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


def test_argo_cd_keeps_its_settings_beside_the_health_checks(workspace: Space) -> None:
    argocd = workspace.elsewhere("argocd")
    argocd("create", "namespace", "argocd")
    try:
        argocd("create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.test")
        fragment = str(ROOT / "manifests" / "argocd" / "health.yaml")
        argocd("apply", "--server-side", "--field-manager=stanch-health", "-f", fragment)
        data = argocd.get("configmap", "argocd-cm")["data"]
        assert data.pop("url") == "https://argocd.example.test"
        assert len(data) == 4
        assert set(data.values()) == {data["resource.customizations.health.stanch.dev_AIIncident"]}
    finally:
        argocd("delete", "namespace", "argocd", "--wait=false")
