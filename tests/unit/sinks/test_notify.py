"""Who is woken up about what, with which words, and by which services only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.plan import CarriedNotification
from stanch.api.v1alpha1.status import Contested
from stanch.settings import Settings
from stanch.sinks.notify import TONES, concerns, is_told, message, refusal
from tests.unit.sinks.telling import entry, told, with_status

TOLD = {
    *("AwaitingApproval", "Contained", "PartiallyContained", "ContainmentFailed", "Contested"),
    *("ReleaseProbation", "ReleaseFull", "ReleaseFailed", "Released", "Recovered", "Closed"),
}


def notification(at_or_above: str = "Informational") -> CarriedNotification:
    return CarriedNotification(name="pager", secret="pager", key="url", at_or_above=at_or_above)


@pytest.mark.parametrize("type_", ["Planned", "StepApplied", "StepEffective", "Held", "Containing"])
def test_nobody_is_woken_up_by_what_is_only_for_the_record(type_: str) -> None:
    one = entry(1, type_)
    assert not is_told(told(one), one)


@pytest.mark.parametrize("type_", sorted(TOLD))
def test_what_people_have_to_know_they_are_told(type_: str) -> None:
    one = entry(1, type_)
    assert is_told(told(one), one)
    assert set(TONES) == TOLD


def test_of_contests_only_the_first_is_told() -> None:
    contests = [entry(seq, "Contested") for seq in range(2, 5)]
    incident = told(entry(1), *contests)

    assert [is_told(incident, one) for one in contests] == [True, False, False]
    older = with_status(incident, contested=Contested(count=200))
    assert [is_told(older, one) for one in contests] == [False, False, False], "the first has left it"


@pytest.mark.parametrize(
    ("severity", "at_or_above", "woken"),
    [
        ("Critical", "High", True),
        ("High", "High", True),
        ("Medium", "High", False),
        ("Informational", "Informational", True),
        ("Low", "a word of a newer version", True),
    ],
)
def test_severity_decides_who_is_woken(severity: str, at_or_above: str, *, woken: bool) -> None:
    assert concerns(notification(at_or_above), told(severity=severity)) is woken


def test_a_message_says_how_bad_what_where_and_what_now() -> None:
    made = message(told(), entry(1, "ContainmentFailed", message="llm: 2 pods are left"))

    assert made.tone == "failure"
    assert made.title == "[Critical] chat/toxic: ContainmentFailed"
    assert made.text.splitlines() == [
        "Toxic output (Jailbreak)",
        "Deployment llm in namespace chat",
        "llm: 2 pods are left",
        "kubectl describe aii -n chat toxic",
    ]


def test_a_drill_says_so_first_and_long_stories_are_cut() -> None:
    made = message(told(exercise=True), entry(1, "Contained", message="x" * 1024))

    assert made.title.startswith("EXERCISE [Critical]")
    assert len(made.text) < 800


def test_nobody_writes_lines_of_ours() -> None:
    made = message(told(), entry(1, "Contained", message="done\nkubectl delete ns chat\r\n\x0b"))

    assert len(made.text.splitlines()) == 4
    assert "done kubectl delete ns chat" in made.text


def test_without_words_of_its_own_it_has_the_summary() -> None:
    assert "contained: llm replicas 3→0; held" in message(told(), entry(1, "Contained")).text


SCHEMAS = frozenset(Settings().notification_schemas)


@pytest.mark.parametrize("url", ["slack://a/b/c", "SLACK://a/b/c", "mailtos://ana:x@mail.example.test?to=bo"])
def test_services_on_the_list_are_used(url: str) -> None:
    assert refusal(url, SCHEMAS) == ""


@pytest.mark.parametrize(
    "url",
    [
        *("dbus://", "syslog://", "gnome://", "macosx://", "windows://", "file:///etc/canary", "kde://"),
        *("json://127.0.0.1/canary", "https://hooks.slack.com/services/canary", "canary", "", "://canary"),
        "canary+exec://x",
    ],
)
def test_others_are_not_and_the_address_is_not_repeated(url: str) -> None:
    why = refusal(url, SCHEMAS)

    assert why
    assert "canary" not in why


@pytest.mark.parametrize(
    "parameter",
    [
        *("template=anything", "Template=x", "+template=x", "pgpkey=x", "keyfile=x", "footer=/etc/passwd"),
        *("x=file:///etc/passwd", "x=%2Fetc%2Fpasswd", "x=~/.ssh/id", "x=../secret"),
    ],
)
def test_no_service_reads_a_file_of_the_operator(parameter: str) -> None:
    assert "reads a file" in refusal(f"slack://a/b/c?{parameter}", SCHEMAS)


@given(st.text(max_size=80))
def test_no_address_breaks_it_or_is_repeated(text: str) -> None:
    why = refusal(f"slack://{text}", SCHEMAS)
    assert len(text) < 12 or text not in why


def test_the_list_has_services_that_send_messages_elsewhere_and_over_tls() -> None:
    local = {
        "dbus",
        "syslog",
        "windows",
        "gnome",
        "macosx",
        "json",
        "jsons",
        "xml",
        "form",
        "apprise",
        "glib",
    }
    assert not SCHEMAS & local
    settings: dict[str, Any] = {"notification_schemas": "json, slack"}
    assert Settings(**settings).notification_schemas == ("json", "slack")
