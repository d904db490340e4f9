"""What is read out of a notification, whatever else is in it."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.signals.alertmanager.payload import (
    MAX_ANNOTATIONS,
    MAX_LABEL_NAME,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_TEXT,
    MAX_URL,
    NotANotification,
    fingerprint_of,
    left_out,
    parse,
    question_about,
    signals_of,
)
from tests.unit.signals.receiving import alert, notification

if TYPE_CHECKING:
    from stanch.signals.alertmanager.payload import Notification
    from stanch.signals.model import Signal


def parsed(*alerts: Any, **changes: Any) -> Notification:
    return parse(json.dumps(notification(*alerts, **changes)).encode())


def signal(**changes: Any) -> Signal:
    (only,) = signals_of(parsed(alert(**changes)))
    return only


def malformed(**changes: Any) -> str:
    (only,) = parsed(alert(**changes)).malformed
    return only.problem


def test_an_alert_is_a_signal() -> None:
    one = signal()
    assert (one.name, one.fingerprint, one.firing) == ("ToxicOutput", "f-ToxicOutput", True)
    assert one.starts_at == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert one.labels == {"alertname": "ToxicOutput", "namespace": "chat", "deployment": "llm-chat"}
    assert one.annotations == {"summary": "toxic answers"}
    assert one.url == "http://prometheus.example.test/graph?g0.expr=toxic+%3E+0"
    assert (one.silenced, one.value, one.trigger) == (False, "", None)


@pytest.mark.parametrize(
    ("changes", "firing"),
    [
        ({"status": "firing"}, True),
        ({"status": "firing", "endsAt": "2026-03-01T12:05:00Z"}, True),
        ({"status": "resolved", "endsAt": "2026-03-01T12:05:00Z"}, False),
        ({"status": "resolved", "endsAt": "0001-01-01T00:00:00Z"}, False),
        ({"status": None, "endsAt": "0001-01-01T00:00:00Z"}, True),
        ({"status": None, "endsAt": None}, True),
        ({"status": None, "endsAt": "2026-03-01T12:05:00Z"}, False),
    ],
)
def test_whether_it_fires_is_its_own_status(changes: dict[str, Any], firing: bool) -> None:  # noqa: FBT001 - a table
    for group in ("firing", "resolved", "whatever"):
        (one,) = signals_of(parsed(alert(**changes), status=group))
        assert one.firing is firing


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-01T12:00:00Z", (12, 0)),
        ("2026-03-01t12:00:00z", (12, 0)),
        ("2026-03-01T13:30:00+01:30", (12, 0)),
        ("2026-03-01T12:00:00.000000001Z", (12, 0)),
    ],
)
def test_one_instant_is_one_text(written: str, meant: tuple[int, int]) -> None:
    starts_at = signal(startsAt=written).starts_at
    assert starts_at.isoformat() == datetime(2026, 3, 1, *meant, tzinfo=UTC).isoformat()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "now",
        17,
        17.5,
        "1780000000",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-13-01T12:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "99999-01-01T00:00:00Z",
        {"$date": 1},
    ],
)
def test_a_time_that_is_none_is_malformed(wrong: object) -> None:
    assert malformed(startsAt=wrong).startswith("startsAt: ")


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        [],
        "x",
        {"alertname": 1},
        {"alertname": None},
        {"alertname": ["x"]},
        {"": "x"},
        {"n" * (MAX_LABEL_NAME + 1): "x"},
        {"n": "v" * (MAX_LABEL_VALUE + 1)},
        {f"n{number}": "v" for number in range(MAX_LABELS + 1)},
    ],
)
def test_labels_beyond_measure_are_malformed_not_cut(labels: Any) -> None:
    one = alert()
    one["labels"] = labels
    (problem,) = parsed(one).malformed
    assert problem.problem.startswith("labels")
    assert len(problem.problem) < 1024


def test_labels_up_to_the_measure_are_taken() -> None:
    labels = {f"n{number}".ljust(MAX_LABEL_NAME, "x"): "v" * MAX_LABEL_VALUE for number in range(MAX_LABELS)}
    one = alert()
    one["labels"] = labels
    (taken,) = signals_of(parsed(one))
    assert taken.labels == labels


@pytest.mark.parametrize("status", ["pending", "", "FIRING", 1, ["firing"]])
def test_a_status_that_nobody_knows_is_malformed(status: object) -> None:
    assert malformed(status=status).startswith("status: ")


def test_what_only_people_read_never_costs_an_alert() -> None:
    long = signal(
        annotations={"prompt": "x" * 1_000_000, "n" * 1000: "y", "": "z", "number": 1, "null": None}
    )
    assert long.annotations == {"prompt": "x" * MAX_TEXT}
    many = signal(annotations={f"a{number}": "x" for number in range(1000)})
    assert len(many.annotations) == MAX_ANNOTATIONS
    no_map: Any
    for no_map in (None, [], "text", 7):
        assert signal(annotations=no_map).annotations == {}
    assert signal(valueString="v" * 100_000).value == "v" * MAX_TEXT
    no_text: Any
    for no_text in (None, 0.31, {"B": 1}):
        assert signal(valueString=no_text).value == ""


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "/graph",
        "http://",
        "http://x.test/a b",
        "http://x.test/\nSet-Cookie: a",
        "http://x.test/" + "x" * MAX_URL,
        None,
        7,
    ],
)
def test_only_a_link_is_a_link(link: object) -> None:
    assert signal(generatorURL=link).url == ""


@pytest.mark.parametrize("given_fingerprint", [None, "", "x" * 65, "a b", "../a", "ä", 7, ["a"]])
def test_a_fingerprint_that_is_none_is_made_of_the_labels(given_fingerprint: object) -> None:
    one = signal(fingerprint=given_fingerprint)
    assert one.fingerprint == fingerprint_of(dict(one.labels))


def test_an_alert_without_a_name_is_one_all_the_same() -> None:
    one = alert()
    del one["labels"]["alertname"]
    (taken,) = signals_of(parsed(one))
    assert taken.name == "unnamed"


LABELS = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), min_size=1, max_size=8)


@given(LABELS, LABELS)
def test_a_computed_fingerprint_is_of_the_labels_and_nothing_else(
    one: dict[str, str], other: dict[str, str]
) -> None:
    backwards = dict(reversed(one.items()))
    assert fingerprint_of(one) == fingerprint_of(backwards)
    assert (fingerprint_of(one) == fingerprint_of(other)) == (one == other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint", "valueString"]
)


@given(st.lists(JSON | st.builds(lambda name, value: {**alert(), name: value}, FIELDS, JSON), max_size=6))
def test_whatever_an_alert_is_the_good_ones_beside_it_are_taken(others: list[Any]) -> None:
    read = parsed(alert("First"), *others, alert("Last"))
    taken = signals_of(read)
    assert (taken[0].name, taken[-1].name) == ("First", "Last")
    assert len(taken) + len(read.malformed) == len(others) + 2
    for one in taken:
        assert one.starts_at.tzinfo is UTC
        assert one.fingerprint
        assert all(isinstance(value, str) for value in one.labels.values())


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_body_is_it_is_a_notification_or_refused(body: bytes) -> None:
    with suppress(NotANotification):
        assert parse(body).truncated >= 0


@pytest.mark.parametrize(
    ("labels", "filters"),
    [
        ({}, []),
        ({"alertname": "ToxicOutput"}, ['alertname="ToxicOutput"']),
        ({"a": 'x"} or {b="'}, [r'a="x\"} or {b=\""']),
        ({"a": "\\"}, [r'a="\\"']),
        ({"a": '\\"'}, [r'a="\\\""']),
        ({"a": "one\ntwo"}, [r'a="one\ntwo"']),
        ({"a": ".*"}, ['a=".*"']),
        ({"a": ""}, ['a=""']),
        ({"a": "ä"}, ['a="ä"']),
        ({'b="x",a': "y"}, [r'"b=\"x\",a"="y"']),
        ({"service.name": "chat"}, ['"service.name"="chat"']),
    ],
)
def test_a_group_is_asked_for_by_exact_matchers(labels: dict[str, str], filters: list[str]) -> None:
    question = question_about(parsed(groupLabels=labels))
    assert [value for name, value in question if name == "filter"] == filters


def test_a_receiver_is_a_name_and_no_pattern() -> None:
    question = dict(question_about(parsed(receiver="chat.*/stanch|x")))
    assert question["receiver"] == r"chat\.\*/stanch\|x"
    assert (question["active"], question["silenced"], question["inhibited"]) == ("true", "false", "false")


@given(st.text(max_size=30))
def test_a_value_cannot_leave_its_quotes(value: str) -> None:
    (matcher,) = [text for name, text in question_about(parsed(groupLabels={"a": value})) if name == "filter"]
    assert matcher.startswith('a="')
    assert "\n" not in matcher
    unescaped, rest = "", matcher[3:]
    while not rest.startswith('"'):
        step = 2 if rest.startswith("\\") else 1
        unescaped += {"\\n": "\n", "\\\\": "\\", '\\"': '"'}.get(rest[:step], rest[:step])
        rest = rest[step:]
    assert (unescaped, rest) == (value, '"')


def listed(*alerts: Any) -> bytes:
    return json.dumps(list(alerts)).encode()


def in_api(name: str, **changes: Any) -> dict[str, Any]:
    """As `GET /api/v2/alerts` lists it."""
    one = alert(name, **changes)
    return {
        **one,
        "endsAt": "2026-03-01T12:10:00.000Z",
        "updatedAt": "2026-03-01T12:06:00.000Z",
        "receivers": [{"name": "stanch"}],
        "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
    }


GROUP = {"namespace": "chat"}


def test_what_was_left_out_is_what_was_not_delivered() -> None:
    delivered = parsed(alert("A"), alert("B", status="resolved"), truncatedAlerts=2, groupLabels=GROUP)
    signals, problems = left_out(
        delivered, listed(in_api("A"), in_api("C"), {"labels": 1}, in_api("D"), in_api("B"))
    )
    assert [(one.name, one.firing) for one in signals] == [("C", True), ("D", True)]
    assert [one.index for one in problems] == [2]


def test_alerts_of_another_group_are_not_of_this_one() -> None:
    delivered = parsed(alert("A"), truncatedAlerts=2, groupLabels=GROUP)
    other = in_api("C", labels={"namespace": "payments"})
    signals, _ = left_out(delivered, listed(in_api("A"), other))
    assert signals == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", "array"),
        (b"not json", "JSON"),
        (b"[]", "none of the alerts"),
        (listed(in_api("C")), "none of the alerts"),
        (b"[" * 100_000, "recursion"),
        (listed(*[1] * 10_001), "10000"),
    ],
)
def test_an_answer_that_is_not_about_this_group_completes_nothing(body: bytes, told: str) -> None:
    with pytest.raises(NotANotification, match=told):
        left_out(parsed(alert("A"), truncatedAlerts=2, groupLabels=GROUP), body)


def test_when_all_that_was_delivered_is_resolved_nothing_has_to_be_listed() -> None:
    delivered = parsed(alert("A", status="resolved"), truncatedAlerts=2, groupLabels=GROUP)
    assert left_out(delivered, b"[]") == ([], [])
