"""Contain, hold, give back: what a person sees with kubectl, for every kind of workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operator_process import (
    autoscaler,
    condition,
    eventually,
    operator,
    shape,
    workload,
    workspace,
)

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures


@pytest.mark.compatibility("containment")
def test_a_deployment_is_stopped_held_and_given_back_as_it_was(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)
    before = shape(workspace.get("deployment", "llm-chat"))

    status = workspace.contain("toxic", "Deployment/llm-chat", steps=[{"scaleToZero": {}}])
    assert workspace.pods() == []
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 0
    assert status["plan"]["source"] == "spec.steps"
    assert "held by AIIncident toxic" in workspace.refused("scale", "deployment/llm-chat", "--replicas=3")

    status = workspace.release("toxic")
    assert shape(workspace.get("deployment", "llm-chat")) == before
    workspace.running("Deployment", "llm-chat", 3)
    assert status["summary"] == "given back: llm-chat: replicas 0 → 3"
    assert condition(status, "Released")["status"] == "True"
    assert workspace.get("holds")["items"] == []
    assert "stanch.dev/holding" not in workspace.get("namespace", workspace.name)["metadata"]["labels"]
    workspace("scale", "deployment/llm-chat", "--replicas=1")


def test_kubectl_tells_what_is_contained_by_whom_and_how_fast(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)
    workspace.contain("toxic", "Deployment/llm-chat")

    header, row = workspace("get", "aii").splitlines()
    assert header.split() == [
        *["NAME", "SEVERITY", "CATEGORY", "TARGET", "PHASE", "HELD", "CONTAINED-IN", "AGE"],
    ]
    cells = row.split()
    assert cells[:6] == ["toxic", "Critical", "OutputPolicyViolation", "Deploy/llm-chat", "Contained", "True"]
    assert cells[6].endswith(("ms", "s"))
    wide = workspace("get", "aii", "-o", "wide")
    assert "contained: llm-chat replicas 3→0; held" in wide
    holds = workspace("get", "holds")
    assert "deployments/llm-chat" in holds
    assert "toxic" in holds
    told = workspace.describe("toxic")
    assert "what would undo the containment is denied" in told
    for reason in ("Detected", "StepEffective", "Contained"):
        workspace.wait_event(reason)


@pytest.mark.parametrize("kind", ["StatefulSet", "ReplicaSet", "DaemonSet"])
@pytest.mark.compatibility("containment")
def test_every_kind_of_workload_is_stopped_held_and_given_back_as_it_was(workspace: Space, kind: str) -> None:
    pods = 2  # one on each node, for the DaemonSet
    workspace.create(workload(kind, "llm", pods))
    workspace.running(kind, "llm", pods)
    before = shape(workspace.get(kind, "llm"))

    workspace.contain("toxic", f"{kind}/llm")
    assert workspace.pods() == []
    if kind == "DaemonSet":
        way_back = '[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]'
        denied = workspace.refused("patch", kind, "llm", "--type=json", "-p", way_back)
    else:
        denied = workspace.refused("scale", f"{kind}/llm", "--replicas=2")
    assert "held by AIIncident toxic" in denied

    workspace.release("toxic")
    assert shape(workspace.get(kind, "llm")) == before
    workspace.running(kind, "llm", pods)


@pytest.fixture
def volumes(workspace: Space) -> str:
    """A storage class with two volumes, of this test alone."""
    for number in range(2):
        workspace.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{workspace.name}-{number}"},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": workspace.name,
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": f"/var/lib/{workspace.name}-{number}"},
                },
            }
        )
    return workspace.name


def test_volumes_that_scaling_down_would_delete_outlive_containment(workspace: Space, volumes: str) -> None:
    claim = {
        "metadata": {"name": "weights"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": volumes,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    retention = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    workspace.create(
        workload(
            "StatefulSet",
            "cache",
            2,
            volumeClaimTemplates=[claim],
            persistentVolumeClaimRetentionPolicy=retention,
        )
    )
    workspace.running("StatefulSet", "cache", 2)
    before = workspace.get("statefulset", "cache")
    claims = {each["metadata"]["uid"] for each in workspace.get("pvc")["items"]}

    workspace.contain("toxic", "StatefulSet/cache")
    contained = workspace.get("statefulset", "cache")
    assert contained["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Retain"
    # One write, so that the controller never saw zero replicas and Delete together.
    assert contained["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert {each["metadata"]["uid"] for each in workspace.get("pvc")["items"]} == claims

    workspace.release("toxic")
    after = workspace.get("statefulset", "cache")
    assert shape(after) == shape(before)
    assert after["metadata"]["generation"] == contained["metadata"]["generation"] + 1
    workspace.running("StatefulSet", "cache", 2)
    assert {each["metadata"]["uid"] for each in workspace.get("pvc")["items"]} == claims
    workspace("delete", "pv", f"{volumes}-0", f"{volumes}-1", "--wait=false")


def test_a_statefulset_that_ends_pods_one_by_one_is_stopped_all_at_once(workspace: Space) -> None:
    slow = {"sandbox.stanch.dev/terminate-after": "8s"}
    workspace.create(workload("StatefulSet", "cache", 4, annotations=slow))
    workspace.running("StatefulSet", "cache", 4)
    workspace.incident("toxic", "StatefulSet/cache")

    def ending() -> bool:
        return [("deletionTimestamp" in pod["metadata"]) for pod in workspace.pods()] == [True] * 4

    eventually(ending, "all four pods terminate at the same time")
    workspace.wait_phase("toxic", "Contained")


def test_immediate_termination_does_not_wait_for_the_grace_period(workspace: Space) -> None:
    patient = {"terminationGracePeriodSeconds": 300}
    slow = {"sandbox.stanch.dev/terminate-after": "8s"}
    workspace.create(workload("Deployment", "llm-chat", 2, pod=patient, annotations=slow))
    workspace.running("Deployment", "llm-chat", 2)
    workspace.incident("toxic", "Deployment/llm-chat", steps=[{"scaleToZero": {"terminate": "Immediate"}}])

    def hurried() -> bool:
        return [pod["metadata"].get("deletionGracePeriodSeconds") for pod in workspace.pods()] == [1, 1]

    eventually(hurried, "both pods have a second left instead of five minutes")
    # Contained means observed: with pods that still terminate it is not.
    assert workspace.status("toxic")["phase"] == "Containing"
    workspace.wait_phase("toxic", "Contained")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_what_is_ended_at_once_is_not_replaced_and_comes_back_with_release(
    workspace: Space, kind: str
) -> None:
    """Its controller was denied new pods for a moment, and may make them again."""
    workspace.create(workload(kind, "llm-chat", 2))
    workspace.running(kind, "llm-chat", 2)
    before = shape(workspace.get(kind, "llm-chat"))

    workspace.contain("toxic", f"{kind}/llm-chat", steps=[{"scaleToZero": {"terminate": "Immediate"}}])
    assert workspace.pods() == []
    workspace.release("toxic")

    assert shape(workspace.get(kind, "llm-chat")) == before
    workspace.running(kind, "llm-chat", 2)


SCALE_UP = [
    pytest.param({}, id="behaviour unset"),
    pytest.param({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}, id="scale-down only"),
    pytest.param(
        {
            "behavior": {
                "scaleUp": {
                    "selectPolicy": "Min",
                    "policies": [{"type": "Pods", "value": 2, "periodSeconds": 30}],
                }
            }
        },
        id="scale-up rules",
    ),
]


@pytest.mark.parametrize("behavior", SCALE_UP)
@pytest.mark.compatibility("containment")
def test_an_autoscaler_is_frozen_and_thawed_as_it_was(workspace: Space, behavior: Json) -> None:
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.create(autoscaler("llm-chat", **behavior))
    workspace.running("Deployment", "llm-chat", 3)
    before = shape(workspace.get("hpa", "llm-chat"))

    workspace.contain("toxic", "Deployment/llm-chat")
    assert workspace.get("hpa", "llm-chat")["spec"]["behavior"]["scaleUp"]["selectPolicy"] == "Disabled"
    thaw = '{"spec":{"behavior":{"scaleUp":{"selectPolicy":"Max"}}}}'
    denied = workspace.refused("patch", "hpa", "llm-chat", "--type=merge", "-p", thaw)
    assert "with scale-up disabled" in denied

    workspace.release("toxic")
    assert shape(workspace.get("hpa", "llm-chat")) == before
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 3


def test_an_incident_without_steps_is_contained_by_the_built_in_plan(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.running("Deployment", "llm-chat", 1)
    status = workspace.contain("toxic", "Deployment/llm-chat")
    assert status["plan"]["source"] == "built-in default"
    assert [step["action"] for step in status["plan"]["steps"]] == ["ScaleToZero"]
    assert status["plan"]["steps"][0]["diff"] == ["replicas 1 → 0"]


def test_several_workloads_of_one_incident_are_stopped_and_given_back_together(workspace: Space) -> None:
    for kind, name in (("Deployment", "llm-chat"), ("StatefulSet", "cache"), ("DaemonSet", "agent")):
        workspace.create(workload(kind, name, 2))
    for kind, name in (("Deployment", "llm-chat"), ("StatefulSet", "cache"), ("DaemonSet", "agent")):
        workspace.running(kind, name, 2)
    before = [shape(each) for each in workspace.get("deployment,statefulset,daemonset")["items"]]

    status = workspace.contain("toxic", "Deployment/llm-chat", "StatefulSet/cache", "DaemonSet/agent")
    assert workspace.pods() == []
    assert status["target"] == "Deploy/llm-chat +2"
    assert condition(status, "Contained")["message"] == "3 of 3 steps effective"

    workspace.release("toxic")
    assert [shape(each) for each in workspace.get("deployment,statefulset,daemonset")["items"]] == before


LOOKS_ONLY = [
    pytest.param({"mode": "DryRun"}, id="dry run"),
    pytest.param({"exercise": True}, id="exercise"),
]


@pytest.mark.parametrize("spec", LOOKS_ONLY)
def test_a_dry_run_shows_the_plan_and_changes_nothing(workspace: Space, spec: Json) -> None:
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.create(autoscaler("llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)

    def standing() -> list[str]:
        """All but status, which controllers may still report; and whether we wrote to it."""
        objects = workspace.get("deployments,replicasets,pods,hpa,holds", "--show-managed-fields")["items"]
        return [
            f"{each['kind']}/{each['metadata']['name']} {each['metadata']['uid']} {shape(each)} "
            f"{'stanch' in {entry['manager'] for entry in each['metadata']['managedFields']}}"
            for each in [*objects, workspace.get("namespace", workspace.name, "--show-managed-fields")]
        ]

    before = standing()
    workspace.incident("drill", "Deployment/llm-chat", **spec)
    status = workspace.wait_phase("drill", "Detected")

    assert standing() == before
    diff = status["plan"]["steps"][0]["diff"]
    assert diff == ["HorizontalPodAutoscaler llm-chat: scale-up unset → Disabled", "replicas 3 → 0"]
    assert "nothing was changed" in status["summary"]
    assert condition(status, "Held")["reason"] == "NothingToHold"
    assert "finalizers" not in workspace.get("aii", "drill")["metadata"]


def test_a_drill_that_enforces_contains_and_says_that_it_is_one(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.running("Deployment", "llm-chat", 1)
    status = workspace.contain("drill", "Deployment/llm-chat", exercise=True, exerciseEnforce=True)
    assert workspace.pods() == []
    assert status["summary"].startswith("exercise: contained")
    workspace.release("drill")
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 1


def test_a_dry_run_that_has_said_its_say_is_quiet_until_it_is_enforced(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.running("Deployment", "llm-chat", 1)
    workspace.incident("toxic", "Deployment/llm-chat", mode="DryRun")
    workspace.wait_phase("toxic", "Detected")
    said = workspace.get("aii", "toxic")["metadata"]["resourceVersion"]
    workspace.incident("later", "Deployment/llm-chat", mode="DryRun")
    workspace.wait_phase("later", "Detected")
    assert workspace.get("aii", "toxic")["metadata"]["resourceVersion"] == said

    workspace("patch", "aii", "toxic", "--type=merge", "-p", '{"spec":{"mode":"Enforce"}}')
    workspace.wait_phase("toxic", "Contained")
    assert workspace.pods() == []


def test_an_autoscaler_aimed_elsewhere_meanwhile_is_thawed_all_the_same(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.create(workload("Deployment", "other", 1))
    workspace.create(autoscaler("llm-chat", minReplicas=1))
    workspace.running("Deployment", "llm-chat", 1)
    workspace.contain("toxic", "Deployment/llm-chat")
    aim = '{"spec":{"scaleTargetRef":{"name":"other"}}}'
    workspace("patch", "hpa", "llm-chat", "--type=merge", "-p", aim)
    workspace.release("toxic")
    thawed = workspace.get("hpa", "llm-chat")
    assert "behavior" not in thawed["spec"]
    assert "labels" not in thawed["metadata"]


def test_an_autoscaler_made_while_the_workload_is_contained_is_frozen_too(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.running("Deployment", "llm-chat", 1)
    workspace.contain("toxic", "Deployment/llm-chat")
    workspace.create(autoscaler("llm-chat", minReplicas=1))
    workspace.wait("hpa/llm-chat", "{.spec.behavior.scaleUp.selectPolicy}", "Disabled")
    workspace.release("toxic")
    assert "behavior" not in workspace.get("hpa", "llm-chat")["spec"]


@pytest.mark.long
def test_a_namespace_that_is_deleted_takes_what_is_contained_with_it(workspace: Space) -> None:
    workspace("create", "namespace", f"{workspace.name}-doomed")
    doomed = workspace.elsewhere(f"{workspace.name}-doomed")
    doomed.create(workload("Deployment", "llm-chat", 1))
    doomed.running("Deployment", "llm-chat", 1)
    doomed.contain("toxic", "Deployment/llm-chat")
    doomed("delete", "namespace", doomed.name, "--timeout=110s")


def test_deleting_an_incident_gives_the_workload_back(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)
    before = shape(workspace.get("deployment", "llm-chat"))
    workspace.contain("toxic", "Deployment/llm-chat")
    workspace("delete", "aii", "toxic", "--timeout=60s")
    assert shape(workspace.get("deployment", "llm-chat")) == before
    assert workspace.get("holds")["items"] == []


def test_deleting_an_incident_that_retains_leaves_the_workload_stopped_but_free(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", labels={}))
    workspace.create(autoscaler("llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)
    workspace.contain("toxic", "Deployment/llm-chat", deletionPolicy="Retain")
    workspace("delete", "aii", "toxic", "--timeout=60s")

    left = workspace.get("deployment", "llm-chat")
    assert left["spec"]["replicas"] == 0
    assert "stanch.dev/held" not in left["metadata"].get("labels", {})
    assert workspace.get("holds")["items"] == []
    workspace("scale", "deployment/llm-chat", "--replicas=2")
    workspace.running("Deployment", "llm-chat", 2)
