"""Giving back: what, in which order, by whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.protocol import Ask, Observation
from stanch.actions.registry import ACTIONS
from stanch.actions.scale_to_zero import ScaleToZero
from stanch.api.v1alpha1.hold import HeldEntry
from stanch.api.v1alpha1.incident import DeletionPolicy, DesiredState
from stanch.api.v1alpha1.status import Change, Phase, StepState
from stanch.holds import entries
from stanch.incidents.acts import Delete, Patch
from stanch.status import conditions
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import (
    NOW,
    STEP,
    carry_out,
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

ORDER = ["GiveBackHold", "Patch", "DropHold", "RemoveFinalizer"]
LATER = NOW + timedelta(minutes=5)


def contained(**spec: Any) -> Facts:
    kind = spec.get("targets", [{"kind": "Deployment"}])[0]["kind"]
    return walk(facts_of(incident(**spec), obj(kind))).facts


def released(facts: Facts) -> Facts:
    return with_spec(facts, desired_state=DesiredState.RELEASED)


def deleted(facts: Facts) -> Facts:
    return with_meta(facts, deletion_timestamp=LATER)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
@pytest.mark.parametrize("end", [released, deleted])
def test_mark_restore_unhold_let_go_in_this_order(kind: str, end: Any) -> None:
    facts = contained(targets=[{"kind": kind, "name": "llm"}])

    done = walk(end(facts), LATER)

    assert done.kinds == ORDER
    status = done.facts.incident.status
    assert status.phase is Phase.RELEASED
    assert conditions.is_true(status.conditions, conditions.RELEASED)
    target = next(iter(done.facts.observations.values())).target
    assert target is not None
    original = obj(kind)
    assert target.json["spec"] == original.json["spec"]
    assert target.json["metadata"] == original.json["metadata"]
    assert done.facts.held == {}


def test_it_is_said_what_came_back() -> None:
    (step,) = walk(released(contained()), LATER).facts.incident.status.steps

    assert step.state is StepState.UNDONE
    assert step.undo is not None
    assert (step.undo.message, step.undo.kept) == ("replicas 0 → 3", ())


def test_retain_leaves_it_stopped_and_unheld() -> None:
    facts = with_spec(contained(), deletion_policy=DeletionPolicy.RETAIN)

    done = walk(deleted(facts), LATER)

    target = done.facts.observations[STEP].target
    assert target is not None
    assert target.spec.replicas == 0
    assert "labels" not in target.json["metadata"]
    assert done.facts.held == {}


def test_released_by_hand_and_then_deleted_is_given_back_whatever_the_deletion_policy() -> None:
    facts = with_spec(contained(), deletion_policy=DeletionPolicy.RETAIN)

    done = walk(deleted(released(facts)), LATER)

    target = done.facts.observations[STEP].target
    assert target is not None
    assert target.spec.replicas == 3


def test_the_workload_stays_contained_while_another_incident_holds_it() -> None:
    facts = contained()
    other = {key: HeldEntry.of("drift", "High, Drift", NOW) for key in facts.held}
    facts = replace(facts, held=entries.join(facts.held, other))

    done = walk(released(facts), LATER)

    assert done.kinds == ["GiveBackHold", "RemoveFinalizer"]
    (step,) = done.facts.incident.status.steps
    assert step.state is StepState.PASSED_ON
    assert step.undo is not None
    assert step.undo.message == "Deployment llm stays contained by drift"
    assert done.facts.held["Stopped apps/deployments/llm"].incidents == ("drift",)


def test_a_ghost_does_not_keep_it_stopped() -> None:
    facts = contained()
    ghost = {key: HeldEntry.of("gone", "High, Drift", NOW) for key in facts.held}
    facts = replace(facts, held=entries.join(facts.held, ghost), ghosts=frozenset({"gone"}))

    assert walk(released(facts), LATER).kinds == ORDER


def test_what_others_changed_is_left_and_named() -> None:
    facts = contained()
    target = facts.observations[STEP].target
    assert target is not None
    edited = obj("Deployment", spec={"replicas": 7}, labels={"stanch.dev/held": "true", "team": "chat"})

    done = walk(released(with_object(facts, edited)), LATER)

    (step,) = done.facts.incident.status.steps
    assert step.undo is not None
    assert set(step.undo.kept) == {"Deployment llm /spec/replicas", "Deployment llm /metadata/labels/team"}
    after = done.facts.observations[STEP].target
    assert after is not None
    assert after.spec.replicas == 7
    assert after.meta.labels == {"team": "chat"}


def test_a_target_that_is_gone_holds_nothing_up() -> None:
    gone = replace(contained(), observations={STEP: Observation(None)})

    done = walk(released(gone), LATER)

    assert done.kinds == ["GiveBackHold", "DropHold", "RemoveFinalizer"]
    assert "no longer exists" in str(done.facts.incident.status.summary)


def test_a_namesake_is_not_the_one_that_was_stopped() -> None:
    """Deleted and created anew while Stanch looked away: its count is its owner's, not ours."""
    facts = contained()
    facts = replace(facts, observations={STEP: Observation(obj("Deployment", uid="another"))})

    assert not any(isinstance(act, Patch) for act in walk(released(facts), LATER).acts)


