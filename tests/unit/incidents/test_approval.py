"""A plan waits for a person: whose word counts for which plan, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import Approval, DesiredState, Mode
from stanch.api.v1alpha1.policy import ApprovalRule
from stanch.api.v1alpha1.status import Phase
from stanch.incidents.approval import REQUESTED_BY, judge
from stanch.incidents.census import Containment
from stanch.incidents.events import notes
from stanch.policies.match import Choice
from stanch.queue import Key
from stanch.status import conditions
from tests.unit.incidents.walk import NOW, Walk, facts_of, incident, walk, with_meta, with_spec
from tests.unit.policies.made import own

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.incidents.facts import Facts

PLAN = "5be1000000000000"
RULE = {"required": "Always", "expires": "30m"}


def waiting(**rails: Any) -> Facts:
    policy = own(guardrails=rails or {"approval": RULE})
    return replace(facts_of(incident()), choice=Choice.of(policy))


def owned(at: datetime, *fields: str) -> dict[str, Any]:
    return {
        "manager": "kubectl-patch",
        "time": at.isoformat(),
        "fieldsV1": {"f:spec": {"f:approval": {f"f:{name}": {} for name in fields}}},
    }


def approved(by: str, plan: str, at: datetime = NOW, *, requester: str = "", **more: Any) -> AIIncident:
    stamp = {REQUESTED_BY: requester} if requester else {}
    return incident(
        metadata={"annotations": stamp, "managedFields": [owned(at, "planHash", "by")]},
        approval={"planHash": plan, "by": by},
        **more,
    )


def word(facts: Facts, by: str = "bob", plan: str = "", at: datetime = NOW) -> Facts:
    """The same incident once somebody has approved the plan it shows, or another."""
    shown = facts.incident.status.plan
    given_to = plan or (shown.hash if shown else "")
    facts = with_spec(facts, approval=Approval(plan_hash=given_to, by=by))
    field = approved(by, given_to, at).metadata.managed_fields
    return with_meta(facts, managed_fields=field)


def told(done: Walk, type_: str) -> tuple[str, str, str]:
    condition = conditions.find(done.facts.incident.status.conditions, type_)
    assert condition is not None
    return condition.status, condition.reason, condition.message


def test_a_plan_that_needs_approval_is_shown_and_nothing_is_written() -> None:
    done = walk(waiting())
    status = done.facts.incident.status
    assert set(done.kinds) <= {"TryOut"}
    assert status.phase is Phase.AWAITING_APPROVAL
    assert status.plan is not None
    assert [step.diff for step in status.plan.steps] == [("replicas 3 → 0",)]
    assert told(done, conditions.APPROVED)[:2] == ("False", "AwaitingApproval")
    assert f"stanch approve -n chat toxic --plan {status.plan.hash}" in told(done, conditions.APPROVED)[2]
    assert status.timestamps is not None
    assert status.timestamps.begun is None
    assert done.decisions[-1].look_again == 300
    assert "awaits approval" in (status.summary or "")


def test_a_dry_run_tells_that_a_person_would_be_asked_and_nothing_that_could_be_approved() -> None:
    done = walk(with_spec(waiting(), mode=Mode.DRY_RUN))
    assert done.facts.incident.status.phase is Phase.DETECTED
    assert told(done, "Approved") == ("False", "ApprovalRequired", "the policy wants every plan approved")
    assert {entry.type for entry in done.facts.incident.status.timeline} == {
        "Detected",
        "Planned",
        "StepPlanned",
    }


def test_once_approved_it_is_contained_and_the_record_says_by_whom() -> None:
    shown = walk(waiting()).facts
    done = walk(word(shown, at=NOW + timedelta(minutes=5)), NOW + timedelta(minutes=6))
    status = done.facts.incident.status
    assert status.phase is Phase.CONTAINED
    assert status.approval is not None
    assert (status.approval.by, status.approval.at) == ("bob", NOW + timedelta(minutes=5))
    assert status.timestamps is not None
    assert status.approval.used_at == status.timestamps.begun
    assert status.timestamps.approved == NOW + timedelta(minutes=5)
    assert told(done, conditions.APPROVED)[:2] == ("True", "Approved")
    reasons = [note.reason for note in notes(shown.incident.status, status)]
    assert "Approved" in reasons


def test_what_was_begun_needs_no_approval_any_more() -> None:
    contained = walk(word(walk(waiting()).facts)).facts
    taken_back = walk(with_spec(contained, approval=None), NOW + timedelta(hours=2))
    assert taken_back.acts == ()
    assert taken_back.facts.incident.status.phase is Phase.CONTAINED
    assert taken_back.facts.incident.status.approval == contained.incident.status.approval


def test_an_approval_taken_back_in_time_stops_it() -> None:
    shown = walk(waiting()).facts
    late = word(shown, at=NOW - timedelta(minutes=31))
    again = walk(with_spec(walk(late).facts, approval=None))
    assert set(again.kinds) <= {"TryOut"}
    assert again.facts.incident.status.approval is None
    assert told(again, conditions.APPROVED)[1] == "AwaitingApproval"


def test_another_plan_voids_the_approval() -> None:
    shown = walk(waiting()).facts
    first = shown.incident.status.plan
    hurried = own(
        steps=[{"scaleToZero": {"terminate": "Immediate"}}],
        guardrails={"approval": RULE},
        metadata={"generation": 2},
    )
    changed = walk(replace(word(shown), choice=Choice.of(hurried)))
    status = changed.facts.incident.status
    assert status.phase is Phase.AWAITING_APPROVAL
    assert status.plan is not None
    assert first is not None
    assert status.plan.hash != first.hash
    assert told(changed, conditions.APPROVED)[1] == "PlanChanged"
    assert status.plan.hash in told(changed, conditions.APPROVED)[2]


def test_what_tripped_once_waits_for_a_person_though_the_limit_frees_up() -> None:
    other = Containment(Key("chat", "other"), NOW, "uid-chat", frozenset({"Deployment/b"}))
    facts = replace(waiting(maxConcurrent=1), containments=(other,))
    tripped = walk(facts)
    limit = "False", "MaxConcurrent", "1 containments of this policy stand, and at most 1 may by themselves"
    assert told(tripped, conditions.GUARDRAILS_PASSED) == limit
    freed = walk(replace(tripped.facts, containments=()))
    assert freed.facts.incident.status.phase is Phase.AWAITING_APPROVAL
    assert told(freed, conditions.GUARDRAILS_PASSED) == limit
    gone_on = walk(word(freed.facts))
    assert gone_on.facts.incident.status.phase is Phase.CONTAINED
    assert told(gone_on, conditions.GUARDRAILS_PASSED) == limit


def test_a_plan_of_ones_own_passes_every_limit() -> None:
    """It needed the verb `contain`: a person has spoken."""
    other = Containment(Key("chat", "other"), NOW, "uid-chat", frozenset({"Deployment/b"}))
    facts = replace(facts_of(incident(steps=[{"scaleToZero": {}}])), containments=(other,) * 100)
    assert walk(facts).facts.incident.status.phase is Phase.CONTAINED


def test_one_that_awaits_approval_can_be_released_or_deleted() -> None:
    shown = walk(waiting()).facts
    released = walk(with_spec(shown, desired_state=DesiredState.RELEASED))
    assert released.facts.incident.status.phase is Phase.RELEASED
    assert released.acts == ()


@pytest.mark.parametrize(
    ("what", "rule", "reason"),
    [
        (incident(), {}, "AwaitingApproval"),
        (approved("bob", PLAN), {}, "Approved"),
        (approved("bob", "0" * 16), {}, "PlanChanged"),
        (approved("bob", PLAN, NOW - timedelta(minutes=30)), {}, "ApprovalExpired"),
        (approved("bob", PLAN, NOW - timedelta(minutes=29)), {}, "Approved"),
        (approved("bob", PLAN, NOW - timedelta(minutes=6)), {"expires": "5m"}, "ApprovalExpired"),
        (incident(approval={"planHash": PLAN, "by": "bob"}), {}, "ApprovalUndated"),
        (approved("bob", PLAN), {"fourEyes": True}, "RequesterUnknown"),
        (approved("bob", PLAN, requester="bob"), {"fourEyes": True}, "FourEyes"),
        (approved("bob", PLAN, requester="alice"), {"fourEyes": True}, "Approved"),
        (approved("bob", PLAN, requester="bob"), {}, "Approved"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whose_word_counts(what: AIIncident, rule: dict[str, Any], reason: str) -> None:
    found = judge(what, PLAN, ApprovalRule.model_validate(rule), NOW)
    assert (found.reason, found.counts) == (reason, reason == "Approved")


def test_the_time_that_was_recorded_first_stands() -> None:
    """A later edit by the same client makes its entry in managedFields younger."""
    first = NOW - timedelta(minutes=29)
    record = {"planHash": PLAN, "by": "bob", "at": first.isoformat(), "expiresAt": NOW.isoformat()}
    what = approved("bob", PLAN, NOW, status={"phase": "AwaitingApproval", "approval": record})
    assert judge(what, PLAN, None, NOW).counts
    assert judge(what, PLAN, None, NOW + timedelta(minutes=2)).reason == "ApprovalExpired"


def test_whoever_says_the_same_after_another_says_it_anew() -> None:
    """Only `by` changes hands then: the older entry keeps the hash."""
    old = NOW - timedelta(hours=3)
    what = incident(
        metadata={"managedFields": [owned(old, "planHash"), owned(NOW, "by")]},
        approval={"planHash": PLAN, "by": "carol"},
    )
    assert judge(what, PLAN, None, NOW).counts


hashes = st.text("0123456789abcdef", min_size=8, max_size=16)


@given(
    given=hashes,
    plan=hashes,
    minutes=st.integers(0, 90),
    allowed=st.integers(1, 90),
    four_eyes=st.booleans(),
    requester=st.sampled_from(["", "alice", "bob"]),
)
def test_nothing_but_this_plan_in_time_by_another_counts(  # noqa: PLR0913, PLR0917 - what the word depends on
    given: str,
    plan: str,
    minutes: int,
    allowed: int,
    four_eyes: bool,  # noqa: FBT001 - drawn
    requester: str,
) -> None:
    what = approved("bob", given, NOW - timedelta(minutes=minutes), requester=requester)
    rule = ApprovalRule.model_validate({"fourEyes": four_eyes, "expires": f"{allowed}m"})
    counts = judge(what, plan, rule, NOW).counts
    assert counts == (given == plan and minutes < allowed and (not four_eyes or requester not in ("", "bob")))
