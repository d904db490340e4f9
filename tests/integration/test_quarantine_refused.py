"""Quarantine: whom it does not take, hostile selectors and names, and what is told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.wards import (
    QUARANTINED,
    contain,
    labels,
    owners,
    rejected,
    serving,
    steps,
)
from tests.operator_process import condition, eventually, operator, shape, workload, workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures


def test_too_late_to_quarantine_what_an_earlier_step_ends(workspace: Space) -> None:
    suspect, _ = serving(workspace)
    accepted = rejected(workspace, "Deployment", suspect, steps=[{"scaleToZero": {}}, *steps(suspect)])
    assert accepted["reason"] == "StepTooLate"
    assert "ScaleToZero ends the pods that Quarantine is to keep" in accepted["message"]


HOSTILE: dict[str, Json] = {
    "NotIn": {"key": "app", "operator": "NotIn", "values": ["other"]},
    "DoesNotExist": {"key": "legacy", "operator": "DoesNotExist"},
}


@pytest.mark.parametrize("operator_", HOSTILE)
def test_a_selector_that_no_label_can_leave_is_refused(workspace: Space, operator_: str) -> None:
    workspace.create(workload("Deployment", "llm", 1))
    workspace.running("Deployment", "llm", 1)
    greedy = workload("DaemonSet", "greedy", selector={"matchExpressions": [HOSTILE[operator_]]})
    workspace.create(greedy)
    suspect = next(
        pod["metadata"]["name"] for pod in workspace.pods() if pod["metadata"]["name"].startswith("llm-")
    )
    before = shape(workspace.get("pod", suspect))

    accepted = rejected(workspace, "Deployment", suspect)

    assert accepted["reason"] == "SelectorNotLeft"
    assert "DaemonSet greedy selects pods by what they are not" in accepted["message"]
    assert shape(workspace.get("pod", suspect)) == before


def test_a_selector_of_several_kinds_is_left_by_what_it_wants(workspace: Space) -> None:
    selector = {
        "matchLabels": {"tier": "gold"},
        "matchExpressions": [
            {"key": "app", "operator": "Exists"},
            {"key": "release", "operator": "In", "values": ["a", "b"]},
            HOSTILE["NotIn"],
            HOSTILE["DoesNotExist"],
        ],
    }
    manifest = workload("Deployment", "llm", 2, selector=selector)
    every = {"tier": "gold", "app": "llm", "release": "b", "note": "stays"}
    manifest["spec"]["template"]["metadata"]["labels"] = every
    workspace.create(manifest)
    workspace.running("Deployment", "llm", 2)
    suspect = workspace.pods()[0]["metadata"]["name"]

    contain(workspace, suspect)

    assert set(labels(workspace, suspect)) == {"note", QUARANTINED, "stanch.dev/held"}
    eventually(lambda: len(workspace.pods()) == 3, "another one in its place")


def adopted(space: Space, name: str, **more: Any) -> None:
    """A pod of any name that its ReplicaSet takes for its own."""
    replica_set = workload("ReplicaSet", "llm", 1)
    template = replica_set["spec"]["template"]
    metadata = {"name": name, "labels": template["metadata"]["labels"], **more}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    eventually(lambda: "default" in space("get", "serviceaccounts", "-o", "name"), "pods may be made")
    space.create(pod)
    space.wait(f"pod/{name}", "{.status.phase}", "Running")
    space.create(replica_set)
    space.running("ReplicaSet", "llm", 1)
    eventually(lambda: owners(space, name) == ["ReplicaSet"], "it is adopted")


def test_names_as_long_as_may_be(workspace: Space) -> None:
    pod, incident = "p" * 253, f"toxic.{'i' * 246}a"
    adopted(workspace, pod)
    workspace.incident(incident, "ReplicaSet/llm", steps=steps(pod))
    status = workspace.wait_phase(incident, "Contained")
    mark = labels(workspace, pod)[QUARANTINED]
    assert len(mark) <= 63
    assert mark.startswith("toxic.iii")
    assert pod in status["steps"][0]["message"]
    workspace.release(incident)


def stuck(space: Space) -> str:
    adopted(space, "suspect", finalizers=["example.test/slow"])
    space("delete", "pod", "suspect", "--wait=false")
    return "suspect"


def ended(space: Space) -> str:
    (suspect, _) = serving(space, "ReplicaSet")
    space(
        "patch", "pod", suspect, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Failed"}}'
    )
    return suspect


def of_another(space: Space) -> str:
    serving(space, "ReplicaSet")
    space.create(workload("ReplicaSet", "other", 1))
    space.running("ReplicaSet", "other", 1)
    names: list[str] = [pod["metadata"]["name"] for pod in space.pods()]
    return next(name for name in names if name.startswith("other"))


def of_nobody(space: Space) -> str:
    serving(space, "ReplicaSet")
    spec = {"containers": [{"name": "server", "image": "registry.example.test/llm:1"}]}
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": spec})
    return "bare"


def missing(space: Space) -> str:
    serving(space, "ReplicaSet")
    return "llm-nowhere"


UNFIT: dict[str, tuple[Callable[[Space], str], str, str]] = {
    "stuck in its end": (stuck, "PodTerminating", "is being deleted, which nothing can stop any more"),
    "ended": (ended, "PodEnded", "has ended (Failed)"),
    "another workload's": (of_another, "PodNotOfTarget", "ReplicaSet other controls it"),
    "nobody's": (of_nobody, "PodNotOfTarget", "nothing controls it"),
    "not there": (missing, "PodNotFound", "there is no Pod llm-nowhere"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_pod_that_cannot_be_kept_is_refused_and_nothing_changed(workspace: Space, case: str) -> None:
    prepare, reason, says = UNFIT[case]
    name = prepare(workspace)

    accepted = rejected(workspace, "ReplicaSet", name)

    assert accepted["reason"] == reason
    assert says in accepted["message"]
    assert workspace("get", "pods", "-l", QUARANTINED) == ""
    assert workspace.get("networkpolicies")["items"] == []
    if case == "stuck in its end":
        workspace("patch", "pod", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_a_job_is_no_place_to_take_a_pod_from(workspace: Space) -> None:
    targets = [{"apiVersion": "batch/v1", "kind": "Job", "name": "train"}]
    workspace.incident("toxic", targets=targets, steps=steps("train-x"))
    accepted = condition(workspace.wait_phase("toxic", "Rejected"), "Accepted")
    assert accepted["reason"] == "KindNotQuarantinable"
    assert "suspend it instead" in accepted["message"]


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ({"pods": []}, "should have at least 1 items"),
        ({"pods": [f"p{number}" for number in range(11)]}, "must have at most 10 items"),
        ({"pods": ["a", "a"]}, "Duplicate value"),
        ({"pods": ["A_b"]}, "a name has lower-case letters"),
        ({}, "pods: Required value"),
        ({"pods": ["a"], "onRelease": "Keep"}, 'supported values: "Return", "Delete"'),
    ],
)
def test_bad_input_is_told_at_once(workspace: Space, member: Json, says: str) -> None:
    incident = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": "toxic"},
        "spec": {
            "title": "t",
            "category": "Drift",
            "severity": "Low",
            "targets": [{"kind": "Deployment", "name": "llm"}],
            "steps": [{"quarantine": member}],
        },
    }
    assert says in workspace.refused("create", "-f", "-", stdin=incident)
