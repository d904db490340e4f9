"""Quarantine: pods leave their workload and its Services, live on by themselves, and come back or go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.wards import (
    QUARANTINED,
    contain,
    endpoints,
    labels,
    owners,
    policy,
    service,
    serving,
    steps,
)
from tests.operator_process import eventually, operator, shape, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

HELD = "held by AIIncident toxic (Critical, OutputPolicyViolation)"


STAYS = f"{HELD}: what Stanch wrote into it stays until it is given back"


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"])
@pytest.mark.compatibility("quarantine")
def test_a_pod_leaves_lives_on_by_itself_and_comes_back_as_it_was(workspace: Space, kind: str) -> None:
    suspect, other = serving(workspace, kind)
    before = workspace.get("pod", suspect)

    status = contain(workspace, suspect, kind=kind)

    now = workspace.get("pod", suspect)
    assert now["metadata"]["uid"] == before["metadata"]["uid"]
    assert now["status"]["phase"] == "Running"
    assert "ownerReferences" not in now["metadata"]
    assert now["metadata"]["labels"][QUARANTINED] == "toxic"
    assert "app" not in now["metadata"]["labels"]
    assert endpoints(workspace).isdisjoint({suspect})
    (step,) = status["steps"]
    assert (step["state"], step["reason"]) == ("Effective", "Quarantined")
    assert "enforcement: Unknown" in step["message"]
    assert f"kubectl get pods -n {workspace.name} -l {QUARANTINED}" in step["message"]
    assert suspect in workspace("get", "pods", "-l", QUARANTINED)
    assert suspect in status["summary"]
    if kind == "StatefulSet":  # its name, and with it its place, is taken
        assert {pod["metadata"]["name"] for pod in workspace.pods()} == {suspect, other}
    else:
        eventually(lambda: len(endpoints(workspace)) == 2, "another pod serves in its place")
    (own,) = workspace.get("networkpolicies")["items"]
    assert own["spec"]["podSelector"] == {"matchExpressions": [{"key": QUARANTINED, "operator": "Exists"}]}
    assert sorted(own["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    assert {"ingress", "egress"}.isdisjoint(own["spec"])

    if kind in {"Deployment", "ReplicaSet"}:
        workspace("scale", f"{kind}/llm", "--replicas=3")  # so that none is too many
    target = shape(workspace.get(kind, "llm"))
    status = workspace.release("toxic")
    assert "given back: llm: " in status["summary"]
    assert shape(workspace.get(kind, "llm")) == target
    assert workspace.get("networkpolicies")["items"] == []
    assert workspace.get("holds")["items"] == []
    if kind == "DaemonSet":
        eventually(lambda: len(workspace.pods()) == 2, "of two pods on one node one ends")
        return
    back = workspace.get("pod", suspect)
    assert back["metadata"]["uid"] == before["metadata"]["uid"]
    assert shape(back) == shape(before)
    owner = before["metadata"]["ownerReferences"][0]["kind"]
    eventually(lambda: owners(workspace, suspect) == [owner], "its controller has adopted it again")


def test_nobody_takes_a_quarantined_pod_away_or_back(workspace: Space) -> None:
    suspect, _ = serving(workspace)
    contain(workspace, suspect)
    name = ("pod", suspect)
    (own,) = [each["metadata"]["name"] for each in workspace.get("networkpolicies")["items"]]
    uid = workspace.get("deployment", "llm")["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm", "uid": uid}
    adopt = json.dumps({"metadata": {"ownerReferences": [owner]}})
    open_it = json.dumps({"spec": {"ingress": [{}]}})

    assert STAYS in workspace.refused("label", *name, "app=llm")
    assert STAYS in workspace.refused("label", *name, f"{QUARANTINED}-")
    assert STAYS in workspace.refused("label", *name, "team=other")
    assert STAYS in workspace.refused("patch", *name, "--type=merge", "-p", adopt)
    assert f"{HELD}: it cannot be deleted" in workspace.refused("delete", *name)
    assert "it cannot be deleted" in workspace.refused("delete", *name, "--force", "--grace-period=0")
    assert "it cannot be deleted" in workspace.refused("delete", "pods", "-l", QUARANTINED)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": suspect}}
    path = f"/api/v1/namespaces/{workspace.name}/pods/{suspect}/eviction"
    assert "it cannot be evicted" in workspace.refused("create", "--raw", path, "-f", "-", stdin=eviction)
    assert STAYS in workspace.refused("patch", "networkpolicy", own, "--type=merge", "-p", open_it)
    assert f"{HELD}: it cannot be deleted" in workspace.refused("delete", "networkpolicy", own)
    workspace("annotate", *name, "note=seen")
    workspace("scale", "deployment/llm", "--replicas=0")
    eventually(lambda: len(workspace.pods()) == 1, "the workload's other pods are gone")
    assert workspace.get(*name)["status"]["phase"] == "Running"
    assert f"{HELD}: it cannot be deleted" in workspace.refused("delete", "deployment", "llm")


@pytest.fixture
def unguarded(workspace: Space) -> Json:
    """Somebody for whom admission makes an exception: the operator's own account."""
    return {"as_": workspace.cluster.kubeconfig_for_service_account("stanch-system", "stanch")}


