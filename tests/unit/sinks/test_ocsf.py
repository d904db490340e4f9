"""Phases as OCSF Incident Findings: valid, and the same incident throughout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.status import Phase
from stanch.sinks.ocsf import IncidentFinding, body_of, finding, is_told
from tests.unit.sinks.telling import entry, told

if TYPE_CHECKING:
    from stanch.api.v1alpha1.status import TimelineEntry

REQUIRED = {
    *("activity_id", "category_uid", "class_uid", "finding_info_list", "metadata"),
    *("severity_id", "status_id", "time", "type_uid", "assignee_group"),
}


def sent(one: TimelineEntry, *before: TimelineEntry, **spec: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(body_of(finding(told(*before, one, **spec), one)))
    return body


def test_a_phase_is_a_finding_and_nothing_else_is() -> None:
    assert is_told(entry(1, "Contained"))
    assert not is_told(entry(1, "StepEffective"))
    assert not is_told(entry(1, "Contested"))


@given(st.sampled_from(Phase), st.sampled_from(Severity), st.integers(1, 10_000))
def test_every_finding_is_valid_and_names_the_incident(phase: Phase, severity: Severity, seq: int) -> None:
    body = sent(entry(seq, str(phase), reason="Because", message="so"), severity=str(severity))

    assert set(body) >= REQUIRED
    assert IncidentFinding.model_validate(body).class_uid == 2005
    assert body["type_uid"] == body["class_uid"] * 100 + body["activity_id"]
    assert [one["uid"] for one in body["finding_info_list"]] == ["uid-toxic"]
    assert body["metadata"]["correlation_uid"] == "uid-toxic"
    assert body["metadata"]["uid"] == f"uid-toxic-{seq}"


@pytest.mark.parametrize(
    ("severity", "number"), [("Critical", 5), ("High", 4), ("Medium", 3), ("Low", 2), ("Informational", 1)]
)
def test_severities_keep_their_rank(severity: str, number: int) -> None:
    assert sent(entry(1, "Contained"), severity=severity)["severity_id"] == number


@pytest.mark.parametrize(
    ("phase", "activity", "status"),
    [
        ("Containing", 1, 2),
        ("AwaitingApproval", 1, 3),
        ("Detected", 1, 1),
        ("Rejected", 3, 5),
    ],
)
def test_the_first_phase_creates_it_unless_it_ends_it(phase: str, activity: int, status: int) -> None:
    body = sent(entry(2, phase), entry(1, "Planned"))

    assert (body["activity_id"], body["status_id"]) == (activity, status)


@pytest.mark.parametrize(
    ("phase", "activity", "status"),
    [("Contained", 2, 2), ("Released", 2, 4), ("Recovered", 2, 4), ("Closed", 3, 5)],
)
def test_later_phases_update_it_and_the_last_closes_it(phase: str, activity: int, status: int) -> None:
    body = sent(entry(2, phase), entry(1, "Containing"))

    assert (body["activity_id"], body["status_id"]) == (activity, status)
    assert ("end_time" in body) == (phase == "Closed")


def test_what_began_before_the_timeline_does_is_updated() -> None:
    assert sent(entry(41, "Contained"), entry(40, "StepEffective"))["activity_id"] == 2


def test_techniques_are_atlas_and_evidence_is_referred_to() -> None:
    body = sent(entry(1, "Contained"), attacks=["AML.T0051.001", "AML.T0057"])

    first, second = body["attacks"]
    assert first["technique"]["uid"] == "AML.T0051"
    assert first["sub_technique"]["uid"] == "AML.T0051.001"
    assert second["technique"]["src_url"] == "https://atlas.mitre.org/techniques/AML.T0057"
    assert "sub_technique" not in second
    (evidence,) = body["enrichments"]
    assert evidence["value"] == "s3://evidence/chat/toxic"
    assert evidence["data"]["head"] == f"sha256:{'0' * 64}"


def test_a_drill_is_a_test_and_a_false_positive_is_one() -> None:
    resolution = {"determination": "FalsePositive", "rootCause": "a bad rule", "summary": "nothing happened"}

    assert sent(entry(1, "Contained"), exercise=True)["verdict_id"] == 6
    closed = sent(entry(1, "Closed"), resolution=resolution)
    assert closed["verdict_id"] == 1
    assert closed["comment"] == "nothing happened"


def test_the_commander_is_whom_it_is_assigned_to() -> None:
    body = sent(entry(1, "Contained"), roles={"incidentCommander": "ana"})

    assert body["assignee_group"]["name"] == "ana"
    assert sent(entry(1, "Contained"))["assignee_group"]["name"] == "responders of namespace chat"
