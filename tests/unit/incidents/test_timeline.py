"""The timeline: complete, counted without a gap, and each entry says why and by whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import Approval, DesiredState
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import (
    AIIncidentStatus,
    AskedBy,
    CheckOutcome,
    CheckStatus,
    DeliveryStatus,
    ReleaseStatus,
    StepState,
    TimelineEntry,
    VerificationStatus,
)
from stanch.holds.canary import HoldProof, Proof
from stanch.incidents.facts import Contest, Facts
from stanch.incidents.signalled import Note
from stanch.incidents.story import Told, tell
from stanch.incidents.timeline import RELEASED_BY, Heard, extended, numbered
from stanch.policies.match import Choice
from stanch.status.phase import Course
from tests.unit.incidents.walk import NOW, facts_of, incident, walk, with_meta, with_spec
from tests.unit.policies.made import own

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident

LATER = NOW + timedelta(minutes=1)


def contained(**spec: Any) -> Facts:
    return walk(facts_of(incident(**spec))).facts


def entries(facts: Facts, since: int = 0) -> list[tuple[str, str, str]]:
    return [(one.type, one.reason, one.actor) for one in facts.incident.status.timeline[since:]]


def after(what: AIIncident, **changes: Any) -> list[TimelineEntry]:
    """What a status that differs in this adds to the timeline."""
    new = what.status.model_copy(update=changes)
    return list(extended(what, new, Heard(), LATER)[len(what.status.timeline) :])


def test_a_containment_is_told_from_the_plan_to_the_effect() -> None:
    facts = contained()

    assert entries(facts) == [
        ("Planned", "PlanMade", "stanch"),
        ("StepRecorded", "UndoProven", "stanch"),
        ("Containing", "InProgress", "stanch"),
        ("StepApplied", "Written", "stanch"),
        ("StepEffective", "NoPodsLeft", "stanch"),
        ("Held", "DeniedAtAdmission", "stanch"),
        ("Contained", "AllStepsEffective", "stanch"),
    ]
    assert [one.seq for one in facts.incident.status.timeline] == list(range(1, 8))
    assert facts.incident.status.timeline[-1].message == facts.incident.status.summary


def test_a_rejection_says_why() -> None:
    rejected = walk(facts_of(incident(), None)).facts

    assert entries(rejected)[-1] == ("Rejected", "TargetNotFound", "stanch")


def test_an_approval_names_who_gave_it_and_what_had_to_be_approved() -> None:
    policy = own(guardrails={"approval": {"required": "Always"}})
    facts = walk(replace(facts_of(incident()), choice=Choice.of(policy))).facts
    plan = facts.incident.status.plan
    assert plan is not None
    assert entries(facts)[-1] == ("AwaitingApproval", "AwaitingApproval", "stanch")

    facts = with_spec(facts, approval=Approval(plan_hash="0" * 16, by="eve"))
    fields = [{"time": NOW.isoformat(), "fieldsV1": {"f:spec": {"f:approval": {"f:by": {}}}}}]
    written = incident(metadata={"managedFields": fields}).metadata.managed_fields
    facts = walk(with_meta(facts, managed_fields=written)).facts
    assert entries(facts)[-1] == ("ApprovalVoid", "PlanChanged", "eve")

    since = len(facts.incident.status.timeline)
    facts = walk(with_spec(facts, approval=Approval(plan_hash=plan.hash, by="bob"))).facts
    assert entries(facts, since)[0] == ("Approved", "Approved", "bob")


def test_a_guardrail_that_was_tripped_is_told() -> None:
    what = incident()
    tripped = (
        tell(facts_of(what), Told((), None, Course()), NOW)
        .conditions[0]
        .model_copy(
            update={
                "type": "GuardrailsPassed",
                "status": "False",
                "reason": "TooManyAtOnce",
                "message": "2 of 1",
            }
        )
    )
    assert [(one.type, one.reason, one.message) for one in after(what, conditions=(tripped,))] == [
        ("GuardrailTripped", "TooManyAtOnce", "2 of 1")
    ]


def test_contests_name_who_tried_and_whether_admission_let_it_pass() -> None:
    facts = contained()
    denied, slipped = Contest(LATER, "ana", "was denied: update"), Contest(LATER, "x" * 300, "changed it")
    since = len(facts.incident.status.timeline)

    status = tell(
        replace(facts, contests=(denied,)),
        Told(
            facts.incident.status.steps,
            facts.incident.status.plan,
            Course(),
            hold_stands=True,
            contests=(denied, slipped),
        ),
        LATER,
    )

    assert [(one.type, one.reason, one.actor) for one in status.timeline[since:]] == [
        ("Contested", "Denied", "ana"),
        ("Contested", "SlippedThrough", "x" * 253),
    ]


def test_alerts_are_told_with_the_rest_and_first() -> None:
    facts = replace(facts_of(incident()), signals=(Note(NOW, "ToxicOutput", "f1", firing=True),))

    status = walk(facts).facts.incident.status

    assert (status.timeline[0].seq, status.timeline[0].type, status.timeline[0].reason) == (
        1,
        "Signalled",
        "Firing",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": StepState.INEFFECTIVE, "reason": "Others"}, ("StepIneffective", "Others")),
        ({"attempts": 2}, ("StepEffective", "NoPodsLeft")),
        ({"eased": ReleaseStage.PROBATION}, ("StepEased", "Probation")),
        ({"state": StepState.UNDONE, "reason": "GivenBack"}, ("StepUndone", "GivenBack")),
    ],
)
def test_every_change_of_a_step_is_told(changes: dict[str, Any], told: tuple[str, str]) -> None:
    what = contained().incident
    (step,) = what.status.steps

    found = after(what, steps=(step.model_copy(update=changes),))

    assert [(one.type, one.reason) for one in found] == [told]
    assert found[0].message.startswith("ScaleToZero of llm: ")
    assert after(what) == []


def test_every_stage_of_a_release_is_told_and_the_first_names_who_asked() -> None:
    what = with_meta(contained(), annotations={RELEASED_BY: "carol"}).incident
    release = ReleaseStatus(
        stage=ReleaseStage.PROBATION, asked_by=AskedBy.PERSON, generation=2, attempt=1, since=LATER
    )
    found = []
    for attempt, stage in [(1, "Probation"), (1, "Full"), (1, "Failed"), (2, "Probation"), (2, "Passed")]:
        new = release.model_copy(update={"stage": ReleaseStage(stage), "attempt": attempt})
        found += [(one.type, one.reason, one.actor) for one in after(what, release=new)]
        what = what.model_copy(update={"status": what.status.model_copy(update={"release": new})})
        assert after(what) == []

    assert found == [
        ("ReleaseProbation", "AskedByPerson", "carol"),
        ("ReleaseFull", "AskedByPerson", "stanch"),
        ("ReleaseFailed", "AskedByPerson", "stanch"),
        ("ReleaseProbation", "AskedByPerson", "carol"),
        ("ReleasePassed", "AskedByPerson", "stanch"),
    ]
    by_policy = release.model_copy(update={"asked_by": AskedBy.POLICY})
    assert after(what, release=by_policy)[0].actor == "stanch"


@pytest.mark.parametrize("outcome", [one for one in CheckOutcome if one is not CheckOutcome.PENDING])
def test_every_outcome_of_verification_is_told(outcome: CheckOutcome) -> None:
    what = contained().incident
    checks = (CheckStatus(name="toxicity", outcome=outcome),)

    (found,) = after(what, verification=VerificationStatus(outcome=outcome, checks=checks))

    assert (found.type, found.reason) == (f"Verification{outcome}", str(outcome))
    assert found.message == f"toxicity {outcome}"
    assert after(what, verification=VerificationStatus()) == []


@pytest.mark.parametrize(("annotations", "actor"), [({RELEASED_BY: "carol"}, "carol"), ({}, "not recorded")])
def test_giving_back_names_who_asked(annotations: dict[str, str], actor: str) -> None:
    facts = with_meta(contained(), annotations=annotations)
    since = len(facts.incident.status.timeline)

    done = walk(with_spec(facts, desired_state=DesiredState.RELEASED), LATER).facts

    told = entries(done, since)
    assert ("Releasing", "GivingBack", actor) in told
    assert told[-1] == ("Released", "GivenBack", "stanch")
    assert ("StepUndone", "GivenBack", "stanch") in told


def test_a_hold_that_nothing_enforces_and_a_refusal_are_told_once() -> None:
    facts = replace(contained(), proof=HoldProof(Proof.MISSING, "it went through"), problem="no right")
    since = len(facts.incident.status.timeline)

    facts = walk(facts, LATER).facts
    again = walk(facts, LATER + timedelta(minutes=1)).facts

    told = [("NotHeld", "AdmissionPolicyMissing", "stanch"), ("Refused", "TriedAgain", "stanch")]
    assert entries(facts, since) == told
    assert entries(again, since) == told


def entry(seq: int = 0) -> TimelineEntry:
    return TimelineEntry(seq=seq, at=NOW, type="Contested")


@given(st.lists(st.integers(0, 150), min_size=1, max_size=12))
def test_numbers_go_on_without_a_gap_whatever_falls_out(bursts: list[int]) -> None:
    status, last = AIIncidentStatus(), 0
    for burst in bursts:
        status = status.model_copy(update={"timeline": numbered(status, [entry()] * burst)})
        last += burst
        seqs = [one.seq for one in status.timeline]
        assert seqs == list(range(max(last - 99, 1), last + 1))


def test_entries_of_before_there_were_numbers_get_theirs_and_none_is_given_twice() -> None:
    old = AIIncidentStatus(timeline=(entry(), entry()))
    assert [one.seq for one in numbered(old, [entry()])] == [1, 2, 3]

    told = AIIncidentStatus(deliveries=(DeliveryStatus(sink="cloudevents", through=9),))
    assert [one.seq for one in numbered(told, [entry()])] == [10]
