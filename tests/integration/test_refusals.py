"""What Stanch refuses, with the message a person sees in the incident, and that nothing was changed then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operator_process import condition, operator, shape, workload, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

LLM = "Deployment/llm-chat"


@pytest.fixture
def model_server(workspace: Space) -> str:
    """Its shape, to compare with."""
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)
    return shape(workspace.get("deployment", "llm-chat"))


def rejected(workspace: Space, name: str, reason: str) -> str:
    """The message with which an incident was rejected for this reason; nothing is held, nothing binds it."""
    status = workspace.wait_phase(name, "Rejected")
    accepted = condition(status, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert status["summary"].startswith("rejected, nothing was changed: ")
    assert condition(status, "Stalled")["status"] == "True"
    assert workspace.get("holds")["items"] == []
    assert "finalizers" not in workspace.get("aii", name)["metadata"]
    message: str = accepted["message"]
    assert message in workspace.describe(name)
    return message


def test_a_target_that_does_not_exist(workspace: Space) -> None:
    workspace.incident("typo", "Deployment/llm-chta")
    message = rejected(workspace, "typo", "TargetNotFound")
    assert message == (
        f"ScaleToZero of Deployment {workspace.name}/llm-chta: "
        "there is no such object in the incident's namespace"
    )
    workspace.wait_event("Rejected")


def test_a_typo_can_be_corrected_and_the_incident_goes_on(workspace: Space, model_server: str) -> None:
    workspace.incident("typo", "Deployment/llm-chta")
    rejected(workspace, "typo", "TargetNotFound")
    targets = '[{"op":"replace","path":"/spec/targets/0/name","value":"llm-chat"}]'
    workspace("patch", "aii", "typo", "--type=json", "-p", targets)
    workspace.wait_phase("typo", "Contained")
    assert workspace.pods() == []
    workspace.release("typo")
    assert shape(workspace.get("deployment", "llm-chat")) == model_server


def test_one_bad_target_of_two_changes_neither(workspace: Space, model_server: str) -> None:
    workspace.incident("half", LLM, "StatefulSet/nowhere")
    assert "StatefulSet" in rejected(workspace, "half", "TargetNotFound")
    assert shape(workspace.get("deployment", "llm-chat")) == model_server


def test_a_protected_namespace(workspace: Space) -> None:
    """Here the operator's own; kube-system likewise."""
    own = workspace.elsewhere("stanch-system")
    own.incident("canary", "Deployment/stanch-canary")
    try:
        message = condition(own.wait_phase("canary", "Rejected"), "Accepted")["message"]
    finally:
        own("delete", "aii", "canary", "--wait=false")
    assert message == (
        "namespace stanch-system is protected by the operator's settings; nothing in it is contained"
    )


def test_a_policy_that_is_not_there(workspace: Space, model_server: str) -> None:
    workspace.incident("policed", LLM, policyRef={"kind": "ContainmentPolicy", "name": "chat"})
    message = rejected(workspace, "policed", "PolicyNotFound")
    assert message == (
        f"spec.policyRef: there is no ContainmentPolicy chat in namespace {workspace.name}; apply it, or "
        "name another one (an incident that was rejected is looked at again when its spec changes)"
    )
    assert shape(workspace.get("deployment", "llm-chat")) == model_server


def test_a_replicaset_that_a_deployment_would_scale_up_again(workspace: Space, model_server: str) -> None:
    (owned,) = workspace.get("replicasets")["items"]
    workspace.incident("inner", f"ReplicaSet/{owned['metadata']['name']}")
    message = rejected(workspace, "inner", "TargetOwned")
    assert message.endswith(
        "Deployment llm-chat controls it and would undo the change; name that as the target"
    )
    assert shape(workspace.get("deployment", "llm-chat")) == model_server


def test_the_same_step_twice(workspace: Space, model_server: str) -> None:
    workspace.incident("twice", LLM, steps=[{"scaleToZero": {}}, {"scaleToZero": {"terminate": "Immediate"}}])
    message = rejected(workspace, "twice", "DuplicateStep")
    assert message == "ScaleToZero stands in spec.steps more than once; once is enough"
    assert shape(workspace.get("deployment", "llm-chat")) == model_server


