"""Rolling back where it cannot work, or not by itself: stuck rollouts, refusals, bad input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.poisoned import (
    HUB,
    LAST_KNOWN_GOOD,
    LONG,
    PODS,
    contain,
    deploy,
    llm,
    poisoned,
    running,
)
from tests.operator_process import condition, eventually, operator, shape, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

NEVER = {"sandbox.stanch.dev/ready": "never"}


def stuck(space: Space) -> None:
    """Version 1 does not start any more; version 2 is the poisoned one."""
    deploy(space, llm("Deployment", "1", annotations=NEVER), rolled_out=False)
    eventually(lambda: len(space.pods()) > 0, "version 1 has pods")
    deploy(space, llm("Deployment", "2"))


def test_an_image_that_cannot_be_pulled_is_told_and_never_done(workspace: Space) -> None:
    stuck(workspace)
    workspace.incident("toxic", "Deployment/llm", steps=[LAST_KNOWN_GOOD])

    def hopeless() -> bool:
        pods = [pod for pod in workspace.pods() if pod["spec"]["containers"][0]["image"] == f"{HUB}:1"]
        for pod in pods:
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{HUB}:1"'}
            container = {
                "name": "server",
                "image": f"{HUB}:1",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": waiting},
            }
            patch = json.dumps({"status": {"containerStatuses": [container]}})
            name = pod["metadata"]["name"]
            workspace("patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch)
        return len(pods) > 0

    eventually(hopeless, "a pod of version 1 was made")
    status = workspace.wait_phase("toxic", "ContainmentFailed")
    (step,) = status["steps"]
    assert (step["state"], step["reason"]) == ("Ineffective", "RolloutStuck")
    assert (
        'container server: ImagePullBackOff Back-off pulling image "registry.example.test/llm:1"'
        in step["message"]
    )
    assert "is condemned" in workspace.refused("set", "image", "deployment/llm", f"server={HUB}:2")


def test_a_rollout_that_its_controller_gave_up_is_told(workspace: Space) -> None:
    stuck(workspace)
    impatient = '{"spec":{"progressDeadlineSeconds":2}}'
    workspace("patch", "deployment", "llm", "--type=merge", "-p", impatient)
    workspace.incident("toxic", "Deployment/llm", steps=[LAST_KNOWN_GOOD])

    status = workspace.wait_phase("toxic", "ContainmentFailed")

    assert status["steps"][0]["reason"] == "RolloutStuck"
    assert "ProgressDeadlineExceeded" in status["steps"][0]["message"]


def test_no_room_for_the_version_before_is_told_in_the_schedulers_words(workspace: Space) -> None:
    nowhere = {"nodeSelector": {"gpu": "none-such"}}
    deploy(workspace, llm("StatefulSet", "1", pod=nowhere), rolled_out=False)
    eventually(lambda: len(workspace.pods()) > 0, "version 1 has a pod")
    deploy(workspace, llm("StatefulSet", "2"), rolled_out=False)
    workspace("delete", "pod", "llm-0", "--wait=false")  # it would wait for itself to become ready
    workspace("rollout", "status", "statefulset/llm", f"--timeout={LONG}s")

    step = {**LAST_KNOWN_GOOD, "timeout": "2s"}
    workspace.incident("toxic", "StatefulSet/llm", steps=[step])

    status = workspace.wait_phase("toxic", "ContainmentFailed", LONG)
    assert "Unschedulable" in status["steps"][0]["message"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_pods_that_are_replaced_only_when_deleted_are_replaced(workspace: Space, kind: str) -> None:
    on_delete: Json = {"updateStrategy": {"type": "OnDelete"}}
    deploy(workspace, llm(kind, "1", **on_delete), rolled_out=False)
    workspace.running(kind, "llm", PODS)
    deploy(workspace, llm(kind, "2", **on_delete), rolled_out=False)
    workspace("delete", "pods", "--all")
    workspace.running(kind, "llm", PODS)
    eventually(lambda: running(workspace) == {("2", "r2")}, "version 2 runs")

    contain(workspace, kind)

    assert running(workspace) == {("1", "r1")}


def test_pods_that_a_partition_keeps_are_told(workspace: Space) -> None:
    poisoned(workspace, "StatefulSet")
    partition = '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}'
    workspace("patch", "statefulset", "llm", "--type=merge", "-p", partition)
    workspace.incident("toxic", "StatefulSet/llm", steps=[LAST_KNOWN_GOOD])

    status = workspace.wait_phase("toxic", "ContainmentFailed", LONG)

    (step,) = status["steps"]
    assert step["reason"] == "HeldBackByPartition"
    assert "llm-0 still run" in step["message"]
    whole = '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'
    workspace("patch", "statefulset", "llm", "--type=merge", "-p", whole)
    workspace.wait_phase("toxic", "Contained", LONG)


REFUSED: list[tuple[str, Json, Json]] = [
    ("AlreadyCurrent", {}, {"to": {"revision": 2}}),
    ("RevisionNotFound", {}, {"to": {"revision": 9}}),
    ("ContainerNotFound", {}, {"to": {"image": {"container": "proxy", "tag": "1"}}}),
    ("ModelNotFound", {}, {"to": {"modelVersion": "r1"}, "locator": {"env": "MISSING"}}),
    ("HistoryDisabled", {"revisionHistoryLimit": 0}, {"to": {"lastKnownGood": True}}),
    ("Paused", {"paused": True}, {"to": {"image": {"tag": "1"}}}),
]


def test_what_cannot_be_rolled_back_is_refused_and_nothing_changed(workspace: Space) -> None:
    poisoned(workspace, "Deployment")
    for reason, spec, member in REFUSED:
        if spec:
            workspace("patch", "deployment", "llm", "--type=merge", "-p", json.dumps({"spec": spec}))
        before = shape(workspace.get("deployment", "llm"))
        name = reason.lower()

        workspace.incident(name, "Deployment/llm", steps=[{"rollback": member}])
        status = workspace.wait_phase(name, "Rejected")

        assert condition(status, "Accepted")["reason"] == reason
        assert shape(workspace.get("deployment", "llm")) == before
        assert workspace.get("holds")["items"] == []


def test_a_bare_replica_set_has_no_versions(workspace: Space) -> None:
    workspace.create(llm("ReplicaSet", "1"))
    workspace.incident("toxic", "ReplicaSet/llm", steps=[LAST_KNOWN_GOOD])

    accepted = condition(workspace.wait_phase("toxic", "Rejected"), "Accepted")
    assert accepted["reason"] == "KindHasNoVersions"
    assert "name the Deployment, StatefulSet or DaemonSet" in accepted["message"]


def test_what_slips_in_all_the_same_is_put_right_and_told(workspace: Space) -> None:
    poisoned(workspace, "Deployment")
    contain(workspace, "Deployment")
    exempt = workspace.cluster.kubeconfig_for_service_account("stanch-system", "stanch")
    bad = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{HUB}:2"}]

    workspace("patch", "deployment", "llm", "--type=json", "-p", json.dumps(bad), as_=exempt)

    workspace.wait("aii/toxic", "{.status.contested.count}", "1")
    eventually(lambda: running(workspace) == {("1", "r1")}, "only the good version runs")
    workspace.wait("aii/toxic", "{.status.steps[0].state}", "Effective")
    assert "changed Deployment llm" in workspace.status("toxic")["contested"]["lastWhat"]


def test_a_workload_that_is_stopped_is_rolled_back_all_the_same_and_both_are_given_back(
    workspace: Space,
) -> None:
    before, bad = poisoned(workspace, "DaemonSet", pod={"nodeSelector": {"kubernetes.io/os": "linux"}})
    steps = [{"scaleToZero": {}}, LAST_KNOWN_GOOD]

    workspace.incident("toxic", "DaemonSet/llm", steps=steps)
    workspace.wait_phase("toxic", "Contained", LONG)
    assert workspace.pods() == []
    assert "is condemned" in workspace.refused("set", "image", "daemonset/llm", f"server={HUB}:2")
    workspace.release("toxic")

    workspace.running("DaemonSet", "llm", PODS)
    assert running(workspace) == {("1", "r1")}
    assert workspace.get("daemonset", "llm")["spec"] == before["spec"]
    assert bad["spec"] != before["spec"]


BAD_INPUT: list[tuple[Json, str]] = [
    ({"to": {}}, "a version to roll back to is exactly one of"),
    ({"to": {"revision": 1, "lastKnownGood": True}}, "a version to roll back to is exactly one of"),
    ({"to": {"lastKnownGood": False}}, "lastKnownGood is true or left out"),
    (
        {"to": {"image": {"tag": "1", "digest": "sha256:" + "a" * 64}}},
        "an image choice is exactly one of",
    ),
    ({"to": {"image": {"digest": "sha256:abc"}}}, "a digest is sha256: and 64"),
    ({"to": {"modelVersion": "x; rm -rf /"}}, "a model version has letters"),
    ({"to": {"revision": 1}, "locator": {"container": "a"}}, "a locator is exactly one of"),
    (
        {"to": {"revision": 1}, "condemn": "Permanent", "onRelease": "Restore"},
        "condemn has to be UntilRelease",
    ),
]


def test_bad_input_is_told_at_once(workspace: Space) -> None:
    for member, says in BAD_INPUT:
        incident = {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "AIIncident",
            "metadata": {"name": "toxic"},
            "spec": {
                "title": "t",
                "category": "Drift",
                "severity": "Low",
                "targets": [{"kind": "Deployment", "name": "llm"}],
                "steps": [{"rollback": member}],
            },
        }

        assert says in workspace.refused("create", "-f", "-", stdin=incident), member
