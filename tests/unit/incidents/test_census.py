"""The census counts what the status of incidents says, and loses nothing while it is being read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import AskedBy, ReleaseStatus
from stanch.incidents.census import Census, containment_of
from stanch.queue import Key
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import NOW, facts_of, incident, walk

BEGUN = {"begun": NOW.isoformat()}


def with_phase(name: str, phase: str, **more: Any) -> Any:
    return incident(name, status={"phase": phase, "timestamps": BEGUN, **more})


def test_one_that_has_begun_nothing_is_no_containment() -> None:
    assert containment_of(incident()) is None
    assert containment_of(incident(status={"phase": "AwaitingApproval", "timestamps": {}})) is None


@pytest.mark.parametrize(
    ("phase", "active"),
    [
        ("Containing", True),
        ("Contained", True),
        ("PartiallyContained", True),
        ("ContainmentFailed", True),
        ("Releasing", True),
        ("Released", False),
        ("Recovered", False),
        ("Closed", False),
    ],
)
def test_it_stands_until_it_is_given_back(phase: str, active: bool) -> None:  # noqa: FBT001 - a table
    found = containment_of(with_phase("a", phase))
    assert found is not None
    assert found.active is active
    assert not found.recovered, "on a person's word"


@pytest.mark.parametrize("phase", ["Recovered", "Closed"])
def test_it_is_recovered_on_proof_also_when_it_is_closed(phase: str) -> None:
    what = with_phase("a", phase)
    proven = ReleaseStatus(
        stage=ReleaseStage.PASSED, asked_by=AskedBy.PERSON, generation=1, attempt=1, since=NOW
    )
    status = what.status.model_copy(update={"release": proven})
    found = containment_of(what.model_copy(update={"status": status}))
    assert found is not None
    assert found.recovered


def test_what_it_took_is_in_its_journal() -> None:
    contained = walk(facts_of(incident(), obj("Deployment"))).facts.incident
    found = containment_of(contained)
    assert found is not None
    assert found.took == {"Deployment/llm": 3}
    assert timedelta() <= found.begun - NOW < timedelta(seconds=20)


def test_what_was_noted_while_all_were_being_read_is_newer() -> None:
    census = Census()
    census.note(with_phase("a", "Released"))
    census.forget(Key("chat", "b"))
    census.fill([with_phase("a", "Contained"), with_phase("b", "Contained"), with_phase("c", "Contained")])
    assert {one.key.name: one.active for one in census.containments()} == {"a": False, "c": True}
    assert census.complete


def test_what_is_gone_counts_no_more() -> None:
    census = Census()
    census.fill([with_phase("a", "Contained")])
    census.forget(Key("chat", "a"))
    assert census.containments() == ()
    census.note(with_phase("a", "Contained"))
    census.note(incident("a"))
    assert census.containments() == ()