def test_a_target_that_is_being_deleted_already(workspace: Space) -> None:
    dying = workload("Deployment", "llm-chat")
    dying["metadata"]["finalizers"] = ["example.test/slow"]
    workspace.create(dying)
    workspace("delete", "deployment", "llm-chat", "--wait=false")
    workspace.incident("late", LLM)
    assert "being deleted already" in rejected(workspace, "late", "TargetTerminating")
    workspace("patch", "deployment", "llm-chat", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


@pytest.fixture
def house_rule(workspace: Space) -> Iterator[Json]:
    """A policy of this cluster, for this namespace: no Deployment is written with more than two replicas."""
    name = f"house-rule-{workspace.name}"
    rule: Json = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": workspace.name}},
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "resources": ["deployments"],
                        "operations": ["UPDATE"],
                    },
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "resources": ["deployments/scale"],
                        "operations": ["UPDATE"],
                    },
                ],
            },
            "validations": [
                {"expression": "object.spec.?replicas.orValue(0) <= 2", "message": "two replicas are enough"}
            ],
        },
    }
    binding = {
        "apiVersion": rule["apiVersion"],
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    workspace.create(rule)
    workspace.create(binding)
    yield rule
    workspace("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)


def test_a_change_whose_undo_the_cluster_would_refuse_is_not_begun(
    workspace: Space, model_server: str, house_rule: Json
) -> None:
    in_force(workspace)
    workspace.incident("trap", LLM)
    message = rejected(workspace, "trap", "PreflightRefused")
    assert "would refuse the change or its undo; nothing was changed" in message
    assert "two replicas are enough" in message
    assert shape(workspace.get("deployment", "llm-chat")) == model_server
    assert "stanch.dev/holding" not in workspace.get("namespace", workspace.name)["metadata"]["labels"]


def test_what_was_refused_is_tried_again_when_the_incident_is_edited(
    workspace: Space, model_server: str, house_rule: Json
) -> None:
    in_force(workspace)
    workspace.incident("trap", LLM)
    rejected(workspace, "trap", "PreflightRefused")
    allowed = '[{"op":"replace","path":"/spec/validations/0/expression","value":"true"}]'
    rule = f"validatingadmissionpolicy/{house_rule['metadata']['name']}"
    workspace("patch", rule, "--type=json", "-p", allowed)
    workspace.until_allowed(
        "label", "deployment", "llm-chat", "tried=again", "--overwrite", "--dry-run=server"
    )
    workspace("patch", "aii", "trap", "--type=merge", "-p", '{"spec":{"severity":"High"}}')
    workspace.wait_phase("trap", "Contained")


def test_a_release_that_the_cluster_refuses_says_why_and_goes_on_when_it_may(
    workspace: Space, model_server: str, request: pytest.FixtureRequest
) -> None:
    workspace.contain("toxic", LLM)
    rule: Json = request.getfixturevalue("house_rule")
    workspace("create", "deployment", "big", "--image=none", "--replicas=1")
    workspace.until_denied("two replicas are enough", "scale", "deployment/big", "--replicas=3")
    workspace.let_go("toxic")
    workspace.wait("aii/toxic", '{.status.conditions[?(@.type=="Stalled")].reason}', "Refused")
    status = workspace.status("toxic")
    assert status["phase"] == "Releasing"
    assert "two replicas are enough" in condition(status, "Stalled")["message"]
    assert "refused, tried again: " in status["summary"]

    allowed = '[{"op":"replace","path":"/spec/validations/0/expression","value":"true"}]'
    name = f"validatingadmissionpolicy/{rule['metadata']['name']}"
    workspace("patch", name, "--type=json", "-p", allowed)
    status = workspace.wait_phase("toxic", "Released")
    assert condition(status, "Stalled")["status"] == "False"
    assert shape(workspace.get("deployment", "llm-chat")) == model_server


def in_force(workspace: Space) -> None:
    """Admission policies are in force a moment after they are written."""
    attempt = ("label", "deployment", "llm-chat", "tried=once", "--overwrite", "--dry-run=server")
    workspace.until_denied("two replicas are enough", *attempt)


def test_a_workload_of_fifty_containers_with_a_thousand_variables_is_no_trouble(workspace: Space) -> None:
    variables = [{"name": f"SETTING_{number}", "value": "x" * 40} for number in range(1000)]
    containers = [
        {"name": f"c{number}", "image": "registry.example.test/llm:1", "env": variables[number * 20 :][:20]}
        for number in range(50)
    ]
    workspace.create(workload("Deployment", "llm-chat", 1, pod={"containers": containers}))
    workspace.running("Deployment", "llm-chat", 1)
    before = shape(workspace.get("deployment", "llm-chat"))
    workspace.contain("big", LLM)
    workspace.release("big")
    assert shape(workspace.get("deployment", "llm-chat")) == before


def test_what_is_contained_cannot_be_changed_in_the_incident(workspace: Space, model_server: str) -> None:
    workspace.contain("toxic", LLM)
    targets = '{"spec":{"targets":[{"apiVersion":"apps/v1","kind":"Deployment","name":"other"}]}}'
    assert "targets cannot change once containment has begun" in workspace.refused(
        "patch", "aii", "toxic", "--type=merge", "-p", targets
    )
    workspace.release("toxic")
    assert "a released incident cannot be contained again" in workspace.refused(
        "patch", "aii", "toxic", "--type=merge", "-p", '{"spec":{"desiredState":"Contained"}}'
    )
