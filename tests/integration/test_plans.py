"""Plans of several steps on a real API server: order, failed steps, time limits, changes of mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.poisoned import LAST_KNOWN_GOOD, PODS, poisoned, running
from tests.operator_process import eventually, operator, shape, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

CUT_OFF: Json = {"isolate": {"others": "Report"}}
STOP: Json = {"scaleToZero": {}}


def serve(space: Space, *names: str, **annotations: str) -> None:
    keys = {f"sandbox.stanch.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    for name in names:
        space.create(workload("Deployment", name, 2, annotations=dict(keys)))
    for name in names:
        space.running("Deployment", name, 2)


def let_everybody_in(space: Space, name: str) -> None:
    """Somebody else's policy, beside which ours would cut nothing off."""
    space.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"open-{name}"},
            "spec": {"podSelector": {"matchLabels": {"app": name}}, "ingress": [{}]},
        }
    )


def states(status: Json) -> dict[str, list[str]]:
    """By target, in the order of the plan."""
    found: dict[str, list[str]] = {}
    for step in status["steps"]:
        found.setdefault(step["target"]["name"], []).append(step["state"])
    return found


def replicas(space: Space, name: str) -> int:
    return int(space.get("deployment", name)["spec"]["replicas"])


def policies(space: Space) -> list[str]:
    return [one["metadata"]["name"] for one in space.get("networkpolicies")["items"]]


def test_two_steps_on_two_targets_are_done_in_order_and_undone_the_other_way_round(workspace: Space) -> None:
    serve(workspace, "llm", "rag")
    before = {name: shape(workspace.get("deployment", name)) for name in ("llm", "rag")}

    status = workspace.contain("toxic", "Deployment/llm", "Deployment/rag", steps=[CUT_OFF, STOP])

    assert states(status) == {"llm": ["Effective"] * 2, "rag": ["Effective"] * 2}
    for name in ("llm", "rag"):
        cut, stopped = (step for step in status["steps"] if step["target"]["name"] == name)
        assert cut["effectiveAt"] <= stopped["appliedAt"]
    assert len(policies(workspace)) == 2
    workspace.release("toxic")
    assert {name: shape(workspace.get("deployment", name)) for name in before} == before
    assert policies(workspace) == []


@pytest.mark.parametrize(
    ("says", "phase", "ends", "left"),
    [
        ({}, "ContainmentFailed", ["Ineffective", "Skipped"], 2),
        ({"onFailure": "Continue"}, "ContainmentFailed", ["Ineffective", "Effective"], 0),
        ({"optional": True}, "PartiallyContained", ["Ineffective", "Effective"], 0),
        ({"onFailure": "Release"}, "Released", ["Undone", "Undone"], 2),
    ],
    ids=["stop", "continue", "optional", "release"],
)
def test_what_becomes_of_the_steps_after_one_that_failed(
    workspace: Space, says: Json, phase: str, ends: list[str], left: int
) -> None:
    """One of two targets cannot be cut off; the other is not held up by that."""
    serve(workspace, "llm", "rag")
    let_everybody_in(workspace, "llm")
    workspace.incident("toxic", "Deployment/llm", "Deployment/rag", steps=[CUT_OFF | says, STOP])

    def ended() -> bool:
        status = workspace.status("toxic")
        return status.get("phase") == phase and states(status)["llm"] == ends

    eventually(ended, f"{phase} with {ends}")
    released = phase == "Released"
    if not released:
        eventually(lambda: states(workspace.status("toxic"))["rag"] == ["Effective"] * 2, "rag is contained")
    assert replicas(workspace, "llm") == left
    assert replicas(workspace, "rag") == (2 if released else 0)
    assert (policies(workspace) == ["open-llm"]) is released
    if not released:
        assert "open-llm" in workspace.describe("toxic"), "what stands in the way is named"


def test_a_step_has_its_own_time_and_what_waits_for_it_is_skipped(workspace: Space) -> None:
    serve(workspace, "llm", terminate="never")
    workspace.incident("toxic", "Deployment/llm", steps=[STOP | {"timeout": "2s"}, CUT_OFF])

    status = workspace.wait_phase("toxic", "ContainmentFailed")

    assert states(status) == {"llm": ["Ineffective", "Skipped"]}
    assert "after 2 s: 2 pods left" in status["steps"][0]["message"]
    assert policies(workspace) == []
    assert "held by AIIncident toxic" in workspace.refused("scale", "deployment/llm", "--replicas=2")
    workspace("delete", "pods", "--all", "--grace-period=0", "--force")
    workspace.wait_phase("toxic", "Contained")
    assert len(policies(workspace)) == 1, "effective after all, it lets the next one begin"


def test_a_change_of_mind_while_a_step_is_waited_for_pre_empts_the_next(workspace: Space) -> None:
    serve(workspace, "llm", terminate="never")
    before = shape(workspace.get("deployment", "llm"))
    workspace.incident("toxic", "Deployment/llm", steps=[STOP, CUT_OFF])
    workspace.wait("aii/toxic", "{.status.steps[0].state}", "Applied")
    assert replicas(workspace, "llm") == 0

    status = workspace.release("toxic")

    assert shape(workspace.get("deployment", "llm")) == before
    assert states(status) == {"llm": ["Undone", "Undone"]}
    told = [entry["message"] for entry in status["timeline"] if entry["type"] == "StepApplied"]
    assert [message.split()[0] for message in told] == ["ScaleToZero"], "the second never began"
    assert policies(workspace) == []
    assert workspace.get("holds")["items"] == []
    workspace("delete", "pods", "--all", "--grace-period=0", "--force")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_version_is_rolled_back_before_the_workload_is_stopped_by_a_later_step(
    workspace: Space, kind: str
) -> None:
    """What the plan ends with does not keep from starting the pods that it begins with."""
    _, bad = poisoned(workspace, kind)
    rollback = {**LAST_KNOWN_GOOD["rollback"], "onRelease": "Restore"}

    status = workspace.contain("toxic", f"{kind}/llm", steps=[{"rollback": rollback}, STOP])

    assert states(status) == {"llm": ["Effective"] * 2}
    back, stopped = status["steps"]
    assert back["reason"] == "RolledBack"
    assert back["effectiveAt"] <= stopped["appliedAt"]
    assert workspace.pods() == []
    workspace.release("toxic")
    assert shape(workspace.get(kind, "llm")) == shape(bad)
    workspace.running(kind, "llm", PODS)
    assert {image for image, _ in running(workspace)} == {"2"}
