"""What a policy's status says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from stanch.actions.protocol import Ask, Refusal
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.policy import PolicyIncident, TriggerState, TriggerStatus
from stanch.api.v1alpha1.steps import Step
from stanch.kube.scope import WHOLE_CLUSTER
from stanch.policies.drilled import Drilled
from stanch.policies.state import Found, Matched, impossible, status_of
from stanch.signals.board import News
from stanch.status import conditions
from tests.unit.policies.made import cluster, own, selector

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LLM = Matched("chat", "Deployment", "llm")
NIGHTLY = Matched("chat", "CronJob", "nightly")
STOP: dict[str, Any] = {"scaleToZero": {}}
SUSPEND: dict[str, Any] = {"suspend": {}}
KEEP: dict[str, Any] = {"collectEvidence": {}}
KEEP_ONE: dict[str, Any] = {"quarantine": {"pods": ["llm-0"]}}


@pytest.mark.parametrize(
    ("kinds", "steps", "found", "reason"),
    [
        ((), [STOP], (LLM,), None),
        ((), [STOP], (), None),
        ((), [STOP], (LLM, NIGHTLY), "StepImpossible"),
        (("Deployment",), [STOP], (NIGHTLY,), None),
        (("Deployment", "CronJob"), [STOP], (), "StepImpossible"),
        (("Deployment", "CronJob"), [STOP | {"optional": True}, SUSPEND | {"optional": True}], (), None),
        (("CronJob",), [STOP | {"optional": True}], (), "StepImpossible"),
        (("CronJob",), [KEEP, STOP | {"onFailure": "Continue"}], (), "StepImpossible"),
        (("CronJob",), [KEEP], (), None),
        (("Deployment",), [STOP, KEEP_ONE], (), "StepTooLate"),
        (("Deployment",), [KEEP_ONE, STOP], (), None),
        (("Deployment",), [STOP, {"scaleToZero": {"terminate": "Immediate"}}], (), "DuplicateStep"),
    ],
)
def test_a_plan_that_would_only_be_refused_is_not_ready(
    kinds: tuple[str, ...], steps: list[dict[str, Any]], found: tuple[Matched, ...], reason: str | None
) -> None:
    policy = own(selector=selector(*kinds), steps=steps)
    problem = impossible(policy, Found(frozenset(found)))
    assert (problem.reason if problem else None) == reason
    status = status_of(policy, Found(frozenset(found)), NOW)
    assert conditions.is_true(status.conditions, conditions.READY) == (reason is None)
    assert conditions.is_true(status.conditions, conditions.STALLED) == (reason is not None)


def test_a_policy_of_a_protected_namespace_contains_nothing() -> None:
    found = Found(protected=frozenset({"chat"}))
    problem = impossible(own(), found)
    assert problem is not None
    assert problem.reason == "NamespaceProtected"
    assert impossible(cluster(), found) is None


def test_a_step_newer_than_the_operator() -> None:
    policy = own()
    spec = policy.spec.model_copy(update={"steps": (Step(),)})
    problem = impossible(policy.model_copy(update={"spec": spec}), Found())
    assert problem is not None
    assert problem.reason == "UnknownStep"


NIGHT = "17 3 * * *"


def drill(name: str = "monthly", schedule: str = NIGHT, **more: Any) -> dict[str, Any]:
    return {"name": name, "schedule": schedule, **more}


def exercise(name: str, born: datetime, phase: str = "Detected", **spec: Any) -> Drilled:
    return Drilled.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "chat",
                "labels": {"stanch.dev/drill": "monthly"},
                "creationTimestamp": born.isoformat(),
            },
            "spec": {"exercise": True, "policyRef": {"kind": "ContainmentPolicy", "name": "chat"}} | spec,
            "status": {"phase": phase, "summary": "exercise: plan proven in 212ms"},
        }
    )


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("61 * * * *", "bad minute"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("* * * * * *", "it has 6 fields, and cron has 5: minute, hour, day of month, month, day of week"),
        ("0 9 * * soon", "bad day-of-week"),
    ],
)
def test_a_schedule_that_is_none_is_told(schedule: str, why: str) -> None:
    status = status_of(own(drills=[drill(), drill("other", schedule)]), Found(), NOW)
    ready = conditions.find(status.conditions, conditions.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "BadSchedule")
    assert ready.message == f"drill other is never made: schedule '{schedule}': {why}"


def test_the_newest_exercise_of_each_drill_is_shown() -> None:
    found = Found(
        drilled=(
            exercise("older", NOW - timedelta(days=2)),
            exercise("newer", NOW - timedelta(days=1), "Rejected"),
            exercise("earnest", NOW, exercise=False),
            exercise("by-another", NOW, policyRef={"kind": "ContainmentPolicy", "name": "other"}),
        )
    )
    policy = own(drills=[drill(), drill("never")])
    (shown,) = status_of(policy, found, NOW).drills
    assert shown.wire() == {
        "name": "monthly",
        "at": "2026-01-01T03:04:05Z",
        "incident": "chat/newer",
        "phase": "Rejected",
        "message": "exercise: plan proven in 212ms",
    }


def test_an_exercise_that_was_deleted_stays_told_until_there_is_a_newer_one() -> None:
    policy = own(drills=[drill()])
    told = status_of(policy, Found(drilled=(exercise("first", NOW),)), NOW)
    policy = policy.model_copy(update={"status": told})
    assert status_of(policy, Found(), NOW).drills == told.drills
    newer = Found(drilled=(exercise("second", NOW + timedelta(days=1)),))
    assert [one.incident for one in status_of(policy, newer, NOW).drills] == ["chat/second"]
    without = policy.model_copy(update={"spec": own().spec})
    assert status_of(without, Found(), NOW).drills == ()


def test_lists_are_bounded_and_counts_are_not() -> None:
    workloads = frozenset(Matched("chat", "Deployment", f"llm-{number:03}") for number in range(300))
    incidents = tuple(
        PolicyIncident(namespace="chat", name=f"i-{number:03}", phase="Contained", generation=1)
        for number in range(300)
    )
    status = status_of(own(), Found(workloads, incidents), NOW)
    assert (status.matched_workloads, status.active_incidents) == (300, 300)
    assert (len(status.workloads), len(status.incidents)) == (20, 20)
    assert status.workloads[0] == "Deployment chat/llm-000"


@pytest.mark.parametrize(("generation", "replaced"), [(1, None), (2, True)])
def test_who_follows_an_earlier_plan_is_told(generation: int, replaced: bool | None) -> None:  # noqa: FBT001
    follower = PolicyIncident(
        namespace="chat", name="leak", phase="Contained", generation=generation, replaced=replaced
    )
    status = status_of(own(metadata={"generation": 2}), Found(frozenset({LLM}), (follower,)), NOW)
    ready = conditions.find(status.conditions, conditions.READY)
    assert ready is not None
    assert ready.message == (
        "selects 1 workload, 1 active incident, 1 of them by an earlier generation than 2: "
        "an incident keeps the plan it began with"
    )


def test_what_has_not_changed_is_not_written_again() -> None:
    policy = own()
    first = status_of(policy, Found(frozenset({LLM})), NOW)
    again = status_of(
        policy.model_copy(update={"status": first}), Found(frozenset({LLM})), NOW + timedelta(hours=1)
    )
    assert again == first
    assert first.observed_generation == 1


DRIFT: dict[str, Any] = {
    "name": "drift",
    "category": "Drift",
    "severity": "Medium",
    "prometheus": {"query": "drift", "operator": "gt", "value": "0.2"},
}
TOXIC: dict[str, Any] = {
    "name": "toxic",
    "category": "OutputPolicyViolation",
    "severity": "Critical",
    "alert": {"matchers": ['alertname="Toxic"']},
}


def told(*triggers: TriggerStatus, **news: News) -> tuple[TriggerStatus, ...]:
    """What is said of triggers after `triggers` was said."""
    policy = own(triggers=[DRIFT, TOXIC])
    before = policy.status.model_copy(update={"triggers": triggers})
    return status_of(policy.model_copy(update={"status": before}), Found(), NOW, news).triggers


def trigger(
    name: str, state: TriggerState, message: str | None = None, signal: str | None = None
) -> TriggerStatus:
    at = NOW if signal is not None else None
    return TriggerStatus(name=name, state=state, message=message, last_signal_at=at, last_signal=signal)


def test_every_trigger_of_the_spec_has_its_place_before_anything_is_known() -> None:
    assert told() == (
        trigger("drift", TriggerState.INACTIVE, "not evaluated yet"),
        trigger("toxic", TriggerState.INACTIVE, "no alert has come yet"),
    )


def test_news_of_a_trigger_is_told_and_what_nobody_has_news_of_stands() -> None:
    firing = trigger("toxic", TriggerState.ACTIVE, "firing", "created chat/toxic-1")
    gone = trigger("removed", TriggerState.ACTIVE, "was here")
    assert told(firing, gone, drift=News(TriggerState.ERROR, "Timeout: no answer in time")) == (
        trigger("drift", TriggerState.ERROR, "Timeout: no answer in time"),
        firing,
    )


def test_a_signal_stays_told_when_the_state_changes_and_the_other_way_round() -> None:
    signalled = News(last_signal_at=NOW, last_signal="created chat/drift-1")
    (drift, _) = told(trigger("drift", TriggerState.ACTIVE, "firing"), drift=signalled)
    assert drift == trigger("drift", TriggerState.ACTIVE, "firing", "created chat/drift-1")
    (drift, _) = told(drift, drift=News(TriggerState.INACTIVE, "no sample"))
    assert drift == trigger("drift", TriggerState.INACTIVE, "no sample", "created chat/drift-1")


def test_a_trigger_that_only_the_receiver_hears_of_lives_once_an_alert_came() -> None:
    (_, toxic) = told(toxic=News(last_signal_at=NOW, last_signal="created chat/toxic-1"))
    assert toxic == trigger("toxic", TriggerState.ACTIVE, "alerts come", "created chat/toxic-1")


def test_long_news_fits_the_status() -> None:
    (drift, _) = told(drift=News(TriggerState.ERROR, "x" * 5000, NOW, "y" * 5000))
    assert drift.message is not None
    assert drift.last_signal is not None
    assert (len(drift.message), len(drift.last_signal)) == (1024, 1024)


NEEDED: dict[str, Any] = {"rollback": {"to": {"lastKnownGood": True}}, "quarantine": {"pods": ["llm-0"]}}


class Empty:
    """A cluster with nothing in it."""

    scope = WHOLE_CLUSTER

    async def get(self, _ref: object) -> None:
        return None

    async def list(self, *_args: object, **_selectors: object) -> list[object]:
        return []


@pytest.mark.parametrize("kind", TargetKind)
@pytest.mark.parametrize(
    "step", [step for step in Step.model_fields if step not in {"on_failure", "timeout", "optional"}]
)
async def test_the_kinds_an_action_names_are_those_it_does_not_refuse(step: str, kind: TargetKind) -> None:
    made = Step.model_validate({step: NEEDED.get(step, {})}).member
    assert made is not None
    action = ACTIONS[made.action]
    api_version = "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1"
    target = Target.model_validate({"apiVersion": api_version, "kind": kind, "name": "llm"})
    ask = Ask("leak", "uid", "chat", target, made, NOW, timedelta(minutes=1))
    refusal = action.plan(await action.observe(cast("Any", Empty()), ask), ask)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason == "TargetNotFound") == (kind in action.kinds)
