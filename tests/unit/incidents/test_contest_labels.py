"""Whose doing it is that what was effective is so no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.protocol import BEHIND, Judgement, Observation, Verdict
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.status import Change, FieldChange, StepState, StepStatus
from stanch.incidents.contest import came_undone, slipped_through
from stanch.incidents.facts import items_of
from stanch.incidents.upkeep import missing
from stanch.plans.changes import pointer
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import NOW, facts_of, incident

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.incidents.facts import Contest

TARGET = obj("Deployment")
EFFECTIVE = StepStatus(
    id="0", action="ScaleToZero", target=TARGET.reference, state=StepState.EFFECTIVE, reason="NoPods"
)


def undone(verdict: Verdict, reason: str = "PodsRunning", **more: Any) -> list[str]:
    judgement = Judgement(verdict, reason, "2 pods are left", **more)
    return [one.what for one in came_undone(EFFECTIVE, Observation(TARGET), judgement, NOW)]


@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.INEFFECTIVE])
def test_what_undoes_the_effect_is_somebodys_doing(verdict: Verdict) -> None:
    assert undone(verdict) == ["undid it: 2 pods are left"]


@pytest.mark.parametrize(
    ("verdict", "reason", "by_itself"),
    [
        (Verdict.EFFECTIVE, "PodsRunning", False),
        (Verdict.INCONCLUSIVE, "PodsRunning", False),
        (Verdict.PENDING, BEHIND, False),
        (Verdict.INEFFECTIVE, "PodEnded", True),
    ],
)
def test_nobody_is_blamed_for_what_is_not_known_or_came_by_itself(
    verdict: Verdict, reason: str, *, by_itself: bool
) -> None:
    assert undone(verdict, reason, by_itself=by_itself) == []


def labelled(**labels: str) -> Obj:
    return obj("Deployment", labels=labels)


def slipped(now: Obj) -> tuple[Contest, ...]:
    """What is told of a Deployment that had lost its label `app` and was marked as held."""
    fields = (
        FieldChange(path=pointer("metadata", "labels", "stanch.dev/held"), after="true"),
        FieldChange(path=pointer("metadata", "labels", "app"), before="llm"),
    )
    change = Change(object=TARGET.reference, fields=fields)
    entry = EFFECTIVE.model_copy(update={"changes": (change,)})
    facts = facts_of(incident())
    ask = facts.ask(items_of(facts.incident)[0], entry, NOW)
    gaps = missing(entry.changes, ACTIONS["ScaleToZero"], Observation(now), ask)
    return slipped_through(entry, gaps, entry.changes, frozenset(), NOW)


def test_a_label_that_was_taken_away_and_is_back_is_told() -> None:
    (contest,) = slipped(labelled(app="llm", **{"stanch.dev/held": "true"}))
    assert contest.what == "changed Deployment llm /metadata/labels/app to llm"


def test_the_mark_of_what_is_held_is_put_back_without_a_word() -> None:
    assert slipped(labelled()) == ()
