"""What an incident needs of a person, when nothing happens any more, and what comes first in a list."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stanch.api.v1alpha1.status import Phase
from stanch.cli.contain import ending
from stanch.cli.ending import Exit
from stanch.cli.standing import age, at_rest, next_of, urgency
from tests.unit.cli.made import HELD, incident, said

Json = dict[str, Any]
NOT_HELD = said("Held", "False", "AdmissionPolicyMissing")
PENDING = said("Held", "False", "HoldPending")
NOTHING = said("Held", "False", "NothingToHold")
RELEASED = {"spec": {"desiredState": "Released"}}
FAILED = {
    "release": {
        "stage": "Failed",
        "askedBy": "Person",
        "generation": 1,
        "attempt": 1,
        "since": "2026-01-02T03:14:00Z",
    }
}
EARLIER = {"release": FAILED["release"] | {"generation": 0}}
PLAN = {"plan": {"hash": "5be1", "source": "built-in default"}}
DRY = {"spec": {"mode": "DryRun"}}

CASES: list[tuple[str | None, Json, str, bool, Exit]] = [
    (None, {}, "look", False, Exit.WAITS),
    ("Detected", {}, "wait", False, Exit.WAITS),
    ("Detected", DRY | PLAN, "", True, Exit.YES),
    ("Detected", DRY, "", False, Exit.WAITS),
    ("AwaitingApproval", {"conditions": [NOTHING]}, "approve", True, Exit.WAITS),
    ("Containing", {"conditions": [HELD]}, "wait", False, Exit.WAITS),
    ("Contained", {"conditions": [HELD]}, "release", True, Exit.YES),
    ("Contained", {"conditions": [PENDING]}, "hold", False, Exit.WAITS),
    ("Contained", {"conditions": [NOT_HELD]}, "hold", True, Exit.NO),
    ("Contained", {"conditions": [HELD]} | RELEASED, "release", False, Exit.WAITS),
    ("Contained", {"conditions": [HELD]} | RELEASED | FAILED, "cause", True, Exit.YES),
    ("Contained", {"conditions": [HELD]} | RELEASED | EARLIER, "cause", False, Exit.WAITS),
    ("Containing", {"conditions": [HELD]} | RELEASED | FAILED, "wait", False, Exit.WAITS),
    ("PartiallyContained", {"conditions": [HELD]}, "steps", True, Exit.NO),
    ("ContainmentFailed", {"conditions": [HELD]}, "steps", True, Exit.NO),
    ("Releasing", RELEASED, "wait", False, Exit.WAITS),
    ("Released", RELEASED, "close", True, Exit.NO),
    ("Recovered", RELEASED, "close", True, Exit.NO),
    ("Closed", RELEASED, "", True, Exit.NO),
    ("Rejected", {}, "correct", True, Exit.NO),
    ("Duplicate", {}, "", True, Exit.NO),
]


@pytest.mark.parametrize(("phase", "status", "word", "rests", "ends"), CASES)
def test_where_it_stands(phase: str | None, status: Json, word: str, rests: bool, ends: Exit) -> None:  # noqa: FBT001
    one = incident(phase, **status)
    assert (next_of(one).word, at_rest(one), ending(one)) == (word, rests, ends)


def test_every_phase_is_told_of() -> None:
    assert {phase for phase, *_ in CASES} == {None, *map(str, Phase)}


def test_what_was_asked_since_the_operator_last_looked_is_not_done_yet() -> None:
    assert not at_rest(incident(conditions=[HELD], metadata={"generation": 2}))


def test_what_is_deleted_rests_when_it_is_gone() -> None:
    deleted = {"deletionTimestamp": "2026-01-02T03:14:00Z"}
    assert not at_rest(incident("Released", metadata=deleted))
    assert ending(None) is Exit.NO


def test_what_nobody_keeps_contained_comes_before_what_stands() -> None:
    def named(name: str, phase: str, severity: str = "High", **status: Any) -> Any:
        return incident(phase, metadata={"name": name}, spec={"severity": severity}, **status)

    incidents = [
        named("g", "Closed", "Critical"),
        named("f", "Released"),
        named("e", "Contained", conditions=[HELD]),
        named("d", "AwaitingApproval", "Low"),
        named("c", "AwaitingApproval", "Critical"),
        named("b", "ContainmentFailed"),
        named("a", "Contained", conditions=[NOT_HELD]),
    ]
    assert [one.metadata.name for one in sorted(incidents, key=urgency)] == list("abcdefg")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")],
)
def test_ages_are_as_short_as_those_of_kubectl(seconds: int, shown: str) -> None:
    assert age(timedelta(seconds=seconds)) == shown
