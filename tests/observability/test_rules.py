"""Every alert about the operator fires on what it is for and on nothing else, as promtool judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.observability import shipped
from tests.observability.shipped import Alert, alerts
from tests.triggers import library, mutations

if TYPE_CHECKING:
    from pathlib import Path

LEADER, STANDBY = 'stanch_leader{pod="a"}', 'stanch_leader{pod="b"}'
NOT_HELD = 'stanch_incident_conditions{namespace="chat",type="Held",status="False",pod="a"}'
HELD = 'stanch_incident_conditions{namespace="chat",type="Held",status="True",pod="a"}'
UNTOUCHED = 'stanch_incident_conditions{namespace="chat",type="Contested",status="False",pod="a"}'
MISSING = 'stanch_incident_conditions{namespace="chat",type="EvidenceCollected",status="False",pod="a"}'
TAKEN = 'stanch_incident_conditions{namespace="chat",type="EvidenceCollected",status="True",pod="a"}'
FAILED = 'stanch_incidents{namespace="chat",phase="ContainmentFailed",pod="a"}'
CONTAINED = 'stanch_incidents{namespace="chat",phase="Contained",pod="a"}'
WAITING = 'stanch_incidents{namespace="chat",phase="AwaitingApproval",pod="a"}'
CONTESTED = 'stanch_contested_total{namespace="chat",pod="a"}'
FAILING, DROPPED = (
    'stanch_sink_failing{sink="ocsf",pod="a"}',
    'stanch_sink_dropped_total{sink="ocsf",pod="a"}',
)
CLOCK = {"clock": "gdpr-33", "incident": "toxic", "namespace": "chat", "state": "Running"}
DUE = (
    'stanch_regulatory_clock_due_timestamp_seconds{clock="gdpr-33",incident="toxic",namespace="chat",'
    'state="Running"}'
)
ENDS = 'stanch_receiver_certificate_end_timestamp_seconds{pod="%s"}'
CHAT, OCSF = {"namespace": "chat"}, {"sink": "ocsf"}


@dataclass(frozen=True)
class Case:
    """Series a minute apart, in promtool's notation, and the summary that is read then; None: silence."""

    alert: str
    series: dict[str, str]
    at: str
    summary: str | None
    labels: dict[str, str] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        alert = alerts()[self.alert]
        firing = {
            "exp_labels": alert.labels | self.labels,
            "exp_annotations": alert.annotations.model_dump() | {"summary": self.summary},
        }
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "alert_rule_test": [
                {
                    "alertname": self.alert,
                    "eval_time": self.at,
                    "exp_alerts": [] if self.summary is None else [firing],
                }
            ],
        }


