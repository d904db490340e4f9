"""A plan as it is read before anything happens: the steps, the way back, the guardrails."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.api.v1alpha1.policy import Guardrails
from stanch.cli.planned import plan_lines
from tests.unit.cli.made import incident, said

Json = dict[str, Any]
POLICY = {"kind": "ContainmentPolicy", "name": "chat-guard", "uid": "u", "generation": 3}
RAILS = Guardrails.model_validate(
    {
        "approval": {"required": "AtOrAbove", "severity": "High", "fourEyes": True},
        "maxConcurrent": 3,
        "storm": {"containments": 5},
        "attempts": {"most": 2},
        "capacityFloor": "50%",
        "cooldown": "10m",
    }
)


def step(number: str, state: str = "Planned", message: str = "") -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm-chat"}
    return {"id": number, "action": "ScaleToZero", "target": target, "state": state, "message": message}


def told(
    *steps: Json, rails: Guardrails | None = None, policy: Json | None = None, **status: Any
) -> list[str]:
    diffs = {"1": ["replicas 3 → 0"], "2": ["replicas 1 → 0"], "3": []}
    planned = [
        {
            "id": each["id"],
            "action": each["action"],
            "target": "Deployment/llm-chat",
            "diff": diffs[each["id"]],
        }
        for each in steps
    ]
    plan = {"hash": "5be1", "source": "spec.steps", "steps": planned, "policy": policy}
    shown = incident("Detected", plan=plan, steps=list(steps), **status)
    return list(plan_lines(shown, rails))


def test_steps_that_were_tried_out_have_a_way_back() -> None:
    assert told(step("3"), step("1"), step("2")) == [
        "Plan 5be1 for Deployment chat/llm-chat, from spec.steps",
        " 1 ScaleToZero of Deployment/llm-chat",
        "     changes nothing",
        " 2 ScaleToZero of Deployment/llm-chat",
        "     replicas 3 → 0",
        " 3 ScaleToZero of Deployment/llm-chat",
        "     replicas 1 → 0",
        " undo        proven by dry run for 2, 3",
        " guardrails  none: a plan without a policy is carried out by whoever may contain",
        "Nothing was changed.",
    ]


def test_a_step_whose_undo_is_refused_is_not_proven_and_says_why() -> None:
    lines = told(step("1"), step("2", "Refused", "create Role x: forbidden"))
    assert "     Refused: create Role x: forbidden" in lines
    assert " undo        proven by dry run for 1" in lines
    assert " undo        NOT proven for 2: these would not be done" in lines


def test_what_changes_nothing_has_nothing_to_undo() -> None:
    assert " undo        nothing to undo" in told(step("3"))


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([], " guardrails  none is in the way: it would begin by itself"),
        (
            [
                said("Approved", "False", "ApprovalRequired", "3 of 3 stand"),
                said("GuardrailsPassed", "False", "MaxConcurrent", "3 of 3 stand"),
            ],
            " guardrails  a person has to approve it: 3 of 3 stand",
        ),
    ],
)
def test_what_is_in_the_way_is_told_with_the_limits_of_the_policy(found: list[Json], line: str) -> None:
    lines = told(step("1"), rails=RAILS, policy=POLICY, conditions=found)
    assert line in lines
    assert (
        "             ContainmentPolicy/chat-guard has: approval from severity High, by somebody else than "
        "who asked, valid for 30m; at most 3 containments at one time; at most 5 that begin within 10m; "
        "one workload at most 2 times within 24h; 50% of the replicas have to go on serving; "
        "triggers ignored for 10m after a containment"
    ) in lines


def test_no_plan_says_why() -> None:
    rejected = incident(
        "Rejected",
        summary="rejected",
        conditions=[said("Accepted", "False", "NotFound", "no such Deployment")],
    )
    assert list(plan_lines(rejected)) == [
        "No plan for Deployment chat/llm-chat: rejected",
        " NotFound: no such Deployment",
        "Nothing was changed.",
    ]
