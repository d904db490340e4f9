"""Kubernetes Events: what people can act on, each told once."""

from __future__ import annotations

from dataclasses import replace

from stanch.api.v1alpha1.status import AIIncidentStatus, Contested, Phase
from stanch.holds.canary import HoldProof, Proof
from stanch.incidents.events import Note, event, notes
from tests.unit.incidents.walk import NOW, Walk, facts_of, incident, walk

NOTHING = AIIncidentStatus()


def told(done: Walk) -> list[Note]:
    """The Events of a whole course, as the statuses are stored one after the other."""
    old = NOTHING
    found: list[Note] = []
    for decision in done.decisions:
        if decision.status is not None:
            found += notes(old, decision.status)
            old = decision.status
    return found


def test_a_containment_is_told_from_plan_to_end() -> None:
    found = told(walk(facts_of(incident())))

    assert [note.reason for note in found] == ["Detected", "Containing", "StepEffective", "Contained"]
    assert "Deployment/llm: replicas 3 → 0" in found[0].message
    assert {note.type for note in found} == {"Normal"}


def test_a_rejection_is_a_warning_with_the_reason_and_no_plan() -> None:
    found = told(walk(facts_of(incident(), None)))

    assert [(note.type, note.reason) for note in found] == [
        ("Warning", "StepRefused"),
        ("Warning", "Rejected"),
    ]
    assert "there is no such object" in found[1].message


def test_nothing_new_is_nothing_to_tell() -> None:
    status = walk(facts_of(incident())).facts.incident.status

    assert notes(status, status) == []


def test_each_contest_is_told() -> None:
    status = walk(facts_of(incident())).facts.incident.status
    once = status.model_copy(
        update={"contested": Contested(count=1, last_at=NOW, last_by="ana", last_what="tried")}
    )
    twice = status.model_copy(
        update={"contested": Contested(count=2, last_at=NOW, last_by="ana", last_what="tried")}
    )

    assert [note.reason for note in notes(status, once)] == ["Contested"]
    assert notes(once, twice)[0].message.startswith("2 times; last: ana tried")
    assert notes(once, twice)[0].type == "Warning"


def test_a_hold_that_is_not_enforced_is_told_once() -> None:
    unproven = replace(facts_of(incident()), proof=HoldProof(Proof.MISSING, "it went through"))

    found = told(walk(unproven))

    (warning,) = [note for note in found if note.reason == "NotHeld"]
    assert warning.type == "Warning"
    assert "install the policies" in warning.message


def test_an_event_is_named_after_what_it_says() -> None:
    """Repeated after a crash it says the same: the server refuses the second as existing."""
    what = incident()
    note = Note("Normal", "Contained", "contained: llm")

    one = event(what, note, "7", NOW)

    assert event(what, note, "7", NOW)["metadata"]["name"] == one["metadata"]["name"]
    assert event(what, note, "8", NOW)["metadata"]["name"] != one["metadata"]["name"]
    other = Note("Normal", "Contained", "contained: rag")
    assert event(what, other, "7", NOW)["metadata"]["name"] != one["metadata"]["name"]
    assert one["involvedObject"]["uid"] == "uid-toxic"
    assert one["metadata"]["namespace"] == "chat"


def test_an_event_fits_what_the_server_accepts() -> None:
    long = incident("a" * 253)

    body = event(long, Note("Warning", "Rejected", "x" * 5000), "7", NOW)

    assert len(body["metadata"]["name"]) <= 253
    assert len(body["message"]) <= 1024


def test_phases_that_need_a_person_are_warnings() -> None:
    for phase in (Phase.CONTAINMENT_FAILED, Phase.PARTIALLY_CONTAINED, Phase.REJECTED):
        (note,) = notes(NOTHING, AIIncidentStatus(phase=phase))
        assert note.type == "Warning"