CASES = [
    Case("StanchAbsent", {}, "6m", "Prometheus has heard nothing of Stanch for 5 minutes"),
    Case("StanchAbsent", {}, "4m", None),
    Case("StanchAbsent", {STANDBY: "0x9"}, "9m", None),
    Case("StanchNotLeading", {LEADER: "0x9", STANDBY: "0x9"}, "3m", "No replica of Stanch leads"),
    Case("StanchNotLeading", {LEADER: "0x9", STANDBY: "0x9"}, "1m", None),
    Case("StanchNotLeading", {LEADER: "1x9", STANDBY: "0x9"}, "9m", None),
    Case(
        "StanchQueueOld",
        {'stanch_queue_oldest_seconds{pod="a"}': "130x9"},
        "3m",
        "A piece of Stanch's work is unfinished after 2m 10s",
    ),
    Case("StanchQueueOld", {'stanch_queue_oldest_seconds{pod="a"}': "130x9"}, "1m", None),
    Case("StanchQueueOld", {'stanch_queue_oldest_seconds{pod="a"}': "90x9"}, "9m", None),
    Case(
        "StanchHoldNotProven",
        {'stanch_hold_proven{pod="a"}': "0x9", LEADER: "1x9"},
        "4m",
        "Stanch could do what its hold should have denied",
        {"pod": "a"},
    ),
    Case("StanchHoldNotProven", {'stanch_hold_proven{pod="a"}': "0x9", LEADER: "1x9"}, "2m", None),
    Case("StanchHoldNotProven", {'stanch_hold_proven{pod="a"}': "1x9", LEADER: "1x9"}, "9m", None),
    Case("StanchHoldNotProven", {'stanch_hold_proven{pod="b"}': "0x9", STANDBY: "0x9"}, "9m", None),
    Case("StanchHeldFalse", {NOT_HELD: "2x9"}, "3m", "2 incidents in chat are not held", CHAT),
    Case("StanchHeldFalse", {NOT_HELD: "2x9"}, "1m", None),
    Case("StanchHeldFalse", {NOT_HELD: "0x9", HELD: "1x9", UNTOUCHED: "1x9"}, "9m", None),
    Case("StanchContainmentFailed", {FAILED: "1x9"}, "1m", "1 incidents in chat are not contained", CHAT),
    Case("StanchContainmentFailed", {FAILED: "0x9", CONTAINED: "3x9"}, "9m", None),
    Case("StanchAwaitingApproval", {WAITING: "1x9"}, "6m", "1 incidents in chat wait for a person", CHAT),
    Case("StanchAwaitingApproval", {WAITING: "1x9"}, "4m", None),
    Case("StanchAwaitingApproval", {WAITING: "0x9", CONTAINED: "3x9"}, "9m", None),
    Case(
        "StanchContested",
        {CONTESTED: "_x4 1x30"},
        "6m",
        "Somebody has tried to undo a containment in chat",
        CHAT,
    ),
    Case(
        "StanchContested",
        {CONTESTED: "3x20 4x20"},
        "22m",
        "Somebody has tried to undo a containment in chat",
        CHAT,
    ),
    Case("StanchContested", {CONTESTED: "3x40"}, "30m", None),
    Case("StanchContested", {CONTESTED: "0x9"}, "5m", None),
    Case(
        "StanchEvidenceIncomplete",
        {MISSING: "1x9"},
        "6m",
        "Of 1 incidents in chat evidence is missing",
        CHAT,
    ),
    Case("StanchEvidenceIncomplete", {MISSING: "1x9"}, "4m", None),
    Case("StanchEvidenceIncomplete", {MISSING: "0x9", TAKEN: "1x9", UNTOUCHED: "1x9"}, "9m", None),
    Case("StanchSinkFailing", {FAILING: "2x20"}, "16m", "Of 2 incidents ocsf does not take the news", OCSF),
    Case("StanchSinkFailing", {FAILING: "2x20"}, "14m", None),
    Case("StanchSinkFailing", {FAILING: "0x20"}, "20m", None),
    Case("StanchSinkDropped", {DROPPED: "_x4 2x90"}, "6m", "ocsf was not told all that happened", OCSF),
    Case("StanchSinkDropped", {DROPPED: "2x90 3x9"}, "93m", "ocsf was not told all that happened", OCSF),
    Case("StanchSinkDropped", {DROPPED: "2x200"}, "90m", None),
    Case("StanchSinkDropped", {DROPPED: "0x9"}, "5m", None),
    Case(
        "StanchReceiverCertificateEnds",
        {ENDS % "a": "604859x9", ENDS % "b": "900000x9"},
        "1m",
        "The certificate that alerts are sent to ends in 6d 23h 59m 59s",
    ),
    Case("StanchReceiverCertificateEnds", {ENDS % "a": "604860x9"}, "1m", None),
    Case("StanchReceiverCertificateEnds", {ENDS % "a": "0x9"}, "1m", None),
    Case("StanchClockDue", {DUE: "7260x99"}, "1m", "gdpr-33 of chat/toxic is due in 2h 0m 0s", CLOCK),
    Case("StanchClockDue", {DUE: "90000x99"}, "10m", None),
    Case("StanchClockDue", {DUE: "600x99"}, "20m", None),
    Case("StanchClockOverdue", {DUE: "600x99"}, "20m", "gdpr-33 of chat/toxic is overdue by 10m 0s", CLOCK),
    Case("StanchClockOverdue", {DUE: "7200x99"}, "20m", None),
    Case(
        "StanchUnattended",
        {'stanch_unattended_containments{namespace="chat",pod="a"}': "2x9"},
        "6m",
        "Nobody has looked at 2 containments in chat",
        CHAT,
    ),
    Case("StanchUnattended", {'stanch_unattended_containments{namespace="chat",pod="a"}': "2x9"}, "4m", None),
    Case("StanchUnattended", {'stanch_unattended_containments{namespace="chat",pod="a"}': "0x9"}, "9m", None),
]
MUTANTS = [
    pytest.param(mutant, id=f"{alert.alert}: {what}")
    for alert in alerts().values()
    for what, mutant in mutations.mutants(alert)
]


def judged(directory: Path, rules: library.Groups, *cases: Case) -> str | None:
    """What promtool finds wrong."""
    tests = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [case.wire() for case in cases],
    }
    return library.unit_test(directory, rules, tests)


def test_the_rules_do_what_they_are_for(tmp_path: Path) -> None:
    wrong = judged(tmp_path, shipped.rule().spec, *CASES)
    assert wrong is None, wrong


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_made_wrong_is_noticed(mutant: Alert, tmp_path: Path) -> None:
    about = [case for case in CASES if case.alert == mutant.alert]
    wrong = judged(tmp_path, shipped.replaced(mutant), *about)
    assert wrong is not None, f"no case fails without it, in {mutant.expr}"
    assert "FAILED" in wrong


@pytest.mark.parametrize("name", alerts())
def test_an_alert_is_tested_where_it_fires_and_where_it_is_silent(name: str) -> None:
    summaries = [case.summary for case in CASES if case.alert == name]
    assert None in summaries
    assert [summary for summary in summaries if summary is not None]


@pytest.mark.parametrize("alert", alerts().values(), ids=alerts())
def test_an_alert_says_what_to_do_and_where_to_read_on(alert: Alert) -> None:
    assert alert.labels.keys() == {"severity"}
    assert alert.labels["severity"] in {"critical", "warning"}
    assert alert.annotations.description.endswith(".")
    assert alert.annotations.description.count(". ") >= 1, "what it means, then what to do"
    page, _, anchor = alert.annotations.runbook.partition("#")
    assert page == "docs/how-to/observability.md"
    assert anchor == alert.alert.lower()
    assert f"\n### {alert.alert}\n" in shipped.HOW_TO.read_text(encoding="utf-8")
