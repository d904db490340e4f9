"""What a machine knows of an incident is in its report, and what a person has to write is marked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stanch.evidence.timeline import Claim, Stored
from stanch.evidence.verify import Fault, Finding
from stanch.reports.form import Form
from stanch.reports.model import Report
from stanch.reports.recheck import CheckedTimeline
from stanch.reports.render import render
from tests.unit.reports.incidents import EVIDENCE, NOW, START, altered, at, fresh, raw, report, unread


def test_what_the_incident_and_its_status_know_is_in_the_report() -> None:
    made = report()
    assert made.reported_by == "system:serviceaccount:stanch-system:stanch"
    assert (made.incident.uid, made.incident.generation) == ("0af1b2c3-4d5e-6f70-8192-a3b4c5d6e7f8", 4)
    assert made.timestamps.detected == START + timedelta(seconds=15.6)
    (system,) = made.systems
    assert system.condemned == ("image/registry.example.test/llm-chat:2.4.0",)
    assert system.uid == "77e1c0de-0001-4a4b-8c8d-000000000001"
    assert made.recovery.asked_by == "carol@example.test"
    assert made.regulatory.undecided == ("eu-ai-act-73-2",)


def test_of_an_incident_that_nobody_has_written_about_every_gap_is_named() -> None:
    made = report(fresh())
    assert made.to_be_written == (
        "spec.resolution.determination",
        "spec.resolution.summary",
        "spec.resolution.impact",
        "spec.resolution.rootCause",
        "spec.resolution.nearMisses",
        "spec.resolution.communications",
        "spec.resolution.lessons.wentWell",
        "spec.resolution.lessons.wentWrong",
        "spec.resolution.lessons.gotLucky",
        "spec.resolution.actions",
    )
    assert made.phase == "Not looked at yet"
    assert (made.actions, made.phases, made.evidence) == ((), (), ())


def test_when_all_is_written_and_decided_nothing_is_asked_for() -> None:
    body = raw()
    body["spec"]["regulatory"]["decisions"].append(
        {"clock": "eu-ai-act-73-2", "duty": "Applies", "decidedBy": "legal@example.test"}
    )
    assert report(body).to_be_written == ()


def test_each_step_says_on_whose_word_it_was_done_and_what_came_of_it() -> None:
    evidence, stop, isolate = report().actions
    assert {each.on_the_word_of for each in (evidence, stop, isolate)} == {"bob@example.test (approved)"}
    assert stop.changes == ("replicas 3 → 0",)
    assert (stop.state, stop.undo, stop.kept) == ("Undone", "replicas 0→3", ("/spec/paused",))
    assert (isolate.state, isolate.optional) == ("Ineffective", True)
    assert evidence.csf == ("RS.AN-07",)


@pytest.mark.parametrize(
    ("without", "word"),
    [
        ((), "ContainmentPolicy/chat-guard (policy)"),
        (("policy",), "system:serviceaccount:stanch-system:stanch (reporter)"),
        (("policy", "stamp"), "whoever created the incident"),
    ],
)
def test_without_an_approval_the_word_is_the_policys_or_the_reporters(
    without: tuple[str, ...], word: str
) -> None:
    body = raw()
    del body["status"]["approval"]["usedAt"]
    if "policy" in without:
        del body["status"]["plan"]["policy"]
    if "stamp" in without:
        del body["metadata"]["annotations"]
    assert report(body).actions[0].on_the_word_of == word


def test_evidence_is_told_item_by_item_as_it_is_now() -> None:
    (collection,) = report().evidence
    assert (collection.result, collection.message) == ("Unaltered", "")
    assert [item.result for item in collection.items] == ["Unaltered"] * 3
    assert collection.items[0].source == "Pod chat/llm-0"
    assert collection.missing == ("log of Pod llm-chat-7d9f: Timeout: no kubelet answered",)


def test_an_altered_item_is_named_and_the_others_stay_what_they_are() -> None:
    made = report(raw(), altered())
    (collection,) = made.evidence
    assert made.altered_evidence
    assert collection.message.startswith("001-pod.json: altered")
    assert [item.result for item in collection.items] == ["Unaltered", "Altered", "Unaltered"]


def test_evidence_that_could_not_be_read_is_neither_altered_nor_unaltered() -> None:
    made = report(raw(), unread())
    (collection,) = made.evidence
    assert (collection.result, made.altered_evidence) == ("NotVerified", False)
    assert "timed out" in collection.message


def test_evidence_that_nobody_has_read_is_not_called_verified() -> None:
    other = unread().__class__("s3://elsewhere", unread().verdict, "")
    (collection,) = report(raw(), other).evidence
    assert (collection.result, collection.message) == ("NotVerified", "it was not read for this report")


STORED = Stored(
    "file:///evidence/timeline", Claim(EVIDENCE.manifest.header.incident, "sha256:" + "7" * 64, 41)
)


@pytest.mark.parametrize(
    ("check", "result", "told"),
    [
        (CheckedTimeline(STORED, ()), "Unaltered", "the timeline through entry 41, chained to sha256:777"),
        (
            CheckedTimeline(STORED, (Finding("000007.json", Fault.MISSING, "the entry is not stored", 7),)),
            "Altered",
            "First entry of the timeline: 000007.json: missing: the entry is not stored",
        ),
        (
            CheckedTimeline(STORED, None, "the store timed out"),
            "NotVerified",
            "Not verified: the store timed out",
        ),
    ],
    ids=["unaltered", "altered", "not read"],
)
def test_the_stored_timeline_is_told_as_it_is_now(check: CheckedTimeline, result: str, told: str) -> None:
    made = report(timeline=check)
    assert made.stored_timeline is not None
    assert (made.stored_timeline.result, made.altered_evidence) == (result, result == "Altered")
    assert told in render(made, Form.MARKDOWN).decode()


def test_what_the_status_has_no_room_for_is_said_to_be_stored() -> None:
    alone, stored = (
        render(report(timeline=one), Form.MARKDOWN).decode() for one in (None, CheckedTimeline(STORED, ()))
    )
    assert (
        "3 earlier entries are no longer in the incident's status, which is bounded; whoever was notified"
        in alone
    )
    assert "they are stored at file:///evidence/timeline" in stored


def test_what_the_bounded_timeline_has_lost_is_counted() -> None:
    assert report().earlier == 3
    body = raw()
    for entry in body["status"]["timeline"]:
        del entry["seq"]
    assert report(body).earlier == 0, "entries that are not counted say nothing about others"


def test_a_technique_that_is_not_known_here_is_noted_and_never_refused() -> None:
    known, unknown, owasp = report().techniques
    assert (known.id, known.name) == ("AML.T0051.001", "LLM Prompt Injection: Indirect")
    assert (unknown.id, unknown.name) == ("AML.T9999", None)
    assert (owasp.catalogue, owasp.name) == ("OWASP", "Prompt Injection")


def phases(**status: Any) -> list[tuple[str, float, float | None]]:
    """Phase, seconds from the start, and to its end."""
    body = fresh() | {"status": status}
    spans = report(body).phases
    return [
        (
            span.phase,
            (span.begin - START).total_seconds(),
            None if span.end is None else (span.end - START).total_seconds(),
        )
        for span in spans
    ]


def entry(type_: str, after: float) -> dict[str, Any]:
    return {"at": at(seconds=after), "type": type_}


def test_phases_follow_the_timeline_and_the_last_one_lasts() -> None:
    assert phases(
        timestamps={"detected": at(seconds=1), "begun": at(seconds=2), "contained": at(seconds=3)},
        timeline=[entry("Containing", 2), entry("StepEffective", 2.5), entry("Contained", 3)],
    ) == [("Detected", 1, 2), ("Containing", 2, 3), ("Contained", 3, None)]


def test_containing_again_is_another_time_in_that_phase() -> None:
    assert phases(
        timestamps={"detected": at(seconds=1), "contained": at(seconds=3)},
        timeline=[entry("Contained", 3), entry("Releasing", 5), entry("Contained", 8), entry("Contained", 9)],
    ) == [("Detected", 1, 3), ("Contained", 3, 5), ("Releasing", 5, 8), ("Contained", 8, None)]


def test_where_the_timeline_begins_late_the_timestamps_tell_what_was_before() -> None:
    assert phases(
        timestamps={"detected": at(seconds=1), "begun": at(seconds=2), "contained": at(seconds=3)},
        timeline=[entry("Releasing", 50), entry("Contained", 60)],
    ) == [
        ("Detected", 1, 2),
        ("Containing", 2, 3),
        ("Contained", 3, 50),
        ("Releasing", 50, 60),
        ("Contained", 60, None),
    ]


def test_an_incident_that_has_ended_lasts_no_longer() -> None:
    assert phases(timestamps={"detected": at(seconds=1), "released": at(seconds=9)})[-1] == ("Released", 9, 9)


def test_what_occurred_before_it_was_detected_shows() -> None:
    times = {"occurred": at(), "detected": at(seconds=4)}
    assert phases(timestamps=times) == [("Undetected", 0, 4), ("Detected", 4, None)]
    body = fresh(occurredAt=at()) | {"status": {"timestamps": {"detected": at(seconds=4)}}}
    assert report(body).phases[0].phase == "Undetected", "also when it was found out later"


def test_phases_that_began_in_the_same_moment_have_one_order() -> None:
    moment = at(seconds=1)
    together = phases(timestamps={"detected": moment, "begun": moment, "contained": moment})
    assert together == [("Contained", 1, None)]


def test_the_same_incident_gives_the_same_report() -> None:
    assert report() == report()
    assert report(now=NOW + timedelta(seconds=1)).digest != report().digest


def test_a_report_can_be_read_back() -> None:
    for made in (report(), report(fresh()), report(raw(), altered())):
        assert Report.model_validate_json(made.json_form()) == made