@pytest.mark.parametrize("end", [released, deleted])
def test_what_never_began_ends_at_once(end: Any) -> None:
    done = walk(end(facts_of(incident())), LATER)

    assert done.acts == ()
    assert done.facts.incident.status.phase is Phase.RELEASED


@pytest.mark.parametrize("acts", [1, 2, 3])
def test_a_release_that_was_interrupted_goes_on(acts: int) -> None:
    facts = released(contained())
    for _ in range(acts):
        decision = decide(facts, LATER)
        facts = replace(facts, incident=facts.incident.model_copy(update={"status": decision.status}))
        facts = carry_out(facts, decision.acts[0])

    done = walk(facts, LATER)

    target = done.facts.observations[STEP].target
    assert target is not None
    assert target.spec.replicas == 3
    assert done.facts.held == {}


class Discarding(ScaleToZero):
    """Release ends what it has edited."""

    def discards(self, change: Change, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        return True


@pytest.fixture
def discarding(monkeypatch: pytest.MonkeyPatch) -> Facts:
    monkeypatch.setitem(ACTIONS, "ScaleToZero", Discarding())
    return contained()


def marked(facts: Facts) -> Facts:
    """Once the hold says that it is being given back."""
    (act,) = decide(facts, LATER).acts
    return carry_out(facts, act)


def test_what_the_action_discards_is_deleted_as_it_is(discarding: Facts) -> None:
    (act,) = decide(marked(released(discarding)), LATER).acts

    assert isinstance(act, Delete)
    assert act.obj.spec.replicas == 0


@pytest.mark.parametrize("left", [None, obj("Deployment", uid="another")])
def test_what_is_gone_needs_no_discarding(discarding: Facts, left: Any) -> None:
    facts = replace(discarding, observations={STEP: Observation(left)})

    done = walk(released(facts), LATER)

    assert done.kinds == ["GiveBackHold", "DropHold", "RemoveFinalizer"]
    assert "Deployment llm is gone" in str(done.facts.incident.status.steps[0].message)


def test_what_others_made_of_it_meanwhile_is_not_deleted(discarding: Facts) -> None:
    edited = obj("Deployment", spec={"replicas": 7}, labels={"stanch.dev/held": "true"})

    done = walk(released(with_object(discarding, edited)), LATER)

    assert done.kinds == ORDER
    target = done.facts.observations[STEP].target
    assert target is not None
    assert target.spec.replicas == 7


def test_retain_discards_nothing(discarding: Facts) -> None:
    facts = with_spec(discarding, deletion_policy=DeletionPolicy.RETAIN)

    assert walk(deleted(facts), LATER).kinds == ORDER


def test_what_another_incident_holds_is_not_discarded(discarding: Facts) -> None:
    other = {key: HeldEntry.of("drift", "High, Drift", NOW) for key in discarding.held}
    facts = replace(discarding, held=entries.join(discarding.held, other))

    assert walk(released(facts), LATER).kinds == ["GiveBackHold", "RemoveFinalizer"]
