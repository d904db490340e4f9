"""What a containment that nobody approved has to pass, each limit with its figures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.policy import Attempts, Guardrails, Storm
from stanch.incidents.census import Containment
from stanch.incidents.guardrails import Asked, OwnLimits, Serving, Tripped, tripped
from stanch.queue import Key
from tests.unit.incidents.walk import NOW

MINE = "uid-chat"
LLM = "Deployment/llm"


def asked(severity: Severity = Severity.HIGH, action: str = "ScaleToZero") -> Asked:
    return Asked(Key("chat", "new"), MINE, severity, frozenset({LLM}), frozenset({"CollectEvidence", action}))


def standing(name: str, *, minutes: float = 1, policy: str = MINE, **more: Any) -> Containment:
    begun = NOW - timedelta(minutes=minutes)
    targets = more.pop("targets", frozenset({f"Deployment/{name}"}))
    return Containment(Key("chat", name), begun, policy, targets, **more)


def found(
    rails: dict[str, Any],
    *others: Containment,
    limits: OwnLimits | None = None,
    serving: dict[str, int] | None = None,
    what: Asked | None = None,
) -> tuple[Tripped, ...]:
    return tripped(
        what or asked(),
        Guardrails.model_validate(rails),
        limits or OwnLimits(),
        others,
        Serving(serving or {}),
        NOW,
    )


def reasons(*args: Any, **kwargs: Any) -> list[str]:
    return [one.reason for one in found(*args, **kwargs)]


def test_without_limits_nothing_is_in_the_way() -> None:
    many = [standing(f"other-{n}") for n in range(50)]
    assert found({}, *many, serving={"chat/Deployment/llm": 3}) == ()


@pytest.mark.parametrize(
    ("rule", "severity", "asks"),
    [
        ({"required": "Never"}, Severity.CRITICAL, False),
        ({"required": "Always"}, Severity.INFORMATIONAL, True),
        ({"required": "AtOrAbove", "severity": "High"}, Severity.CRITICAL, True),
        ({"required": "AtOrAbove", "severity": "High"}, Severity.HIGH, True),
        ({"required": "AtOrAbove", "severity": "High"}, Severity.MEDIUM, False),
    ],
)
def test_a_policy_says_which_plans_need_a_person(
    rule: dict[str, Any],
    severity: Severity,
    asks: bool,  # noqa: FBT001 - a table
) -> None:
    assert reasons({"approval": rule}, what=asked(severity)) == (["ApprovalRequired"] if asks else [])


def test_so_many_containments_may_stand_at_one_time() -> None:
    two = standing("a"), standing("b")
    assert found({"maxConcurrent": 3}, *two) == ()
    (limit,) = found({"maxConcurrent": 2}, *two)
    assert limit.message == "2 containments of this policy stand, and at most 2 may by themselves"
    ended = standing("a", active=False), standing("b")
    assert found({"maxConcurrent": 2}, *ended) == ()
    elsewhere = standing("a", policy="uid-other"), standing("b")
    assert found({"maxConcurrent": 2}, *elsewhere) == ()


def test_of_the_operators_limit_and_the_policys_the_stricter_holds() -> None:
    two = standing("a", policy="uid-other"), standing("b")
    assert reasons({"maxConcurrent": 5}, *two, limits=OwnLimits(max_concurrent=2)) == ["MaxConcurrent"]
    assert reasons({"maxConcurrent": 1}, *two, limits=OwnLimits(max_concurrent=9)) == ["MaxConcurrent"]
    both = found({"maxConcurrent": 1}, *two, limits=OwnLimits(max_concurrent=2))
    assert [one.message.split(" stand")[0] for one in both] == [
        "1 containments of this policy",
        "2 containments of all policies",
    ]


def test_the_storm_breaker_counts_what_began_within_its_window_and_nobody_approved() -> None:
    rails = {"storm": {"containments": 2, "within": "10m"}}
    assert reasons(rails, standing("a", minutes=1), standing("b", minutes=9)) == ["StormBreaker"]
    assert reasons(rails, standing("a", minutes=1), standing("b", minutes=11)) == []
    assert reasons(rails, standing("a", minutes=1), standing("b", minutes=2, approved=True)) == []
    ended = standing("a", minutes=1, active=False), standing("b", minutes=2, active=False)
    assert reasons(rails, *ended) == ["StormBreaker"]
    own = OwnLimits(storm=Storm(containments=1, within="1m"))
    assert reasons({}, standing("a", minutes=0.5, policy="uid-other"), limits=own) == ["StormBreaker"]


def test_a_workload_is_contained_by_itself_only_so_often_without_recovery_being_proven() -> None:
    rails = {"attempts": {"most": 2, "within": "24h"}}
    again: dict[str, Any] = {"targets": frozenset({LLM}), "active": False}
    assert reasons(rails, standing("a", **again), standing("b", **again)) == ["AttemptsExhausted"]
    assert reasons(rails, standing("a", **again), standing("b", recovered=True, **again)) == []
    assert reasons(rails, standing("a", **again), standing("b", minutes=60 * 25, **again)) == []
    assert reasons(rails, standing("a", **again), standing("b", active=False)) == []


def test_the_operators_limit_on_attempts_counts_those_of_every_policy() -> None:
    own = OwnLimits(attempts=Attempts(most=2))
    again: dict[str, Any] = {"targets": frozenset({LLM}), "active": False}
    assert reasons({}, standing("a", **again), standing("b", policy="uid-other", **again), limits=own) == [
        "AttemptsExhausted"
    ]
    assert reasons({}, standing("a", **again), limits=own) == []


@pytest.mark.parametrize(
    ("rule", "own", "asks"),
    [
        ({"required": "Never"}, Severity.HIGH, True),
        ({"required": "Never"}, Severity.CRITICAL, False),
        ({"required": "AtOrAbove", "severity": "Critical"}, Severity.HIGH, True),
        ({"required": "AtOrAbove", "severity": "Low"}, Severity.CRITICAL, True),
    ],
)
def test_the_operator_may_want_more_approved_than_the_policy(
    rule: dict[str, Any],
    own: Severity,
    asks: bool,  # noqa: FBT001 - a table
) -> None:
    found_ = reasons({"approval": rule}, limits=OwnLimits(approval_from=own))
    assert found_ == (["ApprovalRequired"] if asks else [])


FLEET = {"chat/Deployment/llm": 3, "chat/Deployment/b": 3, "chat/Deployment/c": 4}


def test_a_share_of_what_serves_has_to_stay() -> None:
    assert found({"capacityFloor": "70%"}, serving=FLEET) == ()
    (floor,) = found({"capacityFloor": "71%"}, serving=FLEET)
    assert floor.reason == "CapacityFloor"
    assert floor.message == "7 of 10 replicas of the policy's workloads would still serve, and 71% have to"


@pytest.mark.parametrize(("theirs", "own"), [("71%", "10%"), ("10%", "71%"), (None, "71%"), ("71%", None)])
def test_of_two_floors_the_higher_one_holds(theirs: str | None, own: str | None) -> None:
    rails = {"capacityFloor": theirs} if theirs else {}
    (floor,) = found(rails, serving=FLEET, limits=OwnLimits(capacity_floor=own))
    assert floor.message.endswith("and 71% have to")


def test_what_is_contained_already_counts_as_having_served() -> None:
    """Else each containment would make the next one look smaller."""
    taken = FLEET | {"chat/Deployment/b": 0}
    before = standing("b", took={"Deployment/b": 3})
    assert found({"capacityFloor": "40%"}, before, serving=taken) == ()
    assert reasons({"capacityFloor": "41%"}, before, serving=taken) == ["CapacityFloor"]
    isolated = standing("b")
    assert reasons({"capacityFloor": "41%"}, isolated, serving=FLEET) == ["CapacityFloor"]


def test_another_version_serves_as_well() -> None:
    assert found({"capacityFloor": "100%"}, serving=FLEET, what=asked(action="Rollback")) == ()
    assert reasons({"capacityFloor": "100%"}, serving=FLEET, what=asked(action="Isolate")) == [
        "CapacityFloor"
    ]


def test_where_nothing_serves_nothing_can_be_taken() -> None:
    assert found({"capacityFloor": "100%"}, serving={"chat/Deployment/llm": 0}) == ()


def test_an_incident_never_counts_itself() -> None:
    itself = Containment(Key("chat", "new"), NOW, MINE, frozenset({LLM}))
    rails = {
        "maxConcurrent": 1,
        "storm": {"containments": 1},
        "attempts": {"most": 1},
        "capacityFloor": "70%",
    }
    assert found(rails, itself, serving=FLEET) == ()


containments = st.builds(
    standing,
    st.sampled_from(["a", "b", "c", "llm"]),
    minutes=st.floats(0, 3000),
    policy=st.sampled_from([MINE, "uid-other"]),
    active=st.booleans(),
    approved=st.booleans(),
    recovered=st.booleans(),
)


@given(st.lists(containments, max_size=6), st.integers(1, 4), st.integers(1, 4))
def test_a_stricter_limit_never_lets_more_through(others: list[Containment], most: int, less: int) -> None:
    strict, loose = min(most, less), max(most, less)

    def rails(figure: int) -> dict[str, Any]:
        return {
            "maxConcurrent": figure,
            "storm": {"containments": figure},
            "attempts": {"most": figure},
        }

    assert set(reasons(rails(loose), *others)) <= set(reasons(rails(strict), *others))


@given(st.lists(containments, max_size=6), containments)
def test_one_more_containment_never_opens_the_gate(others: list[Containment], one: Containment) -> None:
    rails = {"maxConcurrent": 2, "storm": {"containments": 2}, "attempts": {"most": 2}}
    assert set(reasons(rails, *others)) <= set(reasons(rails, *others, one))
