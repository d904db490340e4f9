"""Policies as a platform team lives with them: which one an incident follows, and what is told of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.installation import ROOT
from tests.operator_process import condition, eventually, operator, shape, workload, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

LLM = "Deployment/llm-chat"
STOP: Json = {"scaleToZero": {}}
CUT_OFF: Json = {"isolate": {"direction": ["Egress"]}}


def policy(name: str, *steps: Json, selector: Json | None = None, cluster: bool = False, **spec: Any) -> Json:
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ClusterContainmentPolicy" if cluster else "ContainmentPolicy",
        "metadata": {"name": name},
        "spec": {"selector": selector or {}, "steps": list(steps) or [STOP]} | spec,
    }


def ref(name: str, *, cluster: bool = False) -> Json:
    return {"kind": "ClusterContainmentPolicy" if cluster else "ContainmentPolicy", "name": name}


@pytest.fixture
def llm(workspace: Space) -> str:
    """A running model server, labelled team=chat; its shape, to compare with."""
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.running("Deployment", "llm-chat", 1)
    return shape(workspace.get("deployment", "llm-chat"))


@pytest.fixture
def cluster_policy(workspace: Space) -> Iterator[str]:
    """Of every namespace with this test's label; only this test's has it."""
    workspace("label", "namespace", workspace.name, f"tier={workspace.name}")
    name = f"tier-{workspace.name}"
    where = {"namespaceSelector": {"matchLabels": {"tier": workspace.name}}}
    workspace.create(policy(name, STOP, selector=where, cluster=True))
    yield name
    workspace("delete", "ccpol", name)


def source(status: Json) -> str:
    said: str = status["plan"]["source"]
    return said


def rejected(workspace: Space, name: str, reason: str) -> str:
    accepted = condition(workspace.wait_phase(name, "Rejected"), "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert workspace.get("holds")["items"] == []
    message: str = accepted["message"]
    return message


def ready(workspace: Space, what: str, reason: str) -> Json:
    """The policy's status once Ready has this reason for what its spec says now."""

    def now() -> Json:
        return workspace.get(*what.split("/"))

    def told() -> bool:
        body = now()
        status = body.get("status", {})
        return status.get("observedGeneration") == body["metadata"]["generation"] and any(
            each["type"] == "Ready" and each["reason"] == reason for each in status["conditions"]
        )

    eventually(told, f"{what} is {reason}", seen=lambda: json.dumps(now()))
    status: Json = now()["status"]
    return status


def test_the_narrowest_policy_of_the_namespace_decides_what_is_done(
    workspace: Space, llm: str, cluster_policy: str
) -> None:
    workspace.create(policy("everything", STOP))
    workspace.create(
        policy("chat", CUT_OFF, selector={"kinds": ["Deployment"], "matchLabels": {"team": "chat"}})
    )
    status = workspace.contain("leak", LLM)
    assert source(status) == "ContainmentPolicy/chat generation 1"
    assert [step["action"] for step in status["steps"]] == ["Isolate"]
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 1
    workspace.release("leak")
    assert shape(workspace.get("deployment", "llm-chat")) == llm

    workspace("delete", "cpol", "everything", "chat")
    status = workspace.contain("again", LLM)
    assert source(status) == f"ClusterContainmentPolicy/{cluster_policy} generation 1"
    assert workspace.pods() == []
    workspace.release("again")

    outside = workspace.elsewhere("default").get("ccpol", cluster_policy)
    assert outside["status"]["workloads"] == [f"Deployment {workspace.name}/llm-chat"]
    workspace("label", "namespace", workspace.name, "tier-")
    assert source(workspace.contain("no-policy", LLM)) == "built-in default"


def test_a_tie_is_reported_and_settled_by_naming_one(workspace: Space, llm: str) -> None:
    workspace.create(policy("a", STOP, selector={"matchLabels": {"team": "chat"}}))
    workspace.create(policy("b", CUT_OFF, selector={"kinds": ["Deployment"]}))
    workspace.incident("leak", LLM)
    message = rejected(workspace, "leak", "PolicyAmbiguous")
    assert message.startswith(
        "ContainmentPolicy a and ContainmentPolicy b match Deployment llm-chat equally well "
        "(1 selector terms each); name one of them in spec.policyRef"
    )
    assert shape(workspace.get("deployment", "llm-chat")) == llm
    named = {"spec": {"policyRef": ref("b")}}
    workspace("patch", "aii", "leak", "--type=merge", "-p", json.dumps(named))
    assert source(workspace.wait_phase("leak", "Contained")) == "ContainmentPolicy/b generation 1"


