"""Is Stanch in order here? On a cluster of its own, since what protects the others is taken away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cluster import kubectl_of
from tests.integration.plugin import Plugin, plugin
from tests.operator_process import eventually, install, running, workload

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox

pytestmark = [pytest.mark.long, pytest.mark.compatibility("cli")]


@pytest.fixture
def sandbox(own_sandbox: OwnSandbox) -> Sandbox:
    return own_sandbox()


@pytest.fixture
def kubectl(sandbox: Sandbox, tmp_path: Path) -> Kubectl:
    return kubectl_of(sandbox, tmp_path)


@pytest.fixture
def admin(sandbox: Sandbox, tmp_path: Path) -> Plugin:
    return plugin(sandbox, sandbox.admin_kubeconfig, tmp_path)


def states(person: Plugin) -> tuple[int, dict[str, str], dict[str, str]]:
    """How it ends; each check's state; each check's message with what to do."""
    said = person("doctor", "-o", "json")
    checks = json.loads(said.stdout)["checks"]
    return (
        said.returncode,
        {each["check"]: each["state"] for each in checks},
        {each["check"]: f"{each['message']} {each['todo']}" for each in checks},
    )


def test_from_before_it_is_installed_to_a_binding_that_somebody_deleted(
    sandbox: Sandbox, kubectl: Kubectl, admin: Plugin, tmp_path: Path
) -> None:
    code, state, told = states(admin)
    assert code == 1
    assert {name for name, each in state.items() if each == "Failed"} == {
        "CRDs",
        "admission policies",
        "operator",
    }
    assert "apply manifests/default" in told["CRDs"]
    assert state["orphaned holds"] == "Unknown"

    install(kubectl)
    with running(sandbox, tmp_path / "operator.log"):
        well = admin("doctor")
        assert well.returncode == 0, well.stdout
        for line in (
            "API server           OK",
            "CRDs                 OK        4 installed, of this version",
            "admission policies   OK",
            "hold denies          OK",
            "operator             OK        test-",
            "orphaned holds       OK",
        ):
            assert line in well.stdout

        kubectl("create", "rolebinding", "eve", "--clusterrole=stanch-viewer", "--user=eve", check=True)
        directory = tmp_path / "eve"
        directory.mkdir()
        eve = plugin(sandbox, sandbox.kubeconfig_for_user("eve"), directory)
        eventually(lambda: states(eve)[1]["your rights"] == "OK", "eve may look")
        code, state, told = states(eve)
        assert code == 0
        assert state["admission policies"] == state["hold denies"] == state["operator"] == "Unknown"
        assert "approve: ClusterRole stanch-approver" in told["your rights"]

        kubectl("create", "-f", "-", stdin=json.dumps(workload("Deployment", "llm-chat", 1)), check=True)
        assert admin("contain", "deploy/llm-chat", "--wait").returncode == 0
        kubectl("delete", "validatingadmissionpolicybinding", "stanch-hold", check=True)
        eventually(lambda: states(admin)[1]["containments"] == "Failed", "the operator has seen it")
        code, state, told = states(admin)
        assert code == 1
        assert state["admission policies"] == state["hold denies"] == "Failed"
        assert "stanch-hold has no binding that denies" in told["admission policies"]
        assert "kubectl apply -k manifests/admission" in told["admission policies"]
        assert "NOT held: default/llm-chat-" in told["containments"]

    code, state, told = states(admin)
    assert state["operator"] == "Failed"
    assert "nobody leads" in told["operator"]
