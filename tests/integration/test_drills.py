"""Policies drill by themselves: the plan is proven on time, nothing is touched, the policy tells of it."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import condition, eventually, operator, shape, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

EVERY_MINUTE = "* * * * *"
"""Due at once: the minute in which a policy is made counts."""
LEAP_DAY = "0 0 29 2 *"


@pytest.fixture
def chat(workspace: Space) -> Space:
    for name in ("llm-chat", "rag"):
        workspace.create(workload("Deployment", name, 1))
        workspace.running("Deployment", name, 1)
    return workspace


def drills(space: Space, *, schedule: str = EVERY_MINUTE, drill: Json | None = None, **spec: Any) -> None:
    base = {
        "selector": {},
        "steps": [{"isolate": {}}, {"scaleToZero": {}}],
        "drills": [{"name": "rehearsal", "schedule": schedule} | (drill or {})],
    }
    head = {"apiVersion": "stanch.dev/v1alpha1", "kind": "ContainmentPolicy", "metadata": {"name": "chat"}}
    space.create(head | {"spec": base | spec})


def made(space: Space) -> list[Json]:
    items: list[Json] = space.get("aii", "-l", "stanch.dev/drill=rehearsal")["items"]
    return items


def test_a_drill_that_is_due_proves_the_plan_and_touches_nothing(chat: Space) -> None:
    before = [shape(chat.get("deployment", name)) for name in ("llm-chat", "rag")]
    drills(chat, drill={"target": {"kind": "Deployment", "name": "rag"}})
    eventually(lambda: bool(made(chat)), "the drill is made")
    name = made(chat)[0]["metadata"]["name"]
    assert re.fullmatch(r"drill-chat-rehearsal-[0-9a-f]{6}-\d{12}", name)
    status = chat.wait_phase(name, "Detected")
    spec = chat.get("aii", name)["spec"]
    assert spec["exercise"]
    assert spec["targets"] == [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "rag"}]
    assert re.match(
        r"exercise: plan proven in [\d.]+m?s; dry run for Deployment rag: would ", status["summary"]
    )
    assert status["summary"].endswith("nothing was changed")
    assert status["timestamps"]["rehearsed"] >= status["timestamps"]["detected"]
    assert "containedIn" not in status
    assert [step["action"] for step in status["plan"]["steps"]] == ["Isolate", "ScaleToZero"]
    assert [shape(chat.get("deployment", each)) for each in ("llm-chat", "rag")] == before
    assert chat.get("networkpolicies,holds")["items"] == []

    def told() -> Json:
        drilled: list[Json] = chat.get("cpol", "chat")["status"].get("drills", [])
        return drilled[0] if drilled else {}

    eventually(
        lambda: told().get("incident") == f"{chat.name}/{name}" and told().get("phase") == "Detected",
        "the policy tells of it",
        seen=lambda: json.dumps(told()),
    )
    assert told()["message"] == status["summary"]


def test_a_plan_that_could_not_be_carried_out_is_found_before_it_is_needed(chat: Space) -> None:
    chat.create(workload("Deployment", "guarded", 1, labels={"stanch.dev/protected": "true", "team": "safe"}))
    drills(chat, selector={"matchLabels": {"team": "safe"}})
    eventually(lambda: bool(made(chat)), "the drill is made")
    status = chat.wait_phase(made(chat)[0]["metadata"]["name"], "Rejected")
    assert condition(status, "Accepted")["reason"] == "WorkloadProtected"
    assert "rehearsed" not in status["timestamps"]


def test_a_schedule_that_is_none_is_told_and_nothing_is_made(chat: Space) -> None:
    drills(chat, schedule="61 * * * *")
    path = '{.status.conditions[?(@.type=="Ready")].reason}'
    chat.wait("cpol/chat", path, "BadSchedule")
    ready = condition(chat.get("cpol", "chat")["status"], "Ready")
    assert ready["status"] == "False"
    assert ready["message"] == "drill rehearsal is never made: schedule '61 * * * *': bad minute"
    assert made(chat) == []


def test_a_suspended_policy_drills_nothing_until_it_is_resumed(chat: Space) -> None:
    drills(chat, suspend=True)
    chat.wait("cpol/chat", '{.status.conditions[?(@.type=="Ready")].reason}', "Suspended")
    assert made(chat) == []
    chat("patch", "cpol", "chat", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    eventually(lambda: bool(made(chat)), "the drill is made")


def test_an_exercise_that_a_person_deletes_does_not_come_back(chat: Space) -> None:
    drills(chat)
    eventually(lambda: bool(made(chat)), "the drill is made")
    name = made(chat)[0]["metadata"]["name"]
    eventually(lambda: "drills" in chat.get("cpol", "chat")["status"], "the policy tells of it")
    chat("delete", "aii", name)
    time.sleep(3)  # for one that must not come: schedules are looked at every second
    assert name not in {one["metadata"]["name"] for one in made(chat)}


def test_a_policy_keeps_as_many_exercises_as_it_says(chat: Space) -> None:
    drills(chat, schedule=LEAP_DAY, drill={"keep": 2})
    for number in range(4):
        chat.incident(f"by-hand-{number}", "Deployment/rag", exercise=True, policyRef={"name": "chat"})
        chat("label", "aii", f"by-hand-{number}", "stanch.dev/drill=rehearsal")
    eventually(lambda: len(made(chat)) == 2, "two are kept", seen=lambda: str(made(chat)))