def test_targets_that_call_for_different_plans_need_a_policy_named(workspace: Space, llm: str) -> None:
    workspace.create(workload("Deployment", "rag", 1, labels={"team": "rag"}))
    workspace.create(policy("chat", selector={"matchLabels": {"team": "chat"}}))
    workspace.incident("both", LLM, "Deployment/rag")
    message = rejected(workspace, "both", "PoliciesDiffer")
    assert "(Deployment llm-chat: ContainmentPolicy chat; Deployment rag: none)" in message
    workspace.incident("named", LLM, "Deployment/rag", policyRef=ref("chat"))
    message = rejected(workspace, "named", "PolicyDoesNotSelect")
    assert message.startswith(
        "spec.policyRef: ContainmentPolicy chat is not for Deployment rag: label team=chat is 'rag' there."
    )
    assert shape(workspace.get("deployment", "llm-chat")) == llm


def test_a_cluster_policy_is_not_for_namespaces_it_does_not_select(
    workspace: Space, llm: str, cluster_policy: str
) -> None:
    workspace("label", "namespace", workspace.name, "tier-")
    workspace.incident("leak", LLM, policyRef=ref(cluster_policy, cluster=True))
    message = rejected(workspace, "leak", "PolicyDoesNotSelect")
    assert f"namespace label tier={workspace.name} is not set" in message
    assert shape(workspace.get("deployment", "llm-chat")) == llm


def test_a_suspended_policy_takes_on_nothing_new_and_lets_go_of_nothing(workspace: Space, llm: str) -> None:
    workspace.create(policy("chat"))
    workspace.contain("before", LLM)
    workspace("patch", "cpol", "chat", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    assert ready(workspace, "cpol/chat", "Suspended")["activeIncidents"] == 1
    assert "held by AIIncident before" in workspace.refused("scale", "deployment/llm-chat", "--replicas=1")

    workspace.release("before")
    workspace.incident("named", LLM, policyRef=ref("chat"))
    message = rejected(workspace, "named", "PolicySuspended")
    assert "set its spec.suspend to false, or name another one" in message
    assert source(workspace.contain("unnamed", LLM)) == "built-in default"
    assert llm != shape(workspace.get("deployment", "llm-chat"))


def test_a_policy_in_dry_run_keeps_every_incident_from_changing_anything(workspace: Space, llm: str) -> None:
    workspace.create(policy("chat", mode="DryRun"))
    workspace.incident("leak", LLM, policyRef=ref("chat"))
    status = workspace.wait_phase("leak", "Detected")
    assert status["summary"].endswith("nothing was changed, as ContainmentPolicy/chat says mode: DryRun")
    assert status["plan"]["steps"][0]["diff"] == ["replicas 1 → 0"]

    # What was found long ago is not contained by surprise on the day that the policy is enforced.
    workspace("patch", "cpol", "chat", "--type=merge", "-p", '{"spec":{"mode":"Enforce"}}')
    ready(workspace, "cpol/chat", "PlanPossible")
    workspace("annotate", "aii", "leak", "seen=true")
    workspace.contain("now", LLM, policyRef=ref("chat"))
    assert workspace.status("leak")["phase"] == "Detected"
    workspace.release("now")
    assert shape(workspace.get("deployment", "llm-chat")) == llm


@pytest.mark.parametrize("change", ["edited", "deleted", "replaced"])
def test_an_incident_keeps_the_plan_it_began_with(workspace: Space, llm: str, change: str) -> None:
    workspace.create(policy("chat", STOP))
    began = workspace.contain("leak", LLM)["plan"]
    if change == "edited":
        edit = json.dumps({"spec": {"steps": [CUT_OFF], "mode": "DryRun"}})
        workspace("patch", "cpol", "chat", "--type=merge", "-p", edit)
    else:
        workspace("delete", "cpol", "chat")
    if change == "replaced":
        workspace.create(policy("chat", CUT_OFF))
    if change != "deleted":
        earlier = "of them by an earlier"

        def told() -> bool:
            body = workspace.get("cpol", "chat")
            status = {"conditions": [{"type": "Ready"}]} | body["status"]
            return earlier in condition(status, "Ready").get("message", "")

        eventually(told, "the policy tells of the incident that follows an earlier one")
        (active,) = workspace.get("cpol", "chat")["status"]["incidents"]
        assert (active["name"], active["generation"], active.get("replaced", False)) == (
            "leak",
            1,
            change == "replaced",
        )
    assert "held by AIIncident leak" in workspace.refused("scale", "deployment/llm-chat", "--replicas=1")
    status = workspace.status("leak")
    assert (status["phase"], status["plan"]) == ("Contained", began)
    workspace.release("leak")
    assert shape(workspace.get("deployment", "llm-chat")) == llm
    workspace.running("Deployment", "llm-chat", 1)


def test_a_reporter_contains_what_a_policy_is_for_and_nothing_else(workspace: Space, llm: str) -> None:
    """The policy is the platform's delegation: the verb `contain` is not needed, and not given."""
    who = f"reporter-{workspace.name}"
    workspace("create", "rolebinding", who, "--clusterrole=stanch-reporter", f"--user={who}")
    reporter = workspace.cluster.kubeconfig_for_user(who)
    workspace.create(workload("Deployment", "rag", 1, labels={"team": "rag"}))
    workspace.create(policy("chat", selector={"matchLabels": {"team": "chat"}}))

    def report(name: str, target: str, **spec: Any) -> Json:
        base = {"title": "Toxic", "category": "OutputPolicyViolation", "severity": "Critical"}
        body = base | {"targets": [{"kind": "Deployment", "name": target}]} | spec
        return {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "AIIncident",
            "metadata": {"name": name},
            "spec": body,
        }

    def create(incident: Json) -> str:
        return workspace.kubectl(
            "-n", workspace.name, "create", "-f", "-", stdin=json.dumps(incident), as_=reporter
        ).stderr

    eventually(
        lambda: create(report("leak", "llm-chat", policyRef=ref("chat"))) == "", "the reporter may report"
    )
    workspace.wait_phase("leak", "Contained")
    assert create(report("other", "rag", policyRef=ref("chat"))) == ""
    rejected_as = condition(workspace.wait_phase("other", "Rejected"), "Accepted")["reason"]
    assert rejected_as == "PolicyDoesNotSelect"
    assert "you need the verb contain" in create(report("by-match", "llm-chat"))
    assert workspace.get("deployment", "rag")["spec"]["replicas"] == 1
    workspace.release("leak")
    assert shape(workspace.get("deployment", "llm-chat")) == llm


def test_kubectl_tells_what_a_policy_selects_and_who_follows_it(workspace: Space, llm: str) -> None:
    workspace.create(policy("chat", selector={"matchLabels": {"team": "chat"}}))
    workspace.contain("leak", LLM, policyRef=ref("chat"))

    def row() -> list[str]:
        header, line = workspace("get", "cpol").splitlines()
        assert header.split() == [
            *["NAME", "MODE", "SUSPENDED", "WORKLOADS", "INCIDENTS", "READY", "AGE"],
        ]
        return line.split()

    eventually(
        lambda: row()[:6] == ["chat", "Enforce", "false", "1", "1", "True"],
        "the policy counts",
        seen=lambda: str(row()),
    )
    workspace.release("leak")
    eventually(lambda: row()[4] == "0", "the policy counts the release", seen=lambda: str(row()))
    told = workspace("describe", "cpol", "chat")
    assert f"Deployment {workspace.name}/llm-chat" in told
    assert "selects 1 workload" in told
    assert shape(workspace.get("deployment", "llm-chat")) == llm


def test_a_plan_that_cannot_be_carried_out_is_known_before_the_incident(workspace: Space) -> None:
    workspace.create(policy("chat", {"suspend": {}}, selector={"kinds": ["Deployment", "CronJob"]}))
    status = ready(workspace, "cpol/chat", "StepImpossible")
    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "Stalled")["status"] == "True"
    assert condition(status, "Ready")["message"].startswith(
        "spec.steps[0]: Suspend cannot be done to a Deployment"
    )
    fix = '{"spec":{"selector":{"kinds":["CronJob"]}}}'
    workspace("patch", "cpol", "chat", "--type=merge", "-p", fix)
    assert condition(ready(workspace, "cpol/chat", "PlanPossible"), "Stalled")["status"] == "False"
    workspace("wait", "cpol/chat", "--for=condition=Ready", "--timeout=60s")


