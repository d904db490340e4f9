"""What an incident of a signal is called and says: the same every time, valid whatever the signal carries."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import AIIncident, TargetKind
from stanch.policies.match import Workload
from stanch.signals.intake.manifest import incident_of
from stanch.signals.intake.naming import incident_labels, incident_name, pair_labels, short
from stanch.signals.intake.wording import in_utc, one_line, several_lines, web_address
from stanch.signals.model import Signal, Speaker
from tests.unit.policies import made
from tests.unit.signals.made import ANYBODY, HOSTILE, SINCE, armed_by, query, ref, signal, trigger

DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LLM = Workload("Deployment", "llm", {})
(TOXIC,) = armed_by(trigger())
(DRIFT,) = armed_by(query())


def incident(given_: Signal, speaker: Speaker = ANYBODY, workload: Workload = LLM) -> AIIncident:
    """Read as the API server sends it: as JSON in UTF-8, strictly."""
    body = incident_of(given_, speaker, TOXIC, workload, "chat")
    return AIIncident.parse(json.loads(json.dumps(body, ensure_ascii=False).encode()))


def test_a_name_is_the_trigger_and_a_digest_of_the_firing() -> None:
    name = incident_name("toxic", "uid-chat", LLM, "f1", SINCE)

    assert re.fullmatch(r"toxic-[0-9a-f]{10}", name)
    assert incident_name("toxic", "uid-chat", LLM, "f1", SINCE) == name


@pytest.mark.parametrize(
    "other",
    [
        incident_name("toxic", "uid-other", LLM, "f1", SINCE),
        incident_name("toxic", "uid-chat", Workload("StatefulSet", "llm", {}), "f1", SINCE),
        incident_name("toxic", "uid-chat", Workload("Deployment", "llm2", {}), "f1", SINCE),
        incident_name("toxic", "uid-chat", LLM, "f2", SINCE),
        incident_name("toxic", "uid-chat", LLM, "f1", SINCE + timedelta(milliseconds=1)),
    ],
)
def test_another_firing_has_another_name(other: str) -> None:
    assert other != incident_name("toxic", "uid-chat", LLM, "f1", SINCE)


def test_the_same_moment_in_another_zone_is_the_same_firing() -> None:
    there = SINCE.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert incident_name("t", "u", LLM, "f", there) == incident_name("t", "u", LLM, "f", SINCE)
    assert incident_name("t", "u", LLM, "f", SINCE.replace(tzinfo=None)) == incident_name(
        "t", "u", LLM, "f", SINCE
    )


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), HOSTILE, st.datetimes())
def test_a_name_is_one_that_an_object_may_have(trigger_name: str, fingerprint: str, at: datetime) -> None:
    name = incident_name(trigger_name, "uid", Workload("CronJob", "n" * 253, {}), fingerprint, at)

    assert DNS_1123.fullmatch(name)
    assert len(name) <= 253
    assert name == incident_name(trigger_name, "uid", Workload("CronJob", "n" * 253, {}), fingerprint, at)


@given(
    st.lists(st.text(max_size=3), min_size=4, max_size=4),
    st.lists(st.text(max_size=3), min_size=4, max_size=4),
)
def test_parts_of_a_name_cannot_be_shifted_into_each_other(one: list[str], other: list[str]) -> None:
    def name(parts: list[str]) -> str:
        return incident_name("t", parts[0], Workload(parts[1], parts[2], {}), parts[3], SINCE)

    assert (name(one) == name(other)) is (one == other)


def test_labels_find_all_incidents_of_a_workload_by_a_policy() -> None:
    policy = made.own("chat")
    labels = incident_labels("toxic", policy, LLM)

    assert labels["stanch.dev/trigger"] == "toxic"
    assert pair_labels(policy, LLM).items() <= labels.items()
    assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
    others = (pair_labels(made.cluster("chat"), LLM), pair_labels(policy, Workload("DaemonSet", "llm", {})))
    assert pair_labels(policy, LLM) not in others


def test_a_fingerprint_that_has_no_room_is_told_by_a_digest() -> None:
    assert short("9f86d081884c7d65", 128) == "9f86d081884c7d65"
    for odd in ("", "x" * 129, "a\nb", "é", "\ud800"):
        assert re.fullmatch(r"[0-9a-f]{16}", short(odd, 128))
    assert short("x" * 129, 128) != short("x" * 130, 128)


def test_an_incident_tells_what_fired_and_what_is_to_be_done() -> None:
    told = incident(
        signal(
            annotations={"summary": "Toxic output of\nllm", "description": "40 % above\n\n the threshold"},
            url="https://prometheus.example.test/graph?g0=1",
            value="0.41",
        )
    )

    spec = told.spec.wire()
    assert spec["title"] == "Toxic output of llm"
    assert spec["description"] == "40 % above\n\nthe threshold"
    assert (spec["category"], spec["severity"]) == ("OutputPolicyViolation", "Critical")
    assert spec["policyRef"] == {"kind": "ContainmentPolicy", "name": "chat"}
    assert spec["targets"] == [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"}]
    assert spec["mode"] == "Enforce"
    assert "steps" not in spec, "the plan is the policy's"
    assert spec["occurredAt"] == "2026-01-02T03:03:48Z"
    assert spec["detection"] == {
        "method": "Alert",
        "ruleRef": "https://prometheus.example.test/graph?g0=1",
        "signals": [
            {
                "name": "ToxicOutput",
                "source": "alertmanager",
                "fingerprint": "f1",
                "value": "0.41",
                "observedAt": "2026-01-02T03:03:48Z",
            }
        ],
    }


def test_without_a_summary_the_title_is_the_alert_and_its_target() -> None:
    assert incident(signal()).spec.title == "ToxicOutput: Deployment llm"
    assert incident(signal("")).spec.title == "unnamed: Deployment llm"


def test_a_sample_is_told_as_a_metric() -> None:
    sample = replace(signal("drift"), trigger=ref("drift"))

    spec = AIIncident.parse(incident_of(sample, ANYBODY, DRIFT, LLM, "chat")).spec

    assert spec.detection is not None
    assert spec.detection.method == "Metric"


@pytest.mark.parametrize("kind", list(TargetKind))
def test_every_kind_of_target_has_its_api_version(kind: TargetKind) -> None:
    (target,) = incident(signal(), workload=Workload(kind, "llm", {})).spec.targets

    assert target.api_version == ("batch/v1" if kind in {"Job", "CronJob"} else "apps/v1")


@given(
    name=HOSTILE,
    annotations=st.dictionaries(st.sampled_from(["summary", "description", "runbook_url"]), HOSTILE),
    texts=st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
    at=st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
)
def test_whatever_a_signal_carries_the_incident_is_valid(
    name: str, annotations: dict[str, str], texts: tuple[str, str, str, str], at: datetime
) -> None:
    fingerprint, url, value, who = texts
    hostile = Signal(
        name,
        fingerprint,
        at,
        firing=True,
        labels={"alertname": name},
        annotations=annotations,
        url=url,
        value=value,
    )

    told = incident(hostile, Speaker(who, None))

    assert told.spec.title.isprintable()
    assert told.spec.detection is not None
    assert told.spec.occurred_at is not None
    assert told.spec.occurred_at.utcoffset() == timedelta(0)
    assert len(json.dumps(told.wire())) < 64 * 1024
    rule = told.spec.detection.rule_ref
    assert rule is None or rule.startswith(("http://", "https://", "HTTP"))


@given(HOSTILE, st.integers(1, 300))
def test_a_line_is_one_line_that_fits(text: str, most: int) -> None:
    line = one_line(text, most)

    assert len(line) <= most
    assert line.isprintable()
    assert len(several_lines(text, most)) <= most
    assert all(part.isprintable() for part in several_lines(text, most).split("\n"))
    assert several_lines(text, most).encode().decode() == several_lines(text, most), "no lone surrogate"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "javascript://a.test/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://",
        "https://[::1",
        "https://a/ b",
        "https://a/\n",
        "https://a/" + "x" * 2000,
        "",
    ],
)
def test_only_whole_addresses_of_the_web_are_kept(url: str) -> None:
    assert web_address(url, 1024) == ""
    assert web_address("http://a.test/graph", 1024) == "http://a.test/graph"


def test_a_time_that_utc_has_no_room_for_keeps_its_figures() -> None:
    last = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=1)))

    assert in_utc(last) == datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
