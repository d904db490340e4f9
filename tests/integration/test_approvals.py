"""People stay in control: limits that ask first, plans that wait for a word, and whose word counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from stanch.cli import app
from tests.installation import stamping
from tests.operator_process import condition, eventually, operator, workload, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import Cluster
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

LLM = "Deployment/llm-chat"
BOB, CAROL = "bob@example.test", "carol@example.test"


@pytest.fixture
def llm(workspace: Space) -> None:
    for name in ("llm-chat", "rag"):
        workspace.create(workload("Deployment", name, 1))
        workspace.running("Deployment", name, 1)


@pytest.fixture
def approvers(workspace: Space, cluster: Cluster) -> dict[str, Path]:
    for name in (BOB, CAROL):
        bind = "--clusterrole=stanch-approver", f"--user={name}"
        workspace("create", "rolebinding", name.split("@")[0], *bind)
        reporter = "--clusterrole=stanch-reporter", f"--user={name}"
        workspace("create", "rolebinding", f"{name.split('@')[0]}-reports", *reporter)
    return {name: cluster.kubeconfig_for_user(name) for name in (BOB, CAROL)}


def guarded(workspace: Space, **guardrails: Any) -> None:
    workspace.create(
        {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "ContainmentPolicy",
            "metadata": {"name": "chat"},
            "spec": {"selector": {}, "steps": [{"scaleToZero": {}}], "guardrails": guardrails},
        }
    )


def report(workspace: Space, name: str, target: str = "llm-chat", **more: Any) -> None:
    workspace.create(incident(name, target, **more))


def incident(name: str, target: str = "llm-chat", **more: Any) -> Json:
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": name},
        "spec": {
            "title": "Toxic output",
            "category": "OutputPolicyViolation",
            "severity": "High",
            "targets": [{"kind": "Deployment", "name": target}],
            "policyRef": {"name": "chat"},
        }
        | more,
    }


def approve(workspace: Space, name: str, who: Path, *more: str) -> Result:
    arguments = ["approve", "-n", workspace.name, name, "--kubeconfig", str(who), *more]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def replicas(workspace: Space, name: str = "llm-chat") -> int:
    count: int = workspace.get("deployment", name)["spec"]["replicas"]
    return count


def settled(workspace: Space, *names: str) -> list[str]:
    """The phases in which these incidents come to rest."""

    def phases() -> list[str]:
        return [workspace.status(name).get("phase", "") for name in names]

    def rest() -> bool:
        return set(phases()) <= {"Contained", "AwaitingApproval", "Duplicate"}

    eventually(rest, f"{', '.join(names)} come to rest", seen=lambda: str(phases()))
    return phases()


def test_the_plan_is_read_approved_and_carried_out(
    workspace: Space, llm: None, approvers: dict[str, Path]
) -> None:
    guarded(workspace, approval={"required": "Always"})
    report(workspace, "drift")
    status = workspace.wait_phase("drift", "AwaitingApproval")
    described = workspace("describe", "aii", "drift")
    assert "replicas 1 → 0" in described
    assert f"stanch approve -n {workspace.name} drift --plan {status['plan']['hash']}" in described
    assert replicas(workspace) == 1
    assert workspace.get("holds")["items"] == []
    assert "finalizers" not in workspace.get("aii", "drift")["metadata"]

    answer = approve(workspace, "drift", approvers[BOB], "--yes", "--comment", "seen on the dashboard")
    assert answer.exit_code == 0, answer.output
    assert "replicas 1 → 0" in answer.output
    assert f"plan {status['plan']['hash']} approved as {BOB}" in answer.output
    done = workspace.wait_phase("drift", "Contained")
    assert done["approval"]["by"] == BOB
    assert condition(done, "Approved")["message"] == f"plan {status['plan']['hash']} approved by {BOB}"
    assert done["timestamps"]["approved"]
    for reason in ("AwaitingApproval", "Approved", "Contained"):
        workspace.wait_event(reason)

    again = approve(workspace, "drift", approvers[BOB], "--yes")
    assert again.exit_code == 1
    assert "is Contained; nothing was approved" in again.output
    workspace.release("drift")


@pytest.fixture
def stamped(workspace: Space) -> Iterator[None]:
    with stamping(workspace.kubectl, workspace.name):
        yield


@pytest.mark.compatibility("stamps")
def test_under_four_eyes_whoever_asked_does_not_approve(
    workspace: Space, llm: None, stamped: None, approvers: dict[str, Path]
) -> None:
    guarded(workspace, approval={"required": "Always", "fourEyes": True})
    workspace("create", "-f", "-", as_=approvers[BOB], stdin=incident("drift"))
    workspace.wait_phase("drift", "AwaitingApproval")
    assert approve(workspace, "drift", approvers[BOB], "--yes").exit_code == 0
    said = workspace.wait_condition("drift", "Approved", "FourEyes")
    assert f"was requested by {BOB}; the policy wants another person to approve it" in said["message"]
    assert replicas(workspace) == 1

    assert approve(workspace, "drift", approvers[CAROL], "--yes").exit_code == 0
    done = workspace.wait_phase("drift", "Contained")
    assert done["approval"]["by"] == CAROL
    workspace.release("drift")


def test_without_a_stamp_four_eyes_are_not_met(
    workspace: Space, llm: None, approvers: dict[str, Path]
) -> None:
    guarded(workspace, approval={"required": "Always", "fourEyes": True})
    report(workspace, "drift")
    workspace.wait_phase("drift", "AwaitingApproval")
    assert approve(workspace, "drift", approvers[BOB], "--yes").exit_code == 0
    said = workspace.wait_condition("drift", "Approved", "RequesterUnknown")
    assert "annotation stanch.dev/requested-by does not say who asked" in said["message"]
    assert replicas(workspace) == 1


def test_a_changed_policy_is_another_plan_and_voids_the_approval(
    workspace: Space, llm: None, approvers: dict[str, Path]
) -> None:
    guarded(workspace, approval={"required": "Always"})
    report(workspace, "drift")
    first = workspace.wait_phase("drift", "AwaitingApproval")["plan"]["hash"]
    steps = json.dumps({"spec": {"steps": [{"isolate": {}}, {"scaleToZero": {}}]}})
    workspace("patch", "cpol", "chat", "--type=merge", "-p", steps)
    assert approve(workspace, "drift", approvers[BOB], "--plan", first).exit_code == 0
    workspace.wait_condition("drift", "Approved", "PlanChanged")
    assert replicas(workspace) == 1
    second = workspace.get("aii", "drift")["status"]["plan"]["hash"]
    assert second != first
    assert "replicas 1 → 0" in workspace("describe", "aii", "drift")
    stale = approve(workspace, "drift", approvers[BOB], "--plan", first)
    assert stale.exit_code == 1
    assert f"has plan {second} now, not {first}; read it and try again" in stale.output
    assert approve(workspace, "drift", approvers[BOB], "--plan", second).exit_code == 0
    assert [step["action"] for step in workspace.wait_phase("drift", "Contained")["steps"]] == [
        "Isolate",
        "ScaleToZero",
    ]
    workspace.release("drift")


def test_a_person_without_the_verb_approves_nothing(workspace: Space, llm: None, cluster: Cluster) -> None:
    guarded(workspace, approval={"required": "Always"})
    report(workspace, "drift")
    workspace.wait_phase("drift", "AwaitingApproval")
    workspace("create", "rolebinding", "eve", "--clusterrole=stanch-responder", "--user=eve@example.test")
    answer = approve(workspace, "drift", cluster.kubeconfig_for_user("eve@example.test"), "--yes")
    assert answer.exit_code == 1
    assert "to approve a plan you need the verb approve on aiincidents.stanch.dev" in answer.output
    assert replicas(workspace) == 1


def test_over_the_limit_the_next_containment_asks_first_with_the_figures(
    workspace: Space, llm: None, approvers: dict[str, Path]
) -> None:
    guarded(workspace, maxConcurrent=1, storm={"containments": 1, "within": "10m"}, capacityFloor="50%")
    report(workspace, "first")
    workspace.wait_phase("first", "Contained")
    report(workspace, "second", "rag")
    status = workspace.wait_phase("second", "AwaitingApproval")
    guard = condition(status, "GuardrailsPassed")
    assert (guard["status"], guard["reason"]) == ("False", "MaxConcurrent")
    assert "1 containments of this policy stand, and at most 1 may by themselves" in guard["message"]
    assert "1 containments of this policy began within 10m" in guard["message"]
    assert "0 of 2 replicas of the policy's workloads would still serve, and 50% have to" in guard["message"]
    assert replicas(workspace, "rag") == 1
    workspace.release("first")
    assert workspace.get("aii", "second")["status"]["phase"] == "AwaitingApproval"
    assert approve(workspace, "second", approvers[BOB], "--yes").exit_code == 0
    workspace.wait_phase("second", "Contained")
    workspace.release("second")


def test_two_that_a_pipeline_reports_at_once_never_both_pass_a_limit_of_one(
    workspace: Space, llm: None
) -> None:
    guarded(workspace, maxConcurrent=1)
    workspace.create({"apiVersion": "v1", "kind": "List", "items": [incident("a"), incident("b", "rag")]})
    assert sorted(settled(workspace, "a", "b")) == ["AwaitingApproval", "Contained"]


def test_what_a_pipeline_reports_twice_is_contained_once(workspace: Space, llm: None) -> None:
    guarded(workspace)

    def reported() -> str:
        body = incident("ignored", dedupKey="eval-run-7")
        body["metadata"] = {"generateName": "eval-"}
        name: str = json.loads(workspace("create", "-f", "-", "-o", "json", stdin=body))["metadata"]["name"]
        return name

    first = reported()
    workspace.wait_phase(first, "Contained")
    said = workspace.wait_phase(reported(), "Duplicate")["summary"]
    assert f"AIIncident {first} was reported before under dedupKey eval-run-7" in said
    workspace.release(first)
    workspace.wait_phase(reported(), "Contained")


def test_a_protected_workload_is_refused_by_name(workspace: Space, llm: None) -> None:
    guarded(workspace)
    workspace("label", "deployment", "llm-chat", "stanch.dev/protected=true")
    report(workspace, "drift")
    accepted = condition(workspace.wait_phase("drift", "Rejected"), "Accepted")
    assert accepted["reason"] == "WorkloadProtected"
    assert (
        "carries label stanch.dev/protected=true, which the operator's settings protect"
        in accepted["message"]
    )
    assert replicas(workspace) == 1
