"""Whose attempt to undo a containment is told, and of which incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.actions.protocol import Observation
from stanch.api.v1alpha1.hold import HeldEntry, Rule, hold_key
from stanch.api.v1alpha1.status import Phase, StepState
from stanch.incidents.facts import Limits
from stanch.incidents.reconcile import Reconciler
from stanch.observability.audit import Denied
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.in_memory import NO_TOOLS
from tests.unit.incidents.walk import (
    NOW,
    Walk,
    carry_out,
    decide,
    facts_of,
    incident,
    walk,
    with_object,
)

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.holds.canary import Canary
    from stanch.holds.keeper import HoldKeeper
    from stanch.incidents.facts import Facts
    from stanch.kube.client import Kube

LATER = NOW + timedelta(minutes=1)
TOXIC = Key("chat", "toxic")


def autoscaler(manager: str, born: datetime) -> Obj:
    """Aimed at the contained workload, with a field that its manager wrote."""
    fields: dict[str, Any] = {"f:spec": {"f:maxReplicas": {}}}
    time = born.isoformat()
    managed = [{"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields}]
    return obj("HorizontalPodAutoscaler", managedFields=managed, creationTimestamp=time)


def contained_then(brought: Obj) -> Walk:
    """Contained, and then this is there as well."""
    done = walk(facts_of(incident())).facts
    seen = {step: replace(old, related=(brought,)) for step, old in done.observations.items()}
    return walk(replace(done, observations=seen, preflights={}), LATER)


@pytest.mark.parametrize(("born", "done"), [(LATER, "created"), (NOW - timedelta(days=1), "changed")])
def test_what_somebody_brings_against_an_effective_step_is_put_right_and_told(
    born: datetime, done: str
) -> None:
    again = contained_then(autoscaler("helm", born))

    assert "Patch" in again.kinds
    status = again.facts.incident.status
    assert status.phase is Phase.CONTAINED
    assert status.contested is not None
    assert status.contested.count == 1
    assert status.contested.last_by == "field manager helm"
    assert status.contested.last_what == f"{done} HorizontalPodAutoscaler llm"


def test_what_is_brought_while_the_first_is_being_put_right_is_told_as_well() -> None:
    facts = walk(facts_of(incident())).facts
    facts, _ = seen(facts, LATER, scaled(2))
    (step,) = facts.incident.status.steps
    waiting = step.model_copy(update={"state": StepState.APPLIED, "applied_at": LATER, "effective_at": None})
    status = facts.incident.status.model_copy(update={"steps": (waiting,)})
    facts = replace(facts, incident=facts.incident.model_copy(update={"status": status}))

    _, told = seen(facts, LATER + timedelta(seconds=1), scaled(0), autoscaler("helm", LATER))

    assert told[1:] == ["field manager helm created HorizontalPodAutoscaler llm"]


def test_what_stanch_itself_did_for_another_incident_is_no_contest() -> None:
    again = contained_then(autoscaler("stanch", LATER))

    assert "Patch" in again.kinds
    assert again.facts.incident.status.contested is None


def test_what_was_there_before_the_step_was_effective_is_no_contest() -> None:
    facts = facts_of(incident())
    there = autoscaler("helm", NOW)
    seen = {step: replace(old, related=(there,)) for step, old in facts.observations.items()}

    done = walk(replace(facts, observations=seen))

    assert done.facts.incident.status.phase is Phase.CONTAINED
    assert done.facts.incident.status.contested is None


def scaled(replicas: int) -> Obj:
    """By somebody, in what is contained."""
    return obj("Deployment", spec={"replicas": replicas}, labels={"stanch.dev/held": "true"})


def seen(facts: Facts, at: datetime, *objects: Obj) -> tuple[Facts, list[str]]:
    """One look at these, of which nothing is put right yet; what the timeline tells of contests by then."""
    target, *related = objects
    observations = {step: Observation(target, tuple(related)) for step in facts.observations}
    facts = replace(facts, observations=observations)
    while (decision := decide(facts, at)).status is None:  # dry runs of what is new
        for act in decision.acts:
            facts = carry_out(facts, act)
    status = decision.status
    facts = replace(facts, incident=facts.incident.model_copy(update={"status": status}))
    return facts, [entry.message for entry in status.timeline if entry.type == "Contested"]


def test_what_is_not_put_right_yet_is_told_once_and_what_somebody_does_meanwhile_as_well() -> None:
    facts = walk(facts_of(incident())).facts
    unknown = "an unknown field manager changed Deployment llm /spec/replicas to"

    for number, (replicas, lines) in enumerate(
        [(2, [f"{unknown} 2"]), (2, [f"{unknown} 2"]), (5, [f"{unknown} 2", f"{unknown} 5"])]
    ):
        facts, told = seen(facts, LATER + timedelta(seconds=number), scaled(replicas))
        assert told == lines

    helm = autoscaler("helm", LATER)
    for number in range(3, 6):
        facts, told = seen(facts, LATER + timedelta(seconds=number), scaled(5), helm)
        assert told[2:] == ["field manager helm created HorizontalPodAutoscaler llm"]
    (step,) = facts.incident.status.steps
    assert (step.state, step.attempts) == (StepState.RECORDED, 1), "one fight, however many took part in it"
    assert facts.incident.status.contested is not None
    assert facts.incident.status.contested.count == 3


def test_what_is_done_again_after_it_was_put_right_is_told_again() -> None:
    facts = walk(facts_of(incident())).facts
    for number in range(1, 4):
        with_it = with_object(facts, scaled(2))
        facts = walk(with_it, NOW + number * timedelta(minutes=1)).facts
        assert facts.incident.status.contested is not None
        assert facts.incident.status.contested.count == number


def denied(group: str, resource: str, name: str, message: str = "held") -> Denied:
    return Denied(
        audit_id="a",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        username="jane",
        verb="create",
        group=group,
        resource=resource,
        subresource="",
        namespace="chat",
        name=name,
        message=message,
    )


@pytest.fixture
def engine() -> Reconciler:
    """It knows that incident toxic holds a ServiceAccount and a Deployment."""
    kube, keeper, canary = cast("Kube", None), cast("HoldKeeper", None), cast("Canary", None)
    engine = Reconciler(kube, keeper, canary, Metrics(), Limits(), lambda _: None, NO_TOOLS)
    keys = (hold_key(Rule.ABSENT, "serviceaccounts/llm"), hold_key(Rule.STOPPED, "apps/deployments/llm"))
    engine.hints.holds(TOXIC, {key: HeldEntry.of("toxic", "High, Drift", NOW) for key in keys})
    return engine


@pytest.mark.parametrize(("group", "resource"), [("", "serviceaccounts"), ("apps", "deployments")])
def test_a_denial_is_told_of_the_incident_that_holds_the_object(
    engine: Reconciler, group: str, resource: str
) -> None:
    assert engine.denied(denied(group, resource, "llm")) == [TOXIC]
    (contest,) = engine.hints.contests(TOXIC)
    assert (contest.by, contest.what) == ("jane", f"was denied: create {resource} llm")


def test_a_denial_of_something_that_no_hold_names_is_told_of_the_incident_that_it_names(
    engine: Reconciler,
) -> None:
    message = "image/llm:2 is condemned by AIIncident leak (High, Drift); deploy another version"
    assert engine.denied(denied("", "pods", "sneaky", message)) == [Key("chat", "leak")]
    assert engine.denied(denied("", "pods", "sneaky")) == []


CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
NO_POD = "held by AIIncident leak (High, Drift): no pod of it can be created before it is given back"
BAD_POD = "image/llm:2 is condemned by AIIncident leak (High, Drift); deploy another version"


@pytest.mark.parametrize(
    ("by", "message", "told"),
    [(CONTROLLER, NO_POD, False), ("jane", NO_POD, True), (CONTROLLER, BAD_POD, True)],
)
def test_a_controller_that_replaces_a_pod_contests_nothing(
    engine: Reconciler,
    by: str,
    message: str,
    told: bool,  # noqa: FBT001 - a parametrised test
) -> None:
    attempt = replace(denied("", "pods", "llm-x", message), username=by)
    assert engine.denied(attempt) == ([Key("chat", "leak")] if told else [])


def test_a_denial_is_told_once_of_each(engine: Reconciler) -> None:
    message = "held by AIIncident toxic (High, Drift) at 0 replicas"
    assert engine.denied(denied("apps", "deployments", "llm", message)) == [TOXIC]
    assert len(engine.hints.contests(TOXIC)) == 1
