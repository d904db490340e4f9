"""The status as a whole: conditions, times, timeline."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.status import Phase
from stanch.holds.canary import HoldProof, Proof
from stanch.incidents.facts import Contest
from stanch.incidents.story import Told, tell
from stanch.status import conditions
from stanch.status.phase import Course
from tests.unit.incidents.walk import NOW, facts_of, incident, walk


@pytest.mark.parametrize(
    ("proof", "status", "reason"),
    [
        (HoldProof(Proof.PROVEN, "denied"), "True", "DeniedAtAdmission"),
        (HoldProof(Proof.MISSING, "it went through"), "False", "AdmissionPolicyMissing"),
        (HoldProof(), "Unknown", "NotProven"),
    ],
)
def test_held_is_said_only_when_proven(proof: HoldProof, status: str, reason: str) -> None:
    done = walk(replace(facts_of(incident()), proof=proof))

    held = conditions.find(done.facts.incident.status.conditions, conditions.HELD)
    assert held is not None
    assert (held.status, held.reason) == (status, reason)
    assert done.facts.incident.status.phase is Phase.CONTAINED


@pytest.mark.parametrize(
    ("phase_of", "ready", "reconciling", "stalled"),
    [
        (lambda: walk(facts_of(incident())).facts, "True", "False", "False"),
        (lambda: walk(facts_of(incident(), None)).facts, "False", "False", "True"),
        (lambda: walk(facts_of(incident(mode="DryRun"))).facts, "True", "False", "False"),
    ],
)
def test_tools_that_know_kstatus_see_the_state(
    phase_of: object, ready: str, reconciling: str, stalled: str
) -> None:
    assert callable(phase_of)
    said = phase_of().incident.status.conditions

    found = [
        conditions.find(said, one) for one in (conditions.READY, conditions.RECONCILING, conditions.STALLED)
    ]
    assert [one.status for one in found if one] == [ready, reconciling, stalled]


def test_while_containing_it_is_reconciling() -> None:
    status = walk(facts_of(incident())).decisions[2].status

    assert status is not None
    assert status.phase is Phase.CONTAINING
    assert conditions.is_true(status.conditions, conditions.RECONCILING)
    assert not conditions.is_true(status.conditions, conditions.READY)


def test_detection_is_when_it_was_first_seen_and_contained_in_counts_from_there() -> None:
    seen = NOW - timedelta(milliseconds=400)
    facts = replace(
        facts_of(incident(metadata={"creationTimestamp": (NOW - timedelta(seconds=1)).isoformat()})),
        seen_at=seen,
    )

    times = walk(facts).facts.incident.status.timestamps

    assert times is not None
    assert times.detected == seen
    assert times.contained is not None


def test_an_operator_that_came_late_counts_from_the_creation() -> None:
    created = NOW - timedelta(minutes=3)
    facts = replace(facts_of(incident(metadata={"creationTimestamp": created.isoformat()})), seen_at=NOW)

    status = walk(facts).facts.incident.status

    assert status.timestamps is not None
    assert status.timestamps.detected == created
    assert status.contained_in == "183s"


def test_times_once_told_do_not_move() -> None:
    done = walk(facts_of(incident())).facts
    again = walk(done, NOW + timedelta(hours=1)).facts

    assert again.incident.status.timestamps == done.incident.status.timestamps
    assert again.incident.status.timeline == done.incident.status.timeline


@given(st.integers(1, 300))
def test_the_timeline_is_bounded_and_keeps_the_newest(count: int) -> None:
    done = walk(facts_of(incident())).facts
    contests = tuple(Contest(NOW + timedelta(seconds=n), "ana", f"tried {n}") for n in range(count))

    status = tell(
        replace(done, contests=contests),
        Told(
            done.incident.status.steps,
            done.incident.status.plan,
            Course(),
            hold_stands=True,
            contests=contests,
        ),
        NOW,
    )

    assert len(status.timeline) <= 100
    assert status.timeline[-1].message == f"ana tried {count - 1}"
    assert status.contested is not None
    assert status.contested.count == count
    assert status.contested.last_what == f"tried {count - 1}"


@given(st.text(max_size=3000), st.text(max_size=3000))
def test_what_others_are_called_never_breaks_the_status(by: str, what: str) -> None:
    """Longer than the CRD allows, and the API server would refuse the whole status."""
    done = walk(facts_of(incident())).facts
    contest = (Contest(NOW, by, what),)

    status = tell(done, Told(done.incident.status.steps, None, Course(), contests=contest), NOW)

    assert type(status).model_validate(status.wire()).contested is not None
