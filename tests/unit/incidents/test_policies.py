"""What an incident does by a policy: it follows the one that was found, and from then on its own record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stanch.api.v1alpha1.incident import DesiredState, Mode, PolicyRef
from stanch.api.v1alpha1.status import Phase
from stanch.api.v1alpha1.steps import ScaleToZero, Step, Terminate
from stanch.incidents.facts import Facts, carried, items_of, settled
from stanch.policies.match import Choice
from stanch.status import conditions
from tests.unit.incidents.walk import facts_of, incident, walk, with_spec
from tests.unit.policies.made import own

HURRY = {"scaleToZero": {"terminate": "Immediate"}}
CHOSEN = Choice.of(own(steps=[HURRY], metadata={"generation": 3}))
OTHER = Choice.of(own("other", steps=[{"suspend": {}}]))


def following(choice: Choice = CHOSEN, **spec: Any) -> Facts:
    return replace(facts_of(incident(**spec)), choice=choice)


def test_the_plan_and_its_source_are_recorded_with_the_first_write() -> None:
    done = walk(following())
    plan = done.facts.incident.status.plan
    assert done.facts.incident.status.phase is Phase.CONTAINED
    assert plan is not None
    assert plan.source == "ContainmentPolicy/chat generation 3"
    assert plan.policy == CHOSEN.policy
    (item,) = items_of(done.facts.incident)
    assert item.step == Step(scale_to_zero=ScaleToZero(terminate=Terminate.IMMEDIATE))


def test_whatever_is_found_later_is_not_asked() -> None:
    contained = walk(following()).facts
    again = walk(replace(contained, choice=OTHER))
    assert again.acts == ()
    assert again.facts.incident.status.plan == contained.incident.status.plan
    gone = walk(replace(contained, choice=Choice.none("PolicyNotFound", "gone")))
    assert gone.facts.incident.status.phase is Phase.CONTAINED


def test_two_generations_are_two_plans_though_they_look_alike() -> None:
    plain = walk(following(Choice.of(own()))).facts.incident.status.plan
    hurried = walk(following()).facts.incident.status.plan
    assert plain is not None
    assert hurried is not None
    assert [step.diff for step in plain.steps] == [step.diff for step in hurried.steps]
    assert plain.hash != hurried.hash


def test_what_a_policy_contained_is_given_back_without_it() -> None:
    contained = walk(following()).facts
    released = walk(with_spec(replace(contained, choice=Choice()), desired_state=DesiredState.RELEASED))
    assert released.facts.incident.status.phase is Phase.RELEASED


@pytest.mark.parametrize(
    ("policy", "said"), [("DryRun", "Enforce"), ("Enforce", "DryRun"), ("DryRun", "DryRun")]
)
def test_the_stricter_of_policy_and_incident_wins(policy: str, said: str) -> None:
    done = walk(following(Choice.of(own(mode=policy)), mode=said))
    status = done.facts.incident.status
    assert set(done.kinds) <= {"TryOut"}
    assert status.phase is Phase.DETECTED
    assert status.summary is not None
    assert ("as ContainmentPolicy/chat says mode: DryRun" in status.summary) == (policy == "DryRun")


def test_a_dry_run_is_no_containment_that_waits_for_the_policy_to_be_enforced() -> None:
    shown = walk(following(Choice.of(own(mode="DryRun")))).facts
    later = walk(replace(shown, choice=Choice.of(own(mode="Enforce", metadata={"generation": 2}))))
    assert set(later.kinds) <= {"TryOut"}
    assert later.facts.incident.status.phase is Phase.DETECTED


def test_a_dry_run_that_is_enforced_asks_the_policies_of_today() -> None:
    shown = walk(following(mode="DryRun")).facts
    assert settled(shown.incident)
    newer = Choice.of(own(metadata={"generation": 4}))
    enforced = walk(with_spec(replace(shown, choice=newer), mode=Mode.ENFORCE)).facts.incident.status
    assert enforced.phase is Phase.CONTAINED
    assert enforced.plan is not None
    assert enforced.plan.source == "ContainmentPolicy/chat generation 4"
    withdrawn = Choice.none("PolicySuspended", "suspended")
    refused = walk(with_spec(replace(shown, choice=withdrawn), mode=Mode.ENFORCE))
    assert refused.facts.incident.status.phase is Phase.REJECTED
    assert refused.kinds == []


def test_no_policy_that_can_be_said_to_be_meant_is_a_rejection() -> None:
    done = walk(following(Choice.none("PolicyAmbiguous", "a and b")))
    status = done.facts.incident.status
    accepted = conditions.find(status.conditions, conditions.ACCEPTED)
    assert (status.phase, done.kinds) == (Phase.REJECTED, [])
    assert accepted is not None
    assert (accepted.reason, accepted.message) == ("PolicyAmbiguous", "a and b")


def test_a_policy_that_is_named_is_never_replaced_by_the_built_in_plan() -> None:
    assert walk(following(Choice(), policyRef={"name": "chat"})).facts.incident.status.phase is Phase.REJECTED


def test_own_steps_beside_a_policy_are_the_plan_and_its_mode_holds() -> None:
    enforced = walk(following(policyRef={"name": "chat"}, steps=[{"scaleToZero": {}}])).facts.incident
    assert enforced.status.phase is Phase.CONTAINED
    assert enforced.status.plan is not None
    assert enforced.status.plan.source == "spec.steps"
    assert items_of(enforced)[0].step == Step(scale_to_zero=ScaleToZero())
    dry = Choice.of(own(mode="DryRun"))
    shown = walk(following(dry, policyRef={"name": "chat"}, steps=[{"scaleToZero": {}}]))
    assert shown.facts.incident.status.phase is Phase.DETECTED


REF = PolicyRef(name="chat")


@pytest.mark.parametrize(
    ("change", "still"),
    [
        ({}, True),
        ({"title": "another"}, True),
        ({"policy_ref": REF}, True),
        ({"policy_ref": PolicyRef(name="other")}, False),
        ({"steps": (Step(scale_to_zero=ScaleToZero()),)}, False),
        ({"targets": incident(targets=[{"kind": "Deployment", "name": "rag"}]).spec.targets}, False),
    ],
)
def test_a_dry_run_finds_another_plan_only_when_its_spec_asks_for_another(
    change: dict[str, Any],
    still: bool,  # noqa: FBT001
) -> None:
    shown = with_spec(walk(following(mode="DryRun")).facts, **change).incident
    assert settled(shown) is still
    assert (carried(shown) is not None) is still


def test_a_rejected_incident_is_looked_at_anew() -> None:
    missing = walk(replace(facts_of(incident(), None), choice=CHOSEN)).facts.incident
    assert missing.status.phase is Phase.REJECTED
    assert not settled(missing)
