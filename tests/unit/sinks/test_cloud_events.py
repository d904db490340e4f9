"""Every transition as a CloudEvent: which one, of what, and nothing that is nobody's business."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from stanch.sinks.cloud_events import body_of, cloud_event, type_of
from tests.unit.sinks.telling import entry, timeline, told


def sent(**spec: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        body_of(cloud_event(told(*timeline(1, 3), **spec), entry(3, "Contained", message="all of it")))
    )
    return body


def test_it_is_a_cloud_event_whose_id_is_the_same_when_it_is_sent_again() -> None:
    body = sent()

    assert body == sent()
    assert body["specversion"] == "1.0"
    assert body["id"] == "uid-toxic-3"
    assert body["source"] == "/namespaces/chat/aiincidents/toxic"
    assert body["type"] == "dev.stanch.incident.contained.v1"
    assert body["subject"] == "Deployment/llm"
    assert body["time"] == "2026-01-02T03:04:08Z"
    assert body["datacontenttype"] == "application/json"
    read = JSONFormat().read(CloudEvent, json.dumps(body))
    assert read.get_id() == "uid-toxic-3"


def test_sequences_compare_as_text() -> None:
    events = [cloud_event(told(), entry(seq)) for seq in (2, 10, 9_999_999)]

    numbers = [event.get_extension("sequence") for event in events]
    assert numbers == sorted(numbers)


def test_it_tells_the_entry_and_what_the_incident_is() -> None:
    data = sent(exercise=True, attacks=["AML.T0051"])["data"]

    assert data["entry"]["message"] == "all of it"
    assert data["entry"]["actor"] == "stanch"
    assert data["incident"]["severity"] == "Critical"
    assert data["incident"]["phase"] == "Contained"
    assert data["incident"]["targets"] == ["Deployment/llm"]
    assert data["incident"]["attacks"] == ["AML.T0051"]
    assert data["incident"]["exercise"] is True


def test_what_a_person_wrote_for_others_and_labels_of_alerts_stay_here() -> None:
    signal = {"name": "ToxicOutput", "value": "canary-value"}
    body = json.dumps(
        sent(description="canary-description", detection={"signals": [signal]}, dedupKey="canary-key")
    )

    assert "canary" not in body


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("Contained", "contained"),
        ("StepEffective", "step-effective"),
        ("AwaitingApproval", "awaiting-approval"),
        ("VerificationPassed", "verification-passed"),
    ],
)
def test_types_are_words(type_: str, said: str) -> None:
    assert type_of(entry(1, type_)) == f"dev.stanch.incident.{said}.v1"
