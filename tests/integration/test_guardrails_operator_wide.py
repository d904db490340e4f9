"""The limits of `stanch run`, which hold for policies that have none of their own.

How many at one time and within a window are told in test_approvals.py and test_signals.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.alerting import Receiver
from tests.operator_process import condition, eventually, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import Cluster, Kubectl
    from tests.operator_process import Json, OperatorProcess, Space

FLAGS = {
    "attempts_most": "1",
    "attempts_seconds": "3600",
    "capacity_floor": "50%",
    "approve_from": "Critical",
    "cooldown_seconds": "600",
}
TRIGGER = {
    "name": "toxic",
    "category": "OutputPolicyViolation",
    "severity": "High",
    "alert": {"matchers": ['alertname="Toxic"']},
}


@pytest.fixture(scope="module")
def limited(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[OperatorProcess, Receiver]]:
    """An operator with limits of its own, that hears alerts."""
    directory = tmp_path_factory.mktemp("limited")
    once("operator-installed", lambda: install(kubectl))
    receiver = Receiver.reserve(directory)
    flags: Any = FLAGS | receiver.flags
    with running(cluster, directory / "operator.log", **flags) as process:
        yield process, receiver


@pytest.fixture
def receiver(limited: tuple[OperatorProcess, Receiver]) -> Receiver:
    return limited[1]


@pytest.fixture
def chat(cluster: Cluster, kubectl: Kubectl, limited: tuple[OperatorProcess, Receiver]) -> Iterator[Space]:
    """Two model servers, of two and one replicas, and a policy for both that limits nothing."""
    with fresh_space(cluster, kubectl, limited[0]) as space:
        for name, replicas in (("llm-chat", 2), ("rag", 1)):
            space.create(workload("Deployment", name, replicas))
            space.running("Deployment", name, replicas)
        spec = {"selector": {}, "triggers": [TRIGGER], "steps": [{"scaleToZero": {}}]}
        head = {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "ContainmentPolicy",
            "metadata": {"name": "chat"},
        }
        space.create(head | {"spec": spec})
        yield space


def report(space: Space, name: str, target: str, severity: str = "High") -> None:
    space.incident(name, f"Deployment/{target}", severity=severity, policyRef={"name": "chat"})


def waiting(space: Space, name: str) -> Json:
    """The status of one that waits for a person, with nothing changed."""
    status = space.wait_phase(name, "AwaitingApproval")
    assert space.get("holds")["items"] == []
    assert "finalizers" not in space.get("aii", name)["metadata"]
    return status


def test_more_capacity_than_may_go_is_asked_about(chat: Space) -> None:
    report(chat, "most", "llm-chat")
    guard = condition(waiting(chat, "most"), "GuardrailsPassed")
    assert (guard["status"], guard["reason"]) == ("False", "CapacityFloor")
    assert "1 of 3 replicas of the policy's workloads would still serve, and 50% have to" in guard["message"]
    report(chat, "some", "rag")
    chat.wait_phase("some", "Contained")
    chat.release("some")


def test_a_workload_that_is_contained_again_unrecovered_is_asked_about(chat: Space) -> None:
    report(chat, "first", "rag")
    chat.wait_phase("first", "Contained")
    chat.release("first")
    report(chat, "second", "rag")
    guard = condition(waiting(chat, "second"), "GuardrailsPassed")
    assert (guard["status"], guard["reason"]) == ("False", "AttemptsExhausted")
    assert (
        "Deployment/rag was contained 1 times within 3600s without recovery being proven, and at most 1 "
        "times may be by itself"
    ) in guard["message"]


def test_the_gravest_are_asked_about(chat: Space) -> None:
    report(chat, "grave", "rag", "Critical")
    status = waiting(chat, "grave")
    approved = condition(status, "Approved")
    assert (approved["status"], approved["reason"]) == ("False", "AwaitingApproval")
    assert "the operator wants plans of severity Critical and above approved" in status["summary"]
    report(chat, "less", "rag")
    chat.wait_phase("less", "Contained")
    chat.release("less")


def test_the_tail_of_an_alert_contains_nothing_during_the_cooldown(chat: Space, receiver: Receiver) -> None:
    labels = {"alertname": "Toxic", "namespace": chat.name, "deployment": "rag"}
    alert = {"status": "firing", "labels": labels}
    (told,) = receiver.send(alert | {"startsAt": "2026-01-02T03:04:05Z"})
    name = told["incident"].partition("/")[2]
    chat.wait_phase(name, "Contained")
    chat.release(name)
    (tail,) = receiver.send(alert | {"startsAt": "2026-01-02T03:09:05Z"})
    assert (tail["outcome"], tail["reason"]) == ("Ignored", "Cooldown")
    assert [one["metadata"]["name"] for one in chat.get("aii")["items"]] == [name]

    def told_of() -> str:
        (trigger,) = chat.get("cpol", "chat")["status"]["triggers"]
        return str(trigger.get("lastSignal"))

    eventually(
        lambda: "the operator's cooldown of 10m lasts another" in told_of(),
        "the policy tells of it",
        seen=told_of,
    )
