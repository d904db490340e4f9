"""03:12, an SRE on call: from one line that stops the model to the report, with `kubectl stanch` alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.plugin import Plugin, plugin
from tests.operator_process import operator, workload, workspace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import Cluster, Said
    from tests.operator_process import Space

__all__ = ["operator", "workspace"]  # fixtures

SRE = "sre@example.test"


@pytest.fixture
def llm(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 2))
    workspace.running("Deployment", "llm-chat", 2)


def person(workspace: Space, cluster: Cluster, directory: Path, *roles: str, name: str = SRE) -> Plugin:
    """Somebody with these ClusterRoles in the namespace, which their context names."""
    for role in roles:
        workspace(
            "create",
            "rolebinding",
            f"{name.partition('@')[0]}-{role}",
            f"--clusterrole={role}",
            f"--user={name}",
        )
        workspace.until_allowed("get", "aii", f"--as={name}")
    config = yaml.safe_load(cluster.kubeconfig_for_user(name).read_text())
    config["contexts"][0]["context"]["namespace"] = workspace.name
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    return plugin(cluster, kubeconfig, directory)


@pytest.fixture
def sre(workspace: Space, cluster: Cluster, tmp_path: Path) -> Plugin:
    return person(workspace, cluster, tmp_path, "stanch-responder", "stanch-approver")


def data(said: Said) -> Any:
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def replicas(workspace: Space) -> int:
    count: int = workspace.get("deployment", "llm-chat")["spec"]["replicas"]
    return count


@pytest.mark.compatibility("cli")
def test_from_one_line_that_stops_the_model_to_the_closed_incident(
    workspace: Space, llm: None, sre: Plugin
) -> None:
    planned = sre("plan", "--workload", "deploy/llm-chat")
    assert planned.returncode == 0, planned.stderr
    assert "replicas 2 → 0" in planned.stdout
    assert " undo        proven by dry run for " in planned.stdout
    assert " guardrails  none: a plan without a policy" in planned.stdout
    assert planned.stdout.endswith("Nothing was changed.\n")
    assert replicas(workspace) == 2
    assert workspace.get("aii")["items"] == []

    line = ("contain", "deploy/llm-chat", "--title", "Toxic output", "--severity", "Critical")
    contained = sre(*line, "--category", "OutputPolicyViolation", "--wait")
    assert contained.returncode == 0, contained.stderr + contained.stdout
    assert "contained: llm-chat replicas 2→0; held" in contained.stdout
    assert replicas(workspace) == 0
    (incident,) = workspace.get("aii")["items"]
    name = incident["metadata"]["name"]
    assert (
        f"Next: once the cause is gone, give it back: kubectl stanch release -n {workspace.name} {name}"
        in (contained.stdout)
    )

    heads, row = sre("status").stdout.splitlines()
    assert heads.split()[:5] == ["NAME", "SEVERITY", "TARGET", "PHASE", "HELD"]
    assert row.split()[:5] == [name, "Critical", "Deploy/llm-chat", "Contained", "True"]
    assert row.split()[-1] == "release"
    story = sre("status", name).stdout
    for told in ("Toxic output", "ScaleToZero", "DeniedAtAdmission", "Timeline", "Next: "):
        assert told in story
    assert sre("__complete", "stanch", "release", name[:3]).stdout.splitlines() == [name, ":4"]
    assert data(sre("status", name, "-o", "json"))["status"]["phase"] == "Contained"
    elsewhere = sre("status", "-A")
    assert elsewhere.returncode == 2
    assert "you need the verb list on aiincidents: ClusterRole stanch-viewer has it" in elsewhere.stderr

    released = sre("release", name, "--watch", "--timeout", "60")
    assert released.returncode == 0, released.stderr + released.stdout
    assert "Releasing" in released.stdout
    assert (
        f"Close it with what was learnt: kubectl stanch close -n {workspace.name} {name}" in released.stdout
    )
    assert replicas(workspace) == 2
    again = sre("release", name)
    assert again.returncode == 1
    assert "is Released already; nothing was asked to be given back" in again.stderr

    asked = sre("close", name, "--determination", "Confirmed")
    assert (asked.returncode, asked.stderr) == (2, "stanch close: give --root-cause; nothing was closed\n")
    learnt = (
        "--root-cause",
        "The filter was off.",
        "--went-well",
        "It was quick.",
        "--action",
        "Test it; Ines",
    )
    closed = sre("close", name, "--determination", "Confirmed", *learnt)
    assert closed.returncode == 0, closed.stderr
    assert workspace.wait_phase(name, "Closed")
    resolution = workspace.get("aii", name)["spec"]["resolution"]
    assert resolution["lessons"]["wentWell"] == ["It was quick."]
    assert resolution["actions"] == [{"what": "Test it", "owner": "Ines"}]
    followed = sre("status", name, "--watch")
    assert followed.returncode == 0
    assert "Closed" in followed.stdout


def test_without_the_right_nothing_happens_and_the_role_that_has_it_is_named(
    workspace: Space, llm: None, cluster: Cluster, tmp_path: Path
) -> None:
    viewer = person(workspace, cluster, tmp_path, "stanch-viewer", name="eve@example.test")
    refused = viewer("contain", "deploy/llm-chat")
    assert refused.returncode == 1
    assert (
        "verb create on aiincidents: ClusterRole stanch-reporter has it; nothing was contained"
        in refused.stderr
    )
    workspace(
        "create", "rolebinding", "eve-reports", "--clusterrole=stanch-reporter", "--user=eve@example.test"
    )
    workspace.until_allowed("auth", "can-i", "create", "aii", "--as=eve@example.test")
    denied = viewer("contain", "deploy/llm-chat")
    assert denied.returncode == 1
    assert "to contain without a policy you need the verb contain" in denied.stderr
    assert "ClusterRole stanch-responder has it" in denied.stderr
    rehearsed = viewer("plan", "--workload", "deploy/llm-chat")
    assert rehearsed.returncode == 0
    assert "stays, as a dry run: Forbidden" in rehearsed.stderr
    assert replicas(workspace) == 2


@pytest.mark.long
def test_a_script_reads_json_alone_and_the_exit_code(workspace: Space, llm: None, sre: Plugin) -> None:
    workspace.create(
        {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "ContainmentPolicy",
            "metadata": {"name": "chat"},
            "spec": {
                "selector": {},
                "steps": [{"scaleToZero": {}}],
                "guardrails": {"approval": {"required": "Always"}},
            },
        }
    )
    planned = sre("plan", "--workload", "deploy/llm-chat", "--policy", "chat")
    assert planned.returncode == 0, planned.stderr
    assert (
        " guardrails  a person has to approve it: the policy wants every plan approved\n" in planned.stdout
    ), planned.stdout
    assert "ContainmentPolicy/chat has: approval always, valid for 30m" in planned.stdout
    written = data(sre("plan", "--workload", "deploy/llm-chat", "--policy", "chat", "-o", "json"))["status"]
    assert written["timestamps"]["rehearsed"]
    assert {each["type"]: each["status"] for each in written["conditions"]}["Approved"] == "False"
    waits = sre("contain", "deploy/llm-chat", "--policy", "chat", "--wait", "-o", "json")
    assert waits.returncode == 3
    incident = json.loads(waits.stdout)
    name = incident["metadata"]["name"]
    assert incident["status"]["phase"] == "AwaitingApproval"
    assert "managedFields" not in incident["metadata"]
    assert sre("status").stdout.splitlines()[1].endswith("approve")

    assert sre("approve", name, "--yes").returncode == 0
    workspace.wait_phase(name, "Contained")
    table = data(sre("status", "-o", "json"))
    assert [(each["metadata"]["name"], each["status"]["phase"]) for each in table["items"]] == [
        (name, "Contained")
    ]
    assert yaml.safe_load(sre("status", name, "-o", "yaml").stdout)["status"]["phase"] == "Contained"
    wrong = sre("contain", "deploy/llm-shat", "--step", "scale-to-zero", "--wait", "-o", "yaml")
    assert wrong.returncode == 1
    assert yaml.safe_load(wrong.stdout)["status"]["phase"] == "Rejected"
    assert sre("release", name, "--skip-verification", "--watch").returncode == 0


def proven_by(check: Any) -> Any:
    times = {"initialDelay": "100ms", "interval": "500ms", "timeout": "30s"}
    limits = {"consecutiveSuccesses": 2, "failureLimit": 2, "inconclusiveLimit": 2}
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentPolicy",
        "metadata": {"name": "chat"},
        "spec": {
            "selector": {},
            "steps": [{"scaleToZero": {}}],
            "verification": {"checks": [{"name": "well"} | check]} | times | limits,
        },
    }


@pytest.mark.long
def test_a_release_is_followed_stage_by_stage_tried_again_and_forced(
    workspace: Space, llm: None, sre: Plugin
) -> None:
    """No server listens in KWOK's pods: what asks them finds nobody, whatever the kubelet says."""
    nobody = {"http": {"port": 1, "timeout": "1s"}}
    workspace.create(proven_by(nobody))
    stopped = data(sre("contain", "deploy/llm-chat", "--policy", "chat", "--wait", "-o", "json"))
    name = stopped["metadata"]["name"]
    for attempt in (1, 2):
        failed = sre("release", name, "--watch", "--timeout", "90")
        assert failed.returncode == 1, failed.stderr + failed.stdout
        assert "ReleaseProbation" in failed.stdout
        assert "Not given back, contained again" in failed.stdout
        assert f"try again: kubectl stanch release -n {workspace.name} {name}" in failed.stdout
        assert workspace.status(name)["release"]["attempt"] == attempt
        assert replicas(workspace) == 0
    forced = sre("release", name, "--skip-verification", "--watch", "--timeout", "60")
    assert forced.returncode == 0, forced.stderr + forced.stdout
    assert "Released." in forced.stdout
    assert replicas(workspace) == 2

    workspace("delete", "cpol", "chat")
    workspace.create(proven_by({"healthy": {}}))
    stopped = data(sre("contain", "deploy/llm-chat", "--policy", "chat", "--wait", "-o", "json"))
    proven = sre("release", stopped["metadata"]["name"], "--watch", "--timeout", "90")
    assert proven.returncode == 0, proven.stderr + proven.stdout
    for told in ("ReleaseProbation", "ReleaseFull", "checks  well ✓", "Recovered."):
        assert told in proven.stdout
