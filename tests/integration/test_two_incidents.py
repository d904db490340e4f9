"""Several incidents on one workload: it comes back when the last one lets go, and as it was at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operator_process import autoscaler, operator, shape, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

LLM = "Deployment/llm-chat"


@pytest.fixture
def original(workspace: Space) -> list[str]:
    """What a model server with an autoscaler was before anybody contained it."""
    workspace.create(workload("Deployment", "llm-chat"))
    workspace.create(autoscaler("llm-chat"))
    workspace.running("Deployment", "llm-chat", 3)
    return shapes(workspace)


def shapes(workspace: Space) -> list[str]:
    return [shape(workspace.get("deployment", "llm-chat")), shape(workspace.get("hpa", "llm-chat"))]


def still_contained(workspace: Space) -> bool:
    denied = workspace.refused("scale", "deployment/llm-chat", "--replicas=1")
    replicas: int = workspace.get("deployment", "llm-chat")["spec"]["replicas"]
    return replicas == 0 and "held by AIIncident" in denied


def undone(status: Json) -> Json:
    step: Json = status["steps"][0]
    return step


@pytest.mark.parametrize(("first", "last"), [("a", "b"), ("b", "a")])
def test_the_workload_comes_back_with_the_last_release_in_either_order(
    workspace: Space, original: list[str], first: str, last: str
) -> None:
    workspace.contain("a", LLM)
    workspace.contain("b", LLM)
    assert "and 1 more" in workspace.refused("scale", "deployment/llm-chat", "--replicas=1")

    status = workspace.release(first)
    assert undone(status)["state"] == "PassedOn"
    assert f"stays contained by {last}" in status["summary"]
    assert still_contained(workspace)
    assert workspace.status(last)["phase"] == "Contained"

    status = workspace.release(last)
    assert undone(status)["state"] == "Undone"
    assert shapes(workspace) == original
    workspace.running("Deployment", "llm-chat", 3)


def test_two_released_at_once_give_back_what_was_there_at_first(
    workspace: Space, original: list[str]
) -> None:
    workspace.contain("a", LLM)
    workspace.contain("b", LLM)
    workspace("patch", "aii", "a", "b", "--type=merge", "-p", '{"spec":{"desiredState":"Released"}}')
    statuses = [workspace.wait_phase(name, "Released") for name in ("a", "b")]
    assert sorted(undone(status)["state"] for status in statuses) == ["PassedOn", "Undone"]
    assert shapes(workspace) == original
    assert workspace.get("holds")["items"] == []


def test_two_created_at_once_both_remember_what_was_there_at_first(
    workspace: Space, original: list[str]
) -> None:
    workspace.incident("a", LLM)
    workspace.incident("b", LLM)
    for name in ("a", "b"):
        workspace.wait_phase(name, "Contained")
    workspace.release("a")
    assert still_contained(workspace)
    workspace.release("b")
    assert shapes(workspace) == original


def test_one_deleted_leaves_the_workload_to_the_other(workspace: Space, original: list[str]) -> None:
    workspace.contain("a", LLM)
    workspace.contain("b", LLM)
    workspace("delete", "aii", "a", "--timeout=60s")
    assert still_contained(workspace)
    workspace("delete", "aii", "b", "--timeout=60s")
    assert shapes(workspace) == original


@pytest.mark.parametrize("order", ["abc", "cba"])
def test_a_third_one_that_joins_gives_back_what_was_there_at_first(
    workspace: Space, original: list[str], order: str
) -> None:
    for name in "abc":
        workspace.contain(name, LLM)
    for name in order[:-1]:
        workspace.release(name)
        assert still_contained(workspace)
    workspace.release(order[-1])
    assert shapes(workspace) == original


def test_one_that_joins_after_the_first_was_released_gives_back_what_was_there_at_first(
    workspace: Space, original: list[str]
) -> None:
    workspace.contain("a", LLM)
    workspace.contain("b", LLM)
    workspace.release("a")
    workspace.contain("c", LLM)
    workspace.release("b")
    assert still_contained(workspace)
    workspace.release("c")
    assert shapes(workspace) == original


def test_incidents_that_share_one_of_two_workloads_part_in_peace(
    workspace: Space, original: list[str]
) -> None:
    workspace.create(workload("StatefulSet", "cache", 2))
    workspace.running("StatefulSet", "cache", 2)
    cache = shape(workspace.get("statefulset", "cache"))
    workspace.contain("a", LLM)
    workspace.contain("b", LLM, "StatefulSet/cache")

    workspace.release("b")
    assert shape(workspace.get("statefulset", "cache")) == cache
    assert still_contained(workspace)
    workspace.release("a")
    assert shapes(workspace) == original