def test_what_slips_through_is_put_right_and_counted(workspace: Space, unguarded: Json) -> None:
    suspect, _ = serving(workspace)
    contain(workspace, suspect)
    (own,) = [each["metadata"]["name"] for each in workspace.get("networkpolicies")["items"]]

    relabel = '{"metadata":{"labels":{"app":"llm"}}}'
    workspace("patch", "pod", suspect, "--type=merge", "-p", relabel, **unguarded)
    eventually(lambda: "app" not in labels(workspace, suspect), "the label is gone again")
    workspace.wait("aii/toxic", "{.status.contested.count}", "1")
    assert f"changed Pod {suspect} /metadata/labels/app to llm" in last_contest(workspace)
    workspace("delete", "networkpolicy", own, **unguarded)
    eventually(lambda: len(workspace.get("networkpolicies")["items"]) == 1, "the policy is there again")
    workspace.wait("aii/toxic", "{.status.contested.count}", "2")
    workspace.wait_phase("toxic", "Contained")


def last_contest(space: Space) -> str:
    told: str = space.status("toxic")["contested"]["lastWhat"]
    return told


def test_deleted_on_release_if_that_is_asked_for(workspace: Space) -> None:
    suspect, other = serving(workspace)
    contain(workspace, suspect, onRelease="Delete")
    status = workspace.release("toxic")
    assert f"Pod {suspect} is gone" in status["steps"][0]["undo"]["message"]
    workspace.gone(f"pod/{suspect}")
    assert other in {pod["metadata"]["name"] for pod in workspace.pods()}
    assert workspace.get("networkpolicies")["items"] == []


def test_deleting_the_incident_with_retain_leaves_it_quarantined_and_unheld(workspace: Space) -> None:
    suspect, _ = serving(workspace)
    workspace.contain(
        "toxic",
        "Deployment/llm",
        steps=steps(suspect, onRelease="Delete"),
        deletionPolicy="Retain",
    )
    workspace("delete", "aii", "toxic", "--timeout=60s")
    assert labels(workspace, suspect) == {QUARANTINED: "toxic"}
    assert len(workspace.get("networkpolicies")["items"]) == 1
    workspace("delete", "pod", suspect)


def test_the_rest_is_scaled_to_zero_and_the_suspect_outlives_it(workspace: Space) -> None:
    suspect, _ = serving(workspace, pods=3)[:2]
    plan = [*steps(suspect), {"scaleToZero": {}}]
    workspace.contain("toxic", "Deployment/llm", steps=plan)
    assert [pod["metadata"]["name"] for pod in workspace.pods()] == [suspect]

    workspace.release("toxic")
    workspace.running("Deployment", "llm", 3)


def test_policies_that_let_the_pod_through_are_left_where_labels_can_and_told_where_not(
    workspace: Space,
) -> None:
    suspect, _ = serving(workspace)
    by_label = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["llm", "other"]}]}
    workspace.create(policy("by-label", by_label))
    contain(workspace, suspect)

    everybody = policy("everybody", {}, policyTypes=["Egress"], egress=[{"ports": [{"port": 443}]}])
    workspace.create(everybody)
    status = workspace.wait_phase("toxic", "ContainmentFailed")
    (step,) = status["steps"]
    assert step["reason"] == "StillAllowed"
    assert "NetworkPolicy everybody allows egress to everyone on TCP 443" in step["message"]
    assert "by-label" not in step["message"]
    assert f"under quarantine: {suspect}" in step["message"]

    others = json.dumps({"spec": {"podSelector": {"matchLabels": {"app": "llm"}}}})
    workspace("patch", "networkpolicy", "everybody", "--type=merge", "-p", others)
    workspace.wait_phase("toxic", "Contained")


def test_a_service_that_is_made_later_is_told(workspace: Space) -> None:
    suspect, _ = serving(workspace, "Deployment", 2)
    workspace("label", "pod", suspect, "team=chat")
    contain(workspace, suspect)
    workspace.create(service("later", team="chat"))
    status = workspace.wait_phase("toxic", "ContainmentFailed")
    assert f"{suspect} is selected by Service later" in status["steps"][0]["message"]
    workspace("delete", "service", "later")
    workspace.wait_phase("toxic", "Contained")


def test_an_endpoint_that_somebody_wrote_by_hand_is_told(workspace: Space) -> None:
    suspect, _ = serving(workspace)
    address = workspace.get("pod", suspect)["status"]["podIP"]
    by_hand = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "llm"}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address]}],
    }
    workspace.create(by_hand)
    workspace.incident("toxic", "Deployment/llm", steps=[{**steps(suspect)[0], "timeout": "2s"}])
    status = workspace.wait_phase("toxic", "ContainmentFailed")
    assert f"{suspect} is an endpoint still in EndpointSlice by-hand" in status["steps"][0]["message"]
    workspace("delete", "endpointslice", "by-hand")
    workspace.wait_phase("toxic", "Contained")


