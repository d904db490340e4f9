"""RevokeServiceAccount by its bindings, on a real API server: rights denied at once, given back exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.accounts import (
    OPS,
    RBAC,
    ROLE_ARN,
    account,
    binding,
    granted,
    manifest,
    may,
    rejection,
    role,
    serve,
    step,
    subject,
)
from tests.operator_process import eventually, operator, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["granted", "operator", "workspace"]  # fixtures

STRIP = [{"revokeServiceAccount": {"method": "DeleteBindings"}}]


def bound_in_every_way(space: Space) -> list[tuple[str, str]]:
    """A workload whose account has rights by each kind of binding; what changes of it, for `kubectl get`."""
    reader = f"reader-{space.name}"
    space.create(account())
    space.create(role(reader))
    space.create(role(reader, cluster=True))
    somebody = {"kind": "User", "apiGroup": RBAC, "name": "somebody"}
    space.create(binding("shared", reader, OPS, subject(space), somebody))
    user = {"kind": "User", "apiGroup": RBAC, "name": f"system:serviceaccount:{space.name}:llm"}
    space.create(binding("alone", reader, user))
    space.create(binding(reader, reader, subject(space), OPS, cluster=True, role_kind="ClusterRole"))
    serve(space)
    return [
        ("rolebinding", "shared"),
        ("rolebinding", "alone"),
        ("clusterrolebinding", reader),
        ("sa", "llm"),
    ]


def patched(space: Space, what: str, name: str, change: Json) -> tuple[Any, ...]:
    return ("patch", what, name, "--type=merge", "-p", json.dumps(change))


@pytest.mark.usefixtures("granted")
def test_rights_are_denied_at_once_and_given_back_as_they_were(workspace: Space) -> None:
    looks = bound_in_every_way(workspace)
    before = [workspace.get(*look) for look in looks]
    stolen = workspace.cluster.kubeconfig_for_service_account(workspace.name, "llm")
    workspace.kubectl("get", "secrets", "-A", as_=stolen, check=True)

    status = workspace.contain("rogue", "Deployment/llm-chat", steps=STRIP)
    assert "forbidden" in workspace.refused("get", "secrets", as_=stolen)
    assert not may(workspace, "list", "secrets")
    assert not may(workspace, "get", "secrets", "-A")
    assert step(status)["reason"] == "RightsDenied"
    assert "is denied 4 of 4 rights asked about" in step(status)["message"]
    assert ROLE_ARN not in workspace.get("sa", "llm")["metadata"]["annotations"]
    assert [each["name"] for each in workspace.get("rolebinding", "shared")["subjects"]] == [
        "ops",
        "somebody",
    ]
    assert "subjects" not in workspace.get("rolebinding", "alone")

    workspace.release("rogue")
    after = [workspace.get(*look) for look in looks]
    assert [each["metadata"]["uid"] for each in after] == [each["metadata"]["uid"] for each in before]
    assert [json.dumps(manifest(each)) for each in after] == [json.dumps(manifest(each)) for each in before]
    workspace.kubectl("get", "secrets", "-A", as_=stolen, check=True)


@pytest.mark.usefixtures("granted")
def test_what_would_give_the_rights_back_is_denied_or_put_right(workspace: Space) -> None:
    reader = f"reader-{workspace.name}"
    bound_in_every_way(workspace)
    workspace.contain("rogue", "Deployment/llm-chat", steps=STRIP)

    mine = {"subjects": [subject(workspace)]}
    arn = {"metadata": {"annotations": {ROLE_ARN: "arn:aws:iam::111122223333:role/other"}}}
    for attempt in (
        patched(workspace, "rolebinding", "alone", mine),
        patched(workspace, "sa", "llm", arn),
        ("delete", "rolebinding", "alone"),
        ("delete", "deployment", "llm-chat"),
    ):
        assert "held by AIIncident rogue" in workspace.refused(*attempt)

    # No hold reaches what is in no namespace: it is seen and put right. What they add beside it stays.
    auditors = {"kind": "Group", "apiGroup": RBAC, "name": "auditors"}
    fight = {"subjects": [subject(workspace), OPS, auditors]}
    workspace(*patched(workspace, "clusterrolebinding", reader, fight))
    eventually(
        lambda: workspace.get("clusterrolebinding", reader)["subjects"] == [OPS, auditors], "it is put right"
    )
    # Nor does one know the name of a binding that is made anew.
    workspace.create(binding("anew", reader, subject(workspace)))
    eventually(lambda: "subjects" not in workspace.get("rolebinding", "anew"), "it is emptied as well")
    eventually(lambda: workspace.status("rogue")["phase"] == "Contained", "it is contained again")
    assert not may(workspace, "list", "secrets")
    assert not may(workspace, "get", "secrets", "-A")

    workspace.release("rogue")
    assert workspace.get("rolebinding", "anew")["subjects"] == [subject(workspace)]
    subjects = workspace.get("clusterrolebinding", reader)["subjects"]
    assert subjects == [subject(workspace), OPS, auditors]


@pytest.mark.usefixtures("granted")
def test_rights_through_groups_are_told_as_they_cannot_be_revoked(workspace: Space) -> None:
    reader = f"reader-{workspace.name}"
    everybody = {"kind": "Group", "apiGroup": RBAC, "name": f"system:serviceaccounts:{workspace.name}"}
    workspace.create(account())
    workspace.create(role(reader))
    workspace.create(binding("mine", reader, subject(workspace)))
    workspace.create(binding("everybody", "view", everybody, role_kind="ClusterRole"))
    serve(workspace)

    message = step(workspace.contain("rogue", "Deployment/llm-chat", steps=STRIP))["message"]
    assert f"not revoked: RoleBinding {workspace.name}/everybody (group {everybody['name']})" in message
    assert "group bindings of Kubernetes itself" in message
    assert may(workspace, "list", "pods")
    assert not may(workspace, "list", "secrets")

    workspace.create(binding("the-same", reader, everybody))
    path = "{.status.steps[0].reason}"
    workspace.wait("aii/rogue", path, "AllowedThroughGroups")
    workspace.release("rogue")


def test_a_role_that_the_operator_may_not_bind_is_refused_before_anything_is_changed(
    workspace: Space,
) -> None:
    workspace.create(account())
    workspace.create(role("reader"))
    workspace.create(binding("alone", "reader", subject(workspace)))
    serve(workspace)
    before = [workspace.get("rolebinding", "alone"), workspace.get("sa", "llm")]

    workspace.incident(
        "rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {"method": "DeleteBindings"}}]
    )
    said = rejection(workspace, "rogue")
    assert "PreflightRefused" in said
    assert "attempting to grant RBAC permissions not currently held" in said
    assert "nothing was changed" in said
    assert [workspace.get("rolebinding", "alone"), workspace.get("sa", "llm")] == before
    assert may(workspace, "list", "secrets")


def test_an_account_without_rights_of_its_own_has_none_to_take(workspace: Space) -> None:
    workspace.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "llm"}})
    serve(workspace)
    workspace.incident(
        "rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {"method": "DeleteBindings"}}]
    )
    status = workspace.wait_phase("rogue", "Contained")
    assert step(status)["reason"] == "NothingGranted"
    workspace.release("rogue")