def test_a_git_repository_finds_nothing_to_change(workspace: Space) -> None:
    """Server-side apply by a repository's manager, and kubectl's own apply: neither sees a difference."""
    sample = ROOT / "manifests" / "samples" / "policy.yaml"
    apply = ("apply", "--server-side", "--field-manager=argocd-controller", "-f", str(sample))
    inside = workspace.elsewhere("demo")
    inside("apply", "-f", str(ROOT / "manifests" / "samples" / "llm-chat.yaml"))
    inside(*apply)
    try:
        assert ready(inside, "cpol/chat", "PlanPossible")["matchedWorkloads"] == 1
        ready(inside, "ccpol/model-servers", "PlanPossible")
        diff = ("diff", "--server-side", "--field-manager=argocd-controller", "-f", str(sample))
        assert inside(*diff) == ""
        assert all(line.endswith(" serverside-applied") for line in inside(*apply).splitlines())
        for what in ("cpol/chat", "ccpol/model-servers"):
            body = inside.get(*what.split("/"), "--show-managed-fields")
            assert body["status"]["observedGeneration"] == body["metadata"]["generation"] == 1
            managers = {
                (each["manager"], each.get("subresource")) for each in body["metadata"]["managedFields"]
            }
            assert managers == {("argocd-controller", None), ("stanch", "status")}

        inside("delete", "-f", str(sample))
        inside("apply", "-f", str(sample))
        ready(inside, "cpol/chat", "PlanPossible")
        assert inside("diff", "-f", str(sample)) == ""
        inside("apply", "-f", str(sample))
        assert inside.get("cpol", "chat")["metadata"]["generation"] == 1
    finally:
        inside("delete", "-f", str(sample), "--ignore-not-found")
        inside("delete", "namespace", "demo", "--wait=false")
