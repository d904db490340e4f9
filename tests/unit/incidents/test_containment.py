"""What containing an incident needs next: facts in, acts out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.actions.protocol import Observation
from stanch.api.v1alpha1.incident import Mode
from stanch.api.v1alpha1.status import Phase, StepState
from stanch.api.v1alpha1.steps import (
    Isolate,
    OnFailure,
    Quarantine,
    Rollback,
    ScaleToZero,
    Step,
    Suspend,
)
from stanch.api.v1alpha1.versions import RollbackTo
from stanch.incidents.acts import EndPods, EnsureHold, Patch
from stanch.status import conditions
from tests.unit.actions.cluster_objects import obj, owned_by, pod
from tests.unit.incidents.walk import (
    NOW,
    STEP,
    decide,
    facts_of,
    incident,
    walk,
    with_meta,
    with_object,
    with_spec,
)

if TYPE_CHECKING:
    from stanch.incidents.facts import Facts

ORDER = ["TryOut", "AddFinalizer", "EnsureHold", "Patch"]
STOP = Step(scale_to_zero=ScaleToZero())
QUARANTINE = Step(quarantine=Quarantine(pods=("llm-x",)))
TWO = [{"kind": "Deployment", "name": "llm"}, {"kind": "Deployment", "name": "rag"}]


def scaled(replicas: int) -> Any:
    marked = {"stanch.dev/held": "true"}
    return obj(
        "Deployment",
        spec={"replicas": replicas},
        labels=marked,
        status={"observedGeneration": 1, "replicas": replicas},
    )


def status_of(facts: Facts) -> Any:
    return facts.incident.status


def test_try_record_hold_change_judge_in_this_order() -> None:
    done = walk(facts_of(incident()))

    assert done.kinds == ORDER
    status = status_of(done.facts)
    assert status.phase is Phase.CONTAINED
    assert conditions.is_true(status.conditions, conditions.HELD)
    assert [(one.path, one.before, one.after) for one in status.steps[0].changes[0].fields] == [
        ("/metadata/labels", None, {"stanch.dev/held": "true"}),
        ("/spec/replicas", 3, 0),
    ]


def test_the_first_decision_stores_nothing_because_nothing_is_proven() -> None:
    assert decide(facts_of(incident())).status is None


def test_an_incident_that_comes_to_rest_asks_for_nothing_more() -> None:
    done = walk(facts_of(incident()))

    again = walk(done.facts, NOW + timedelta(hours=1))

    assert again.acts == ()
    assert status_of(again.facts).steps == status_of(done.facts).steps


def test_after_a_crash_between_record_and_change_the_record_stands() -> None:
    facts = facts_of(incident())
    recorded = walk(facts).decisions[2].status
    assert recorded is not None
    found = replace(facts, incident=facts.incident.model_copy(update={"status": recorded}))

    done = walk(with_meta(found, finalizers=("stanch.dev/release",)))

    assert done.kinds == ["EnsureHold", "Patch"]
    assert status_of(done.facts).steps[0].changes == recorded.steps[0].changes


def test_a_count_changed_between_record_and_change_is_what_comes_back() -> None:
    facts = facts_of(incident())
    recorded = walk(facts).decisions[2].status
    found = replace(facts, incident=facts.incident.model_copy(update={"status": recorded}))
    rescaled = with_object(found, obj("Deployment", spec={"replicas": 5}))

    done = walk(with_meta(rescaled, finalizers=("stanch.dev/release",)))

    assert status_of(done.facts).steps[0].changes[0].fields[1].before == 5


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (with_meta(facts_of(incident()), namespace="kube-system"), "NamespaceProtected"),
        (facts_of(incident(policyRef={"name": "chat"})), "PolicyNotFound"),
        (with_spec(facts_of(incident()), steps=(Step(),)), "UnknownStep"),
        (with_spec(facts_of(incident()), steps=(STOP, STOP)), "DuplicateStep"),
        *(
            (with_spec(facts_of(incident()), steps=(ends, QUARANTINE)), "StepTooLate")
            for ends in (
                STOP,
                Step(rollback=Rollback(to=RollbackTo(last_known_good=True))),
                Step(suspend=Suspend()),
                Step(isolate=Isolate(terminate_connections=True)),
            )
        ),
        (facts_of(incident(), None), "TargetNotFound"),
        (
            facts_of(incident(), obj("Deployment", deletionTimestamp="2026-01-02T03:04:05Z")),
            "TargetTerminating",
        ),
        (
            facts_of(incident(), obj("Deployment", ownerReferences=owned_by(obj("ReplicaSet", "x")))),
            "TargetOwned",
        ),
        (facts_of(incident(targets=TWO), obj("Deployment"), None), "TargetNotFound"),
    ],
)
def test_what_cannot_be_contained_is_rejected_and_nothing_is_done(facts: Facts, reason: str) -> None:
    done = walk(facts)

    status = status_of(done.facts)
    assert set(done.kinds) <= {"TryOut"}
    assert status.phase is Phase.REJECTED
    accepted = conditions.find(status.conditions, conditions.ACCEPTED)
    assert accepted is not None
    assert (accepted.status, accepted.reason) == ("False", reason)
    assert status.summary.startswith("rejected, nothing was changed: ")
    assert decide(done.facts, NOW + timedelta(days=1)).acts == ()


def test_without_a_proven_undo_there_is_no_change() -> None:
    done = walk(facts_of(incident()), refuse="deployments is forbidden")

    assert done.kinds == ["TryOut"]
    assert status_of(done.facts).phase is Phase.REJECTED
    assert "deployments is forbidden" in status_of(done.facts).summary


def test_a_corrected_spec_is_looked_at_again() -> None:
    done = walk(facts_of(incident(policyRef={"name": "chat"})))

    corrected = with_meta(with_spec(done.facts, policy_ref=None), generation=2)

    assert status_of(walk(corrected).facts).phase is Phase.CONTAINED


def test_a_plan_that_goes_on_without_a_refused_target_contains_the_other() -> None:
    steps = (STOP.model_copy(update={"on_failure": OnFailure.CONTINUE, "optional": True}),)
    facts = facts_of(incident(targets=TWO), obj("Deployment"), None)

    done = walk(with_spec(facts, steps=steps))

    assert status_of(done.facts).phase is Phase.PARTIALLY_CONTAINED
    assert {one.state for one in status_of(done.facts).steps} == {StepState.EFFECTIVE, StepState.REFUSED}


@given(
    kind=st.sampled_from(["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]),
    mode=st.sampled_from([{"mode": Mode.DRY_RUN}, {"exercise": True}]),
    hpa=st.booleans(),
    refuse=st.sampled_from(["", "forbidden"]),
)
def test_a_dry_run_writes_nothing(kind: str, mode: dict[str, Any], refuse: str, *, hpa: bool) -> None:
    facts = facts_of(incident(targets=[{"kind": kind, "name": "llm"}]), obj(kind))
    if hpa:
        seen = {
            step: replace(one, related=(obj("HorizontalPodAutoscaler"),))
            for step, one in facts.observations.items()
        }
        facts = replace(facts, observations=seen)

    done = walk(with_spec(facts, **mode), refuse=refuse)

    assert set(done.kinds) == {"TryOut"}
    status = status_of(done.facts)
    assert status.phase is (Phase.REJECTED if refuse else Phase.DETECTED)
    assert not any(step.changes for step in status.steps)
    assert status.plan is not None
    assert status.plan.steps[0].diff


def test_a_drill_says_how_long_it_took_until_the_plan_was_proven() -> None:
    facts = replace(facts_of(incident(exercise=True)), seen_at=NOW - timedelta(milliseconds=212))
    status = status_of(walk(facts).facts)
    assert status.timestamps.rehearsed == NOW + timedelta(seconds=1)
    assert status.summary.startswith(
        "exercise: plan proven in 1.2s; dry run for Deployment llm: would change"
    )
    assert status.contained_in is None
    assert status.timestamps.contained is None
    later = status_of(walk(walk(facts).facts, NOW + timedelta(hours=1)).facts)
    assert later.timestamps.rehearsed == NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("spec", "optional", "refuse"),
    [
        ({"mode": "DryRun"}, False, "forbidden"),
        ({"exercise": True}, False, "forbidden"),
        ({"exercise": True}, True, "no"),
    ],
    ids=["a dry run is refused", "a drill is refused", "an optional step is refused"],
)
def test_what_was_refused_is_not_proven(spec: dict[str, Any], refuse: str, *, optional: bool) -> None:
    steps = [{"scaleToZero": {}, "optional": optional}]
    status = status_of(walk(facts_of(incident(steps=steps, **spec)), refuse=refuse).facts)
    assert status.timestamps.rehearsed is None
    assert "proven in" not in status.summary


def test_a_drill_that_enforces_does_contain() -> None:
    done = walk(with_spec(facts_of(incident()), exercise=True, exercise_enforce=True))

    assert done.kinds == ORDER


def test_what_slips_through_is_put_right_and_counted() -> None:
    done = walk(facts_of(incident()))

    again = walk(with_object(done.facts, scaled(2)), NOW + timedelta(minutes=1))

    assert again.kinds == ["Patch"]
    status = status_of(again.facts)
    assert (status.phase, status.contested.count) == (Phase.CONTAINED, 1)
    assert "changed Deployment llm /spec/replicas" in status.contested.last_what
    assert status.steps[0].changes == status_of(done.facts).steps[0].changes


def test_who_fights_again_and_again_meets_a_growing_pause() -> None:
    facts = walk(facts_of(incident())).facts
    waited = []
    for fight in range(8):
        now = NOW + timedelta(minutes=1, seconds=fight)
        fought = with_object(facts, scaled(2))
        decision = decide(fought, now)
        waited.append(not any(isinstance(act, Patch) for act in decision.acts))
        facts = walk(facts if waited[-1] else fought, now).facts

    assert waited[:3] == [False, False, False]
    assert any(waited)


def test_a_hold_that_was_taken_away_is_put_back() -> None:
    done = walk(facts_of(incident()))

    (act,) = decide(replace(done.facts, held={}, holding=False)).acts

    assert isinstance(act, EnsureHold)
    assert act.entries["Stopped apps/deployments/llm"].incident == "toxic"


def test_a_target_that_disappears_stays_held() -> None:
    """Or deleting and creating it anew would be a way around."""
    done = walk(facts_of(incident()))
    gone = replace(done.facts, observations={STEP: Observation(None)})

    again = walk(gone)

    assert again.acts == ()
    assert "Stopped apps/deployments/llm" in again.facts.held
    assert status_of(again.facts).steps[0].reason == "TargetGone"


def test_pods_are_waited_for_then_given_up_on() -> None:
    done = walk(facts_of(incident()))
    facts = done.facts
    seen = {STEP: replace(facts.observations[STEP], pods=(pod("llm-1"),))}
    facts = replace(facts, observations=seen, incident=done.facts.incident)

    soon = decide(facts, NOW + timedelta(seconds=30))
    facts = replace(facts, incident=facts.incident.model_copy(update={"status": soon.status}))
    late = decide(facts, NOW + timedelta(minutes=12))

    assert soon.status is not None
    assert soon.status.phase is Phase.CONTAINING
    assert soon.look_again is not None
    assert late.status is not None
    assert late.status.phase is Phase.CONTAINMENT_FAILED
    assert "after 600 s: 1 pod left: llm-1" in late.status.steps[0].message


def test_the_step_has_the_time_its_spec_gives_it() -> None:
    facts = walk(with_spec(facts_of(incident()), steps=(STOP.model_copy(update={"timeout": "20s"}),))).facts
    facts = replace(facts, observations={STEP: replace(facts.observations[STEP], pods=(pod("llm-1"),))})

    soon = decide(facts, NOW + timedelta(seconds=10))
    facts = replace(facts, incident=facts.incident.model_copy(update={"status": soon.status}))
    late = decide(facts, NOW + timedelta(seconds=40))

    assert late.status is not None
    assert late.status.steps[0].state is StepState.INEFFECTIVE


def test_immediate_ends_the_pods_before_the_change_and_once_it_is_in_place() -> None:
    steps = [{"scaleToZero": {"terminate": "Immediate"}}]
    facts = facts_of(incident(steps=steps))
    facts = replace(facts, observations={STEP: replace(facts.observations[STEP], pods=(pod("llm-1"),))})
    first = decide(facts)
    assert not any(isinstance(act, EndPods) for act in first.acts), "nothing is recorded yet"
    kinds = walk(facts).kinds
    assert kinds.index("EnsureHold") < kinds.index("EndPods") < kinds.index("Patch")
    calm = walk(facts_of(incident(steps=steps))).facts
    seen = {STEP: replace(calm.observations[STEP], pods=(pod("llm-1"),))}

    acts = decide(replace(calm, observations=seen)).acts

    assert [type(act) for act in acts] == [EndPods]


def test_the_second_incident_takes_over_the_originals() -> None:
    first = walk(facts_of(incident("drift"))).facts
    stopped = first.observations[STEP].target
    second = facts_of(incident("toxic"), stopped)
    second = replace(second, holding=True, held=first.held, siblings={"drift": first.incident})

    done = walk(second)

    assert "Patch" not in done.kinds
    assert status_of(done.facts).steps[0].changes == status_of(first).steps[0].changes
    assert done.facts.held["Stopped apps/deployments/llm"].incidents == ("drift", "toxic")


def test_what_ends_no_pods_may_come_before_what_keeps_them_and_what_does_after() -> None:
    plan = [Step(isolate=Isolate()).wire(), QUARANTINE.wire(), STOP.wire()]

    status = status_of(walk(facts_of(incident(steps=plan), None)).facts)

    accepted = conditions.find(status.conditions, conditions.ACCEPTED)
    assert accepted is not None
    assert accepted.reason == "TargetNotFound"