def test_a_pod_that_ends_by_itself_is_told_as_lost_and_nobody_is_blamed(workspace: Space) -> None:
    suspect, other = serving(workspace)
    contain(workspace, suspect, other)

    ended = '{"status":{"phase":"Failed","reason":"Evicted"}}'
    workspace("patch", "pod", suspect, "--subresource=status", "--type=merge", "-p", ended)

    status = workspace.wait_phase("toxic", "ContainmentFailed")
    (step,) = status["steps"]
    assert step["reason"] == "PodEnded"
    assert f"{suspect} ended by itself: evidence may be lost; under quarantine: {other}" in step["message"]
    assert "contested" not in status
    assert "it cannot be deleted" in workspace.refused("delete", "pod", suspect)
    workspace.release("toxic")


def test_a_pod_that_somebody_deletes_all_the_same_is_lost_and_told(workspace: Space, unguarded: Json) -> None:
    """Its ordinal is free again: another pod may bear its name, and is nobody's prisoner."""
    suspect, other = serving(workspace, "StatefulSet")
    before = workspace.get("pod", suspect)["metadata"]["uid"]
    contain(workspace, suspect, other, kind="StatefulSet")

    workspace("delete", "pod", suspect, **unguarded)

    status = workspace.wait_phase("toxic", "ContainmentFailed")
    workspace.wait("aii/toxic", "{.status.steps[0].reason}", "PodGone")
    status = workspace.status("toxic")
    assert f"{suspect} no longer exists: what it could have told is lost" in status["steps"][0]["message"]
    assert f"under quarantine: {other}" in status["steps"][0]["message"]
    assert status["contested"]["count"] == 1
    assert suspect in last_contest(workspace)
    workspace.wait(f"pod/{suspect}", "{.status.phase}", "Running")
    again = workspace.get("pod", suspect)["metadata"]
    assert again["uid"] != before
    assert QUARANTINED not in again["labels"]
    workspace.release("toxic")
    assert workspace.get("pod", suspect)["metadata"]["uid"] == again["uid"]
    workspace.running("StatefulSet", "llm", 2)


@pytest.mark.long
def test_a_namespace_that_is_deleted_takes_what_is_quarantined_with_it(workspace: Space) -> None:
    suspect, _ = serving(workspace)
    contain(workspace, suspect)
    workspace("delete", "namespace", workspace.name, "--timeout=110s")
    workspace("create", "namespace", workspace.name)  # the fixture deletes it


def test_of_a_stateful_set_no_pod_takes_the_place_and_the_rest_can_be_stopped(workspace: Space) -> None:
    suspect = serving(workspace, "StatefulSet", 3)[1]
    plan = [*steps(suspect), {"scaleToZero": {}}]

    status = workspace.contain("toxic", "StatefulSet/llm", steps=plan)

    said = status["plan"]["steps"][0]["diff"]
    assert any("its ordinal stays taken until release" in line for line in said)
    assert [pod["metadata"]["name"] for pod in workspace.pods()] == [suspect]
    workspace.release("toxic")
    workspace.running("StatefulSet", "llm", 3)
    assert owners(workspace, suspect) == ["StatefulSet"]


def test_a_daemons_replacement_waits_for_the_port_of_its_node(workspace: Space) -> None:
    ports = [{"containerPort": 8000, "hostPort": 18000}]
    container = {"name": "server", "image": "registry.example.test/llm:1", "ports": ports}
    suspect, other = serving(workspace, "DaemonSet", pod={"containers": [container]})

    status = contain(workspace, suspect, kind="DaemonSet")

    assert "host port 18000 of its node stays taken" in status["plan"]["steps"][0]["diff"][1]
    eventually(lambda: len(workspace.pods()) == 3, "another is started")
    names = {pod["metadata"]["name"] for pod in workspace.pods()}
    (waiting,) = names - {suspect, other}
    workspace.wait(f"pod/{waiting}", '{.status.conditions[?(@.type=="PodScheduled")].status}', "False")


def test_a_pod_on_its_nodes_network_is_told(workspace: Space) -> None:
    suspect, _ = serving(workspace, pod={"hostNetwork": True})
    workspace.incident("toxic", "Deployment/llm", steps=steps(suspect))
    status = workspace.wait_phase("toxic", "ContainmentFailed")
    assert "share their node's network" in status["steps"][0]["message"]


def test_two_incidents_on_one_pod_give_it_back_together(workspace: Space) -> None:
    suspect, other = serving(workspace)
    before = shape(workspace.get("pod", suspect))
    contain(workspace, suspect)
    workspace.contain("again", "Deployment/llm", steps=steps(suspect, other))

    workspace.release("toxic")
    assert QUARANTINED in labels(workspace, suspect)
    assert len(workspace.get("networkpolicies")["items"]) >= 1
    assert workspace.status("again")["phase"] == "Contained"
    workspace("scale", "deployment/llm", "--replicas=4")  # so that none is too many
    workspace.release("again")
    assert shape(workspace.get("pod", suspect)) == before
    assert workspace.get("networkpolicies")["items"] == []
